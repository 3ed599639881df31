"""copysign, nextafter: work on the bits of numbers."""

from __future__ import annotations

from ..algebra import Algebra, Value
from .define import function, with_sign


@function
def copysign(a: Algebra, x: Value, y: Value) -> Value:
    """|x| with the sign of y, zeros and NaN included on both sides."""
    return with_sign(a, a.abs(x), y)


@function
def nextafter(a: Algebra, x: Value, y: Value) -> Value:
    """The number next to x on the way to y; y itself where they are equal, and from 0 the least subnormal number."""
    as_bits, one, zero = a.as_int(x), a.iconst(1), a.const(0.0)
    # Away from zero the bits count up.
    outward = a.select(a.less(x, zero), a.less(y, x), a.less(x, y))
    moved = a.as_float(a.select(outward, a.iadd(as_bits, one), a.isub(as_bits, one)))
    least = with_sign(a, a.as_float(one), y)
    value = a.select(a.equal(x, zero), least, moved)
    value = a.select(a.equal(x, y), y, value)
    return a.select(a.either(a.unordered(x), a.unordered(y)), a.add(x, y), value)
