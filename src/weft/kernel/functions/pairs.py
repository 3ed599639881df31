"""Numbers as unevaluated sums of two: sums and products without rounding error."""

from __future__ import annotations

from ..algebra import Algebra, Value


def quick_two_sum(a: Algebra, x: Value, y: Value) -> tuple[Value, Value]:
    """(s, e) with s + e = x + y exactly, for |x| >= |y| or x = 0."""
    s = a.add(x, y)
    return s, a.sub(y, a.sub(s, x))


def two_sum(a: Algebra, x: Value, y: Value) -> tuple[Value, Value]:
    """(s, e) with s + e = x + y exactly."""
    s = a.add(x, y)
    part = a.sub(s, x)
    return s, a.add(a.sub(x, a.sub(s, part)), a.sub(y, part))


def two_product(a: Algebra, x: Value, y: Value) -> tuple[Value, Value]:
    """(p, e) with p + e = x * y exactly, as long as nothing over- or underflows; for float64."""
    p = a.mul(x, y)
    if a.fused:
        return p, a.fma(x, y, a.neg(p))
    xh, xl = _halves(a, x)
    yh, yl = _halves(a, y)
    rest = a.sub(a.mul(xh, yh), p)
    rest = a.add(a.add(rest, a.mul(xh, yl)), a.mul(xl, yh))
    return p, a.add(rest, a.mul(xl, yl))


def _halves(a: Algebra, x: Value) -> tuple[Value, Value]:
    """x as a sum of two numbers of at most 26 bits."""
    wide = a.mul(x, a.const(134217729.0))
    high = a.sub(wide, a.sub(wide, x))
    return high, a.sub(x, high)
