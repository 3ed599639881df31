"""What becomes of the sums of a register tile: results are computed from them and stored, or they wait in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...ir.dtype import DType
from ...kernel.index import Var
from ...kernel.loops import Expr
from ...kernel.tiles import Result, Tiles, of_columns
from ...kernel.tiling import Tiling
from . import instructions as ir
from .build import I1, I64, Build, memory_type, register_type
from .expressions import Expressions
from .fetching import Fetch
from .places import Lanes
from .scalar import combine
from .work import after_sums

#: So many operations on the sums of an element, an exponential or the like, are written once for all rows of a tile.
_MUCH = 12

#: Lanes, at least, of vectors that are transposed on their way to memory: shorter ones have no masks.
_SQUARE = 8


@dataclass(frozen=True)
class Place:
    """One register tile: where it is and how large."""

    values: dict[Var, ir.Value]  #: of the outer variables
    top: ir.Value
    column: ir.Value
    height: int
    vectors: int
    mask: ir.Constant | None  #: of the last vector
    ahead: Fetch | None = None  #: what to fetch meanwhile of an operand, for a later tile, block or tap

    def cells(self) -> list[tuple[int, int]]:
        return [(r, v) for r in range(self.height) for v in range(self.vectors)]

    def mask_of(self, v: int) -> ir.Constant | None:
        return self.mask if v == self.vectors - 1 else None


class TileResults:
    """The sums of one tile after the other, and where they and what is computed from them goes."""

    def __init__(self, build: Build, t: Tiles, cut: Tiling) -> None:
        self.build = build
        self.b = build.b
        self.t = t
        self.cut = cut
        self.lanes = build.target.lanes(t.dtype.itemsize)
        self.type = register_type(t.dtype)
        self.vector = ir.VectorType(self.type, self.lanes)
        self.expressions = Expressions(build, (*t.inputs, *t.outputs), t.checked)
        self.size = t.dtype.itemsize
        self.vector_bytes = self.size * self.lanes
        self.columns = of_columns(t)  #: parts of the results that all rows of a column have in common
        self.waiting: dict[Result, list[ir.Value]] = {}  #: rows that go to memory together
        self.slots: list[ir.Value] = []  #: the sums of a tile: those with the first columns come first
        with self.b.goto_entry_block():
            for _ in range(len(t.starts) * cut.tallest * cut.vectors):
                self.slots.append(self.b.alloca(self.vector))
            #: Where the finished sums of a tile lie while results that are much work are computed from them.
            self.kept: ir.Value | None = None
            if len(t.starts) > 1 or after_sums(t) >= _MUCH:
                count = len(self.slots) // cut.vectors * self.lanes
                self.kept = self.b.alloca(self.type, count, self.vector_bytes)
        #: Results whose rows are neighbours in memory, and columns are not: they are transposed on their way there.
        self.across = [r for r in t.results if self._lies_across(r)]

    def _lies_across(self, result: Result) -> bool:
        t, dtype = self.t, self.t.outputs[result.out.buffer - len(self.t.inputs)]
        alone = len(t.results) == 1 or self.kept is None
        neighbours = result.out.stride == 1 and result.step not in (0, 1) and self.lanes >= _SQUARE
        return neighbours and alone and dtype is t.dtype and dtype.kind == "f" and not t.fold

    def offset(self, base: ir.Value, by: ir.Value | int, dtype: DType | None = None) -> ir.Value:
        """`by` elements further: of the operands as they are in memory, or else of the type that products have."""
        type_ = self.type if dtype is None else memory_type(dtype)
        return self.b.gep(base, [I64(by) if isinstance(by, int) else by], source_etype=type_)

    def _slot(self, tile: Place, s: int, r: int, v: int) -> ir.Value:
        """Where sum s of a row and vector of the tile is kept."""
        return self.slots[(s * tile.height + r) * tile.vectors + v]

    def _place(self, result: Result, tile: Place, r: ir.Value, v: int) -> ir.Value:
        """Where in its buffer a result of a cell goes."""
        at = self.expressions.index(result.out.base, Lanes(tile.values))
        at = self.b.add(at, self.b.mul(self.b.add(tile.top, r), I64(result.out.stride)))
        column = self.b.add(tile.column, I64(v * self.lanes))
        return self.b.add(at, self.b.mul(column, I64(result.step)))

    def _exchange(self, tile: Place, load: bool) -> None:
        """Move the accumulators to the result's memory, or back."""
        (result,) = self.t.results
        buffer, step = result.out.buffer, result.step
        if self.across:
            for v in range(tile.vectors):
                self._exchange_across(tile, v, load)
            return
        for r, v in tile.cells():
            at, slot = self._place(result, tile, I64(r), v), self._slot(tile, 0, r, v)
            lanes = Lanes({}, self.t.n, self.lanes, tile.mask_of(v))
            if load:
                self.b.store(self.expressions.get(buffer, at, step, lanes), slot)
            else:
                self.expressions.put(buffer, at, step, self.b.load(slot, typ=self.vector), lanes)

    def _finish(self, tile: Place) -> None:
        """Compute the results from the sums and store them, or the greatest of them so far."""
        t = self.t
        first = I1(1)
        for v in t.fold:
            first = self.b.and_(first, self.b.icmp_signed("==", tile.values[v], I64(0)))
        for v in range(tile.vectors):
            column = {**tile.values, t.n: self.b.add(tile.column, I64(v * self.lanes))}
            lanes = Lanes(column, t.n, self.lanes, tile.mask_of(v))
            shared = {e: self.expressions.value(e, lanes, {}) for e in self.columns}
            for r, sums in self._rows_of_sums(tile, v):
                values = {**column, t.m: self.b.add(tile.top, r)}
                self.expressions.totals = sums
                self._store_results(tile, r, v, replace(lanes, values=values), dict(shared), first)
            self._store_across(tile, v)

    def _rows_of_sums(self, tile: Place, v: int) -> Iterator[tuple[ir.Value, list[ir.Value]]]:
        """Each row and its sums in vector v: one after the other, or, where results are much work, in a loop."""
        slots = [[self._slot(tile, i, r, v) for i in range(len(self.t.starts))] for r in range(tile.height)]
        if self.kept is None:
            for r, row in enumerate(slots):
                yield I64(r), [self.b.load(slot, typ=self.vector) for slot in row]
            return
        size, sums = self.vector_bytes, len(self.t.starts)
        for i, slot in enumerate([slot for row in slots for slot in row]):
            total = self.b.load(slot, typ=self.vector)
            self.b.store(total, self.offset(self.kept, i * self.lanes), align=size)
        with self.build.loop(I64(0), I64(len(slots)), name="row") as r:
            at = self.offset(self.kept, self.b.mul(r, I64(sums * self.lanes)))
            places = [self.offset(at, i * self.lanes) for i in range(sums)]
            yield r, [self.b.load(place, typ=self.vector, align=size) for place in places]

    def _store_results(
        self, tile: Place, r: ir.Value, v: int, lanes: Lanes, known: dict[Expr, ir.Value], first: ir.Value
    ) -> None:
        """Store the results of a row and vector, or the greater ones of them and those before, if not the first."""
        t = self.t
        for result in t.results:
            value = self.build.splat(self.expressions.value(result.value, lanes, known), self.lanes)
            if result in self.across:
                self._keep_row(tile, r, result, value)
                continue
            place, buffer, step = self._place(result, tile, r, v), result.out.buffer, result.step
            if t.fold:
                before = self.expressions.get(buffer, place, step, lanes)
                value = self.b.select(first, value, combine(self.build, "max", before, value, t.dtype))
            self.expressions.put(buffer, place, step, value, lanes)

    # -- results whose rows are neighbours ----------------------------------------------------------------------

    def _keep_row(self, tile: Place, r: ir.Value, result: Result, value: ir.Value) -> None:
        """Keep a row of a result: in the place of its first sum, where rows come in a loop."""
        if self.kept is None:
            self.waiting.setdefault(result, []).append(value)
            return
        at = self.offset(self.kept, self.b.mul(r, I64(len(self.t.starts) * self.lanes)))
        self.b.store(value, at, align=self.vector_bytes)

    def _store_across(self, tile: Place, v: int) -> None:
        """Store the rows of results that were kept."""
        for result in self.across:
            if self.kept is None:
                rows = self.waiting.pop(result)
            else:
                apart = len(self.t.starts) * self.lanes
                places = [self.offset(self.kept, r * apart) for r in range(tile.height)]
                rows = [self.b.load(place, typ=self.vector, align=self.vector_bytes) for place in places]
            self._put_across(result, tile, v, rows)

    def _exchange_across(self, tile: Place, v: int, load: bool) -> None:
        """Move the sums of a vector of columns to the result's memory, or back."""
        (result,) = self.t.results
        slots = [self._slot(tile, 0, r, v) for r in range(tile.height)]
        if not load:
            self._put_across(result, tile, v, [self.b.load(slot, typ=self.vector) for slot in slots])
            return
        for top, columns in self._squares(result, tile, v):
            found = [self.expressions.get(result.out.buffer, at, 1, lanes) for at, lanes in columns]
            rows = self.build.transposed(self._filled(found))
            for slot, row in zip(slots[top : top + self.lanes], rows, strict=False):
                self.b.store(row, slot)

    def _put_across(self, result: Result, tile: Place, v: int, rows: list[ir.Value]) -> None:
        """Store rows column by column."""
        for top, columns in self._squares(result, tile, v):
            found = self.build.transposed(self._filled(rows[top : top + self.lanes]))
            for (at, lanes), value in zip(columns, found, strict=False):
                self.expressions.put(result.out.buffer, at, 1, value, lanes)

    def _squares(
        self, result: Result, tile: Place, v: int
    ) -> Iterator[tuple[int, list[tuple[ir.Value, Lanes]]]]:
        """Squares of a vector of columns: (its first row, for each column where it begins and its lanes)."""
        n, mask = self.lanes, tile.mask_of(v)
        over = n if mask is None else self.t.n.size % n
        for top in range(0, tile.height, n):
            count = min(n, tile.height - top)
            lanes = Lanes({}, self.t.m, n, self.build.first_lanes(count, n) if count < n else None)
            first = self._place(result, tile, I64(top), v)
            yield top, [(self.b.add(first, I64(j * result.step)), lanes) for j in range(over)]

    def _filled(self, rows: list[ir.Value]) -> list[ir.Value]:
        """As many vectors as one has lanes."""
        return [*rows, *[self.build.const(0.0, self.vector)] * (self.lanes - len(rows))]
