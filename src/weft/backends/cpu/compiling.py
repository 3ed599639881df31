"""From LLVM's text to object code. This file stands alone: helper processes run it without the rest of Weft."""

from __future__ import annotations

import llvmlite.binding as llvm


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
