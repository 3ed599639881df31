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
from typing import Any

import numpy as np

from ...ir.node import Signature
from ...kernel.loops import Kernel
from ...kernel.single import Filling, Single, fillings, single_kernel
from ...kernel.target import Target
from ...runtime.buffer import Buffer
from . import library, memory
from .cache import disk_cache

#: What an operation gives: its value, or several.
Result = Buffer | Sequence[Buffer]


class Operation:
    """What a step does: a function of a list of buffers."""

    kernel: SingleKernel | None = None  #: what has to be loaded for it
    shares = False  #: whether its result may lie in an operand, or be the same in every run

    def __call__(self, args: Sequence[Any]) -> Result:
        raise NotImplementedError


_FUNCTION = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


class SingleKernel:
    """A generic kernel: the numbers that it is called with follow from the sizes of what it is called for."""

    def __init__(self, single: Single, target: Target) -> None:
        self.single, self.target = single, target
        self.code: library.Code | None = None
        self.function: Any = None
        key = library.key_of(f"{single.sig!r} {single.sig.attrs}", target)
        known = disk_cache().get(key)
        if known is None:
            known = json.dumps(self._made()).encode()
            disk_cache().put(key, known)
        #: `width`: elements of the last outer loop in a unit of work; 0 if units are not made so
        self.digest, numbers, self.width, outer = json.loads(known)
        self.count = len(numbers) + (2 if self.width else 0)
        self.numbers, self.outer = ([Filling(n, tuple(of)) for n, of in found] for found in (numbers, outer))

    def loops(self) -> Any:
        """The kernel itself."""
        return self._form(single_kernel(self.single.sig)).kernel

    def _form(self, kernel: Kernel) -> library.Form:
        form = library.generic_form(kernel, self.target)
        assert form is not None, self.single
        return form

    def _made(self) -> tuple[str, list[Filling], int, list[Filling]]:
        kernel = single_kernel(self.single.sig)
        form, width = self._form(kernel), 0
        numbers = form.values.tolist()
        if kernel.across:
            *numbers, width, _ = numbers
        stands = self.single.stands
        return form.digest, fillings(numbers, stands), width, fillings([v.size for v in kernel.outer], stands)

    def values(self, sizes: Sequence[int]) -> tuple[int, Sequence[int]]:
        """(units of work, all numbers) for some sizes."""
        values = [f.of(sizes) for f in self.numbers]
        *outer, last = [1, *[f.of(sizes) for f in self.outer]]
        if not self.width:
            return prod(outer) * last, values
        blocks = -(-last // self.width)
        return prod(outer) * blocks, [*values, self.width, blocks]


_kernels: dict[Signature, SingleKernel] = {}


def load(kernels: Collection[SingleKernel], target: Target) -> None:
    """Let kernels have their code: from the disk, or compiled now, those that are missing at the same time."""
    code = (
        library.load({k.digest: library.Wanted(k.loops, k.count) for k in kernels}, target) if kernels else {}
    )
    for kernel in kernels:
        kernel.function = _FUNCTION(code[kernel.digest].address)
        kernel.code = code[kernel.digest]


class Call(Operation):
    """A call of such a kernel."""

    kernel: SingleKernel

    def __init__(self, sig: Signature, single: Single, target: Target) -> None:
        found = _kernels.get(single.sig)
        if found is None:
            found = _kernels[single.sig] = SingleKernel(single, target)
        self.kernel = found
        self.moves = [
            partial(np.broadcast_to, shape=shape) if shape is not None
            else partial(np.transpose, axes=order) if order is not None
            else None
            for shape, order in zip(single.spread, single.turned, strict=True)
        ]  # fmt: skip
        self.units, values = found.values(single.sizes)
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
