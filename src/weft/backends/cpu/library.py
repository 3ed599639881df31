"""Kernels as functions in memory: those this process has already, those on disk, and the rest compiled now.

A kernel is known by a digest of its loops, not of its code: finding it again needs no code to be written.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from ...base.config import config
from ...base.locks import new_lock
from ...kernel.generic import generalize
from ...kernel.loops import Kernel
from ...kernel.sorting import Sort
from ...kernel.structure import structure
from ...kernel.target import Target
from ...kernel.tiles import Tiles
from ...kernel.verify import verify_kernel
from ...kernel.winograd import Winograd
from ...kernel.winograd_gradient import Sums
from ...runtime import profile
from . import emit, jit, sorting, tiles, winograd
from .cache import disk_cache
from .compiling import LOOPS, ONCE, WHOLE, WRITTEN
from .instructions import Module
from .workers import Job, compile_all


class Code:
    """A kernel's function. It can be called as long as this object is alive."""

    __slots__ = ("__weakref__", "_library", "address")

    def __init__(self, library: jit.Library, name: str) -> None:
        self.address = library.address(name)
        self._library = library


_loaded: WeakValueDictionary[str, Code] = WeakValueDictionary()
_loading = new_lock(rank=29)


@dataclass(frozen=True)
class Use:
    """The code for one kernel of a program, and if it is generic code, the values that it is called with."""

    code: Code
    values: np.ndarray | None = None


#: What a profile says of the time that code takes to be found on disk or compiled.
_MAKING = profile.Task("compile", ("kernels",))


def functions(kernels: Sequence[Any], target: Target, once: Sequence[bool] | None = None) -> list[Use]:
    """The function of each kernel: its own, or, where `once` says that it hardly pays to make one, a generic one."""
    different = {id(k): _digest(k, target) for k in {id(k): k for k in kernels}.values()}
    digests = [different[id(k)] for k in kernels]
    wanted: dict[str, tuple[Any, int]] = {}  # kernel and the number of its holes
    values: list[np.ndarray | None] = [None] * len(kernels)
    for i, kernel in enumerate(kernels):
        if once is not None and once[i] and not is_at_hand(digests[i]):
            form = generic_form(kernel, target)
            if form is not None:
                values[i], digests[i] = form.values, form.digest
                wanted[form.digest] = form.kernel, len(form.values)
                continue
        wanted[digests[i]] = kernel, 0
    code = _code(wanted, target)
    return [Use(code[d], v) for d, v in zip(digests, values, strict=True)]


def is_at_hand(digest: str) -> bool:
    """Whether a kernel need not be compiled."""
    return digest in _loaded or disk_cache().has(digest)


class Form(NamedTuple):
    """A kernel for all sizes, and the values that it is called with for some."""

    kernel: Kernel
    values: np.ndarray
    digest: str


def generic_form(kernel: Any, target: Target) -> Form | None:
    """The generic form of a kernel; None if it has none."""
    if not isinstance(kernel, Kernel) or not emit.can_be_generic(kernel, target):
        return None
    form = generalize(kernel)
    if form is None or not form.values:
        return None
    values = np.array(emit.generic_values(kernel, form.values, target), np.int64)
    return Form(form.kernel, values, _digest(form.kernel, target))


def load(forms: Sequence[Form], target: Target) -> dict[str, Code]:
    """The code of generic kernels, by their digests."""
    return _code({f.digest: (f.kernel, len(f.values)) for f in forms}, target)


def _code(wanted: dict[str, tuple[Any, int]], target: Target) -> dict[str, Code]:
    """The code of each kernel that is `wanted`."""
    with _loading:
        found = {d: code for d in wanted if (code := _loaded.get(d)) is not None}
    missing = {d: k for d, k in wanted.items() if d not in found}
    if missing:
        objects = profile.timed(_MAKING, lambda: _objects(missing, target))
        library = jit.Library(list(objects.values()), [_name(d) for d in objects], target)
        with _loading:
            for d in objects:
                found[d] = _loaded[d] = Code(library, _name(d))
    return found


def driver_library(module: Module, target: Target) -> jit.Library:
    """The functions of a module of the runtime's own, from the disk if it has been compiled before."""
    names = [f.name for f in _alone(module) if f.linkage != "internal"]
    disk = disk_cache()
    key = hashlib.sha256(f"{_generator()}\n{target}\n{module}".encode()).hexdigest()
    code = disk.get(key)
    if code is None:
        code = jit.compiler(target).object_code(str(module), WHOLE, config.verify)
        disk.put(key, code)
    return jit.Library([code], names, target)


def _objects(kernels: dict[str, tuple[Any, int]], target: Target) -> dict[str, bytes]:
    """Object code for each kernel, from the disk or compiled."""
    disk = disk_cache()
    objects: dict[str, bytes] = {}
    for d in kernels:
        code = disk.get(d)
        if code is not None:
            objects[d] = code
    jobs = [
        Job(d, *source(kernel, _name(d), target, holes))
        for d, (kernel, holes) in kernels.items()
        if d not in objects
    ]
    for d, code in compile_all(jobs, target, config.verify).items():
        objects[d] = code
        disk.put(d, code)
    return objects


def _alone(module: Module) -> list[Any]:
    """The functions of a module, whose loops stay loops: LLVM would see the memset or memcpy of a C library in them."""
    functions = [f for f in module.functions if not f.is_declaration]
    for f in functions:
        f.attributes.add('"no-builtins"')
    return functions


def source(kernel: Any, name: str, target: Target, holes: int = 0) -> tuple[str, int]:
    """A kernel as the text of a module, and how much is to be made of it."""
    module = Module("weft")
    if config.verify:
        verify_kernel(kernel)
    kernel = replace(kernel, name=name)
    if isinstance(kernel, Tiles):
        tiles.emit_tiles(module, kernel, target)
    elif isinstance(kernel, Winograd):
        winograd.emit_winograd(module, kernel, target)
    elif isinstance(kernel, Sums):
        winograd.emit_sums(module, kernel, target)
    elif isinstance(kernel, Sort):
        sorting.emit_sort(module, kernel, target)
    else:
        emit.emit_kernel(module, kernel, target, holes)
    functions = _alone(module)
    for f in functions:
        f.attributes.add("nounwind")  # and so no tables of how to unwind it
    if holes:
        return str(module), ONCE
    if isinstance(kernel, (Tiles, Winograd, Sums)):
        return str(module), WRITTEN
    return str(module), LOOPS if len(functions) == 1 else WHOLE


def assembly(kernel: Any, name: str, target: Target) -> str:
    """A kernel as machine code to read, with LLVM's comments on loops and on what did not fit into registers."""
    text, effort = source(kernel, name, target)
    found = jit.compiler(target)
    found.machine.set_asm_verbosity(True)
    return found.machine.emit_assembly(found.optimized(text, effort, config.verify))


def _name(digest: str) -> str:
    return f"kernel.{digest[:24]}"


def _digest(kernel: Any, target: Target) -> str:
    """What tells a kernel's code from all other code, in this version of Weft or another."""
    return hashlib.sha256(f"{_generator()}\n{target}\n{structure(kernel)}".encode()).hexdigest()


@cache
def _generator() -> str:
    """What code is generated by: the sources of the compiler, LLVM, and the system."""
    total = hashlib.sha256(f"{jit.versions()} {platform.machine()} {sys.platform} {os.name}".encode())
    for package in ("weft.kernel", "weft.kernel.functions", "weft.backends.cpu"):
        for file in sorted(files(package).iterdir(), key=lambda f: f.name):
            if file.name.endswith((".py", ".pyc")):
                total.update(file.read_bytes())
    return total.hexdigest()
