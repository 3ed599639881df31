"""Roots, exponentials, logarithms, trigonometric and hyperbolic functions.

Complex functions are the principal branches, with the branch cuts of C99's Annex G; there and at the poles the
derivatives are what their formulas give.
"""

from __future__ import annotations

import math

import numpy as np

from .define import elementwise, pairs, unary

LN2 = math.log(2.0)
LN10 = math.log(10.0)


@elementwise("fc", samples=unary(0.1, 3.0, complex=True))
def sqrt(x):
    """The square root. Of a negative real number NaN; sqrt(-0) is -0. The derivative at 0 is inf (at -0: -inf)."""
    return np.sqrt(x)


sqrt.exact = True


@sqrt.partials
def _(out, x):
    return (0.5 / out,)


@elementwise("fc", samples=unary(0.1, 3.0, complex=True))
def rsqrt(x):
    """1 / sqrt(x): inf at 0, where the derivative is -inf; 0 at inf, where it is 0; NaN below 0."""
    return 1 / np.sqrt(x)


@rsqrt.partials
def _(out, x):
    from .arithmetic import integer_pow

    return (-0.5 * integer_pow(out, exponent=3),)


@elementwise("fc", samples=unary(complex=True))
def exp(x):
    """e**x: 0 at -inf, inf at inf and where it overflows."""
    return np.exp(x)


@exp.partials
def _(out, x):
    return (out,)


@elementwise("f", samples=unary())
def exp2(x):
    """2**x, exact for whole x, subnormal results included."""
    return np.exp2(x.astype(np.float64)).astype(x.dtype)


@exp2.partials
def _(out, x):
    return (out * LN2,)


@elementwise("fc", samples=unary(complex=True))
def expm1(x):
    """e**x - 1, precise near 0 too, where it keeps the sign of a zero.

    Of a complex x that is not finite it is exp(x) - 1, and real wherever exp(x) is; the real part of a complex result
    is never -0.
    """
    out = np.expm1(x)
    if x.dtype.kind == "c":
        out = np.array(out)
        out.real += 0.0  # type: ignore[attr-defined]
        # NumPy forms the product of e**a and sin(b) also where one is infinite or NaN and the other 0.
        power = np.exp(x)
        whole = power - power.dtype.type(1)
        out = np.where(np.isfinite(x), out, whole)
    return out


@expm1.partials
def _(out, x):
    return (exp(x),)


@elementwise("fc", samples=unary(0.1, 3.0, complex=True))
def log(x):
    """The natural logarithm. At 0 it is -inf with derivative inf; of a negative real number it is NaN."""
    return np.log(x)


@log.partials
def _(out, x):
    return (1 / x,)


@elementwise("fc", samples=unary(0.1, 3.0, complex=True))
def log2(x):
    """The logarithm to base 2, exact for powers of two. At 0 it is -inf with derivative inf; below 0 NaN."""
    return np.log2(x)


@log2.partials
def _(out, x):
    return (1 / (x * LN2),)


@elementwise("fc", samples=unary(0.1, 3.0, complex=True))
def log10(x):
    """The logarithm to base 10. At 0 it is -inf with derivative inf; below 0 NaN."""
    return np.log10(x)


@log10.partials
def _(out, x):
    return (1 / (x * LN10),)


@elementwise("fc", samples=unary(-0.9, 3.0, complex=True))
def log1p(x):
    """log(1 + x), precise near 0 too. At -1 it is -inf with derivative inf; below -1 NaN."""
    return np.log1p(x)


@log1p.partials
def _(out, x):
    return (1 / (1 + x),)


# -- trigonometric ------------------------------------------------------------------------------------------------


@elementwise("fc", samples=unary(-4.0, 4.0, complex=True))
def sin(x):
    """The sine of an angle in radians; of an infinity NaN."""
    return np.sin(x)


@sin.partials
def _(out, x):
    return (cos(x),)


@elementwise("fc", samples=unary(-4.0, 4.0, complex=True))
def cos(x):
    """The cosine of an angle in radians; of an infinity NaN."""
    return np.cos(x)


@cos.partials
def _(out, x):
    return (-sin(x),)


@elementwise("fc", samples=unary(-1.3, 1.3, complex=True))
def tan(x):
    """The tangent of an angle in radians; of an infinity NaN. The derivative is 1 + tan(x)**2."""
    return np.tan(x)


@tan.partials
def _(out, x):
    return (1 + out * out,)


@elementwise("fc", samples=unary(-0.95, 0.95, complex=True))
def asin(x):
    """The inverse sine, in [-pi/2, pi/2]; NaN outside [-1, 1]. The derivative is inf at -1 and 1."""
    return np.arcsin(x)


@asin.partials
def _(out, x):
    return (rsqrt((1 - x) * (1 + x)),)


@elementwise("fc", samples=unary(-0.95, 0.95, complex=True))
def acos(x):
    """The inverse cosine, in [0, pi]; NaN outside [-1, 1]. The derivative is -inf at -1 and 1."""
    return np.arccos(x)


@acos.partials
def _(out, x):
    return (-rsqrt((1 - x) * (1 + x)),)


@elementwise("fc", samples=unary(complex=True))
def atan(x):
    """The inverse tangent, in [-pi/2, pi/2], its ends reached at the infinities."""
    return np.arctan(x)


@atan.partials
def _(out, x):
    return (1 / (1 + x * x),)


@elementwise("f", samples=pairs(nan=True))
def atan2(y, x):
    """The angle of the point (x, y) from the positive x axis, in [-pi, pi]; quadrants by the signs, of zeros too.

    Derivatives: x / (x**2 + y**2) in y, -y / (x**2 + y**2) in x; both are 0 at the origin.
    """
    return np.arctan2(y, x)


@atan2.partials
def _(out, y, x):
    from .comparison import equal
    from .selection import where

    radius = hypot(x, y)
    radius = where(equal(radius, 0.0), 1, radius)
    return lambda: x / radius / radius, lambda: -y / radius / radius


@elementwise("f", samples=pairs(nan=True))
def hypot(x, y):
    """sqrt(x**2 + y**2) without overflow or underflow on the way. An infinity wins over a NaN.

    Derivatives: x / out and y / out; both are 0 at the origin.
    """
    return np.hypot(x, y)


@hypot.partials
def _(out, x, y):
    from .comparison import equal
    from .selection import where

    radius = where(equal(out, 0.0), 1, out)
    return lambda: x / radius, lambda: y / radius


# -- hyperbolic ---------------------------------------------------------------------------------------------------


@elementwise("fc", samples=unary(complex=True))
def sinh(x):
    """The hyperbolic sine, (e**x - e**-x) / 2."""
    return np.sinh(x)


@sinh.partials
def _(out, x):
    return (cosh(x),)


@elementwise("fc", samples=unary(complex=True))
def cosh(x):
    """The hyperbolic cosine, (e**x + e**-x) / 2."""
    return np.cosh(x)


@cosh.partials
def _(out, x):
    return (sinh(x),)


@elementwise("fc", samples=unary(complex=True))
def tanh(x):
    """The hyperbolic tangent: -1 at -inf, 1 at inf. The derivative is 1 - tanh(x)**2.

    Of a complex x whose real part is infinite the imaginary part is a zero with the sign of that of x.
    """
    out = np.tanh(x)
    if x.dtype.kind == "c":
        limit = np.empty_like(out)
        limit.real, limit.imag = np.copysign(1, x.real), np.copysign(0, x.imag)
        out = np.where(np.isinf(x.real), limit, out)
    return out


@tanh.partials
def _(out, x):
    return (1 - out * out,)


@elementwise("fc", samples=unary(complex=True))
def asinh(x):
    """The inverse hyperbolic sine; infinities and the sign of a zero stay."""
    return np.arcsinh(x)


@asinh.partials
def _(out, x):
    return (rsqrt(1 + x * x),)


@elementwise("fc", samples=unary(1.1, 3.0, complex=True))
def acosh(x):
    """The inverse hyperbolic cosine; NaN below 1. The derivative at 1 is inf."""
    return np.arccosh(x)


@acosh.partials
def _(out, x):
    return (rsqrt(x - 1) * rsqrt(x + 1),)


@elementwise("fc", samples=unary(-0.95, 0.95, complex=True))
def atanh(x):
    """The inverse hyperbolic tangent: -inf at -1, inf at 1 (derivative inf), NaN outside [-1, 1]."""
    return np.arctanh(x)


@atanh.partials
def _(out, x):
    return (1 / ((1 - x) * (1 + x)),)


# -- sums of exponentials -----------------------------------------------------------------------------------------


@elementwise("f", samples=pairs(nan=True))
def logaddexp(x, y):
    """log(e**x + e**y) without overflow.

    Derivatives: e**(x - out) and e**(y - out), which sum to 1; two equal infinities get one half each.
    """
    return np.logaddexp(x, y)


@logaddexp.partials
def _(out, x, y):
    from .bits import bitwise_and
    from .comparison import equal, isinf
    from .selection import where

    infinite = isinf(out)
    tie = where(equal(x, y), -LN2, 0.0, dtype=out.dtype)

    def share(z):
        return exp(where(bitwise_and(infinite, equal(z, out)), tie, z - out))

    return lambda: share(x), lambda: share(y)
