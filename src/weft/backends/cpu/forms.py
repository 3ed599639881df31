"""Code for kernels: their own, or, where it hardly pays to make that, generic code and the values it is called with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...ir.node import Signature
from ...kernel.complexes import LINEAR, rules
from ...kernel.generic import generalize
from ...kernel.generic_tiles import GenericTiles, generalize_tiles, panel_bytes
from ...kernel.loops import Kernel
from ...kernel.single import Filling, Single
from ...kernel.single_kernels import fillings, single_kernel
from ...kernel.structure import structure
from ...kernel.target import Target
from ...kernel.tiles import Tiles
from . import library, loop_units, tile_units
from .regions import has_code


@dataclass(frozen=True)
class Use:
    """The code for one kernel of a program, and if it is generic code, the values that it is called with."""

    code: library.Code
    values: np.ndarray | None = None
    scratch_bytes: int = 0  #: that generic code needs


def functions(kernels: Sequence[Any], target: Target, once: Sequence[bool] | None = None) -> list[Use]:
    """The function of each kernel: its own, or, where `once` says that it hardly pays to make one, a generic one."""
    different = {id(k): _digest(k, target) for k in {id(k): k for k in kernels}.values()}
    digests = [different[id(k)] for k in kernels]
    wanted: dict[str, library.Wanted] = {}
    forms: list[Form | None] = [None] * len(kernels)
    for i, kernel in enumerate(kernels):
        if once is not None and once[i] and not library.is_at_hand(digests[i]):
            form = forms[i] = generic_form(kernel, target)
            if form is not None:
                digests[i] = form.digest
                wanted[form.digest] = library.Wanted(lambda form=form: form.kernel, len(form.values))
                continue
        wanted[digests[i]] = library.Wanted(lambda kernel=kernel: kernel)
    code = library.load(wanted, target)
    return [
        Use(code[d]) if form is None else Use(code[d], form.values, form.scratch_bytes)
        for d, form in zip(digests, forms, strict=True)
    ]


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


def _digest(kernel: Any, target: Target) -> str:
    """What tells a kernel's code from all other code, in this version of Weft or another."""
    return library.key_of(structure(kernel), target)


# -- operations by themselves ---------------------------------------------------------------------------------


class SingleForm(NamedTuple):
    """What is known of the generic kernel of an operation by itself."""

    digest: str
    numbers: list[Filling]
    width: int  #: elements of the last outer loop in a unit of work; 0 if units are not made so
    outer: list[Filling]


def single_form(single: Single, target: Target) -> SingleForm | None:
    """The generic kernel of an operation by itself; None if there is no code for it."""
    if not _has_code(single.sig):
        return None
    kernel = single_kernel(single.sig)
    form, width = _form(kernel, target), 0
    numbers = form.values.tolist()
    if kernel.across:
        *numbers, width, _ = numbers
    stands = single.stands
    outer = fillings([v.size for v in kernel.outer], stands)
    return SingleForm(form.digest, fillings(numbers, stands), width, outer)


def single_loops(single: Single, target: Target) -> Any:
    """Its loops."""
    return _form(single_kernel(single.sig), target).kernel


def _has_code(sig: Signature) -> bool:
    return sig.prim.name in rules or sig.prim.name in LINEAR if sig.is_complex else has_code(sig)


def _form(kernel: Kernel, target: Target) -> Form:
    form = generic_form(kernel, target)
    assert form is not None, kernel
    return form
