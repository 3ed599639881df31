"""The greatest and the least of many floats: one instruction for each vector, and one for NaN in every two."""

from __future__ import annotations

import math

from ...kernel.loops import Reduction
from . import instructions as ir
from .build import I1, Build


class Extreme:
    """A `max` or `min` of floats along vectors. NaN is looked for beside it, and put in its place at the end.

    Of two zeros of different sign the later one stays, as in `extremum`.
    """

    def __init__(self, build: Build, reduction: Reduction, lanes: int, several: int) -> None:
        self.build = build
        self.b = build.b
        self.sign = ">" if reduction.op == "max" else "<"
        self.lanes = lanes
        self.type = ir.VectorType(I1, lanes)
        # Where there was no NaN so far: a comparison by a mask says both at once. Each of the pairs of a turn has a
        # mask of its own, and waits for none of the others.
        self.numbers = [build.slot(self.type) for _ in range(max(several // 2, 1))]
        for slot in self.numbers:
            self.b.store(build.const(1, self.type), slot)

    def combine(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """The larger (or smaller) of two, y if either is NaN."""
        return self.b.select(self.b.fcmp_ordered(self.sign, x, y), x, y)

    def look(self, value: ir.Value, mask: ir.Value | None) -> None:
        """Note where there is a NaN among some elements, two vectors at a time."""
        parts = [value]
        while parts[0].type.count > self.lanes:
            parts = [half for x in parts for half in self.build.pieces(x, x.type.count // 2)]
        pairs = zip(parts[::2], parts[1::2] or parts, strict=True)
        for slot, (x, y) in zip(self.numbers, pairs, strict=False):
            numbers = self.b.fcmp_ordered("ord", x, y)
            if mask is not None:
                numbers = self.b.or_(numbers, self.b.not_(mask))
            self.b.store(self.b.and_(self.b.load(slot, typ=self.type), numbers), slot)

    def finish(self, value: ir.Value) -> ir.Value:
        """The extreme of all lanes, or NaN."""
        numbers = self.b.load(self.numbers[0], typ=self.type)
        for slot in self.numbers[1:]:
            numbers = self.b.and_(numbers, self.b.load(slot, typ=self.type))
        all_ = self.build.intrinsic(f"llvm.vector.reduce.and.v{self.lanes}i1", I1, (numbers,))
        return self.b.select(all_, value, self.build.const(math.nan, value.type))
