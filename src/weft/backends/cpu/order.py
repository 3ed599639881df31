"""The order of numbers: what comes before what in sorted data. NaN comes last."""

from __future__ import annotations

from ...ir.dtype import DType
from . import instructions as ir
from .build import Build


def precedes(build: Build, x: ir.Value, y: ir.Value, dtype: DType, descending: bool = False) -> ir.Value:
    """Whether x comes strictly before y. Equal numbers, zeros of different sign and NaN are level with each other."""
    b = build.b
    sign = ">" if descending else "<"
    if dtype.kind == "f":
        number, nan = b.fcmp_ordered("ord", x, x), b.fcmp_unordered("uno", y, y)
        return b.or_(b.fcmp_ordered(sign, x, y), b.and_(number, nan))
    return (b.icmp_signed if dtype.kind == "i" else b.icmp_unsigned)(sign, x, y)
