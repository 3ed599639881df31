"""From LLVM's text to object code. This file stands alone: helper processes run it without the rest of Weft."""

from __future__ import annotations

import signal
import struct
import sys

if __name__ == "__main__":  # a helper, which finds llvmlite where the process that started it did
    sys.path.insert(0, sys.argv[1])

import llvmlite.binding as llvm

#: What a helper is sent: the length of the text that follows, and whether to be quick and to verify. It answers with
#: the length of the object code that follows, 0 if the text could not be compiled.
REQUEST, ANSWER = struct.Struct("<I??"), struct.Struct("<I")


class Compiler:
    """LLVM's code generator for one instruction set."""

    def __init__(self, triple: str, cpu: str, features: str) -> None:
        self.triple = triple
        self.machine = llvm.Target.from_triple(triple).create_target_machine(
            cpu=cpu, features=features, opt=3, reloc="pic", codemodel="default"
        )
        layout = str(self.machine.target_data)
        self._head = f'target datalayout = "{layout}"\ntarget triple = "{triple}"\n'
        options = llvm.create_pipeline_tuning_options(speed_level=1)
        options.loop_vectorization = False
        options.slp_vectorization = False
        options.loop_unrolling = False
        self._options = options

    def optimized(self, text: str, quick: bool, verify: bool = False) -> llvm.ModuleRef:
        """Parse and clean up: registers for stack slots, invariant index arithmetic out of loops.

        `quick` is for code that is written out as it should be, register tiles: few passes make the same of it.
        """
        parsed = llvm.parse_assembly(self._head + text)
        if verify:
            parsed.verify()
        builder = llvm.create_pass_builder(self.machine, self._options)
        if quick:
            manager = llvm.create_new_module_pass_manager()
            manager.add_sroa_pass()
            manager.add_simplify_cfg_pass()
            manager.add_instruction_combine_pass()
            manager.add_loop_rotate_pass()
        else:
            manager = builder.getModulePassManager()
        manager.run(parsed, builder)
        return parsed

    def object_code(self, text: str, quick: bool, verify: bool = False) -> bytes:
        """The text of a module as an object file."""
        return self.machine.emit_object(self.optimized(text, quick, verify))


def _serve() -> None:
    """Answer requests until there are no more. Ctrl-C is for the process that asks, which then lets this one go."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    compiler = Compiler(*sys.argv[2:5])
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        length, quick, verify = REQUEST.unpack(head)
        text = requests.read(length)
        if len(text) < length:
            return
        try:
            code = compiler.object_code(text.decode(), quick, verify)
        except RuntimeError:  # the process that asked will see it for itself
            code = b""
        answers.write(ANSWER.pack(len(code)) + code)
        answers.flush()


if __name__ == "__main__":
    try:
        _serve()
    except BrokenPipeError:  # nobody waits for the answer any more
        sys.stdout = None  # type: ignore[assignment]  (nothing is left to be written at the end)
