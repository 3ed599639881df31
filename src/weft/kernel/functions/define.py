"""The registry of formulas, and the pieces that several of them share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from ..algebra import Algebra, Value
from .tables import Pieces

Function = Callable[..., Value]

#: name of a primitive -> formula(algebra, operands...)
functions: dict[str, Function] = {}


def function(body: Function) -> Function:
    """Declare the formula of the primitive of that name."""
    functions[body.__name__.rstrip("_")] = body
    return body


def through_double(body: Function) -> Function:
    """Carry a formula out in float64 for float32 operands too, and round the result."""

    @functools.wraps(body)
    def formula(a: Algebra, *args: Value) -> Value:
        if a.bits == 64:
            return body(a, *args)
        return a.narrow(body(a.double(), *[a.widen(x) for x in args]))

    return formula


def by_width(a: Algebra, single: float, double: float) -> float:
    """`single` in float32, `double` in float64."""
    return single if a.bits == 32 else double


def horner(a: Algebra, x: Value, coefficients: Sequence[float]) -> Value:
    """c[0] + c[1] x + c[2] x**2 + ..., one fused multiply-add a term."""
    total = a.const(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = a.fma(total, x, a.const(c))
    return total


def in_piece(a: Algebra, t: Value, pieces: Pieces, index: Value) -> Value:
    """The value at t >= 0 of a function of which each piece is a polynomial (see `tables`)."""
    centre, start, *rest = [a.pick(row, index) for row in pieces]
    u = a.sub(t, centre)
    total = rest[-1]
    for c in reversed(rest[:-1]):
        total = a.fma(total, u, c)
    # In the piece that begins at 0 `start` is 0, in the others it is greater than any u that is used.
    return a.fma(total, u, a.select(a.less(start, u), u, start))


def clamp(a: Algebra, x: Value, low: float, high: float) -> Value:
    """x within [low, high]; a NaN becomes `low` here and is put back at the end."""
    x = a.select(a.less(a.const(low), x), x, a.const(low))
    return a.select(a.less(x, a.const(high)), x, a.const(high))


def keep_nan(a: Algebra, x: Value, value: Value) -> Value:
    """`value`, but NaN where x is one."""
    return a.select(a.unordered(x), a.add(x, x), value)


def keep_zero(a: Algebra, x: Value, value: Value) -> Value:
    """`value`, but x where x is a zero."""
    return a.select(a.equal(x, a.const(0.0)), x, value)


def sign_mask(a: Algebra) -> Value:
    """The sign bit alone."""
    return a.iconst(-(2 ** (a.bits - 1)))


def negative(a: Algebra, x: Value) -> Value:
    """Whether the sign bit is set, of -0 and NaN too."""
    return a.iless(a.as_int(x), a.iconst(0))


def with_sign(a: Algebra, magnitude: Value, x: Value) -> Value:
    """`magnitude`, which is not negative, with the sign of x."""
    return a.as_float(a.ior(a.as_int(magnitude), a.iand(a.as_int(x), sign_mask(a))))


def power_of_two(a: Algebra, n: Value) -> Value:
    """2**n for an integer n in the range of normal exponents."""
    mantissa, bias = (23, 127) if a.bits == 32 else (52, 1023)
    return a.as_float(a.shl(a.iadd(n, a.iconst(bias)), mantissa))


def scale(a: Algebra, x: Value, n: Value) -> Value:
    """x * 2**n for a whole number n: in two steps, so that results below the normal range round once, or in one."""
    found = a.scale(x, n)
    return scale_by(a, x, a.to_int(n)) if found is None else found


def scale_by(a: Algebra, x: Value, n: Value) -> Value:
    """x * 2**n for an integer n."""
    half = a.shr(n, 1)
    return a.mul(a.mul(x, power_of_two(a, half)), power_of_two(a, a.isub(n, half)))
