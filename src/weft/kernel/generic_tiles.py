"""Contractions of every size: tiles whose sizes, strides and offsets are holes that are filled at run time.

Each element of a result is one sum in one order, however rows and columns are cut. So a generic contraction may be cut
in a way of its own, the simplest, and has the bits of the special one all the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .borders import Border
from .generic import Generic, Maker, Special
from .loops import Expr
from .target import Target
from .tiles import Guard, Operand, Result, Tap, Tiles
from .tiling import general_shapes, rows_of_sums

#: Bytes of a packed panel, at most, that all steps of a sum may take.
_PANEL = 4 << 20

#: Tiles of a band: as many rows as share a panel that a thread has packed.
_TILES = 16


@dataclass(frozen=True)
class GenericTiles(Tiles):
    """A contraction with holes in place of sizes; what its code is made for is the size of a register tile."""

    rows_of_tile: int = 1
    vectors: int = 1  #: of a row of a tile, of each sum
    panels: int = 0  #: how many of so many vectors the columns make
    bands: int = 0  #: how many of `rows_of_band` the rows make
    parts: int = 0  #: pieces of work: one for each panel, band and value of the outer variables
    units: int = 0  #: that these are shared out to: those of the special kernel

    @property
    def rows_of_band(self) -> int:
        return _TILES * self.rows_of_tile


def generalize_tiles(t: Tiles, units: int, target: Target) -> Generic | None:
    """The generic form of a contraction whose work is cut into so many units; None if it has none."""
    if t.fold or t.rows or t.along or t.wide or panel_bytes(t, target) > _PANEL:
        return None
    rows, vectors = _shape(t, target)
    maker = _Maker()
    try:
        found = maker.tiles(t)
    except Special:
        return None
    panels = -(-t.n.size // (vectors * target.lanes(t.dtype.itemsize)))
    bands = -(-t.m.size // (_TILES * rows))
    parts = math.prod([v.size for v in t.outer]) * panels * bands
    generic = GenericTiles(
        **{name: getattr(found, name) for name in Tiles.__dataclass_fields__},
        rows_of_tile=rows,
        vectors=vectors,
        panels=maker.hole(panels),
        bands=maker.hole(bands),
        parts=maker.hole(parts),
        units=maker.hole(max(units, 1)),
    )
    return Generic(generic, tuple(maker.values))


def _shape(t: Tiles, target: Target) -> tuple[int, int]:
    """(rows, vectors) of a tile: one of a few shapes, which do for all sizes."""
    most = general_shapes(target)
    if len(t.starts) > 1:
        return min(most[1], rows_of_sums(len(t.starts), target)), 1
    columns = -(-t.n.size // target.lanes(t.dtype.itemsize))
    vectors = min([v for v in most if v >= columns], default=max(most))
    return 1 if t.m.size == 1 else most[vectors], vectors


def panel_bytes(t: Tiles, target: Target) -> int:
    """Bytes of a packed panel of the generic form."""
    return t.steps * len(t.starts) * _shape(t, target)[1] * target.vector_bytes


class _Maker(Maker):
    def tiles(self, t: Tiles) -> Tiles:
        return replace(
            t,
            name="generic",
            outer=tuple([self.var(v) for v in t.outer]),
            m=self.var(t.m),
            n=self.var(t.n),
            taps=tuple([self.tap(x) for x in t.taps]),
            a=self.operand(t.a),
            b=self.operand(t.b),
            results=tuple([self.result(r) for r in t.results]),
            border=None if t.border is None else self.border(t.border),
            starts=tuple([self.hole(s) if s else 0 for s in t.starts]),
            notes=(),
        )

    def tap(self, tap: Tap) -> Tap:
        guard = tap.guard
        if guard is not None:  # what there is to compute depends on its steps
            guard = Guard(self.index(guard.at), guard.dilation, self.hole(guard.size), guard.step)
        return Tap(self.hole(tap.count), self.step(tap.a), self.step(tap.b), guard)

    def operand(self, x: Operand) -> Operand:
        return Operand(x.buffer, self.index(x.base), self.step(x.stride))

    def result(self, r: Result) -> Result:
        value: Expr = self.expr(r.value)
        return Result(self.operand(r.out), self.step(r.step), value)

    def border(self, b: Border) -> Border:
        rows = tuple([(self.hole(count), self.hole(apart)) for count, apart in b.rows])
        return Border(rows, self.hole(b.start), self.hole(b.length), self.hole(b.size), self.hole(b.gaps))
