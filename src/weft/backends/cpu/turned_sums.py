"""Reductions of kernels that are turned (kernel/turning.py): each lane is a result, and keeps the parts that the lanes
of a vector along what is reduced would be."""

from __future__ import annotations

from collections.abc import Sequence

from ...kernel.anchors import identity_of
from ...kernel.index import Var
from ...kernel.loops import Expr, Reduction, operands
from . import instructions as ir
from .build import I64, like, register_type
from .expressions import Expressions
from .places import Lanes
from .scalar import combine


class TurnedSums:
    """The reductions of a stage along `var`, in `parts` parts, or in `several` times as many while whole turns of so
    many are left: in the order of `Sums` and of `Stages.along`, element by element."""

    def __init__(
        self,
        code: Expressions,
        reductions: Sequence[Reduction],
        lanes: int,
        var: Var | None,
        parts: int,
        several: int,
    ) -> None:
        self.code, self.build, self.b = code, code.build, code.b
        self.var, self.parts, self.wide = var, parts, several * parts
        self.lanes = lanes
        self.places = [(r, self._begun(r)) for r in reductions]
        self.end = self._end()

    def _begun(self, r: Reduction) -> ir.Value:
        """Memory for the parts, those of wide turns behind the others, in which there is nothing yet."""
        type_ = like(register_type(r.dtype), self.lanes)
        count = self.parts + (self.wide if self.wide > self.parts else 0)
        place = self.build.slots(type_, count)
        nothing = self.build.const(identity_of(r.op, r.dtype), type_)
        for k in range(count):
            self.b.store(nothing, self._part(place, type_, I64(k)))
        return place

    def _end(self) -> ir.Value:
        """Where wide turns end."""
        if self.var is None or self.wide == self.parts:
            return I64(0)
        size = I64(self.var.size)
        return self.b.sub(size, self.b.urem(size, I64(self.wide)))

    def _part(self, place: ir.Value, type_: ir.Type, number: ir.Value) -> ir.Value:
        return self.b.gep(place, [number], source_etype=type_)

    def _number(self, here: Lanes) -> ir.Value:
        """Which part an element belongs to."""
        if self.var is None or self.parts == 1:
            return I64(0)
        at = here.values[self.var]
        number = self.b.urem(at, I64(self.parts))
        if self.wide == self.parts:
            return number
        beyond = self.b.add(self.b.urem(at, I64(self.wide)), I64(self.parts))
        return self.b.select(self.b.icmp_unsigned("<", at, self.end), beyond, number)

    def add(self, here: Lanes, memo: dict[Expr, ir.Value]) -> None:
        """Take the elements of one turn."""
        number = self._number(here)
        for r, place in self.places:
            type_ = like(register_type(r.dtype), self.lanes)
            slot = self._part(place, type_, number)
            before = self.b.load(slot, typ=type_)
            if r.op == "dot":
                x, y = [
                    self.build.splat(self.code.value(f, here, memo), self.lanes) for f in operands(r.value)
                ]
                after = self.build.multiply_add(x, y, before)
            else:
                value = self.build.splat(self.code.value(r.value, here, memo), self.lanes)
                after = combine(self.build, r.op, before, value, r.dtype)
            self.b.store(after, slot)

    def finish(self) -> list[ir.Value]:
        """What the reductions have come to: parts are combined by halves, as lanes are."""
        return [self._finished(r, place) for r, place in self.places]

    def _finished(self, r: Reduction, place: ir.Value) -> ir.Value:
        type_ = like(register_type(r.dtype), self.lanes)

        def found(first: int, count: int) -> list[ir.Value]:
            return [self.b.load(self._part(place, type_, I64(first + k)), typ=type_) for k in range(count)]

        values = found(0, self.parts)
        if self.wide > self.parts:
            wide = self._halved(r, found(self.parts, self.wide), self.parts)
            values = [combine(self.build, r.op, x, y, r.dtype) for x, y in zip(wide, values, strict=True)]
        return self._halved(r, values, 1)[0]

    def _halved(self, r: Reduction, values: list[ir.Value], least: int) -> list[ir.Value]:
        while len(values) > least:
            pairs = zip(values[: len(values) // 2], values[len(values) // 2 :], strict=True)
            values = [combine(self.build, r.op, x, y, r.dtype) for x, y in pairs]
        return values
