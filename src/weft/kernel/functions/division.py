"""floor_divide and remainder of floating-point numbers, exact like fmod.

Long division, 20 bits of the quotient at a time: with d = y 2**k such that r / d is about 2**20, r becomes r - q d for
the nearest whole q. Products of q with the two halves of d are exact, and so are the differences. The remainder of two
numbers is a number, so nothing is rounded until the sign is put right.
"""

from __future__ import annotations

import math

from ..algebra import Algebra, Value
from .define import function, power_of_two, with_sign

_STEP = 20  #: bits of the quotient that one round takes off; their product with half a number is exact


def _exponent(a: Algebra, x: Value) -> Value:
    """floor(log2 x) + 1023 for positive x."""
    tiny = a.less(x, a.const(2.0**-1022))
    up = a.select(tiny, a.mul(x, a.const(2.0**64)), x)
    return a.isub(a.lshr(a.as_int(up), 52), a.select(tiny, a.iconst(64), a.iconst(0)))


def _scale_up(a: Algebra, x: Value, n: Value) -> Value:
    """x * 2**n for an integer n >= 0 of any size that does not overflow."""
    quarter = a.shr(n, 2)
    part = power_of_two(a, quarter)
    rest = a.isub(n, a.iadd(a.shl(quarter, 1), quarter))
    return a.mul(a.mul(a.mul(a.mul(x, part), part), part), power_of_two(a, rest))


def _residue(a: Algebra, x: Value, y: Value) -> Value:
    """A number r congruent to x modulo y with |r| < y, exactly; x >= 0 finite, y > 0; in float64."""
    base = _exponent(a, y)

    def step(r: Value) -> tuple[Value, ...]:
        ahead = a.isub(a.isub(_exponent(a, a.abs(r)), base), a.iconst(_STEP))
        divisor = _scale_up(a, y, a.select(a.iless(ahead, a.iconst(0)), a.iconst(0), ahead))
        # The nearest multiple of the divisor may be a little beyond the largest number.
        huge = a.less(a.const(2.0**1000), a.abs(r))
        down = a.select(huge, a.const(0.25), a.const(1.0))
        r, divisor = a.mul(r, down), a.mul(divisor, down)
        q = a.round(a.div(r, divisor))
        head = a.as_float(a.iand(a.as_int(divisor), a.iconst(-(2**27))))
        rest = a.sub(a.sub(r, a.mul(q, head)), a.mul(q, a.sub(divisor, head)))
        return (a.mul(rest, a.select(huge, a.const(4.0), a.const(1.0))),)

    return a.repeat(lambda r: a.inverse(a.less(a.abs(r), y)), step, (x,))[0]


def _signed_residue(a: Algebra, x: Value, y: Value) -> tuple[Value, Value]:
    """(r, undefined): r congruent to x modulo y, |r| < |y|, of either sign."""
    if a.bits == 32:
        wide = a.double()
        r, undefined = _signed_residue(wide, a.widen(x), a.widen(y))
        return a.narrow(r), undefined
    size, zero, one = a.abs(y), a.const(0.0), a.const(1.0)
    good_x, good_y = a.less(a.abs(x), a.const(math.inf)), a.less(zero, size)
    r = _residue(a, a.select(good_x, a.abs(x), zero), a.select(good_y, size, one))
    return a.select(a.less(x, zero), a.neg(r), r), a.inverse(a.both(good_x, good_y))


def _differ(a: Algebra, p: Value, q: Value) -> Value:
    """Whether exactly one of two conditions holds."""
    return a.both(a.either(p, q), a.inverse(a.both(p, q)))


@function
def remainder(a: Algebra, x: Value, y: Value) -> Value:
    """x - y floor(x / y), with the sign of y, zeros too.

    NaN for y = 0 and for infinite x; for infinite y it is x, or y where their signs differ.
    """
    r, undefined = _signed_residue(a, x, y)
    zero = a.const(0.0)
    nothing = a.equal(r, zero)
    away = _differ(a, a.less(r, zero), a.less(y, zero))
    r = a.select(nothing, with_sign(a, zero, y), a.select(away, a.add(r, y), r))
    return a.select(undefined, a.const(math.nan), r)


@function
def floor_divide(a: Algebra, x: Value, y: Value) -> Value:
    """floor(x / y) of the exact quotient: (x - remainder) / y, rounded to the whole number that it is nearly.

    Where y is 0 or one of both is infinite it is x / y as it comes.
    """
    r, undefined = _signed_residue(a, x, y)
    zero, inf = a.const(0.0), a.const(math.inf)
    # With the sign of x, as fmod has it.
    away = a.both(_differ(a, a.less(r, zero), a.less(x, zero)), a.inverse(a.equal(r, zero)))
    r = a.select(away, a.add(r, with_sign(a, a.abs(y), x)), r)
    quotient = a.div(a.sub(x, r), y)
    over = a.both(_differ(a, a.less(r, zero), a.less(y, zero)), a.inverse(a.equal(r, zero)))
    quotient = a.select(over, a.sub(quotient, a.const(1.0)), quotient)
    whole = a.floor(quotient)
    short = a.less(a.const(0.5), a.sub(quotient, whole))
    whole = a.select(short, a.add(whole, a.const(1.0)), whole)
    plain = a.div(x, y)
    whole = a.select(a.equal(quotient, zero), with_sign(a, zero, plain), whole)
    whole = a.select(undefined, a.const(math.nan), whole)
    infinite = _differ(a, a.equal(a.abs(x), inf), a.equal(a.abs(y), inf))
    known = a.inverse(a.either(a.unordered(x), a.unordered(y)))
    direct = a.both(known, a.either(infinite, a.equal(y, zero)))
    return a.select(direct, plain, whole)
