"""Kernels as object code: their loops written as LLVM's text, and the text compiled.

Imported when a kernel is not on disk: it takes the whole code generator, and LLVM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from ...base.config import config
from ...kernel.generic_tiles import GenericTiles
from ...kernel.sorting import Sort
from ...kernel.target import Target
from ...kernel.tiles import Tiles
from ...kernel.verify import verify_kernel
from ...kernel.winograd import Winograd
from ...kernel.winograd_gradient import Sums
from . import emit, generic_tiles, jit, sorting, tiles, winograd
from .compiling import LOOPS, ONCE, WHOLE, WRITTEN
from .instructions import Module
from .workers import Job, compile_all


def compile_kernels(kernels: Iterable[tuple[str, Any, str, int]], target: Target) -> dict[str, bytes]:
    """The object code of kernels by key, each given as (key, kernel, name, number of holes)."""
    jobs = [Job(key, *source(kernel, name, target, holes)) for key, kernel, name, holes in kernels]
    return compile_all(jobs, target, config.verify)


def compile_functions(emit_into: Callable[[Module, Target], None], target: Target) -> bytes:
    """The object code of functions of the runtime's own, which know of no kernel."""
    module = Module("weft")
    emit_into(module, target)
    _alone(module)
    return jit.compiler(target).object_code(str(module), WHOLE, config.verify)


def library_of(module: Module, target: Target) -> jit.Library:
    """The functions of one module, compiled now."""
    code = jit.compiler(target).object_code(str(module), WHOLE, config.verify)
    names = [f.name for f in module.functions if not f.is_declaration and f.linkage != "internal"]
    return jit.Library([code], names, target)


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
    if isinstance(kernel, GenericTiles):
        generic_tiles.emit_generic_tiles(module, kernel, target, holes)
    elif isinstance(kernel, Tiles):
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
    if isinstance(kernel, (Tiles, Winograd, Sums, Sort)):
        return str(module), WRITTEN
    if holes:
        return str(module), ONCE
    return str(module), LOOPS if len(functions) == 1 else WHOLE


def assembly(kernel: Any, name: str, target: Target) -> str:
    """A kernel as machine code to read, with LLVM's comments on loops and on what did not fit into registers."""
    text, effort = source(kernel, name, target)
    found = jit.compiler(target)
    found.machine.set_asm_verbosity(True)
    return found.machine.emit_assembly(found.optimized(text, effort, config.verify))
