"""sinh, cosh, tanh and their inverses; all but tanh in float64 also for float32.

Close to 0, where e**x and e**-x nearly cancel, polynomials; elsewhere from exp, and the inverses from log1p:
asinh x = log1p(x + x**2 / (1 + sqrt(1 + x**2))), acosh x = log1p(t + sqrt(t**2 + 2 t)) with t = x - 1, and
atanh x = log1p(2 x / (1 - x)) / 2 do not cancel anywhere.
"""

from __future__ import annotations

import math

from ..algebra import Algebra, Value
from .define import (
    by_width,
    clamp,
    function,
    horner,
    in_piece,
    keep_nan,
    keep_zero,
    scale,
    through_double,
    with_sign,
)
from .exponential import exp, expm1_near, reduce_exp
from .logarithm import log, log1p
from .tables import TANH

#: tanh x = x + x z (c[0] + c[1] z + ...), z = x**2, |x| <= 0.625; errors 4.1e-9 and 3.5e-19
_TANH = {
    32: (
        -0.33333283943463665, 0.1333149149418442, -0.0537435084046919, 0.020650613338631347,
        -0.005717070606003085,
    ),
    64: (
        -0.33333333333333315, 0.1333333333332989, -0.05396825396613449, 0.021869488470657082,
        -0.008863234341566783, 0.0035921142720375513, -0.0014557276221023009, 0.0005894586466457531,
        -0.00023703019227463144, 9.15899303149741e-05, -3.021809732186538e-05, 6.05569102940297e-06,
    ),
}  # fmt: skip

#: sinh x = x + x z (c[0] + c[1] z + ...), z = x**2, |x| <= 1; error 9.4e-20
_SINH64 = (
    0.16666666666666669, 0.008333333333333139, 0.00019841269841437687, 2.7557319155333783e-06,
    2.5052123399250562e-08, 1.6057240273640816e-10, 7.759314578876903e-13,
)  # fmt: skip


def _tanh_in_pieces(a: Algebra, x: Value) -> Value:
    t = a.abs(x)
    t = a.select(a.less(a.const(9.5), t), a.const(9.5), t)  # a NaN stays
    least = a.const(0.0625)
    index = a.lshr(a.as_int(a.select(a.less(t, least), least, t)), 21)
    return with_sign(a, in_piece(a, t, TANH, index), x)


@function
def tanh(a: Algebra, x: Value) -> Value:
    """1 - 2 / (e**2x + 1) from 0.625 on: zeros with their sign, 1 with the sign of x from 10, or 20 in float64, on.

    Where coefficients are picked out of registers, float32 is 32 polynomials and no division (see `tables`).
    """
    if a.bits == 32 and a.picks:
        return _tanh_in_pieces(a, x)
    z = a.mul(x, x)
    small = a.fma(a.mul(x, z), horner(a, z, _TANH[a.bits]), x)
    t = clamp(a, a.abs(x), 0.0, by_width(a, 10.0, 20.0))
    large = a.sub(a.const(1.0), a.div(a.const(2.0), a.add(exp(a, a.add(t, t)), a.const(1.0))))
    value = a.select(a.less(a.abs(x), a.const(0.625)), small, with_sign(a, large, x))
    return keep_nan(a, x, keep_zero(a, x, value))


def _half_exp(a: Algebra, t: Value) -> Value:
    """e**t / 2, which does not overflow before cosh t does; t >= 0."""
    n, r = reduce_exp(a, clamp(a, t, 0.0, 712.0))
    return scale(a, a.add(expm1_near(a, r), a.const(1.0)), a.sub(n, a.const(1.0)))


@function
@through_double
def sinh(a: Algebra, x: Value) -> Value:
    """(e**x - e**-x) / 2: zeros and infinities with their sign."""
    t = a.abs(x)
    z = a.mul(x, x)
    small = a.fma(a.mul(x, z), horner(a, z, _SINH64), x)
    h = _half_exp(a, t)
    large = a.sub(h, a.div(a.const(0.25), h))
    value = a.select(a.less(t, a.const(1.0)), small, with_sign(a, large, x))
    return keep_nan(a, x, keep_zero(a, x, value))


@function
@through_double
def cosh(a: Algebra, x: Value) -> Value:
    """(e**x + e**-x) / 2: inf at infinities."""
    h = _half_exp(a, a.abs(x))
    return keep_nan(a, x, a.add(h, a.div(a.const(0.25), h)))


#: From here on 1 + x**2 is x**2.
_FAR = 2.0**28


@function
@through_double
def asinh(a: Algebra, x: Value) -> Value:
    """The number whose sinh is x: zeros and infinities with their sign; log 2x from 2**28 on."""
    t = a.abs(x)
    far = a.less(a.const(_FAR), t)
    near = a.select(far, a.const(1.0), t)
    square = a.mul(near, near)
    root = a.sqrt(a.add(square, a.const(1.0)))
    u = a.add(near, a.div(square, a.add(root, a.const(1.0))))
    value = a.select(far, a.add(log(a, t), a.const(math.log(2.0))), log1p(a, u))
    return keep_nan(a, x, keep_zero(a, x, with_sign(a, value, x)))


@function
@through_double
def acosh(a: Algebra, x: Value) -> Value:
    """The number >= 0 whose cosh is x: 0 at 1, NaN below, inf at inf; log 2x from 2**28 on."""
    far = a.less(a.const(_FAR), x)
    t = a.sub(a.select(far, a.const(1.0), x), a.const(1.0))
    u = a.add(t, a.sqrt(a.fma(t, t, a.add(t, t))))
    value = a.select(far, a.add(log(a, x), a.const(math.log(2.0))), log1p(a, u))
    return a.select(a.less(x, a.const(1.0)), a.const(math.nan), keep_nan(a, x, value))


@function
@through_double
def atanh(a: Algebra, x: Value) -> Value:
    """The number whose tanh is x: zeros with their sign, infinities at 1 and -1, NaN beyond."""
    t = a.abs(x)
    u = a.div(a.add(t, t), a.sub(a.const(1.0), t))
    value = a.mul(log1p(a, u), a.const(0.5))
    value = a.select(a.less(a.const(1.0), t), a.const(math.nan), value)
    # A subnormal number's half may have lost a bit.
    value = a.select(a.less(t, a.const(1e-10)), t, value)
    return keep_nan(a, x, with_sign(a, value, x))
