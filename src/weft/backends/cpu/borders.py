"""Zeros around an image, written by the kernel that makes the image: each unit of its work fills some gaps."""

from __future__ import annotations

from ...ir.dtype import DType
from ...kernel.borders import Border
from . import instructions as ir
from .build import I64, Build, register_type


def fill_border(build: Build, base: ir.Value, dtype: DType, border: Border, units: int) -> None:
    """Emit zeros for the gaps that belong to the units begin ... end-1 of the function's work."""
    b, (begin, end) = build.b, build.function.args[1:3]
    lanes = build.target.lanes(dtype.itemsize)
    type_ = register_type(dtype)
    low, high = (b.udiv(b.mul(u, I64(border.gaps)), I64(units)) for u in (begin, end))
    with build.loop(low, high, name="gap") as gap:
        first, last = _gap(build, border, gap)
        whole = b.sub(last, b.urem(b.sub(last, first), I64(lanes)))
        with build.loop(first, whole, lanes, name="zeros") as i:
            build.store(base, i, build.const(0.0, ir.VectorType(type_, lanes)), dtype)
        with build.loop(whole, last, name="zeros.rest") as i:
            build.store(base, i, build.const(0.0, type_), dtype)


def _gap(build: Build, border: Border, gap: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Where the gap in front of row number `gap` begins and ends: at the row before, or at the ends of the buffer."""
    b = build.b
    first = b.icmp_signed("==", gap, I64(0))
    last = b.icmp_signed("==", gap, b.sub(I64(border.gaps), I64(1)))
    before = b.add(_row(build, border, b.sub(gap, b.select(first, I64(0), I64(1)))), I64(border.length))
    return b.select(first, I64(0), before), b.select(last, I64(border.size), _row(build, border, gap))


def _row(build: Build, border: Border, number: ir.Value) -> ir.Value:
    """Where a row begins."""
    b, place = build.b, I64(border.start)
    for count, distance in reversed(border.rows):
        place = b.add(place, b.mul(b.urem(number, I64(count)), I64(distance)))
        number = b.udiv(number, I64(count))
    return place
