"""The same bits under another type."""

from __future__ import annotations

from ...ir.dtype import DType
from . import instructions as ir
from .build import Build, like, memory_type
from .scalar import operation


@operation("bitcast")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    (x,) = args
    lanes = x.lanes
    return build.widen(build.b.bitcast(build.narrow(x, dtype), like(memory_type(out), lanes)), out)
