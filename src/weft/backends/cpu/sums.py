"""The reductions of a stage while they are made: where each is kept, and what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...kernel.anchors import identity_of
from ...kernel.loops import Expr, Reduction, operands
from . import instructions as ir
from .build import I32, like, register_type
from .expressions import Expressions
from .extremes import Extreme
from .places import Lanes
from .scalar import combine


@dataclass(frozen=True)
class _Places:
    """Where a reduction is kept, for each number of lanes that turns come with, and where NaN are noted."""

    slots: dict[int, tuple[ir.Value, ir.Type]]
    extreme: Extreme | None


class Sums:
    """The reductions of a stage, of `lanes` lanes, or of `several` vectors of so many where a turn brings these.

    With `across`, each lane is a result of its own.
    """

    def __init__(
        self, code: Expressions, reductions: Sequence[Reduction], lanes: int, several: int, across: bool
    ) -> None:
        self.code, self.build, self.b = code, code.build, code.b
        self.lanes, self.several, self.across = lanes, several, across
        self.places = [(r, self._begun(r)) for r in reductions]

    def _begun(self, r: Reduction) -> _Places:
        slots = {}
        for count in {self.lanes, self.several * self.lanes}:
            type_ = like(register_type(r.dtype), count)
            slots[count] = self.build.slot(type_), type_
            self.b.store(self.build.const(identity_of(r.op, r.dtype), type_), slots[count][0])
        wide = self.several > 1 and r.dtype.kind == "f"
        return _Places(slots, Extreme(self.build, r, self.lanes, self.several) if wide else None)

    def add(self, here: Lanes, memo: dict[Expr, ir.Value]) -> None:
        """Take the elements of one turn; those of several vectors where one is kept, vector by vector."""
        lanes = here.count if self.several > 1 else self.lanes
        for r, at in self.places:
            slot, type_ = at.slots[lanes]
            before = self.b.load(slot, typ=type_)
            if r.op == "dot":
                x, y = [self._splat(factor, lanes, here, memo) for factor in operands(r.value)]
                after = self.build.multiply_add(x, y, before)
            else:
                value = self._splat(r.value, max(lanes, here.count), here, memo)
                if at.extreme is not None:
                    at.extreme.look(value, here.mask)
                after = before
                for part in self.build.pieces(value, lanes) if here.count > lanes else [value]:
                    after = self._combined(r, after, part, at.extreme)
            if here.mask is not None and not self.across:
                after = self.b.select(here.mask, after, before)
            self.b.store(after, slot)

    def _splat(self, e: Expr, lanes: int, here: Lanes, memo: dict[Expr, ir.Value]) -> ir.Value:
        return self.build.splat(self.code.value(e, here, memo), lanes)

    def finish(self) -> list[ir.Value]:
        """What the reductions have come to."""
        found = []
        for r, at in self.places:
            slot, type_ = at.slots[self.lanes]
            value = self.b.load(slot, typ=type_)
            if self.several > 1:
                slot, type_ = at.slots[self.several * self.lanes]
                halves = self._halved(r, self.b.load(slot, typ=type_), at.extreme, self.lanes)
                value = self._combined(r, halves, value, at.extreme)
            value = self._folded(r, value, at.extreme)
            found.append(value if at.extreme is None else at.extreme.finish(value))
        return found

    def _combined(self, r: Reduction, x: ir.Value, y: ir.Value, extreme: Extreme | None) -> ir.Value:
        return combine(self.build, r.op, x, y, r.dtype) if extreme is None else extreme.combine(x, y)

    def _halved(self, r: Reduction, value: ir.Value, extreme: Extreme | None, lanes: int) -> ir.Value:
        """As many lanes of a longer vector, each combined with those that follow in the rest of it."""
        while value.lanes > lanes:
            x, y = self.build.pieces(value, value.lanes // 2)
            value = self._combined(r, x, y, extreme)
        return value

    def _folded(self, r: Reduction, value: ir.Value, extreme: Extreme | None) -> ir.Value:
        """All lanes combined, as a tree.

        By halves that become shorter: of permutations of whole vectors, of which one lane is wanted in the end, LLVM 22
        makes wrong code for AVX-512.
        """
        if self.across or not isinstance(value.type, ir.VectorType):
            return value
        pair = self._halved(r, value, extreme, 2)
        x, y = [self.b.extract_element(pair, I32(k)) for k in range(2)]
        return self._combined(r, x, y, extreme)
