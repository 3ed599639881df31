"""bfloat16 and float16 as instructions: float32 in registers, rounded to nearest even on their way to memory.

By integer arithmetic, or, for float16, by the conversions of processors that have them. bfloat16 is the upper half of a
float32; float16 has 5 bits of exponent with a bias of 15 and 10 of the significand. To round at bit k is to add half a
unit of that bit, less one, and one more if bit k is set, and then to cut off: a tie goes up only where that makes the
last bit even, and a carry goes on into the exponent, as it should.
"""

from __future__ import annotations

from typing import Any

from ...ir.dtype import DType, bfloat16
from . import instructions as ir

_I16, _I32, _I64, _F32, _F64 = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.DoubleType()
_HALF = ir.HalfType()


class Halves:
    """Conversions on vectors of `lanes` elements (1: on scalars). `build` is the Build that they go to."""

    def __init__(self, build: Any, lanes: int, native: bool) -> None:
        self.build = build
        self.b = build.b
        self.lanes = lanes
        self.native = native

    def _type(self, scalar: ir.Type) -> ir.Type:
        return ir.VectorType(scalar, self.lanes) if self.lanes > 1 else scalar

    def _int(self, x: int) -> ir.Value:
        return self.build.const(x, self._type(_I32))

    def widen(self, raw: ir.Value, dtype: DType) -> ir.Value:
        """16 bits as the float32 of the same value."""
        b = self.b
        if dtype is not bfloat16 and self.native:
            return b.fpext(b.bitcast(raw, self._type(_HALF)), self._type(_F32))
        bits = b.zext(raw, self._type(_I32))
        if dtype is bfloat16:
            return b.bitcast(b.shl(bits, self._int(16)), self._type(_F32))
        rest = b.and_(bits, self._int(0x7FFF))
        # Exponent and significand in place; the product puts the exponent right, for subnormal numbers too.
        scaled = b.fmul(
            b.bitcast(b.shl(rest, self._int(13)), self._type(_F32)),
            self.build.const(2.0**112, self._type(_F32)),
        )
        special = b.icmp_unsigned(">=", rest, self._int(0x7C00))
        beyond = b.or_(b.shl(rest, self._int(13)), self._int(0x7F800000))
        magnitude = b.select(special, beyond, b.bitcast(scaled, self._type(_I32)))
        sign = b.shl(b.and_(bits, self._int(0x8000)), self._int(16))
        return b.bitcast(b.or_(magnitude, sign), self._type(_F32))

    def narrow(self, x: ir.Value, dtype: DType) -> ir.Value:
        """A float32 rounded to the nearest 16 bits, to even at a tie; NaN stays NaN."""
        b = self.b
        if dtype is not bfloat16 and self.native:
            return b.bitcast(b.fptrunc(x, self._type(_HALF)), self._type(_I16))
        bits = b.bitcast(x, self._type(_I32))
        found = self._brain(bits) if dtype is bfloat16 else self._half(bits)
        return b.trunc(found, self._type(_I16))

    def cut(self, x: ir.Value, dtype: DType) -> ir.Value:
        """A float32 that has the value of a 16-bit float already as that."""
        if dtype is not bfloat16:
            return self.narrow(x, dtype)
        bits = self.b.bitcast(x, self._type(_I32))
        return self.b.trunc(self.b.lshr(bits, self._int(16)), self._type(_I16))

    def _brain(self, bits: ir.Value) -> ir.Value:
        """The bits of a float32 rounded to those of a bfloat16; a NaN is made quiet, as it might round to infinity."""
        b = self.b
        top = b.lshr(bits, self._int(16))
        up = b.add(b.add(bits, self._int(0x7FFF)), b.and_(top, self._int(1)))
        nan = b.icmp_unsigned(">", b.and_(bits, self._int(0x7FFFFFFF)), self._int(0x7F800000))
        return b.select(nan, b.or_(top, self._int(0x40)), b.lshr(up, self._int(16)))

    def _half(self, bits: ir.Value) -> ir.Value:
        """The bits of a float32 rounded to those of a float16: infinite from 65520 on, the tie to 65536."""
        b = self.b
        rest = b.and_(bits, self._int(0x7FFFFFFF))
        odd = b.and_(b.lshr(rest, self._int(13)), self._int(1))
        up = b.add(b.sub(rest, self._int(0x38000000 - 0xFFF)), odd)  # the exponent by 127 - 15 less
        normal = b.lshr(up, self._int(13))
        # Below the normal numbers: beside 0.5 the last bit of a float32 is the last bit of a subnormal float16.
        beside = b.fadd(b.bitcast(rest, self._type(_F32)), self.build.const(0.5, self._type(_F32)))
        tiny = b.sub(b.bitcast(beside, self._type(_I32)), self._int(0x3F000000))
        found = b.select(b.icmp_unsigned("<", rest, self._int(0x38800000)), tiny, normal)  # 2**-14
        found = b.select(b.icmp_unsigned(">=", rest, self._int(0x47800000)), self._int(0x7C00), found)
        found = b.select(b.icmp_unsigned(">", rest, self._int(0x7F800000)), self._int(0x7E00), found)
        return b.or_(found, b.and_(b.lshr(bits, self._int(16)), self._int(0x8000)))

    def to_odd(self, x: ir.Value) -> ir.Value:
        """A float64 as a float32 towards zero with the last bit set if anything was lost.

        Rounding that once more, to a type at least two bits narrower, gives what rounding x itself would have: the last
        bit tells what lies beside a tie from the tie (S. Boldo and G. Melquiond, 2008).
        """
        b = self.b
        near = b.fptrunc(x, self._type(_F32))
        back = b.fpext(near, self._type(_F64))
        bits = b.bitcast(near, self._type(_I32))
        size, want = (self.build.call1("fabs", v) for v in (back, x))
        over = b.zext(b.fcmp_ordered(">", size, want), self._type(_I32))
        lost = b.zext(b.fcmp_ordered("!=", back, x), self._type(_I32))
        return b.bitcast(b.or_(b.sub(bits, over), lost), self._type(_F32))
