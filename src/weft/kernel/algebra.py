"""The arithmetic that elementary functions are written in, independent of who carries it out.

`kernel/functions.py` writes exp, log, tanh and the others as formulas over this interface. The CPU emitter carries
them out as LLVM instructions on vectors, `NumpyAlgebra` on arrays, with the same bits: so accuracy can be measured
over all of float32 without generating code.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

Value = Any


class Algebra(Protocol):
    """Operations on values of one floating type, and on the integers of its width."""

    bits: int  #: 32 or 64

    def const(self, x: float) -> Value: ...
    def iconst(self, x: int) -> Value: ...
    def add(self, x: Value, y: Value) -> Value: ...
    def sub(self, x: Value, y: Value) -> Value: ...
    def mul(self, x: Value, y: Value) -> Value: ...
    def div(self, x: Value, y: Value) -> Value: ...
    def fma(self, x: Value, y: Value, z: Value) -> Value: ...
    def abs(self, x: Value) -> Value: ...
    def sqrt(self, x: Value) -> Value: ...
    def round(self, x: Value) -> Value: ...
    def less(self, x: Value, y: Value) -> Value: ...
    def equal(self, x: Value, y: Value) -> Value: ...
    def unordered(self, x: Value) -> Value: ...
    def select(self, condition: Value, x: Value, y: Value) -> Value: ...
    def as_int(self, x: Value) -> Value: ...
    def as_float(self, x: Value) -> Value: ...
    def to_int(self, x: Value) -> Value: ...
    def to_float(self, x: Value) -> Value: ...
    def iadd(self, x: Value, y: Value) -> Value: ...
    def isub(self, x: Value, y: Value) -> Value: ...
    def iand(self, x: Value, y: Value) -> Value: ...
    def ior(self, x: Value, y: Value) -> Value: ...
    def shl(self, x: Value, count: int) -> Value: ...
    def shr(self, x: Value, count: int) -> Value: ...


class NumpyAlgebra:
    """The algebra on NumPy arrays, exact to the bit."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
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

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        if self.bits == 64:
            wide = np.multiply(x, y, dtype=np.longdouble) + z
            return wide.astype(self._float) if isinstance(wide, np.ndarray) else self._float(wide)
        # The product of two float32 is exact in float64; the sum is rounded to odd there, so that rounding it
        # again to float32 rounds once.
        p = np.multiply(x, y, dtype=np.float64)
        c = np.asarray(z, np.float64)
        s = np.asarray(p + c)
        t = s - p
        error = (p - (s - t)) + (c - t)
        as_bits = s.view(np.int64)
        even = (as_bits & 1) == 0
        toward = np.where((error > 0) == (s > 0), as_bits + 1, as_bits - 1)
        fixed = np.where((error != 0) & even & np.isfinite(s), toward, as_bits).view(np.float64)
        return fixed.astype(np.float32)

    def abs(self, x: Value) -> Value:
        return np.abs(x)

    def sqrt(self, x: Value) -> Value:
        return np.sqrt(x)

    def round(self, x: Value) -> Value:
        return np.rint(x)

    def less(self, x: Value, y: Value) -> Value:
        return np.less(x, y)

    def equal(self, x: Value, y: Value) -> Value:
        return np.equal(x, y)

    def unordered(self, x: Value) -> Value:
        return np.isnan(x)

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        return np.where(condition, x, y)

    def as_int(self, x: Value) -> Value:
        return np.asarray(x, self._float).view(self._int)

    def as_float(self, x: Value) -> Value:
        return np.asarray(x, self._int).view(self._float)

    def to_int(self, x: Value) -> Value:
        return np.asarray(x).astype(self._int)

    def to_float(self, x: Value) -> Value:
        return np.asarray(x).astype(self._float)

    def iadd(self, x: Value, y: Value) -> Value:
        return np.add(x, y, dtype=self._int)

    def isub(self, x: Value, y: Value) -> Value:
        return np.subtract(x, y, dtype=self._int)

    def iand(self, x: Value, y: Value) -> Value:
        return np.bitwise_and(x, y)

    def ior(self, x: Value, y: Value) -> Value:
        return np.bitwise_or(x, y)

    def shl(self, x: Value, count: int) -> Value:
        return np.left_shift(x, self._int(count))

    def shr(self, x: Value, count: int) -> Value:
        return np.right_shift(x, self._int(count))
