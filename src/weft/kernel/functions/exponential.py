"""exp, exp2, expm1."""

from __future__ import annotations

import math

from ..algebra import Algebra, Value
from .define import clamp, function, horner, keep_nan, keep_zero, power_of_two, scale

_EXP = {
    32: (
        0.49999993443431684, 0.16666520662105752, 0.04166839022987255, 0.008368714663312665,
        0.0013814450067286225,
    ),
    64: (
        0.5, 0.16666666666666682, 0.041666666666666095, 0.008333333333317035, 0.0013888888889115082,
        0.00019841269896381198, 2.4801586927444375e-05, 2.7557234864200597e-06, 2.755758129594509e-07,
        2.5112036149014323e-08, 2.0826768804478127e-09,
    ),
}  # fmt: skip

#: ln 2 in two parts; the first has few bits, so that small multiples of it are exact.
LN2 = {
    32: (0.693145751953125, 1.42860682030941723212e-6),
    64: (0.693147180369123816490, 1.90821492927058770002e-10),
}
_LOG2E = 1.0 / math.log(2.0)


def reduce_exp(a: Algebra, x: Value) -> tuple[Value, Value]:
    """(n, r): x = n ln 2 + r with |r| at most a little over ln 2 / 2, n a whole number."""
    high, low = LN2[a.bits]
    n = a.round(a.mul(x, a.const(_LOG2E)))
    r = a.fma(n, a.const(-high), x)
    return n, a.fma(n, a.const(-low), r)


def expm1_near(a: Algebra, r: Value) -> Value:
    """e**r - 1 for |r| up to a little over ln 2 / 2."""
    return a.fma(a.mul(r, r), horner(a, r, _EXP[a.bits]), r)


def within(a: Algebra, x: Value, low: float, high: float) -> tuple[Value, Value]:
    """(whether x is below `low`, x up to `high` where it is not, else 0). NaN stays.

    What vanishes is not computed: processors take many times as long for results below the normal range.
    """
    less = a.less(x, a.const(low))
    t = a.select(less, a.const(0.0), x)
    return less, a.select(a.less(a.const(high), t), a.const(high), t)


def _scaled(a: Algebra, x: Value, n: Value) -> Value:
    """x * 2**n for a whole number n. If both are NaN so is the result."""
    found = a.scale(x, n)
    if found is None:
        n = a.select(a.unordered(n), a.const(0.0), n)
        found = scale(a, x, n)
    return found


@function
def exp(a: Algebra, x: Value) -> Value:
    low, high = (-104.0, 89.0) if a.bits == 32 else (-746.0, 710.0)
    vanishes, t = within(a, x, low, high)
    n, r = reduce_exp(a, t)
    value = _scaled(a, a.add(expm1_near(a, r), a.const(1.0)), n)
    return a.select(vanishes, a.const(0.0), value)


@function
def exp2(a: Algebra, x: Value) -> Value:
    low, high = (-151.0, 129.0) if a.bits == 32 else (-1076.0, 1025.0)
    vanishes, t = within(a, x, low, high)
    n = a.round(t)
    r = a.mul(a.sub(t, n), a.const(math.log(2.0)))
    value = _scaled(a, a.add(expm1_near(a, r), a.const(1.0)), n)
    return a.select(vanishes, a.const(0.0), value)


@function
def expm1(a: Algebra, x: Value) -> Value:
    low, high = (-18.0, 89.0) if a.bits == 32 else (-38.0, 710.0)
    n, r = reduce_exp(a, clamp(a, x, low, high))
    p = expm1_near(a, r)
    # (1 + p) 2**n - 1 = p 2**n + (2**n - 1), at half the scale so that 2**n does not overflow.
    s = power_of_two(a, a.isub(a.to_int(n), a.iconst(1)))
    value = a.mul(a.fma(p, s, a.sub(s, a.const(0.5))), a.const(2.0))
    value = a.select(a.equal(n, a.const(0.0)), p, value)  # exact where x is small
    return keep_nan(a, x, keep_zero(a, x, value))
