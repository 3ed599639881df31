"""Kernels as functions in memory: those this process has already, those on disk, and the rest compiled now.

A kernel is known by a digest of its loops, not of its code: finding it again needs no code to be written.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import llvmlite
import numpy as np

from ...base.locks import new_lock
from ...kernel.generic import generalize
from ...kernel.generic_tiles import GenericTiles, generalize_tiles, panel_bytes
from ...kernel.loops import Kernel
from ...kernel.structure import structure
from ...kernel.target import Target
from ...kernel.tiles import Tiles
from ...runtime import profile
from . import jit, loop_units, tile_units
from .cache import disk_cache
from .processor import facts


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
    scratch_bytes: int = 0  #: that generic code needs


#: What a profile says of the time that code takes to be found on disk or compiled.
_MAKING = profile.Task("compile", ("kernels",))


def functions(kernels: Sequence[Any], target: Target, once: Sequence[bool] | None = None) -> list[Use]:
    """The function of each kernel: its own, or, where `once` says that it hardly pays to make one, a generic one."""
    different = {id(k): _digest(k, target) for k in {id(k): k for k in kernels}.values()}
    digests = [different[id(k)] for k in kernels]
    wanted: dict[str, Wanted] = {}
    forms: list[Form | None] = [None] * len(kernels)
    for i, kernel in enumerate(kernels):
        if once is not None and once[i] and not is_at_hand(digests[i]):
            form = forms[i] = generic_form(kernel, target)
            if form is not None:
                digests[i] = form.digest
                wanted[form.digest] = Wanted(lambda form=form: form.kernel, len(form.values))
                continue
        wanted[digests[i]] = Wanted(lambda kernel=kernel: kernel)
    code = load(wanted, target)
    return [
        Use(code[d]) if form is None else Use(code[d], form.values, form.scratch_bytes)
        for d, form in zip(digests, forms, strict=True)
    ]


def is_at_hand(digest: str) -> bool:
    """Whether a kernel need not be compiled."""
    return digest in _loaded or disk_cache().has(digest)


class Form(NamedTuple):
    """A kernel for all sizes, and the values that it is called with for some."""

    kernel: Kernel | GenericTiles
    values: np.ndarray
    digest: str
    scratch_bytes: int = 0


def generic_form(kernel: Any, target: Target) -> Form | None:
    """The generic form of a kernel; None if it has none."""
    if isinstance(kernel, Tiles):
        form = generalize_tiles(kernel, tile_units.units(kernel, target), target)
        if form is None:
            return None
        values, size = np.array(form.values, np.int64), panel_bytes(kernel, target)
        return Form(form.kernel, values, _digest(form.kernel, target), size)
    if not isinstance(kernel, Kernel):
        return None
    form = generalize(kernel)
    if form is None or not form.values:
        return None
    values = np.array(loop_units.generic_values(kernel, form.values, target), np.int64)
    return Form(form.kernel, values, _digest(form.kernel, target))


class Wanted(NamedTuple):
    """A kernel whose code is wanted."""

    loops: Callable[[], Any]  #: the kernel itself, asked for if its code is not on disk
    holes: int = 0


def load(wanted: Mapping[str, Wanted], target: Target) -> dict[str, Code]:
    """The code of kernels, by their digests."""
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


def runtime_library(emit: Callable[[Any, Target], None], names: Sequence[str], target: Target) -> jit.Library:
    """Functions of the runtime's own, which `emit` writes, from the disk if they have been compiled before.

    They are never freed: threads may be in them when the interpreter ends and clears its modules.
    """
    disk = disk_cache()
    key = key_of(f"{emit.__module__}.{emit.__name__}", target)
    code = disk.get(key)
    if code is None:
        from .making import compile_functions

        code = compile_functions(emit, target)
        disk.put(key, code)
    library = jit.Library([code], names, target)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(library))
    return library


def _objects(kernels: Mapping[str, Wanted], target: Target) -> dict[str, bytes]:
    """Object code for each kernel, from the disk or compiled."""
    disk = disk_cache()
    objects: dict[str, bytes] = {}
    for d in kernels:
        code = disk.get(d)
        if code is not None:
            objects[d] = code
    missing = [(d, loops(), _name(d), holes) for d, (loops, holes) in kernels.items() if d not in objects]
    if missing:
        from .making import compile_kernels

        for d, code in compile_kernels(missing, target).items():
            objects[d] = code
            disk.put(d, code)
    return objects


def _name(digest: str) -> str:
    return f"kernel.{digest[:24]}"


def _digest(kernel: Any, target: Target) -> str:
    """What tells a kernel's code from all other code, in this version of Weft or another."""
    return key_of(structure(kernel), target)


def key_of(text: str, target: Target) -> str:
    """The key on disk of what the compiler makes of something."""
    return hashlib.sha256(f"{_generator()}\n{target}\n{text}".encode()).hexdigest()


@cache
def _generator() -> str:
    """What code is generated by: the sources of the operations and of the compiler, LLVM, and the system."""
    versions = llvmlite.__version__, facts().version, facts().triple
    total = hashlib.sha256(f"{versions} {platform.machine()} {sys.platform} {os.name}".encode())
    for package in ("ops", "kernel", "kernel/functions", "backends/cpu"):
        folder: Any = Path(__file__).parents[2] / package
        if not folder.is_dir():  # the package lies in an archive
            from importlib.resources import files

            folder = files("weft").joinpath(package)
        for file in sorted(folder.iterdir(), key=lambda f: f.name):
            if file.name.endswith((".py", ".pyc")):
                total.update(file.read_bytes())
    return total.hexdigest()
