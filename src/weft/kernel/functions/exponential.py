"""exp, exp2, expm1.

x = n ln 2 + r with n whole and |r| <= ln 2 / 2, so e**x = 2**n e**r. Multiples of ln 2 are taken off in two parts, the
first with so few bits that the product with n is exact (Cody and Waite). Powers of two are made of bits; where the
result is below the normal range, the product with them rounds it once.

Where coefficients are picked out of registers, float32 takes the next of 16 powers of two in an octave first: then
|r| <= ln 2 / 32, and two coefficients are enough.
"""

from __future__ import annotations

import math
import struct

from ..algebra import Algebra, Value
from .define import clamp, function, horner, keep_nan, keep_zero, power_of_two, scale

#: e**r = 1 + r + r**2 (c[0] + c[1] r + ...) for |r| <= ln 2 / 2; errors 3.1e-9 and 5.3e-20
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


#: From here up to 0 exp is a normal number, and so is the power of two next to it.
NORMAL = {32: -87.0, 64: -708.0}

#: Where exp vanishes, and where it overflows, at the latest.
ENDS = {32: (-104.0, 89.0), 64: (-746.0, 710.0)}

#: 2**(k / 16), and e**r = 1 + r + r**2 (c[0] + c[1] r) for |r| up to a little over ln 2 / 32; error 1.6e-9
_POWERS = tuple([2.0 ** (k / 16) for k in range(16)])
_EXP_NEAR = (0.50001616619912567632, 0.16666719025879369391)

#: Added to a float32 number, it leaves that, rounded to whole sixteenths, in the last bits.
_SIXTEENTHS = 1.5 * 2.0**19

#: ln 2 in two parts; multiples of the first by up to 12 bits are not exact, but what they leave of x is.
_LN2_NEAR = (0.693147182464599609375, -1.904654299957767e-09)


def _less_sixteenths() -> tuple[float, ...]:
    """2**(k / 16) as a float32 whose bits are less by k sixteenths of what counts as one in an exponent."""
    bits = struct.unpack("<16i", struct.pack("<16f", *_POWERS))
    return struct.unpack("<16f", struct.pack("<16i", *[b - (k << 19) for k, b in enumerate(bits)]))


_POWERS_LESS = _less_sixteenths()


def _from_sixteenth(a: Algebra, x: Value) -> tuple[Value, Value, Value]:
    """(k, n, p): e**x = 2**n (1 + p), with the number k of sixteenths in n in the last bits of the first."""
    shifted = a.fma(x, a.const(_LOG2E), a.const(_SIXTEENTHS))
    n = a.sub(shifted, a.const(_SIXTEENTHS))
    high, low = _LN2_NEAR
    r = a.fma(n, a.const(-low), a.fma(n, a.const(-high), x))
    p = a.fma(a.mul(r, r), a.fma(r, a.const(_EXP_NEAR[1]), a.const(_EXP_NEAR[0])), r)
    return a.as_int(shifted), n, p


def _by_sixteenths(a: Algebra, x: Value) -> tuple[Value, Value]:
    """(value, n): e**x = value * 2**floor(n), from the next sixteenth of a power of two."""
    k, n, p = _from_sixteenth(a, x)
    power = a.pick(_POWERS, k)
    return a.fma(power, p, power), n


def _normal(a: Algebra, x: Value) -> Value:
    """e**x where that and the power of two next to it are normal numbers: the same bits.

    The number of sixteenths, added to the exponent of what was picked for the last four bits of it, makes the power.
    """
    k, _, p = _from_sixteenth(a, x)
    power = a.as_float(a.iadd(a.as_int(a.pick(_POWERS_LESS, k)), a.shl(k, 19)))
    return a.fma(power, p, power)


@function
def exp(a: Algebra, x: Value) -> Value:
    """e**x: 0 at -inf, inf at inf and from where it overflows; subnormal results are rounded once."""
    return exp_unless(a, a.less(x, a.const(ENDS[a.bits][0])), x)


def exp_unless(a: Algebra, vanishes: Value, x: Value, low: bool = False) -> Value:
    """e**x, or 0 where that `vanishes`: processors take many times as long for what is below the normal range.

    The same bits in fewer instructions where x is known to be `low`: not above 0 and, where nothing vanishes, not
    below `NORMAL`.
    """
    if not low:
        high = a.const(ENDS[a.bits][1])
        x = a.select(a.less(high, x), high, x)
    picks = a.bits == 32 and a.picks
    if picks and low:
        return a.select(vanishes, a.const(0.0), _normal(a, x))
    if picks:
        value, n = _by_sixteenths(a, x)
        found = a.scale(value, n, vanishes)
        if found is not None:
            return found
    x = a.select(vanishes, a.const(0.0), x)
    if picks:
        value, n = _by_sixteenths(a, x)
        n = a.floor(n)
    else:
        n, r = reduce_exp(a, x)
        value = a.add(expm1_near(a, r), a.const(1.0))
    return a.select(vanishes, a.const(0.0), _scaled(a, value, n))


@function
def exp2(a: Algebra, x: Value) -> Value:
    """2**x = 2**n e**((x - n) ln 2) for the nearest whole n, so exact for whole x; ends as those of exp."""
    low, high = (-151.0, 129.0) if a.bits == 32 else (-1076.0, 1025.0)
    vanishes, t = within(a, x, low, high)
    n = a.round(t)
    r = a.mul(a.sub(t, n), a.const(math.log(2.0)))
    value = _scaled(a, a.add(expm1_near(a, r), a.const(1.0)), n)
    return a.select(vanishes, a.const(0.0), value)


@function
def expm1(a: Algebra, x: Value) -> Value:
    """e**x - 1: -1 at -inf and, to the last place, below -18, or -38 in float64; inf at inf; zeros with their sign.

    Near 0, where n is 0, nothing is subtracted.
    """
    low, high = (-18.0, 89.0) if a.bits == 32 else (-38.0, 710.0)
    n, r = reduce_exp(a, clamp(a, x, low, high))
    p = expm1_near(a, r)
    # (1 + p) 2**n - 1 = p 2**n + (2**n - 1), at half the scale so that 2**n does not overflow.
    s = power_of_two(a, a.isub(a.to_int(n), a.iconst(1)))
    value = a.mul(a.fma(p, s, a.sub(s, a.const(0.5))), a.const(2.0))
    value = a.select(a.equal(n, a.const(0.0)), p, value)  # exact where x is small
    return keep_nan(a, x, keep_zero(a, x, value))
