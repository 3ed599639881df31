"""From LLVM's text to object code. This file stands alone: helper processes run it without the rest of Weft."""

from __future__ import annotations

import signal
import struct
import sys
from functools import cached_property

if __name__ == "__main__":  # a helper, which finds llvmlite where the process that started it did
    sys.path.insert(0, sys.argv[1])

import llvmlite.binding as llvm

#: How much is made of a text. ONCE: of code that hardly runs, what is had soonest. WRITTEN: of what is written out as
#: it should be, register tiles. LOOPS: of one function of loops around expressions. WHOLE: of functions that call each
#: other.
ONCE, WRITTEN, LOOPS, WHOLE = range(4)

#: What a helper is sent: the length of the text that follows, how much to make of it, and whether to verify it. It
#: answers with the length of the object code that follows, 0 if the text could not be compiled.
REQUEST, ANSWER = struct.Struct("<IB?"), struct.Struct("<I")


class Compiler:
    """LLVM's code generator for one instruction set."""

    def __init__(self, triple: str, cpu: str, features: str) -> None:
        self.triple = triple
        self._target = triple, cpu, features
        self.machine = self._machine(3)
        layout = str(self.machine.target_data)
        self._head = f'target datalayout = "{layout}"\ntarget triple = "{triple}"\n'
        options = llvm.create_pipeline_tuning_options(speed_level=1)
        options.loop_vectorization = False
        options.slp_vectorization = False
        options.loop_unrolling = False
        self._options = options

    def _machine(self, level: int) -> llvm.TargetMachine:
        triple, cpu, features = self._target
        return llvm.Target.from_triple(triple).create_target_machine(
            cpu=cpu, features=features, opt=level, reloc="pic", codemodel="default"
        )

    @cached_property
    def _plain(self) -> llvm.TargetMachine:
        """The generator that takes instructions one by one; only that for x86 is sure to know all of them."""
        return self._machine(0 if self.triple.startswith("x86_64") else 1)

    def optimized(self, text: str, effort: int, verify: bool = False) -> llvm.ModuleRef:
        """Parse and clean up: registers for stack slots, invariant index arithmetic out of loops.

        What is written has been hoisted and shared already, as far as one sees that while writing. So code that runs
        once stays as it is, and loops need the simplifications of one function alone, not those between functions and
        not those for the sake of vectors, each with the same instructions combined anew: that is half of the time.
        """
        parsed = llvm.parse_assembly(self._head + text)
        if verify:
            parsed.verify()
        if effort == ONCE:
            return parsed
        builder = llvm.create_pass_builder(self.machine, self._options)
        if effort == WHOLE:
            builder.getModulePassManager().run(parsed, builder)
            return parsed
        manager = llvm.create_new_module_pass_manager()
        manager.add_sroa_pass()
        manager.add_simplify_cfg_pass()
        manager.add_instruction_combine_pass()
        if effort == WRITTEN:
            manager.add_loop_rotate_pass()
        manager.run(parsed, builder)
        if effort == LOOPS:
            rest = builder.getFunctionPassManager()
            for function in parsed.functions:
                if not function.is_declaration:
                    rest.run(function, builder)
        return parsed

    def object_code(self, text: str, effort: int, verify: bool = False) -> bytes:
        """The text of a module as an object file."""
        machine = self._plain if effort == ONCE else self.machine
        return machine.emit_object(self.optimized(text, effort, verify))


def _serve() -> None:
    """Answer requests until there are no more. Ctrl-C is for the process that asks, which then lets this one go."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    compiler = Compiler(*sys.argv[2:5])
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        length, effort, verify = REQUEST.unpack(head)
        text = requests.read(length)
        if len(text) < length:
            return
        try:
            code = compiler.object_code(text.decode(), effort, verify)
        except RuntimeError:  # the process that asked will see it for itself
            code = b""
        answers.write(ANSWER.pack(len(code)) + code)
        answers.flush()


if __name__ == "__main__":
    try:
        _serve()
    except BrokenPipeError:  # nobody waits for the answer any more
        sys.stdout = None  # type: ignore[assignment]  (nothing is left to be written at the end)
