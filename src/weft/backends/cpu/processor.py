"""The processor, as LLVM knows it, and what kernels are generated for on it.

LLVM's answers are kept on disk: to load it takes longer than many a program runs, and where all kernels are on disk
too, nothing else of it is needed.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import llvmlite

from ...base.errors import BackendError
from ...kernel.target import LEVELS, Target, named_target
from ...runtime.os import allow_matrices
from .cache import disk_cache
from .llvm import llvm


class Facts(NamedTuple):
    """What LLVM says of itself and of this machine."""

    version: list[int]  #: LLVM's
    triple: str  #: architecture, vendor and system
    cpu: str
    features: list[str]  #: sets of instructions that the processor has and the system allows

    @property
    def architecture(self) -> str:
        return architecture(self.triple)


@cache
def facts() -> Facts:
    """What LLVM says, or has said before of the same processor."""
    about = _identity()
    if about is None:
        return _asked()
    disk, key = disk_cache(), hashlib.sha256(about.encode()).hexdigest()
    kept = disk.get(key)
    if kept is not None:
        version, triple, cpu, *features = kept.decode().splitlines()
        return Facts([int(n) for n in version.split(".")], triple, cpu, features)
    found = _asked()
    version = ".".join([str(n) for n in found.version])
    disk.put(key, "\n".join([version, found.triple, found.cpu, *found.features]).encode())
    return found


def _asked() -> Facts:
    binding = llvm()
    features = [name for name, has in binding.get_host_cpu_features().items() if has]
    version, triple = list(binding.llvm_version_info), binding.get_process_triple()
    return Facts(version, triple, binding.get_host_cpu_name(), features)


#: Lines of /proc/cpuinfo that change from moment to moment, or from one core to the next.
_PASSING = ("processor", "cpu mhz", "apicid", "initial apicid", "core id", "physical id", "bogomips")


def _identity() -> str | None:
    """What tells this LLVM on this processor from all others; None where the system does not say."""
    library = Path(llvmlite.__file__).parent / "binding" / "libllvmlite.so"
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            first = file.read(1 << 14).partition("\n\n")[0]
        found = os.stat(library)
    except OSError:
        return None
    lines = [s for s in first.splitlines() if s.partition(":")[0].strip().lower() not in _PASSING]
    return "\n".join(
        ["processor 1", llvmlite.__version__, str(library), f"{found.st_size} {found.st_mtime_ns}", *lines]
    )


@cache
def host_target() -> Target:
    """What kernels are generated for: `WEFT_CPU`, or the level that this processor reaches."""
    wanted = os.environ.get("WEFT_CPU")
    if wanted:
        target = named_target(wanted)
        if not is_ours(target):
            raise BackendError(
                f"WEFT_CPU={wanted!r} makes code for {architecture(target.triple)}, which this machine, "
                f"{facts().architecture}, cannot run"
            )
        return target
    has, cpu = set(facts().features), facts().cpu
    if has >= {"avx512f", "avx512vl", "avx512bw", "avx512dq"}:
        level = LEVELS["x86-64-v4"]
        if "avx512vnni" in has:
            level = replace(level, features=f"{level.features},+avx512vnni", dots=True)
        if has >= {"amx-tile", "amx-bf16"} and allow_matrices():
            level = replace(level, features=f"{level.features},+amx-tile,+amx-bf16", matrices=True)
        elif "avx512bf16" in has and cpu.startswith("znver"):
            # On others it takes four times as long as a multiply-add.
            level = replace(level, features=f"{level.features},+avx512bf16", pairs=True)
        if cpu == "znver5":
            level = replace(level, fetches=3, fetches_to=1)
        return level
    if has >= {"avx2", "fma"}:
        return LEVELS["x86-64-v3"]
    return LEVELS["aarch64" if facts().architecture == "aarch64" else "x86-64-v2"]


def architecture(triple: str) -> str:
    """What a triple begins with, by the one of its names that targets use."""
    name = triple.partition("-")[0]
    return {"arm64": "aarch64", "amd64": "x86_64"}.get(name, name)


def is_ours(target: Target) -> bool:
    """Whether this machine has the architecture of a target."""
    return architecture(target.triple) == facts().architecture
