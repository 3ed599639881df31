"""pow, hypot, logaddexp.

x**y = exp(y log x) magnifies an error of the logarithm by up to 745, the largest y log x there is. So in float64 the
logarithm is a sum of two numbers, good to 2**-64, and so is its product with y; the second part joins the argument of
exp after that has been reduced. In float32 all of it is done in float64, which has more than enough bits.
"""

from __future__ import annotations

import math

from ..algebra import Algebra, Value
from .define import clamp, function, horner, negative, scale, through_double
from .exponential import exp, expm1_near, reduce_exp
from .logarithm import log, log1p, split
from .pairs import quick_two_sum, two_product, two_sum

#: log(1 + f) = 2 s (1 + z / 3 + z**2 (c[0] + c[1] z + ...)), s = f / (2 + f), z = s**2; error 4.8e-25
_LOG_PAIR = (
    0.2, 0.14285714285714188, 0.11111111111145314, 0.09090909084622895, 0.07692308376919257,
    0.06666620201410052, 0.05884337418090178, 0.052114430897158386, 0.05506721050728457,
)  # fmt: skip
_THIRD = (1 / 3, 1.850371707708594e-17)
_LN2 = (0.6931471805598903, 5.497923018708371e-14)  #: the first part has 42 bits


def _log_pair(a: Algebra, x: Value) -> tuple[Value, Value]:
    """The logarithm of a positive finite number as a sum of two, good to 2**-64 or so."""
    e, f = split(a, x)
    two = a.const(2.0)
    d = a.add(f, two)
    d_low = a.sub(f, a.sub(d, two))
    s = a.div(f, d)
    p, p_low = two_product(a, s, d)
    s_low = a.div(a.sub(a.sub(a.sub(f, p), p_low), a.mul(s, d_low)), d)
    z, z_low = two_product(a, s, s)
    z_low = a.add(z_low, a.mul(a.mul(two, s), s_low))
    # 1 + w, w = z / 3 + z**2 (...)
    w, w_low = two_product(a, z, a.const(_THIRD[0]))
    w_low = a.add(w_low, a.add(a.mul(z, a.const(_THIRD[1])), a.mul(z_low, a.const(_THIRD[0]))))
    series = a.mul(a.mul(z, z), horner(a, z, _LOG_PAIR))
    w, w_low = quick_two_sum(a, w, a.add(series, w_low))
    g, g_low = two_product(a, s, w)
    g_low = a.add(g_low, a.add(a.add(a.mul(s, w_low), a.mul(s_low, w)), s_low))
    h, h_low = quick_two_sum(a, s, g)
    h_low = a.add(h_low, g_low)
    # e ln 2 + 2 h
    high, low = two_sum(a, a.mul(e, a.const(_LN2[0])), a.mul(two, h))
    low = a.add(low, a.fma(e, a.const(_LN2[1]), a.mul(two, h_low)))
    return quick_two_sum(a, high, low)


def _power(a: Algebra, x: Value, y: Value) -> Value:
    """x**y for positive finite x and finite y."""
    if a.bits == 32:
        wide = a.double()
        return a.narrow(exp(wide, wide.mul(a.widen(y), log(wide, a.widen(x)))))
    y = clamp(a, y, -(2.0**66), 2.0**66)
    high, low = _log_pair(a, x)
    p, p_low = two_product(a, y, high)
    p, p_low = quick_two_sum(a, p, a.add(p_low, a.mul(y, low)))
    inside = a.less(a.abs(p), a.const(760.0))
    n, r = reduce_exp(a, clamp(a, p, -746.0, 710.0))
    r = a.add(r, a.select(inside, p_low, a.const(0.0)))
    return scale(a, a.add(expm1_near(a, r), a.const(1.0)), n)


@function
def pow_(a: Algebra, x: Value, y: Value) -> Value:
    """x**y after IEEE 754 (9.2.1): 1**y and x**0 are 1 even for NaN, other NaN stay.

    Of x < 0 and a y that is not whole it is NaN; odd y keep the sign of x, that of a zero or an infinity too. 0 and
    infinities to a power, and anything to an infinite one, are 0 or inf, but (-1)**inf is 1.
    """
    zero, one, inf = a.const(0.0), a.const(1.0), a.const(math.inf)
    size = a.abs(x)
    tame_x = a.both(a.less(zero, size), a.less(size, inf))
    tame_y = a.less(a.abs(y), inf)
    value = _power(a, a.select(tame_x, size, one), a.select(tame_y, y, one))
    # 0 or infinity to any power, anything to an infinite power: the result is 1 for 1, else 0 or infinity.
    grows = a.either(a.both(a.less(one, size), a.less(zero, y)), a.both(a.less(size, one), a.less(y, zero)))
    limit = a.select(a.equal(size, one), one, a.select(grows, inf, zero))
    value = a.select(a.both(tame_x, tame_y), value, limit)
    whole = a.equal(a.round(y), y)
    half = a.mul(y, a.const(0.5))
    odd = a.both(a.both(whole, tame_y), a.inverse(a.equal(a.round(half), half)))
    value = a.select(a.both(negative(a, x), odd), a.neg(value), value)
    undefined = a.both(a.both(a.less(x, zero), a.less(size, inf)), a.inverse(whole))
    undefined = a.either(undefined, a.either(a.unordered(x), a.unordered(y)))
    value = a.select(undefined, a.const(math.nan), value)
    return a.select(a.either(a.equal(x, one), a.equal(y, zero)), one, value)


@function
@through_double
def hypot(a: Algebra, x: Value, y: Value) -> Value:
    """sqrt(x**2 + y**2), scaled by a power of two so that no square overflows; inf if either is, even beside NaN."""
    p, q = a.abs(x), a.abs(y)
    larger = a.select(a.less(p, q), q, p)
    big, small = a.less(a.const(2.0**500), larger), a.less(larger, a.const(2.0**-500))
    one = a.const(1.0)
    up = a.select(big, a.const(2.0**-600), a.select(small, a.const(2.0**600), one))
    down = a.select(big, a.const(2.0**600), a.select(small, a.const(2.0**-600), one))
    p, q = a.mul(p, up), a.mul(q, up)
    value = a.mul(a.sqrt(a.fma(p, p, a.mul(q, q))), down)
    inf = a.const(math.inf)
    infinite = a.either(a.equal(a.abs(x), inf), a.equal(a.abs(y), inf))
    return a.select(infinite, inf, value)


@function
@through_double
def logaddexp(a: Algebra, x: Value, y: Value) -> Value:
    """log(e**x + e**y) = the larger plus log1p(e**(the smaller - the larger)); two equal infinities stay."""
    less = a.less(x, y)
    high, low = a.select(less, y, x), a.select(less, x, y)
    same = a.equal(x, y)
    gap = a.select(same, a.const(0.0), a.sub(low, high))
    value = a.add(high, log1p(a, exp(a, gap)))
    return a.select(a.either(a.unordered(x), a.unordered(y)), a.add(x, y), value)
