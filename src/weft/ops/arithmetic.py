"""Arithmetic: the four operations, division with remainder, powers, extremes, signs."""

from __future__ import annotations

import numpy as np

from ..base.errors import ArgumentError
from ..ir.node import Aval
from .define import Sample, elementwise, integer_values, pairs, unary, values

NUMERIC = "uifc"


@elementwise(NUMERIC, samples=pairs(nan=True, integers=True, complex=True))
def add(x, y):
    """x + y. Integers wrap around."""
    return np.add(x, y)


@add.partials
def _(out, x, y):
    return 1, 1


@elementwise(NUMERIC, samples=pairs(nan=True, integers=True, complex=True))
def sub(x, y):
    """x - y. Integers wrap around."""
    return np.subtract(x, y)


@sub.partials
def _(out, x, y):
    return 1, -1


@elementwise(NUMERIC, samples=pairs(nan=True, integers=True, complex=True))
def mul(x, y):
    """x * y. Integers wrap around."""
    return np.multiply(x, y)


@mul.partials
def _(out, x, y):
    return y, x


@elementwise("fc", samples=pairs(0.5, 2.0, nan=True, complex=True))
def div(x, y):
    """x / y for floating and complex operands; division by zero gives infinities and NaN as IEEE 754 says."""
    return np.divide(x, y)


@div.partials
def _(out, x, y):
    return lambda: 1 / y, lambda: -out / y


@elementwise(NUMERIC, samples=unary(integers=True, complex=True))
def neg(x):
    """-x. Integers wrap around, so an unsigned x gives 2**bits - x."""
    return np.negative(x)


@neg.partials
def _(out, x):
    return (-1,)


def positive(x):
    """x itself."""
    return x


@elementwise(NUMERIC, out="real", samples=unary(0.1, 2.0, integers=True, complex=True), name="abs")
def abs_(x):
    """The absolute value; of a complex number its modulus, a real number.

    The derivative is sign(x): 0 at 0. The smallest signed integer has no positive partner and stays itself.
    """
    return np.abs(x)


@abs_.vjp
def _(cts, outs, x):
    from .selection import as_dtype

    return (mul(as_dtype(cts[0], x.dtype), sign(x)),)


@elementwise(NUMERIC, samples=unary(0.1, 2.0, integers=True, complex=True))
def sign(x):
    """-1, 0 or 1 by the sign of x, and NaN for NaN; of a complex number x / abs(x), and 0 for 0.

    The derivative of the real function is 0 everywhere, at 0 too; that of the complex one is 0 at 0.
    """
    return np.sign(x)


@sign.vjp
def _(cts, outs, x):
    from .comparison import equal
    from .complex import conj, real
    from .selection import as_dtype, where

    if x.dtype.kind != "c":
        return (None,)
    # Only what is at right angles to x turns it: ct - s Re(conj(s) ct), over the modulus.
    s, size = outs[0], abs_(x)
    across = cts[0] - s * as_dtype(real(conj(s) * cts[0]), x.dtype)
    origin = equal(size, 0.0)
    return (where(origin, 0, across) / as_dtype(where(origin, 1, size), x.dtype),)


def square(x):
    """x * x."""
    return integer_pow(x, exponent=2)


def reciprocal(x):
    """1 / x."""
    return div(1, x)


# -- division with remainder --------------------------------------------------------------------------------------


def _division_samples() -> list[Sample]:
    x, y = values((3, 4), -7.3, 7.1), values((3, 4), 0.7, 2.9, seed=1)
    i, j = integer_values(), np.array([1, -2, 3, 5])
    return [
        Sample((x, y)),
        Sample((x, -y[0])),
        Sample((x.astype(np.float32), y.astype(np.float32))),
        Sample((x[:0], y[:1])),
        *pairs(nan=True, real=False)(),
        Sample((i, j), smooth=False),
        Sample((i.astype(np.int8), j.astype(np.int8)), smooth=False),
        Sample((np.abs(i).astype(np.uint16), np.abs(j).astype(np.uint16)), smooth=False),
        Sample((i, np.array([0, 0, 1, -1])), smooth=False),
    ]


@elementwise("uif", samples=_division_samples)
def floor_divide(x, y):
    """floor(x / y), rounded toward minus infinity. The derivative is 0.

    Integers divided by 0 give 0. For floats: x / 0 is an infinity or (0 / 0) NaN; an infinity over a finite number
    is the infinity of their signs, over an infinity NaN; a finite number over an infinity is the 0 of their signs.
    """
    if x.dtype.kind in "ui":
        return np.floor_divide(x, y)
    exact = x / y
    return np.where(np.isinf(x) != np.isinf(y), exact, np.floor_divide(x, y)).astype(exact.dtype)


@floor_divide.partials
def _(out, x, y):
    return None, None


@elementwise("uif", samples=_division_samples)
def remainder(x, y):
    """x - y * floor(x / y), which has the sign of y. Derivatives: 1 in x, -floor(x / y) in y.

    Integers: x remainder 0 is 0. Floats: the remainder of dividing by 0, or of an infinity, is NaN; by an infinity
    it is x, or y where the signs differ.
    """
    return np.remainder(x, y)


@remainder.partials
def _(out, x, y):
    return 1, lambda: neg(floor_divide(x, y))


# -- powers -------------------------------------------------------------------------------------------------------


def _pow_samples() -> list[Sample]:
    x, y = values((3, 4), 0.3, 2.5), values((3, 4), -2.0, 2.0, seed=1) + 0.0123
    i = integer_values()
    return [
        Sample((x, y)),
        Sample((x, y[0])),
        Sample((x.astype(np.float32), y.astype(np.float32))),
        Sample((x[:0], y[:1])),
        Sample((values(), np.array([0.0, 1.0, 2.0, 3.0])), smooth=False),
        *pairs(nan=True, real=False)(),
        Sample((i, np.arange(4)), smooth=False),
        Sample((i, np.array([-1, -2, 0, 63])), smooth=False),
        Sample((np.abs(i).astype(np.uint8), np.arange(4).astype(np.uint8)), smooth=False),
        Sample((x + 0.4j, y - 0.3j * y)),
        Sample(((x + 0.4j).astype(np.complex64), (y - 0.3j * y).astype(np.complex64))),
    ]


@elementwise(NUMERIC, samples=_pow_samples, name="pow")
def pow_(x, y):
    """x to the power y. Anything to the power 0 is 1, and so is 1 to any power, NaN included.

    A negative real number to a power that is not whole is NaN. Integers wrap around; to a negative power they give
    the true value truncated toward zero: 1, -1, or 0 (0 itself gives 0).

    d/dx is y * x**(y - 1), which is 0 at y = 0 even where x = 0. d/dy is x**y * log(x); at x = 0 it is 0 (also
    at 0**0), for a negative real x it is NaN unless x**y is 0.
    """
    if x.dtype.kind == "c":
        return np.power(x, y)
    if x.dtype.kind == "f":
        # NumPy takes shortcuts for some powers, but only where one exponent serves all. Here they always hold.
        out = np.power(x, y)
        out = np.where(y == 2, x * x, np.where(y == -1, 1 / x, out))
        root = np.where((x == 0) | np.isinf(x), np.abs(x), np.sqrt(x))
        return np.where(y == 0.5, root, out)
    out = np.power(x, np.maximum(y, 0))
    if x.dtype.kind == "i":
        odd = np.where(y % 2 == 0, 1, x)
        out = np.where(y < 0, np.where(np.abs(x) == 1, odd, 0), out).astype(x.dtype)
    return out


@pow_.partials
def _(out, x, y):
    from .bits import bitwise_and
    from .comparison import equal
    from .selection import where
    from .transcendental import log

    origin = equal(x, 0.0)

    def in_base():
        # Where both are 0 the factor y is: any finite power beside it will do.
        return y * pow_(x, where(bitwise_and(origin, equal(y, 0.0)), 1, y) - 1)

    def in_exponent():
        return where(origin, 0, out * log(where(origin, 1, x)))

    return in_base, in_exponent


def _check_power(x: Aval, *, exponent: int) -> None:
    if type(exponent) is not int:
        raise ArgumentError(f"the exponent must be a Python int, got {exponent!r}")
    if exponent < 0 and x.dtype.kind in "ui":
        raise ArgumentError(
            f"an integer to the negative power {exponent} is not an integer; cast to a float first"
        )


def _integer_pow_samples() -> list[Sample]:
    x = values((3, 4), 0.4, 2.1) * np.where(values((3, 4), seed=1) > 0, 1, -1)
    return [
        *[Sample((x,), {"exponent": n}) for n in (-3, -1, 0, 1, 2, 3, 7)],
        Sample((x.astype(np.float32),), {"exponent": 2}),
        Sample((x[:0],), {"exponent": 2}),
        Sample((np.array([0.0, -0.0, np.inf, -np.inf, np.nan]),), {"exponent": 3}, smooth=False),
        Sample((np.array([0.0, -0.0, np.inf, -np.inf, np.nan]),), {"exponent": -2}, smooth=False),
        Sample((np.array([0.0, -0.0, np.inf, -np.inf, np.nan]),), {"exponent": 0}, smooth=False),
        Sample((integer_values(),), {"exponent": 3}, smooth=False),
        Sample((integer_values(np.uint8),), {"exponent": 2}, smooth=False),
        Sample((x + 0.3j,), {"exponent": 3}),
        Sample((x + 0.3j,), {"exponent": -2}),
    ]


@elementwise(NUMERIC, attrs=("exponent",), check=_check_power, samples=_integer_pow_samples)
def integer_pow(x, *, exponent):
    """x to a power that is a Python integer and part of the program, by repeated squaring.

    Power 0 is 1 even of 0 and NaN; a negative power is 1 over the positive one, and integers have none. The
    derivative is n * x**(n - 1): at 0 that is 0 for n = 0 and n > 1, and 1 for n = 1.
    """
    out, base, n = None, x, abs(exponent)
    while n:
        if n & 1:
            out = base if out is None else out * base
        n >>= 1
        if n:
            base = base * base
    if out is None:
        return np.ones_like(x)
    return np.divide(1, out, dtype=x.dtype) if exponent < 0 else out


@integer_pow.partials
def _(out, x, *, exponent):
    if exponent == 0:
        return (None,)
    if exponent == 1:
        return (1,)
    return (exponent * (x if exponent == 2 else integer_pow(x, exponent=exponent - 1)),)


# -- extremes -----------------------------------------------------------------------------------------------------


@elementwise("buif", samples=pairs(ties=True, nan=True, integers=True, bools=True))
def maximum(x, y):
    """The larger of x and y, elementwise. A NaN wins.

    The larger operand gets the gradient; at a tie each side gets half of it; beside a NaN neither gets any.
    """
    return np.maximum(x, y)


@maximum.partials
def _(out, x, y):
    return _extreme_partials(out, x, y)


@elementwise("buif", samples=pairs(ties=True, nan=True, integers=True, bools=True))
def minimum(x, y):
    """The smaller of x and y, elementwise. A NaN wins.

    The smaller operand gets the gradient; at a tie each side gets half of it; beside a NaN neither gets any.
    """
    return np.minimum(x, y)


@minimum.partials
def _(out, x, y):
    return _extreme_partials(out, y, x)


def _extreme_partials(out, x, y):
    from .comparison import equal, less
    from .selection import where

    half = where(equal(x, y), 0.5, 0.0, dtype=out.dtype)
    return lambda: where(less(y, x), 1.0, half), lambda: where(less(x, y), 1.0, half)


def _clip_samples() -> list[Sample]:
    x = values((3, 4))
    i = integer_values()
    return [
        Sample((x, np.float64(-0.95).reshape(()), np.float64(1.05).reshape(()))),
        Sample((x, values((4,), -1.13, -0.57), values((3, 1), 0.31, 1.27))),
        Sample((x.astype(np.float32), np.float32([-1.05] * 4), np.float32([0.95] * 4))),
        Sample((x, values((4,), 0.5, 0.9), values((4,), -0.9, -0.5)), smooth=False),
        Sample((x, x.copy(), x + 1), smooth=False),
        Sample((np.array([np.nan, np.inf, -np.inf, 1.0]), np.float64(0).reshape(()), np.float64(2).reshape(())),
               smooth=False),
        Sample((np.ones(3), np.array([np.nan, 0, 0]), np.array([2, np.nan, np.inf])), smooth=False),
        Sample((i, np.asarray(-2), np.asarray(3)), smooth=False),
        Sample((np.abs(i).astype(np.uint8), np.asarray(1, np.uint8), np.asarray(4, np.uint8)), smooth=False),
        Sample((x[:0], x[:1], x[:1] + 1)),
    ]  # fmt: skip


@elementwise("uif", samples=_clip_samples)
def clip(x, low, high):
    """min(max(x, low), high): x kept between the bounds. Where low > high the result is high. A NaN wins.

    x gets the gradient wherever low <= x <= high, on the bounds too; elsewhere it goes to the bound that the result
    was taken from. Beside a NaN nobody gets any.
    """
    return np.minimum(np.maximum(x, low), high)


@clip.partials
def _(out, x, low, high):
    from .bits import bitwise_and, bitwise_or
    from .comparison import equal, less, less_equal
    from .selection import where

    def mask(condition):
        return where(condition, 1.0, 0.0, dtype=out.dtype)

    return (
        lambda: mask(bitwise_and(less_equal(low, x), less_equal(x, high))),
        lambda: mask(bitwise_and(less(x, low), less_equal(low, high))),
        lambda: mask(bitwise_and(bitwise_or(less(high, x), less(high, low)), equal(out, high))),
    )


# -- signs and neighbours -----------------------------------------------------------------------------------------


@elementwise("f", samples=pairs(nan=True))
def copysign(x, y):
    """The magnitude of x with the sign bit of y (of -0 and NaN too).

    The derivative in x is 1 where the signs agree and -1 where they differ, 0 at x = 0; in y it is 0.
    """
    return np.copysign(x, y)


@copysign.partials
def _(out, x, y):
    return lambda: sign(x) * copysign(1.0, y), None


@elementwise("f", samples=pairs(nan=True, smooth=False))
def nextafter(x, y):
    """The number next to x toward y that its own type can represent; y itself if they are equal, NaN beside a NaN."""
    return np.where(x == y, y, np.nextafter(x, y)).astype(
        x.dtype
    )  # of two zeros NumPy's float16 gives the first


nextafter.computes = False
nextafter.nondifferentiable("it steps from one representable number to the next")


for _prim in (
    add,
    sub,
    mul,
    div,
    neg,
    abs_,
    sign,
    floor_divide,
    remainder,
    integer_pow,
    maximum,
    minimum,
    clip,
):
    _prim.exact = True
copysign.exact = True
