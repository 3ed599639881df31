"""asin, acos, atan, atan2, in float64 also for float32.

Polynomials hold for small arguments, and identities bring others there: atan t = pi / 4 + atan((t - 1) / (t + 1)), and
asin t = pi / 2 - 2 asin(sqrt((1 - t) / 2)) from 1/2 on. Multiples of pi / 4 are sums of two numbers.
"""

from __future__ import annotations

import math

from ..algebra import Algebra, Value
from .define import function, horner, keep_nan, keep_zero, negative, through_double, with_sign
from .pairs import two_product

#: atan t = t + t z (c[0] + c[1] z + ...), z = t**2, |t| <= tan(pi / 8); error 4.6e-20
_ATAN64 = (
    -0.33333333333333326, 0.19999999999997684, -0.14285714285389858, 0.11111111088293375,
    -0.09090908148709043, 0.07692282853374181, -0.06666228157824457, 0.05877035521612841,
    -0.05218492753678101, 0.04503908714905247, -0.03348281913893531, 0.01520364251633229,
)  # fmt: skip
#: asin t in the same form, |t| <= 1/2; error 9.8e-19
_ASIN64 = (
    0.16666666666666763, 0.07499999999970262, 0.044642857175116506, 0.03038194268390018,
    0.022372215651377158, 0.01735160025653149, 0.01398095951742099, 0.011397791023479787,
    0.010786450709692346, 0.003683312329491476, 0.021762907327336788, -0.02107654977259841,
    0.03267648459077484,
)  # fmt: skip

_TAN_EIGHTH = 0.41421356237309503  #: tan(pi / 8)
#: multiples of pi / 4 in two parts
_QUARTERS = (
    (0.0, 0.0),
    (0.7853981633974483, 3.061616997868383e-17),
    (1.5707963267948966, 6.123233995736766e-17),
    (2.356194490192345, 9.184850993605148e-17),
    (3.141592653589793, 1.2246467991473532e-16),
)


def _from_ratio(a: Algebra, base: tuple[Value, Value], t: Value) -> Value:
    """base + atan(t) for |t| <= tan(pi / 8)."""
    z = a.mul(t, t)
    curve = a.mul(a.mul(t, z), horner(a, z, _ATAN64))
    return a.add(base[0], a.add(t, a.add(curve, base[1])))


def _choose(a: Algebra, condition: Value, x: tuple[Value, ...], y: tuple[Value, ...]) -> tuple[Value, ...]:
    return tuple([a.select(condition, p, q) for p, q in zip(x, y, strict=True)])


def _quarter(a: Algebra, k: int) -> tuple[Value, Value]:
    high, low = _QUARTERS[k]
    return a.const(high), a.const(low)


@function
@through_double
def atan(a: Algebra, x: Value) -> Value:
    """The angle whose tangent is x: zeros with their sign, pi / 2 with the sign of x at infinities."""
    t, one = a.abs(x), a.const(1.0)
    # atan t = pi / 4 + atan((t - 1) / (t + 1)) = pi / 2 + atan(-1 / t)
    state = (t, one, *_quarter(a, 0))
    middle = (a.sub(t, one), a.add(t, one), *_quarter(a, 1))
    state = _choose(a, a.less(a.const(_TAN_EIGHTH), t), middle, state)
    state = _choose(a, a.less(a.const(1 / _TAN_EIGHTH), t), (a.const(-1.0), t, *_quarter(a, 2)), state)
    over, under, high, low = state
    value = _from_ratio(a, (high, low), a.div(over, under))
    return keep_nan(a, x, keep_zero(a, x, with_sign(a, value, x)))


@function
@through_double
def atan2(a: Algebra, y: Value, x: Value) -> Value:
    """The angle of the point (x, y), of the sign of y.

    On the axes multiples of pi / 2, at infinities of pi / 4; zeros count with their sign, so that (-0.0, y) and
    (x, -0.0) are where they come from: atan2(0.0, -0.0) is pi, atan2(-0.0, 1) is -0.0.
    """
    p, q = a.abs(y), a.abs(x)
    steep = a.less(q, p)
    small, large = a.select(steep, q, p), a.select(steep, p, q)
    # Away from the ends of the range; two infinities count as equal, two zeros as 0 / 1.
    huge = a.less(a.const(2.0**1020), large)
    small, large = _choose(
        a, huge, (a.mul(small, a.const(0.25)), a.mul(large, a.const(0.25))), (small, large)
    )
    one, inf = a.const(1.0), a.const(math.inf)
    small, large = _choose(a, a.equal(small, inf), (one, one), (small, large))
    large = a.select(a.equal(large, a.const(0.0)), one, large)
    diagonal = a.less(a.mul(large, a.const(_TAN_EIGHTH)), small)
    t = a.div(a.select(diagonal, a.sub(small, large), small), a.select(diagonal, a.add(small, large), large))
    left = negative(a, x)
    # The angle from the nearest axis, forward or backward: t after base, or before it.
    right_base = _choose(a, a.both(steep, a.inverse(diagonal)), _quarter(a, 2), _quarter(a, 1))
    right_base = _choose(a, a.either(steep, diagonal), right_base, _quarter(a, 0))
    left_base = _choose(a, diagonal, _quarter(a, 3), _choose(a, steep, _quarter(a, 2), _quarter(a, 4)))
    high, low = _choose(a, left, left_base, right_base)
    backward = a.either(a.both(steep, a.inverse(left)), a.both(left, a.inverse(steep)))
    value = _from_ratio(a, (high, low), a.select(backward, a.neg(t), t))
    value = with_sign(a, a.abs(value), y)
    return a.select(a.either(a.unordered(x), a.unordered(y)), a.add(x, y), value)


def _asin_parts(a: Algebra, x: Value) -> tuple[Value, Value, Value, Value]:
    """(small, s, curve, rest): asin(s) = s + curve + rest, where |x| < 1/2 for s = |x|, else sqrt((1 - |x|) / 2)."""
    t = a.abs(x)
    small = a.less(t, a.const(0.5))
    z = a.select(small, a.mul(t, t), a.mul(a.sub(a.const(1.0), t), a.const(0.5)))
    s = a.select(small, t, a.sqrt(z))
    curve = a.mul(a.mul(s, z), horner(a, z, _ASIN64))
    # What the square root was rounded by.
    product, lost = two_product(a, s, s)
    double = a.add(s, s)
    rest = a.div(a.sub(a.sub(z, product), lost), a.select(a.less(a.const(0.0), double), double, a.const(1.0)))
    return small, s, curve, a.select(small, a.const(0.0), rest)


@function
@through_double
def asin(a: Algebra, x: Value) -> Value:
    """The angle in [-pi / 2, pi / 2] whose sine is x: zeros with their sign, NaN outside [-1, 1]."""
    small, s, curve, rest = _asin_parts(a, x)
    # pi / 2 - 2 asin(s)
    half, low = _quarter(a, 2)
    twice = a.add(s, s)
    top = a.sub(half, twice)
    lost = a.sub(a.sub(half, top), twice)
    correction = a.add(curve, rest)
    large = a.add(top, a.add(lost, a.sub(low, a.add(correction, correction))))
    value = with_sign(a, a.select(small, a.add(s, curve), large), x)
    value = a.select(a.less(a.const(1.0), a.abs(x)), a.const(math.nan), value)
    return keep_nan(a, x, keep_zero(a, x, value))


@function
@through_double
def acos(a: Algebra, x: Value) -> Value:
    """The angle in [0, pi] whose cosine is x: 0 at 1, NaN outside [-1, 1]."""
    small, s, curve, rest = _asin_parts(a, x)
    left = negative(a, x)
    half, low = _quarter(a, 2)
    # pi / 2 - asin(x) in the middle, 2 asin(s) on the right, pi minus that on the left
    signed = a.add(with_sign(a, s, x), a.sub(a.select(left, a.neg(curve), curve), low))
    middle = a.sub(half, signed)
    angle = a.add(s, a.add(curve, rest))
    right = a.add(angle, angle)
    pi, pi_low = _quarter(a, 4)
    value = a.select(small, middle, a.select(left, a.sub(pi, a.sub(right, pi_low)), right))
    value = a.select(a.less(a.const(1.0), a.abs(x)), a.const(math.nan), value)
    return keep_nan(a, x, value)
