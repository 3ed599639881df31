"""log, log1p, log2, log10.

x = 2**e (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), found by integer arithmetic on the bits of x, so
log x = e ln 2 + log(1 + f). In float32 log(1 + f) is a polynomial in f. In float64 it is one in s = f / (2 + f), since
log(1 + f) = 2 atanh s, which has odd powers of s alone and |s| <= 0.172. e ln 2 is added in two parts, the first of
which is exact, and the largest term, f itself, last: close to 1, where e is 0, the error is that of the small terms.
"""

from __future__ import annotations

import math

from ..algebra import Algebra, Value
from .define import by_width, function, horner, keep_nan, through_double
from .exponential import LN2

#: log(1 + f) = f - f**2 / 2 + f**3 (c[0] + c[1] f + ...); error 7.5e-10
_LOG32 = (
    0.33333312609230176, -0.2500000970633063, 0.20002118584750284, -0.16667991588838008,
    0.14219548774313276, -0.12405640127579151, 0.11888235105290705, -0.1167546618870332,
    0.06746319733184414,
)  # fmt: skip
#: log(1 + f) = 2 s + s z (c[0] + c[1] z + ...), z = s**2; error 8.2e-21
_LOG64 = (
    0.6666666666666666, 0.4000000000000625, 0.28571428569085505, 0.22222222646853562, 0.18181775660938537,
    0.15387090956686222, 0.13250113710137573, 0.1325136834444135,
)  # fmt: skip


def split(a: Algebra, x: Value) -> tuple[Value, Value]:
    """(e, f): x = 2**e (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), for positive x; subnormal numbers too."""
    mantissa, low = (23, 2.0**-126) if a.bits == 32 else (52, 2.0**-1022)
    tiny = a.less(x, a.const(low))
    x = a.select(tiny, a.mul(x, a.const(2.0**mantissa)), x)
    root = 0x3F3504F3 if a.bits == 32 else 0x3FE6A09E667F3BCD  # sqrt(1/2)
    one = 0x3F800000 if a.bits == 32 else 0x3FF0000000000000
    k = a.iadd(a.as_int(x), a.iconst(one - root))
    e = a.isub(a.shr(k, mantissa), a.iconst(127 if a.bits == 32 else 1023))
    m = a.as_float(a.iadd(a.iand(k, a.iconst((1 << mantissa) - 1)), a.iconst(root)))
    exponent = a.sub(a.to_float(e), a.select(tiny, a.const(float(mantissa)), a.const(0.0)))
    return exponent, a.sub(m, a.const(1.0))


def _log_parts(a: Algebra, f: Value) -> Value:
    """log(1 + f) - f, for sqrt(1/2) <= 1 + f < sqrt(2)."""
    square = a.mul(f, f)
    half = a.mul(square, a.const(0.5))
    if a.bits == 32:
        return a.fma(a.mul(square, f), horner(a, f, _LOG32), a.neg(half))
    # log(1 + f) = f - (f**2 / 2 - s (f**2 / 2 + z p(z)))
    s, series = _log_series(a, f)
    return a.fma(s, a.add(series, half), a.neg(half))


def _log_series(a: Algebra, f: Value) -> tuple[Value, Value]:
    """(s, z p(z)) with s = f / (2 + f), z = s**2."""
    s = a.div(f, a.add(f, a.const(2.0)))
    z = a.mul(s, s)
    return s, a.mul(z, horner(a, z, _LOG64))


def _log_special(a: Algebra, x: Value, value: Value) -> Value:
    """`value`, but inf at inf, -inf at either zero, NaN below."""
    value = a.select(a.equal(x, a.const(math.inf)), x, value)
    value = a.select(a.equal(x, a.const(0.0)), a.const(-math.inf), value)
    return a.select(a.less(x, a.const(0.0)), a.const(math.nan), keep_nan(a, x, value))


@function
def log(a: Algebra, x: Value) -> Value:
    """The natural logarithm: -inf at either zero, NaN below 0, inf at inf; subnormal x too."""
    e, f = split(a, x)
    high, low = LN2[a.bits]
    rest = a.add(_log_parts(a, f), a.mul(e, a.const(low)))
    return _log_special(a, x, a.fma(e, a.const(high), a.add(rest, f)))


@function
def log1p(a: Algebra, x: Value) -> Value:
    """log(1 + x) = log u + (1 + x - u) / u to first order, for u = 1 + x as it is rounded; 1 + x - u is found exactly.

    x itself, zeros with their sign, where x**2 / 2 no longer counts; -inf at -1, NaN below, inf at inf.
    """
    u = a.add(x, a.const(1.0))
    # What rounding 1 + x lost, to be added to the logarithm of u.
    lost = a.select(
        a.less(x, a.const(1.0)),
        a.sub(x, a.sub(u, a.const(1.0))),
        a.sub(a.const(1.0), a.sub(u, x)),
    )
    e, f = split(a, u)
    high, low = LN2[a.bits]
    correction = a.div(lost, u)
    rest = a.add(a.add(_log_parts(a, f), a.mul(e, a.const(low))), correction)
    value = _log_special(a, u, a.fma(e, a.const(high), a.add(rest, f)))
    return a.select(a.less(a.abs(x), a.const(by_width(a, 1e-9, 1e-20))), x, value)


def _to_base(a: Algebra, x: Value, factor: tuple[float, float], exponent: tuple[float, float]) -> Value:
    """log(x) times `factor`, given as two numbers as is the result's unit, the logarithm of 2."""
    e, f = split(a, x)
    half = a.mul(a.mul(f, f), a.const(0.5))
    s, series = _log_series(a, f)
    # log(1 + f) = high + low; high has so few bits that its product with factor[0] is exact.
    high = a.as_float(a.iand(a.as_int(a.sub(f, half)), a.iconst(-(2**32))))
    low = a.add(a.sub(a.sub(f, high), half), a.mul(s, a.add(half, series)))
    main = a.mul(high, a.const(factor[0]))
    rest = a.add(a.mul(a.add(low, high), a.const(factor[1])), a.mul(low, a.const(factor[0])))
    whole = a.mul(e, a.const(exponent[0]))
    rest = a.add(rest, a.mul(e, a.const(exponent[1])))
    total = a.add(whole, main)
    rest = a.add(rest, a.add(a.sub(whole, total), main))
    return _log_special(a, x, a.add(total, rest))


@function
@through_double
def log2(a: Algebra, x: Value) -> Value:
    """e + log(1 + f) / ln 2, so exact for powers of two; special values as those of log. 1 / ln 2 is in two parts."""
    return _to_base(a, x, (1.4426946640014648, 3.768874985636099e-07), (1.0, 0.0))


@function
@through_double
def log10(a: Algebra, x: Value) -> Value:
    """e log10 2 + log(1 + f) / ln 10, constants in two parts; special values as those of log."""
    return _to_base(
        a, x, (0.4342944622039795, 1.9699272335463627e-08), (0.30102999566361177, 3.694239077158931e-13)
    )
