"""Kernels for one operation on operands of any size, and calls of them.

What numbers such a kernel is called with for given sizes is kept on disk beside its code: then nobody makes its loops
again.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Collection, Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.node import Signature
from ...kernel.single import Filling, Single
from ...kernel.target import Target
from ...runtime.buffer import Buffer
from . import library, memory
from .cache import disk_cache

if TYPE_CHECKING:
    from .forms import SingleForm

#: What an operation gives: its value, or several.
Result = Buffer | Sequence[Buffer]


class Operation:
    """What a step does: a function of a list of buffers."""

    __slots__ = ()

    kernel: SingleKernel | None = None  #: what has to be loaded for it
    shares = False  #: whether its result may lie in an operand, or be the same in every run

    def __call__(self, args: Sequence[Any]) -> Result:
        raise NotImplementedError


_FUNCTION = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


class SingleKernel:
    """A generic kernel: the numbers that it is called with follow from the sizes of what it is called for."""

    __slots__ = ("code", "digest", "function", "numbers", "outer", "single", "target", "width")

    def __init__(self, single: Single, form: SingleForm, target: Target) -> None:
        self.single, self.target = single, target
        self.digest, numbers, self.width, outer = form
        self.numbers, self.outer = ([Filling(n, tuple(of)) for n, of in found] for found in (numbers, outer))
        self.code: library.Code | None = None
        self.function: Any = None

    @property
    def holes(self) -> int:
        """How many numbers it is called with."""
        return len(self.numbers) + (2 if self.width else 0)

    def loops(self) -> Any:
        """The kernel itself."""
        from .forms import single_loops  # the planner is imported when first something is planned or compiled

        return single_loops(self.single, self.target)

    def values(self, sizes: Sequence[int]) -> tuple[int, Sequence[int]]:
        """(units of work, all numbers) for some sizes."""
        values = [f.of(sizes) for f in self.numbers]
        *outer, last = [1, *[f.of(sizes) for f in self.outer]]
        if not self.width:
            return prod(outer) * last, values
        blocks = -(-last // self.width)
        return prod(outer) * blocks, [*values, self.width, blocks]


_kernels: dict[Signature, SingleKernel | None] = {}


def kernel_of(single: Single, target: Target) -> SingleKernel | None:
    """The kernel of an operation by itself; None if there is no code for it."""
    if single.sig not in _kernels:
        form = _form_of(single, target)
        _kernels[single.sig] = None if form is None else SingleKernel(single, form, target)
    return _kernels[single.sig]


def _form_of(single: Single, target: Target) -> SingleForm | None:
    disk, key = disk_cache(), library.key_of(f"{single.sig!r} {single.sig.attrs}", target)
    known = disk.get(key)
    if known is not None:
        return json.loads(known)
    from .forms import single_form  # see `loops`

    form = single_form(single, target)
    if form is not None:
        disk.put(key, json.dumps(form).encode())
    return form


def load(kernels: Collection[SingleKernel], target: Target) -> None:
    """Let kernels have their code: from the disk, or compiled now, those that are missing at the same time."""
    code = (
        library.load({k.digest: library.Wanted(k.loops, k.holes) for k in kernels}, target) if kernels else {}
    )
    for kernel in kernels:
        kernel.function = _FUNCTION(code[kernel.digest].address)
        kernel.code = code[kernel.digest]


class Call(Operation):
    """A call of such a kernel."""

    __slots__ = ("kernel", "moves", "result", "units", "values", "words")

    kernel: SingleKernel

    def __init__(self, sig: Signature, single: Single, kernel: SingleKernel) -> None:
        self.kernel = kernel
        self.moves = [
            partial(np.broadcast_to, shape=shape) if shape is not None
            else partial(np.transpose, axes=order) if order is not None
            else None
            for shape, order in zip(single.spread, single.turned, strict=True)
        ]  # fmt: skip
        self.units, values = kernel.values(single.sizes)
        self.values = (ctypes.c_int64 * len(values))(*values)
        self.words = ctypes.c_int64 * (len(sig.inputs) + 2)
        out: Any = sig.out
        self.result = memory.size_of(out.shape, out.dtype.numpy), out.shape, out.dtype.numpy

    def __call__(self, args: Sequence[Buffer]) -> Buffer:
        held = [
            a if move is None else Buffer(np.asarray(move(a.array), order="C"))
            for a, move in zip(args, self.moves, strict=True)
        ]
        out = memory.Recycled(*self.result)
        addresses = [a._address or a.address for a in held]
        words = self.words(*addresses, out._address, ctypes.addressof(self.values))
        self.kernel.function(words, 0, self.units, None)
        return out
