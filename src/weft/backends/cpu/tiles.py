"""Contractions as code: bands of rows, panels of columns and blocks of steps, around register tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

from ...kernel.index import Var
from ...kernel.target import Target
from ...kernel.tiles import Tiles
from ...kernel.tiling import COLUMNS_CACHED, scratch_size
from . import instructions as ir
from .borders import fill_border
from .build import I64, KERNEL, LINE, Build
from .fetching import Fetch, part_of_rows, run_of_lines
from .register_tile import Block
from .tile_operands import TileOperands
from .tile_results import Place
from .tile_units import group_count, panel_count, run_length, unit_variables, units


def emit_tiles(module: ir.Module, t: Tiles, target: Target) -> ir.Function:
    """Add the function of one contraction to `module`."""
    function = ir.Function(module, KERNEL, t.name)
    _Emitter(Build(module, function, target), t).emit()
    return function


#: The tiles of neighbouring rows, all as high or not, that some code goes through: (the first, the one behind them).
Band = tuple[ir.Value, ir.Value]


class _Emitter(TileOperands):
    """Writes the loops around the tiles of one contraction."""

    def __init__(self, build: Build, t: Tiles) -> None:
        super().__init__(build, t)
        #: The variables that a unit goes through for each block of columns, and the tiles of a band, at most.
        self.inside = t.outer[len(unit_variables(t, build.target)) :]
        self.band_tiles = -(-self.cut.tiles // self.cut.bands)
        self.lines = 0  #: of the next block, that a tile fetches in each turn of its innermost loop
        turns = self._shared_by() * self.tile.turns(t.taps[self.cut.level :], self.cut.block)
        if turns and self._fetches_ahead():
            self.lines = -(-self._block_size() * self.tile.size // LINE // turns)

    def emit(self) -> None:
        begin, end = self.build.function.args[1:3]
        target = self.build.target
        if self.t.border is not None:
            base = self.tile.expressions.bases[self.t.results[0].out.buffer]
            fill_border(self.build, base, self.t.outputs[0], self.t.border, units(self.t, target))
        for values, group, band in self._runs(begin, end):
            if self.cut.blocked:
                with self._each_block() as block:
                    self._group(values, group, band, block)
            else:
                self._group(values, group, band, None)
        self.tile.done()
        self.b.ret_void()

    def _runs(self, begin: ir.Value, end: ir.Value) -> Iterator[tuple[dict[Var, ir.Value], ir.Value, Band]]:
        """Loops over units: (values of the outer variables, the number of the group, the tiles).

        Bands that follow one another and meet the same packed columns are gone through as one: a thread packs these
        once, and again for each block, wherever it begins.
        """
        bands, groups = self.cut.bands, group_count(self.t, self.build.target)
        if run_length(self.t, self.build.target) > 1:
            last = self.b.udiv(self.b.add(end, I64(bands - 1)), I64(bands))
            with self.build.loop(self.b.udiv(begin, I64(bands)), last, name="run") as run:
                first = self.b.mul(run, I64(bands))
                low, high = self.b.sub(begin, first), self.b.sub(end, first)
                low, high = self.b.smax(low, I64(0)), self.b.smin(high, I64(bands))
                group, rest = self._split(run, groups)
                yield self._decode(rest)[0], group, self._tiles(low, high)
            return
        with self.build.loop(begin, end, name="unit") as unit:
            if self.cut.rows_first:
                group, rest = self._split(unit, groups)
                values, band = self._decode(rest)
            else:
                band, rest = self._split(unit, bands)
                group, rest = self._split(rest, groups)
                values, _ = self._decode(rest)
            yield values, group, self._tiles(band, self.b.add(band, I64(1)))

    @contextmanager
    def _each_block(self, level: int = 0) -> Iterator[Block]:
        """Loops over the blocks, outermost tap first."""
        tap = self.t.taps[level]
        if level < self.cut.level:
            with (
                self.build.loop(I64(0), I64(tap.count), name="tap") as k,
                self._each_block(level + 1) as block,
            ):
                first = self.b.and_(block.first, self.b.icmp_signed("==", k, I64(0)))
                last = self.b.and_(block.last, self.b.icmp_signed("==", k, I64(tap.count - 1)))
                yield replace(block, starts=(k, *block.starts), first=first, last=last)
            return
        total, size = I64(tap.count), I64(self.cut.block)
        with self.build.loop(I64(0), total, self.cut.block, name="block") as start:
            left = self.b.sub(total, start)
            ends = self.b.icmp_signed("<=", left, size)
            first = self.b.icmp_signed("==", start, I64(0))
            yield Block((start,), self.b.select(ends, left, size), ends, first, ends)

    def _group(self, values: dict[Var, ir.Value], group: ir.Value, band: Band, block: Block | None) -> None:
        """Some panels: one after the other, or all of them for each tile of rows."""
        panels, most = panel_count(self.t, self.build.target), self.cut.group
        if most == 1 and not self.cut.pack_rows:
            self._panel(group, values, band, block)
            return
        start = self.b.mul(group, I64(most))
        stop = self.b.smin(self.b.add(start, I64(most)), I64(panels))
        if self.cut.panels_together:
            self._tiles_first(values, (start, stop), band, block)
            return
        with self.build.loop(start, stop, name="panel") as panel:
            self._panel(panel, values, band, block)

    def _tiles_first(
        self,
        values: dict[Var, ir.Value],
        panels: tuple[ir.Value, ir.Value],
        band: Band,
        block: Block | None,
    ) -> None:
        """Some panels, which lie in the cache together, so that every tile of rows is read, or copied, but once."""
        start, cut = panels[0], self.cut
        size = scratch_size(self.t, self.build.target) // cut.group
        if cut.pack:
            self._pack_together(values, panels, size, block)
        for here in self.tile.positions(self.inside, values):
            a = self._first_operand(here, block)
            for top, height, count in self._stacks(band):
                rows = self._rows_of(a, top, height, count, block)
                with self.build.loop(*panels, name="panel") as panel:
                    number = self.b.sub(panel, start)
                    before = self.b.mul(number, I64(cut.stack))
                    for tile in self._by_width(panel):
                        tile = replace(tile, values=here, height=height)
                        if cut.pack:
                            b = self.tile.offset(self.scratch, self.b.mul(number, I64(size)))
                        else:
                            b = self._columns(tile, block)
                        for i, part in self._each_of(rows, height, count):
                            first = self.b.add(top, self.b.mul(i, I64(height)))
                            ahead = self._next_stack(a, top, height, self.b.add(before, i))
                            self.tile.compute(replace(tile, top=first, ahead=ahead), part, b, block)

    def _split(self, x: ir.Value, by: int) -> tuple[ir.Value, ir.Value]:
        """(x mod by, x div by)"""
        return (self.b.urem(x, I64(by)), self.b.udiv(x, I64(by))) if by > 1 else (I64(0), x)

    def _decode(self, position: ir.Value) -> tuple[dict[Var, ir.Value], ir.Value]:
        """The values of the outer variables at a position of their flattened range, and what is left of it."""
        order, t = unit_variables(self.t, self.build.target), self.t
        if not self.cut.blocked and t.column_bytes <= COLUMNS_CACHED:
            # Some rows meet all columns before the next rows do.
            order = (*[v for v in order if v in t.shared], *[v for v in order if v in t.choosing])
        values: dict[Var, ir.Value] = {}
        for v in reversed(order):
            values[v], position = self._split(position, v.size)
        return values, position

    def _panel(self, panel: ir.Value, values: dict[Var, ir.Value], band: Band, block: Block | None) -> None:
        """All tiles of one band of rows and the columns of a panel."""
        for tile in self._by_width(panel):
            tile = replace(tile, values=values)
            if self.cut.pack:
                self._pack(tile, self.scratch, block, (I64(1), 0))
            for here in self.tile.positions(self.inside, tile.values):
                inside = replace(tile, values=here)
                b = self.scratch if self.cut.pack else self._columns(inside, block)
                self._rows(inside, self._first_operand(here, block), b, band, block)

    def _stacks(self, band: Band) -> Iterator[tuple[ir.Value, int, ir.Value]]:
        """Loops over stacks of tiles of a band: (the first row of a stack, how many each tile has, its tiles)."""
        if self.cut.stack == 1:
            for top, height, _ in self._tops(band):
                yield top, height, I64(1)
            return
        row, first = 0, 0
        for tiles, height in self.cut.heights:
            low, high = self._range(band, first, tiles)
            with self.build.loop(low, high, self.cut.stack, name="stack") as i:
                count = self.b.smin(self.b.sub(high, i), I64(self.cut.stack))
                yield self.b.add(I64(row), self.b.mul(i, I64(height))), height, count
            row += tiles * height
            first += tiles

    def _each_of(self, rows: ir.Value, height: int, count: ir.Value) -> Iterator[tuple[ir.Value, ir.Value]]:
        """Loops over the tiles of a stack: (its number, where its rows begin)."""
        if self.cut.stack == 1:
            yield I64(0), rows
            return
        with self.build.loop(I64(0), count, name="tile") as i:
            yield i, self.tile.offset(rows, self.b.mul(i, I64(height)))

    def _rows(self, tile: Place, a: ir.Value, b: ir.Value, band: Band, block: Block | None) -> None:
        """The tiles of a band, top to bottom."""
        for top, height, number in self._tops(band):
            here = replace(tile, top=top, height=height)
            if self.lines:
                start = self._next_block(here, b, number)
                here = replace(here, ahead=run_of_lines(self.build, start, self.lines))
            self.tile.compute(here, self._rows_of(a, top, height, I64(1), block), b, block)

    def _tops(self, band: Band) -> Iterator[tuple[ir.Value, int, ir.Value]]:
        """Loops over the tiles of a band: (the first row of a tile, how many it has, its number in the band)."""
        row, first = 0, 0
        for tiles, height in self.cut.heights:
            low, high = self._range(band, first, tiles)
            with self.build.loop(low, high, name="tile") as i:
                number = self.b.sub(self.b.add(i, I64(first)), band[0])
                top = I64(row) if tiles == 1 else self.b.add(I64(row), self.b.mul(i, I64(height)))
                yield top, height, number
            row += tiles * height
            first += tiles

    def _tiles(self, low: ir.Value, high: ir.Value) -> Band:
        """The tiles of some bands: from which to which."""
        count, bands = self.cut.tiles, self.cut.bands
        if bands == 1:
            return I64(0), I64(count)
        first, end = (self.b.udiv(self.b.mul(x, I64(count)), I64(bands)) for x in (low, high))
        return first, end

    def _range(self, band: Band, first: int, tiles: int) -> Band:
        """Which tiles of one height, the first of which has this number among all, a band goes through."""
        if self.cut.bands == 1:
            return I64(0), I64(tiles)
        low, high = (self.build.clip(self.b.sub(at, I64(first)), tiles) for at in band)
        return low, high

    # -- fetching ahead -----------------------------------------------------------------------------------------

    def _fetches_ahead(self) -> bool:
        """Whether memory can bring the next block of the second operand, or the next panel, while tiles use this one:
        whether it is one run of memory, as one long panel is, or are rows of pixels that several tiles go through."""
        t, cut = self.t, self.cut
        taps = t.taps[cut.level :]
        if cut.pack or t.b.stride != 1 or t.type_of(t.b) is not t.dtype:
            return False
        width = cut.vectors * self.lanes
        if not cut.blocked or len(taps) == 1:
            adjoining = cut.blocked or (t.column_bytes > COLUMNS_CACHED and self._adjoining())
            return t.taps[-1].b == width and adjoining
        runs = all(x.b == y.count * y.b for x, y in pairwise(taps)) and not any(x.guard for x in taps)
        return runs and t.taps[-1].b == t.n.size <= cut.group * width and self._shared_by() > 1

    def _next_stack(self, a: ir.Value, top: ir.Value, height: int, number: ir.Value) -> Fetch | None:
        """What a tile of this number fetches of the rows below its stack: they are copied next."""
        t, cut, tap = self.t, self.cut, self.t.taps[0]
        if cut.stack == 1 or len(t.taps) > 1 or self.tile.a_type is not t.dtype:
            return None
        size, rows = t.dtype.itemsize, cut.stack * height
        below = self.tile.offset(a, self.b.add(top, I64(rows)))
        matrix = (cut.block, rows * size, tap.a * size)
        return part_of_rows(self.build, below, matrix, number, cut.stack * cut.group)

    def _adjoining(self) -> bool:
        """Whether each unit has one whole panel, and the next unit the panel behind it."""
        t = self.t
        alone = t.n.size == self.cut.vectors * self.lanes and self.cut.bands == 1 and len(t.taps) == 1
        return alone and bool(t.outer) and t.b.base.stride(t.outer[-1]) == t.steps * t.n.size

    def _shared_by(self) -> int:
        """How many tiles one after the other use a block of the second operand."""
        return self.cut.group * math.prod([v.size for v in self.inside]) * self.band_tiles

    def _block_size(self) -> int:
        """Elements of a block of the second operand."""
        return self.cut.block * self.t.taps[self.cut.level].b

    def _next_block(self, tile: Place, b: ir.Value, number: ir.Value) -> ir.Value:
        """Where a tile, the given one of its band, begins to fetch; when all is fetched, it does so again."""
        width, size = self.cut.vectors * self.lanes, self._block_size()
        b = self.tile.offset(b, self.b.sub(I64(0), tile.column)) if self.cut.group > 1 else b
        before = self.b.udiv(tile.column, I64(width)) if self.cut.group > 1 else I64(0)
        for v in self.inside:
            before = self.b.add(self.b.mul(before, I64(v.size)), tile.values[v])
        number = self.b.add(self.b.mul(before, I64(self.band_tiles)), number)
        turns = self.tile.turns(self.t.taps[self.cut.level :], self.cut.block)
        done = self.b.mul(number, I64(turns * self.lines * LINE // self.tile.size))
        done = self.b.select(self.b.icmp_signed("<", done, I64(size)), done, I64(0))
        return self.tile.offset(b, self.b.add(done, I64(size)))
