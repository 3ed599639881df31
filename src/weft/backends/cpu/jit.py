"""From LLVM modules to object code, and from object code to callable functions."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from ...base.config import config
from ...base.errors import BackendError
from ...kernel.target import LEVELS, Target, named_target
from ...runtime.os import allow_matrices
from .compiling import WHOLE, Compiler
from .instructions import Module


@cache
def _start() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@cache
def host_target() -> Target:
    """What kernels are generated for: `WEFT_CPU`, or the level that this processor reaches."""
    wanted = os.environ.get("WEFT_CPU")
    if wanted:
        target = named_target(wanted)
        if not _is_ours(target):
            raise BackendError(
                f"WEFT_CPU={wanted!r} makes code for {_architecture(target.triple)}, which this machine, "
                f"{_architecture(llvm.get_process_triple())}, cannot run"
            )
        return target
    _start()
    features = llvm.get_host_cpu_features()
    if all(features.get(f) for f in ("avx512f", "avx512vl", "avx512bw", "avx512dq")):
        level = LEVELS["x86-64-v4"]
        if features.get("avx512vnni"):
            level = replace(level, features=f"{level.features},+avx512vnni", dots=True)
        if all(features.get(f) for f in ("amx-tile", "amx-bf16")) and allow_matrices():
            level = replace(level, features=f"{level.features},+amx-tile,+amx-bf16", matrices=True)
        elif features.get("avx512bf16") and llvm.get_host_cpu_name().startswith("znver"):
            # On others it takes four times as long as a multiply-add.
            level = replace(level, features=f"{level.features},+avx512bf16", pairs=True)
        if llvm.get_host_cpu_name() == "znver5":
            level = replace(level, fetches=3, fetches_to=1)
    elif features.get("avx2") and features.get("fma"):
        level = LEVELS["x86-64-v3"]
    elif llvm.get_process_triple().startswith(("aarch64", "arm64")):
        level = LEVELS["aarch64"]
    else:
        level = LEVELS["x86-64-v2"]
    return level


def _architecture(triple: str) -> str:
    """What a triple begins with, by the one of its names that targets use."""
    name = triple.partition("-")[0]
    return {"arm64": "aarch64", "amd64": "x86_64"}.get(name, name)


def _is_ours(target: Target) -> bool:
    """Whether this machine has the architecture of a target."""
    return _architecture(target.triple) == _architecture(llvm.get_process_triple())


@cache
def compiler(target: Target) -> Compiler:
    """LLVM's code generator for a target: for this system, or for Linux on another machine."""
    if _is_ours(target):
        _start()
        return Compiler(llvm.get_process_triple(), target.cpu, target.features)
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return Compiler(target.triple, target.cpu, target.features)


@cache
def versions() -> str:
    """What compiles, and for which system."""
    llvm_version = ".".join([str(n) for n in llvm.llvm_version_info])
    return f"llvmlite {llvmlite.__version__}, LLVM {llvm_version}, {llvm.get_process_triple()}"


@cache
def _jit(target: Target) -> Any:
    _start()
    return llvm.create_lljit_compiler(
        Compiler(llvm.get_process_triple(), target.cpu, target.features).machine
    )


_count = itertools.count()


class Library:
    """Functions of object code. They can be called as long as the library is alive."""

    def __init__(self, objects: Sequence[bytes], names: Sequence[str], target: Target) -> None:
        builder = llvm.JITLibraryBuilder()
        for code in objects:
            builder = builder.add_object_img(code)
        for name in names:
            builder = builder.export_symbol(name)
        self._tracker = builder.link(_jit(target), f"weft{next(_count)}")

    @staticmethod
    def of(module: Module, target: Target) -> Library:
        """The functions of one module, compiled now."""
        code = compiler(target).object_code(str(module), WHOLE, config.verify)
        names = [f.name for f in module.functions if not f.is_declaration and f.linkage != "internal"]
        return Library([code], names, target)

    def address(self, name: str) -> int:
        """Where the function is."""
        return self._tracker[name]
