"""The order of numbers: what comes before what in sorted data. NaN comes last."""

from __future__ import annotations

from ...ir.dtype import DType
from . import instructions as ir
from .build import F32, F64, Build, like


def precedes(build: Build, x: ir.Value, y: ir.Value, dtype: DType, descending: bool = False) -> ir.Value:
    """Whether x comes strictly before y. Equal numbers, zeros of different sign and NaN are level with each other."""
    b = build.b
    sign = ">" if descending else "<"
    if dtype.kind == "f":
        number, nan = b.fcmp_ordered("ord", x, x), b.fcmp_unordered("uno", y, y)
        return b.or_(b.fcmp_ordered(sign, x, y), b.and_(number, nan))
    return (b.icmp_signed if dtype.kind == "i" else b.icmp_unsigned)(sign, x, y)


def key_of(build: Build, x: ir.Value, dtype: DType, descending: bool) -> ir.Value:
    """A signed integer of 32 or 64 bits in the order of numbers that `precedes` has.

    Zeros have one key, and so have NaN, the greatest of all. The bits of floats are in the order of their magnitudes,
    below the sign: they are turned around where that is set.
    """
    b, bits = build.b, max(dtype.bits, 32)
    type_ = like(ir.IntType(bits), x.lanes)
    if dtype.kind != "f":
        key = b.sext(x, type_) if dtype.kind == "i" else b.zext(x, type_)
        if dtype.kind == "u" and dtype.bits == bits:
            key = b.xor(key, build.const(-1 << (bits - 1), type_))
        return b.not_(key) if descending else key
    zero = b.fcmp_ordered("==", x, build.const(0.0, x.type))
    key = _turned(build, b.select(zero, build.const(0, type_), b.bitcast(x, type_)))
    key = b.not_(key) if descending else key
    return b.select(b.fcmp_unordered("uno", x, x), build.const((1 << (bits - 1)) - 1, type_), key)


def number_of(build: Build, key: ir.Value, dtype: DType, descending: bool) -> ir.Value:
    """The number that a key is of: some NaN, and the positive one of the zeros."""
    b, bits = build.b, max(dtype.bits, 32)
    if dtype.kind == "f":
        found = _turned(build, b.not_(key) if descending else key)
        return b.bitcast(found, like(F64 if bits == 64 else F32, key.lanes))
    key = b.not_(key) if descending else key
    if dtype.kind == "u" and dtype.bits == bits:
        key = b.xor(key, build.const(-1 << (bits - 1), key.type))
    return b.trunc(key, like(ir.IntType(1 if dtype.kind == "b" else dtype.bits), key.lanes))


def _turned(build: Build, bits: ir.Value) -> ir.Value:
    """Integers below zero in the opposite order; twice, what they were."""
    b, width = build.b, bits.type.element.width if bits.lanes > 1 else bits.type.width
    sign = b.ashr(bits, build.const(width - 1, bits.type))
    return b.xor(bits, b.lshr(sign, build.const(1, bits.type)))
