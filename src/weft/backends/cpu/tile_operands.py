"""Where the tiles of a contraction read its operands: in memory, or in scratch memory that these are copied to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...ir.dtype import DType
from ...kernel.index import Var, as_index
from ...kernel.tiles import Tiles
from ...kernel.tiling import tiling
from . import instructions as ir
from .build import I64, Build
from .matrix_tile import MatrixTile
from .pack import PanelPacker, RowPacker
from .places import Lanes
from .register_tile import Block, RegisterTile
from .tile_results import Place
from .tile_units import packed_bytes


class TileOperands:
    """The rows of the first operand and the columns of the second that tiles read, and copies of them."""

    def __init__(self, build: Build, t: Tiles) -> None:
        self.build = build
        self.b = build.b
        self.t = t
        self.cut = tiling(t, build.target)
        self.tile = (MatrixTile if t.wide and build.target.matrices else RegisterTile)(build, t, self.cut)
        self.lanes = self.tile.lanes
        panels, rows = packed_bytes(t, build.target)
        self.scratch = build.scratch(panels)
        self.row_scratch = build.scratch(rows) if self.cut.pack_rows else None

    def _by_width(self, panel: ir.Value) -> Iterator[Place]:
        """The columns of a panel: all panels are as wide, but for the last, perhaps, which has code of its own."""
        whole, full, narrow = self._widths(panel)
        if full is None or narrow is None:
            yield full or narrow  # type: ignore[misc]
            return
        last = self.b.icmp_signed("==", panel, I64(whole))
        with self.b.if_else(last) as (yes, no):
            with yes:
                yield narrow
            with no:
                yield full

    def _widths(self, panel: ir.Value) -> tuple[int, Place | None, Place | None]:
        """How many whole panels there are, the columns of a panel if it is one of them, and if it is the rest."""
        width = self.cut.vectors * self.lanes
        whole, over = divmod(self.t.n.size, width)
        full = Place({}, I64(0), self.b.mul(panel, I64(width)), 0, self.cut.vectors, None)
        mask = self.build.first_lanes(over % self.lanes, self.lanes) if over % self.lanes else None
        narrow = replace(full, vectors=-(-over // self.lanes), mask=mask)
        return whole, full if whole else None, narrow if over else None

    def _first_operand(self, values: dict[Var, ir.Value], block: Block | None) -> ir.Value:
        """Where the rows of the first operand begin, in a block of the outermost tap."""
        t, at = self.t, self.tile.expressions
        base = t.a.base.substitute({v: as_index(0) for v in t.fold})
        a = self.tile.offset(at.bases[t.a.buffer], at.index(base, Lanes(values)), self.tile.a_type)
        return self._in_block(a, block, [tap.a for tap in t.taps], self.tile.a_type)

    def _columns(self, tile: Place, block: Block | None) -> ir.Value:
        """Where the tile's columns of the second operand begin, in a block of the outermost tap."""
        t, at = self.t, self.tile.expressions
        b = self.tile.offset(at.bases[t.b.buffer], at.index(t.b.base, Lanes(tile.values)), self.tile.b_type)
        b = self.tile.offset(b, self.b.mul(tile.column, I64(t.b.stride)), self.tile.b_type)
        return self._in_block(b, block, [tap.b for tap in t.taps], self.tile.b_type)

    def _in_block(
        self, operand: ir.Value, block: Block | None, strides: Sequence[int], dtype: DType
    ) -> ir.Value:
        """Where the steps of a block begin, from where the first of all do."""
        for stride, start in zip(strides, block.starts if block is not None else (), strict=False):
            operand = self.tile.offset(operand, self.b.mul(start, I64(stride)), dtype)
        return operand

    def _rows_of(
        self, a: ir.Value, top: ir.Value, height: int, tiles: ir.Value, block: Block | None
    ) -> ir.Value:
        """Where the rows of some tiles begin: in memory, or in the scratch that they are copied to now."""
        a = self.tile.offset(a, self.b.mul(top, I64(self.t.a.stride)), self.tile.a_type)
        if self.row_scratch is None:
            return a
        t = replace(self.t, taps=self.t.taps[self.cut.level :])
        count = I64(t.taps[0].count) if block is None else block.count
        steps = self.tile.a_steps
        RowPacker(self.build, t, height, steps, tiles).copy(a, self.row_scratch, count)
        return self.row_scratch

    def _pack_together(
        self, values: dict[Var, ir.Value], panels: tuple[ir.Value, ir.Value], size: int, block: Block | None
    ) -> None:
        """Copy some panels into scratch, so many elements each: those of one width together."""
        start, stop = panels
        whole, full, narrow = self._widths(start)
        over = self.b.icmp_signed(">", stop, I64(whole))
        if full is not None:
            count = self.b.sub(self.b.select(over, I64(whole), stop), start)
            self._pack(replace(full, values=values), self.scratch, block, (count, size))
        if narrow is not None:
            with self.b.if_then(over):
                last = replace(narrow, values=values, column=I64(whole * self.cut.vectors * self.lanes))
                to = self.tile.offset(self.scratch, self.b.mul(self.b.sub(I64(whole), start), I64(size)))
                self._pack(last, to, block, (I64(1), 0))

    def _pack(self, tile: Place, target: ir.Value, block: Block | None, panels: tuple[ir.Value, int]) -> None:
        """Copy the tile's columns of the second operand into a scratch panel, and those of some panels behind it."""
        source, whole = self._columns(tile, block), self.t.taps[self.cut.level].count
        rest = whole % self.cut.block if block is not None else 0
        if rest == 0:
            self._pack_steps(tile, source, target, whole if block is None else self.cut.block, panels)
        else:
            assert block is not None
            with self.b.if_else(block.short) as (then, other):
                with then:
                    self._pack_steps(tile, source, target, rest, panels)
                with other:
                    self._pack_steps(tile, source, target, self.cut.block, panels)

    def _pack_steps(
        self, tile: Place, source: ir.Value, target: ir.Value, count: int, panels: tuple[ir.Value, int]
    ) -> None:
        """The same for so many steps of the tap that is cut."""
        t, level = self.t, self.cut.level
        width = tile.vectors * self.lanes
        over = t.n.size % self.lanes if tile.mask is not None else 0
        columns = width - (self.lanes - over if over else 0)
        part = replace(t, taps=(replace(t.taps[level], count=count), *t.taps[level + 1 :]))
        for start, to in zip(t.starts, self.tile.panel_starts(tile), strict=True):
            from_ = self.tile.offset(source, start, self.tile.b_type)
            panel = self.tile.offset(target, to)
            step = self.tile.panel_width(tile)
            PanelPacker(self.build, part, (columns, width), step, panels).copy(from_, panel)
