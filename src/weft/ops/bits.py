"""Bits: logic on each bit of booleans and integers, shifts, and the same bits under another type."""

from __future__ import annotations

import numpy as np

from ..base.errors import DTypeError
from ..ir.dtype import DType, float32, int32, int64, uint16
from ..ir.node import Aval
from .define import Sample, elementwise, integer_values, primitive, values

_NO_GRADIENT = "it works on bits"


def _bit_samples(bools: bool = True, small: bool = False):
    def make() -> list[Sample]:
        x, y = integer_values(), integer_values(seed=1)
        if small:
            y = np.abs(y)
        out = [
            Sample((x, y), smooth=False),
            Sample((x, y[0]), smooth=False),
            Sample((np.abs(x).astype(np.uint8), np.abs(y).astype(np.uint8)), smooth=False),
            Sample((x.astype(np.int32)[:0], y.astype(np.int32)[:1]), smooth=False),
        ]
        if bools:
            out.append(Sample((x > 0, y[0] > 1), smooth=False))
        if small:
            out.append(Sample((x.astype(np.int8), np.array([0, 7, 8, 100], np.int8)), smooth=False))
        return out

    return make


@elementwise("bui", samples=_bit_samples())
def bitwise_and(x, y):
    """Bits set in both; on booleans, logical and."""
    return np.bitwise_and(x, y)


@elementwise("bui", samples=_bit_samples())
def bitwise_or(x, y):
    """Bits set in either; on booleans, logical or."""
    return np.bitwise_or(x, y)


@elementwise("bui", samples=_bit_samples())
def bitwise_xor(x, y):
    """Bits set in exactly one; on booleans, logical exclusive or."""
    return np.bitwise_xor(x, y)


@elementwise("bui", samples=lambda: [Sample(s.args[:1], smooth=False) for s in _bit_samples()()])
def bitwise_not(x):
    """Every bit flipped; on booleans, logical not."""
    return np.bitwise_not(x)


@elementwise("ui", samples=_bit_samples(bools=False, small=True))
def shift_left(x, y):
    """x * 2**y modulo the type's range. A shift by the type's width or more gives 0. y must not be negative."""
    return np.left_shift(x, y)


@elementwise("ui", samples=_bit_samples(bools=False, small=True))
def shift_right(x, y):
    """floor(x / 2**y): the sign bit of a signed type is repeated. y must not be negative."""
    return np.right_shift(x, y)


def _bitcast_infer(x: Aval, *, dtype: DType) -> Aval:
    if x.dtype.itemsize != dtype.itemsize or "b" in (x.dtype.kind, dtype.kind):
        raise DTypeError(f"cannot read the {8 * x.dtype.itemsize} bits of {x.describe()} as {dtype}")
    return Aval(x.shape, dtype)


@primitive(
    _bitcast_infer,
    attrs=("dtype",),
    samples=lambda: [
        Sample((values(),), {"dtype": int64}, smooth=False),
        Sample((values().astype(np.float32),), {"dtype": int32}, smooth=False),
        Sample((integer_values(np.int32),), {"dtype": float32}, smooth=False),
        Sample((values().astype(np.float16),), {"dtype": uint16}, smooth=False),
        Sample((integer_values(np.int64, (0, 3)),), {"dtype": int64}, smooth=False),
    ],
)
def bitcast(x, *, dtype):
    """The same bits read as another type of the same width (booleans excepted)."""
    return np.ascontiguousarray(x).reshape(x.shape).view(dtype.numpy)


bitcast.computes = False


@bitcast.batch
def _(size, batched, x, *, dtype):
    return bitcast(x, dtype=dtype)


for _prim in (bitwise_and, bitwise_or, bitwise_xor, bitwise_not, shift_left, shift_right, bitcast):
    _prim.nondifferentiable(_NO_GRADIENT)
    _prim.exact = True
