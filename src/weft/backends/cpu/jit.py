"""From object code to callable functions, and the compiler of this process."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from ...kernel.target import Target
from . import image
from .llvm import llvm
from .processor import facts, is_ours

if TYPE_CHECKING:
    from .compiling import Compiler


@cache
def compiler(target: Target) -> Compiler:
    """LLVM's code generator for a target: for this system, or for Linux on another machine."""
    from .compiling import Compiler

    if is_ours(target):
        llvm()
        return Compiler(facts().triple, target.cpu, target.features)
    llvm().initialize_all_targets()
    llvm().initialize_all_asmprinters()
    return Compiler(target.triple, target.cpu, target.features)


class Library:
    """Functions of object code. They can be called as long as the library is alive."""

    def __init__(self, objects: Sequence[bytes], names: Sequence[str], target: Target) -> None:
        found = image.load(objects)
        if found is not None:
            self._held: Any = found
            self._functions: Any = found.functions
        else:
            self._held = self._functions = _linked(objects, names, target)

    def address(self, name: str) -> int:
        """Where the function is."""
        return self._functions[name]


_count = itertools.count()


def _linked(objects: Sequence[bytes], names: Sequence[str], target: Target) -> Any:
    """The functions of object code by name, linked by LLVM."""
    builder = llvm().JITLibraryBuilder()
    for code in objects:
        builder = builder.add_object_img(code)
    for name in names:
        builder = builder.export_symbol(name)
    return builder.link(_linker(target), f"weft{next(_count)}")


@cache
def _linker(target: Target) -> Any:
    return llvm().create_lljit_compiler(compiler(target).machine)
