"""The greatest and the least of many floats: one instruction for each vector, and one for NaN in every two."""

# llvmlite.ir has no annotations: what pyright infers of its values is wrong.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false

from __future__ import annotations

import math

from ...kernel.loops import Reduction
from . import instructions as ir
from .build import I1, I32, Build


class Extreme:
    """A `max` or `min` of floats along vectors. NaN is looked for beside it, and put in its place at the end.

    Of two zeros of different sign the later one stays, as in `extremum`.
    """

    def __init__(self, build: Build, reduction: Reduction, seen: ir.Value, lanes: int) -> None:
        self.build = build
        self.b = build.b
        self.sign = ">" if reduction.op == "max" else "<"
        self.seen, self.lanes = seen, lanes
        self.type = ir.VectorType(I1, lanes)
        self.b.store(build.const(0, self.type), seen)

    def combine(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """The larger (or smaller) of two, y if either is NaN."""
        return self.b.select(self.b.fcmp_ordered(self.sign, x, y), x, y)

    def look(self, value: ir.Value, mask: ir.Value | None) -> None:
        """Note where there is a NaN among some elements, two vectors at a time."""
        parts = [value]
        while parts[0].type.count > self.lanes:
            parts = [half for x in parts for half in self._halves(x)]
        found = []
        for x, y in zip(parts[::2], parts[1::2] or parts, strict=True):
            found.append(self.b.fcmp_unordered("uno", x, y))
        total = self.b.load(self.seen, typ=self.type)
        for nan in found:
            total = self.b.or_(total, nan if mask is None else self.b.and_(nan, mask))
        self.b.store(total, self.seen)

    def _halves(self, x: ir.Value) -> tuple[ir.Value, ir.Value]:
        half = x.type.count // 2
        places = [ir.Constant(ir.VectorType(I32, half), list(range(k, k + half))) for k in (0, half)]
        return tuple([self.b.shuffle_vector(x, ir.Constant(x.type, ir.Undefined), p) for p in places])

    def finish(self, value: ir.Value) -> ir.Value:
        """The extreme of all lanes, or NaN."""
        seen = self.b.load(self.seen, typ=self.type)
        some = self.build.intrinsic(f"llvm.vector.reduce.or.v{self.lanes}i1", I1, (seen,))
        return self.b.select(some, self.build.const(math.nan, value.type), value)
