"""From LLVM modules to callable functions."""

# llvmlite.ir has no annotations: what pyright infers of its values is wrong.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportAssignmentType=false

from __future__ import annotations

import itertools
import os
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from ...kernel.target import LEVELS, Target, named_target


@cache
def _start() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@cache
def host_target() -> Target:
    """What kernels are generated for: `WEFT_CPU`, or the level that this processor reaches."""
    wanted = os.environ.get("WEFT_CPU")
    if wanted:
        return named_target(wanted)
    _start()
    features = llvm.get_host_cpu_features()
    if all(features.get(f) for f in ("avx512f", "avx512vl", "avx512bw", "avx512dq")):
        level = LEVELS["x86-64-v4"]
    elif features.get("avx2") and features.get("fma"):
        level = LEVELS["x86-64-v3"]
    elif llvm.get_process_triple().startswith(("aarch64", "arm64")):
        level = LEVELS["aarch64"]
    else:
        level = LEVELS["x86-64-v2"]
    return level


@cache
def machine(target: Target) -> llvm.TargetMachine:
    """LLVM's code generator for a target."""
    _start()
    triple = target.triple or llvm.get_process_triple()
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="default"
    )


def optimize(module: ir.Module, target: Target) -> llvm.ModuleRef:
    """Parse, check and clean up: registers for stack slots, invariant index arithmetic out of loops."""
    module.triple = target.triple or llvm.get_process_triple()
    module.data_layout = str(machine(target).target_data)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine(target), options)
    manager = builder.getModulePassManager()
    manager.run(parsed, builder)
    return parsed


def assembly(module: ir.Module, target: Target) -> str:
    """The machine code as text, to be read and tested."""
    return machine(target).emit_assembly(optimize(module, target))


@cache
def _jit(target: Target) -> Any:
    _start()
    return llvm.create_lljit_compiler(
        llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
            cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="default"
        )
    )


_count = itertools.count()


class Library:
    """Compiled functions of one module. They can be called as long as the library is alive."""

    def __init__(self, module: ir.Module, target: Target) -> None:
        code = machine(target).emit_object(optimize(module, target))
        builder = llvm.JITLibraryBuilder().add_object_img(code)
        for f in module.functions:
            if not f.is_declaration and f.linkage != "internal":
                builder = builder.export_symbol(f.name)
        self._tracker = builder.link(_jit(target), f"weft{next(_count)}")

    def address(self, name: str) -> int:
        """Where the function is."""
        return self._tracker[name]
