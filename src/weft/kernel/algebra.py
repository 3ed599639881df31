"""The arithmetic that elementary functions are written in, independent of who carries it out.

The package `kernel/functions` writes exp, log, sin and the others as formulas over this interface. The CPU emitter
carries them out as LLVM instructions on vectors, `NumpyAlgebra` on arrays, with the same bits: so accuracy can be
measured over all of float32 without generating code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

Value = Any

#: Added to a whole number of at most 51 bits, it leaves that as an integer in the sum's last bits.
MAGIC = 1.5 * 2.0**52


class Algebra(Protocol):
    """Operations on values of one floating type, on the integers of its width, and on conditions.

    Integers wrap around. Shifts are by less than the width. `to_int` takes whole numbers; in 64 bits these and what
    `to_float` takes have at most 51 bits.
    """

    bits: int  #: 32 or 64
    fused: bool  #: whether `fma` rounds once; where not, it is a product and a sum
    picks: bool  #: whether `pick` is quick

    def const(self, x: float) -> Value: ...
    def iconst(self, x: int) -> Value: ...
    def add(self, x: Value, y: Value) -> Value: ...
    def sub(self, x: Value, y: Value) -> Value: ...
    def mul(self, x: Value, y: Value) -> Value: ...
    def div(self, x: Value, y: Value) -> Value: ...
    def neg(self, x: Value) -> Value: ...
    def fma(self, x: Value, y: Value, z: Value) -> Value: ...
    def abs(self, x: Value) -> Value: ...
    def sqrt(self, x: Value) -> Value: ...
    def round(self, x: Value) -> Value: ...
    def floor(self, x: Value) -> Value: ...
    def scale(self, x: Value, n: Value, vanishes: Value | None = None) -> Value | None:
        """x * 2**n for the whole number below n or n itself, rounded once, as one instruction; None where there is
        none. It is 0 where it `vanishes`."""
        ...

    def less(self, x: Value, y: Value) -> Value: ...
    def equal(self, x: Value, y: Value) -> Value: ...
    def unordered(self, x: Value) -> Value: ...
    def both(self, x: Value, y: Value) -> Value: ...
    def either(self, x: Value, y: Value) -> Value: ...
    def inverse(self, x: Value) -> Value: ...
    def select(self, condition: Value, x: Value, y: Value) -> Value: ...
    def as_int(self, x: Value) -> Value: ...
    def as_float(self, x: Value) -> Value: ...
    def to_int(self, x: Value) -> Value: ...
    def to_float(self, x: Value) -> Value: ...
    def iadd(self, x: Value, y: Value) -> Value: ...
    def isub(self, x: Value, y: Value) -> Value: ...
    def imul(self, x: Value, y: Value) -> Value: ...
    def imulhi(self, x: Value, y: Value) -> Value:
        """The upper half of the product of two numbers read as unsigned."""
        ...

    def iand(self, x: Value, y: Value) -> Value: ...
    def ior(self, x: Value, y: Value) -> Value: ...
    def iless(self, x: Value, y: Value) -> Value: ...
    def below(self, x: Value, y: Value) -> Value:
        """x < y, both read as unsigned."""
        ...

    def iequal(self, x: Value, y: Value) -> Value: ...
    def shl(self, x: Value, count: Value | int) -> Value: ...
    def shr(self, x: Value, count: Value | int) -> Value: ...
    def lshr(self, x: Value, count: Value | int) -> Value: ...
    def lookup(self, table: Sequence[int], index: Value) -> Value:
        """Entries of a table of 64-bit words; for 64 bits only."""
        ...

    def pick(self, table: Sequence[float], index: Value) -> Value:
        """Entries of a table of 16 or 32 numbers, by the last bits of the index; for 32 bits only."""
        ...

    def double(self) -> Algebra:
        """The algebra of float64, for as many values."""
        ...

    def widen(self, x: Value) -> Value: ...
    def narrow(self, x: Value) -> Value:
        """From `double()` to this."""
        ...

    def rarely(
        self, condition: Value, special: Callable[[], tuple[Value, ...]], usual: tuple[Value, ...]
    ) -> tuple[Value, ...]:
        """`special()` where the condition holds, else `usual`; computed only if it holds anywhere."""
        ...

    def repeat(
        self,
        busy: Callable[..., Value],
        step: Callable[..., tuple[Value, ...]],
        start: tuple[Value, ...],
    ) -> tuple[Value, ...]:
        """Values that `step` is applied to as long as `busy` holds of them, each as often as it needs."""
        ...


class NumpyAlgebra:
    """The algebra on NumPy arrays, exact to the bit.

    With `fused=False` it is that of a processor without fused multiply-add, with `picks` that of one which picks
    numbers out of registers.
    """

    def __init__(self, bits: int, fused: bool = True, picks: bool = False) -> None:
        self.bits = bits
        self.fused = fused
        self.picks = picks
        self._float: Any = np.float32 if bits == 32 else np.float64
        self._int: Any = np.int32 if bits == 32 else np.int64
        self._uint: Any = np.uint32 if bits == 32 else np.uint64

    def const(self, x: float) -> Value:
        return self._float(x)

    def iconst(self, x: int) -> Value:
        return self._int(x)

    def add(self, x: Value, y: Value) -> Value:
        return np.add(x, y)

    def sub(self, x: Value, y: Value) -> Value:
        return np.subtract(x, y)

    def mul(self, x: Value, y: Value) -> Value:
        return np.multiply(x, y)

    def div(self, x: Value, y: Value) -> Value:
        return np.divide(x, y)

    def neg(self, x: Value) -> Value:
        return np.negative(x)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        if not self.fused:
            return np.add(np.multiply(x, y), z)
        return _fused32(x, y, z) if self.bits == 32 else _fused64(x, y, z)

    def abs(self, x: Value) -> Value:
        return np.abs(x)

    def sqrt(self, x: Value) -> Value:
        return np.sqrt(x)

    def round(self, x: Value) -> Value:
        return np.rint(x)

    def floor(self, x: Value) -> Value:
        return np.floor(x)

    def scale(self, x: Value, n: Value, vanishes: Value | None = None) -> Value | None:
        return None

    def less(self, x: Value, y: Value) -> Value:
        return np.less(x, y)

    def equal(self, x: Value, y: Value) -> Value:
        return np.equal(x, y)

    def unordered(self, x: Value) -> Value:
        return np.isnan(x)

    def both(self, x: Value, y: Value) -> Value:
        return np.logical_and(x, y)

    def either(self, x: Value, y: Value) -> Value:
        return np.logical_or(x, y)

    def inverse(self, x: Value) -> Value:
        return np.logical_not(x)

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        return np.where(condition, x, y)

    def as_int(self, x: Value) -> Value:
        return np.asarray(x, self._float).view(self._int)

    def as_float(self, x: Value) -> Value:
        return np.asarray(x, self._int).view(self._float)

    def to_int(self, x: Value) -> Value:
        if self.bits == 32:
            return np.asarray(x).astype(np.int32)
        return self.as_int(np.add(x, MAGIC)) - self.as_int(MAGIC)

    def to_float(self, x: Value) -> Value:
        if self.bits == 32:
            return np.asarray(x).astype(np.float32)
        return self.as_float(x + self.as_int(MAGIC)) - MAGIC

    def iadd(self, x: Value, y: Value) -> Value:
        return np.add(x, y, dtype=self._int)

    def isub(self, x: Value, y: Value) -> Value:
        return np.subtract(x, y, dtype=self._int)

    def imul(self, x: Value, y: Value) -> Value:
        return np.multiply(x, y, dtype=self._int)

    def imulhi(self, x: Value, y: Value) -> Value:
        half, low = self._uint(self.bits // 2), self._uint((1 << self.bits // 2) - 1)
        p, q = np.asarray(x, self._int).view(self._uint), np.asarray(y, self._int).view(self._uint)
        p1, p0, q1, q0 = p >> half, p & low, q >> half, q & low
        middle = p1 * q0 + (p0 * q0 >> half)
        carry = p0 * q1 + (middle & low)
        return (p1 * q1 + (middle >> half) + (carry >> half)).view(self._int)

    def iand(self, x: Value, y: Value) -> Value:
        return np.bitwise_and(x, y)

    def ior(self, x: Value, y: Value) -> Value:
        return np.bitwise_or(x, y)

    def iless(self, x: Value, y: Value) -> Value:
        return np.less(x, y)

    def below(self, x: Value, y: Value) -> Value:
        return np.less(np.asarray(x, self._int).view(self._uint), np.asarray(y, self._int).view(self._uint))

    def iequal(self, x: Value, y: Value) -> Value:
        return np.equal(x, y)

    def shl(self, x: Value, count: Value | int) -> Value:
        return np.left_shift(x, np.asarray(count, self._int))

    def shr(self, x: Value, count: Value | int) -> Value:
        return np.right_shift(x, np.asarray(count, self._int))

    def lshr(self, x: Value, count: Value | int) -> Value:
        bits = np.asarray(x, self._int).view(self._uint)
        return np.right_shift(bits, np.asarray(count, self._int).view(self._uint)).view(self._int)

    def lookup(self, table: Sequence[int], index: Value) -> Value:
        return np.array(table, np.uint64).view(np.int64)[index]

    def pick(self, table: Sequence[float], index: Value) -> Value:
        return np.array(table, np.float32)[np.asarray(index) & (len(table) - 1)]

    def double(self) -> NumpyAlgebra:
        return NumpyAlgebra(64, self.fused, self.picks)

    def widen(self, x: Value) -> Value:
        return np.asarray(x, np.float64)

    def narrow(self, x: Value) -> Value:
        return np.asarray(x).astype(np.float32)

    def rarely(
        self, condition: Value, special: Callable[[], tuple[Value, ...]], usual: tuple[Value, ...]
    ) -> tuple[Value, ...]:
        if not np.any(condition):
            return usual
        return tuple(np.where(condition, s, u) for s, u in zip(special(), usual, strict=True))

    def repeat(
        self,
        busy: Callable[..., Value],
        step: Callable[..., tuple[Value, ...]],
        start: tuple[Value, ...],
    ) -> tuple[Value, ...]:
        state = start
        while np.any(on := busy(*state)):
            state = tuple(np.where(on, new, old) for new, old in zip(step(*state), state, strict=True))
        return state


def _to_odd(total: Value, error: Value) -> Value:
    """total + error, where that is not exact, as the neighbour with an odd last bit."""
    as_bits = np.asarray(total).view(np.int64)
    toward = np.where((error > 0) == (total > 0), as_bits + 1, as_bits - 1)
    inexact = (error != 0) & ((as_bits & 1) == 0) & np.isfinite(total)
    return np.where(inexact, toward, as_bits).view(np.float64)


def _two_sum(x: Value, y: Value) -> tuple[Value, Value]:
    total = np.asarray(x + y)
    part = total - x
    return total, (x - (total - part)) + (y - part)


def _fused32(x: Value, y: Value, z: Value) -> Value:
    # The product of two float32 is exact in float64; the sum is rounded to odd there, so that rounding it again to
    # float32 rounds once.
    product = np.multiply(x, y, dtype=np.float64)
    return _to_odd(*_two_sum(product, np.asarray(z, np.float64))).astype(np.float32)


def _halves(x: Value) -> tuple[Value, Value]:
    """x as a sum of two numbers of at most 26 bits."""
    wide = x * 134217729.0
    high = wide - (wide - x)
    return high, x - high


def _fused64(x: Value, y: Value, z: Value) -> Value:
    # After Boldo and Melquiond: the exact product as two numbers, what is below the sum's last place rounded to odd.
    with np.errstate(all="ignore"):
        x, y, z = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (x, y, z)))
        product = x * y
        (a, b), (c, d) = _halves(x), _halves(y)
        rest = ((a * c - product) + a * d + b * c) + b * d
        low, lowest = _two_sum(z, rest)
        high, middle = _two_sum(product, low)
        out = np.asarray(high + _to_odd(*_two_sum(lowest, middle)))
        # The splitting needs room in the exponents; where there is none, go by fractions.
        p, s = np.abs(product), np.abs(z)
        safe = (np.maximum(np.abs(x), np.abs(y)) < 1e290) & (p < 1e290) & (s < 1e290)
        safe &= ((p > 1e-250) & ((s > 1e-250) | (s == 0))) | (x == 0) | (y == 0)
        finite = np.isfinite(x) & np.isfinite(y) & np.isfinite(z)
        out = np.where(finite & (x != 0) & (y != 0), out, product + z)
        # A product far below half of z's last place changes nothing.
        lost = (p < s * 2.0**-60) & (s > 1e-290)
        out = np.where(finite & lost, z, out)
        for i in zip(*np.nonzero(finite & ~safe & ~lost), strict=True):
            out[i] = _by_fractions(float(x[i]), float(y[i]), float(z[i]))
        return out


def _by_fractions(x: float, y: float, z: float) -> float:
    from fractions import Fraction  # hardly ever needed, and slow to import

    exact = Fraction(x) * Fraction(y) + Fraction(z)
    if exact == 0:
        return x * y + z
    try:
        return float(exact) if exact > 0 else -float(-exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf
