"""The register tile: rows times vectors of sums that stay in registers while products are added, tap by tap."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ...kernel.index import Var
from ...kernel.tiles import Guard, Tap, Tiles
from ...kernel.tiling import Tiling, packed_rows
from . import instructions as ir
from .build import I64, Build
from .fetching import along_results, fetches_results, fetches_sums, lines_of_rows, run_of_lines
from .places import Lanes
from .tile_results import Place, TileResults
from .words import multiply_brains, multiply_pairs, multiply_quads

#: Steps of a tap in one turn of the innermost loop.
UNROLL = 4

#: The same where several elements of the first operand are read as one vector, which holds on to registers.
UNROLL_NEON = 2


@dataclass(frozen=True)
class Block:
    """Some steps of a tap, at one step of each tap outside it: between blocks the sums wait in the result's memory."""

    starts: tuple[ir.Value, ...]  #: of the taps outside and of the one that is cut
    count: ir.Value
    short: ir.Value  #: whether it is at the end of the tap
    first: ir.Value  #: whether it is the first, the last of all
    last: ir.Value


class RegisterTile(TileResults):
    """Writes the code of one tile at a time."""

    def __init__(self, build: Build, t: Tiles, cut: Tiling) -> None:
        super().__init__(build, t, cut)
        self.unroll = self._unroll()
        self.a_type, self.b_type = (t.type_of(x) for x in (t.a, t.b))
        #: (from one row of the first operand to the next, from one step to the next), where tiles read it
        self.a_steps = packed_rows(t, build.target) if cut.pack_rows else (t.a.stride, 0)
        self.expressions.normal = t.wide and build.target.pairs  # tiny sums are zero
        self.fetches_results, self.fetches_sums = fetches_results(t, cut), fetches_sums(t, cut)
        #: What results are computed from that tiles fetch: several sums take long enough for it to arrive.
        self.beside = along_results(t) if self.fetches_results or len(t.starts) > 1 else []

    def _unroll(self) -> int:
        sums, registers = self.cut.vectors * self.cut.tallest, self.build.target.registers
        if self.t.rows and 8 * sums > 5 * registers:
            return 1  # what rows of several steps have in common would be held on to
        unroll = UNROLL_NEON if self.build.target.name == "aarch64" else UNROLL
        if sums + self.cut.vectors + 4 > registers and self._overlap(unroll):
            return 1
        return unroll

    def _overlap(self, unroll: int) -> bool:
        """Whether one row reads in one of the next steps what another row reads in this one."""
        row, step = abs(self.t.a.stride), abs(self.t.taps[-1].a)
        met = [k * step // row for k in range(1, unroll) if row and k * step % row == 0]
        return any(0 < r < self.cut.tallest for r in met)

    def _offset_b(self, base: ir.Value, by: ir.Value | int) -> ir.Value:
        """Within the second operand, where tiles read it."""
        return self.offset(base, by, None if self.cut.pack else self.b_type)

    def positions(self, outer: tuple[Var, ...], values: dict[Var, ir.Value]) -> Iterator[dict[Var, ir.Value]]:
        """Loops over outer variables; what the caller does with the yielded values is emitted inside."""
        if not outer:
            yield values
            return
        with self.build.loop(I64(0), I64(outer[0].size), name=outer[0].name) as i:
            yield from self.positions(outer[1:], {**values, outer[0]: i})

    def compute(self, tile: Place, a: ir.Value, b: ir.Value, block: Block | None) -> None:
        """The sums of a tile from its rows at a and columns at b; with a block, that part of them."""
        if self.t.along:
            a = self.offset(a, tile.column)
        a, b = self.b.hidden(a), self.b.hidden(b)
        if block is None:
            start = I64(0)
            for here in self.positions(self.t.fold, tile.values):
                tile = replace(tile, values=here)
                for v in self.t.fold:
                    start = self.b.add(start, self.b.mul(here[v], I64(self.t.a.base.stride(v))))
                self._clear(tile)
                self._nest(tile, self.offset(a, start), b, self.t.taps)
                self._finish(tile)
            return
        with self.b.if_else(block.first) as (then, other):
            with then:
                self._clear(tile)
            with other:
                self._exchange(tile, load=True)
        self._nest(tile, a, b, self.t.taps[self.cut.level :], block.count)
        with self.b.if_else(block.last) as (then, other):
            with then:
                self._finish(tile)
            with other:
                self._exchange(tile, load=False)

    def _clear(self, tile: Place) -> None:
        for slot in self.slots[: len(self.t.starts) * len(tile.cells())]:
            self.b.store(self.build.const(0.0, self.vector), slot)

    def _step(self, tap: Tap, tile: Place) -> int:
        """How far the second operand moves for one step of a tap."""
        return tap.b if not self.cut.pack else self._packed_step(tap, self.panel_width(tile))

    def panel_width(self, tile: Place) -> int:
        """Columns of a packed panel: those of all sums beside each other."""
        return len(self.t.starts) * tile.vectors * self.lanes

    def panel_starts(self, tile: Place) -> tuple[int, ...]:
        """Where the columns of each sum begin in a panel."""
        return tuple([s * tile.vectors * self.lanes for s in range(len(self.t.starts))])

    def _packed_step(self, tap: Tap, width: int) -> int:
        """The same where the steps of the innermost tap are `width` apart."""
        for t in reversed(self.t.taps):
            if t.a == tap.a and t.b == tap.b:
                return width
            width *= t.count
        return width

    def _nest(
        self, tile: Place, a: ir.Value, b: ir.Value, taps: tuple[Tap, ...], some: ir.Value | None = None
    ) -> None:
        """acc += the products of all taps, outermost first; of that one perhaps only `some` steps."""
        tap, *rest = taps
        a_step, b_step, count = tap.a, self._step(tap, tile), I64(tap.count)
        if tap.guard is not None:
            a, b, (a_step, b_step), count = self._guarded(tap, tap.guard, tile, a, b)
        if self.cut.pack_rows:
            a_step = self._packed_step(tap, self.a_steps[1])
        if some is not None:
            count = some
        if rest:
            with self.build.loop(I64(0), count, name="tap") as k:
                a_k, b_k = self._after(a, b, (a_step, b_step), k)
                here = self._further(tile, k, rest)
                if taps == self.t.taps:
                    here = self._with_next_rows(here, self.offset(a_k, a_step))
                    self._fetch_results(here, k)
                self._nest(here, a_k, b_k, tuple(rest))
        else:
            self._innermost(tile, a, b, a_step, b_step, count)

    def _after(
        self, a: ir.Value, b: ir.Value, steps: tuple[int, int], k: ir.Value
    ) -> tuple[ir.Value, ir.Value]:
        """Where both operands are k steps further."""
        return self.offset(a, self.b.mul(k, I64(steps[0]))), self._offset_b(b, self.b.mul(k, I64(steps[1])))

    def _guarded(
        self, tap: Tap, guard: Guard, tile: Place, a: ir.Value, b: ir.Value
    ) -> tuple[ir.Value, ir.Value, tuple[int, int], ir.Value]:
        """(where the operands of the first step of a tap are for which its guard holds, how far they move from one such
        step to the next, how many there are)."""
        step = self._step(tap, tile)
        at = self.expressions.index(guard.at, Lanes(tile.values))
        first, count, jump = self._valid(guard, at, tap.count)
        position = self.b.add(at, self.b.mul(first, I64(guard.dilation)))
        element = self.b.sdiv(position, I64(guard.step)) if guard.step > 1 else position
        a = self.offset(a, self.b.mul(element, I64(tap.a)))
        b = self._offset_b(b, self.b.mul(first, I64(step)))
        return a, b, (tap.a * (guard.dilation * jump // guard.step), step * jump), count

    def _valid(self, guard: Guard, at: ir.Value, count: int) -> tuple[ir.Value, ir.Value, int]:
        """(first k, how many, distance between them) of a tap, where its guard holds."""
        end = I64((guard.size - 1) * guard.step + 1)
        first = self.build.clip(self._ceil(self.b.neg(at), guard.dilation), count)
        stop = self.build.clip(self._ceil(self.b.sub(end, at), guard.dilation), count)
        jump = guard.step
        if jump > 1:  # the first k at which at + k * dilation is a multiple of the step; dilation is 1 here
            position = self.b.add(at, first)
            over = self.b.srem(self.b.add(self.b.srem(position, I64(jump)), I64(jump)), I64(jump))
            ahead = self.b.srem(self.b.sub(I64(jump), over), I64(jump))
            first = self.b.add(first, ahead)
        room = self.b.smax(self.b.sub(stop, first), I64(0))
        return first, self._ceil(room, jump), jump

    def _ceil(self, x: ir.Value, by: int) -> ir.Value:
        """x / by rounded up, for x of any sign."""
        if by == 1:
            return x
        up = self.b.sdiv(self.b.add(x, I64(by - 1)), I64(by))
        return self.b.select(self.b.icmp_signed(">", x, I64(0)), up, self.b.sdiv(x, I64(by)))

    def _innermost(
        self, tile: Place, a: ir.Value, b: ir.Value, a_step: int, b_step: int, count: ir.Value
    ) -> None:
        """acc += sum over k of a[:, k] b[k, :], some steps in each turn of the loop."""
        if self.cut.squares:
            assert isinstance(count, ir.Constant)
            self._in_squares(tile, a, b, a_step, count.constant)
            return
        unroll = self.unroll
        fixed = count.constant if isinstance(count, ir.Constant) else None
        if fixed is not None and fixed < 2 * unroll:
            for k in range(fixed):
                self._rank_one(tile, self.offset(a, k * a_step), self._offset_b(b, k * b_step))
            return
        whole = I64(0)
        if self.t.taps[-1].count >= unroll:  # else no turn has so many steps
            whole = self.b.and_(count, I64(-unroll))
            self._turns(tile, a, b, (a_step, b_step), whole)
        if fixed is not None:
            for k in range(fixed - fixed % unroll, fixed):
                self._rank_one(tile, self.offset(a, k * a_step), self._offset_b(b, k * b_step))
        else:
            with self.build.loop(whole, count, name="k.rest") as k:
                self._rank_one(tile, *self._after(a, b, (a_step, b_step), k))

    def _turns(self, tile: Place, a: ir.Value, b: ir.Value, steps: tuple[int, int], whole: ir.Value) -> None:
        """The first `whole` steps, as many in each turn as it unrolls."""
        unroll, (a_step, b_step) = self.unroll, steps
        with self.build.loop(I64(0), whole, unroll, name="k") as k:
            a_k, b_k = self._after(a, b, steps, k)
            # First: behind the loads of a step LLVM would keep what they read in memory until a line is fetched.
            self._fetch(tile, self.b.udiv(k, I64(unroll)))
            for j in range(unroll):
                self._rank_one(tile, self.offset(a_k, j * a_step), self._offset_b(b_k, j * b_step))

    def _fetch(self, tile: Place, turn: ir.Value) -> None:
        """What a turn of the innermost loop fetches for later."""
        if len(self.t.taps) == 1:
            self._fetch_results(tile, turn)
        if self.fetches_sums:
            self._fetch_sums(tile, turn)
        if tile.ahead is not None:
            tile.ahead(turn)

    def _in_squares(self, tile: Place, a: ir.Value, b: ir.Value, a_step: int, count: int) -> None:
        """The same where the steps of a column are neighbours: as many of them at a time as a vector has lanes."""
        with self.build.loop(I64(0), I64(count - count % self.lanes), self.lanes, name="k") as k:
            here = self.offset(a, self.b.mul(k, I64(a_step)), self.a_type)
            self._square(tile, here, self._offset_b(b, k), a_step, self.lanes)
        if rest := count % self.lanes:
            k = count - rest
            self._square(tile, self.offset(a, k * a_step, self.a_type), self._offset_b(b, k), a_step, rest)

    def _square(self, tile: Place, a: ir.Value, b: ir.Value, a_step: int, steps: int) -> None:
        """So many steps of every column, turned into vectors of columns at a step each."""
        mask = None if steps == self.lanes else self.build.first_lanes(steps, self.lanes)
        count = self.lanes if tile.mask is None else sum(tile.mask.constant)
        columns = [self._load(self._offset_b(b, j * self.t.b.stride), mask) for j in range(count)]
        columns += [self.build.const(0, self.vector)] * (self.lanes - count)
        for j, column in enumerate(self.build.transposed(columns)[:steps]):
            for r in range(tile.height):
                x = self.build.load(a, I64(j * a_step + self._row(tile, r)), self.a_type)
                x = self.build.splat(x, self.lanes)
                slot = self._slot(tile, 0, r, 0)
                self.b.store(self._multiply_add(x, column, self.b.load(slot, typ=self.vector)), slot)

    def turns(self, taps: Sequence[Tap], count: int) -> int:
        """Turns of the innermost loop in so many steps of the first of some taps."""
        counts = [count, *[t.count for t in taps[1:]]]
        return math.prod(counts[:-1]) * (counts[-1] // self.unroll)

    def _further(self, tile: Place, k: ir.Value, rest: Sequence[Tap]) -> Place:
        """The tile, whose turns count from those before step k of the tap outside of the others."""
        fetch = tile.ahead
        if fetch is None:
            return tile
        before = self.b.mul(k, I64(self.turns(rest, rest[0].count)))
        return replace(tile, ahead=lambda turn: fetch(self.b.add(before, turn)))

    def _with_next_rows(self, tile: Place, rows: ir.Value) -> Place:
        """The tile, fetching these rows, which the next step of the outermost tap needs."""
        lines = lines_of_rows(self.t, self.cut, tile.height, self.unroll)
        return replace(tile, ahead=run_of_lines(self.build, rows, lines)) if lines else tile

    def _fetch_results(self, tile: Place, k: ir.Value) -> None:
        """Some of the lines that results are computed from, and that they go to: a part in each step k of the outermost
        tap or, where it is the only one, in each turn k of its loop."""
        if not self.beside and not self.fetches_results:
            return
        t, last = self.t, I64(tile.height - 1)
        outermost, *others = t.taps
        turns = outermost.count if others else outermost.count // self.unroll
        part = -(-tile.height // turns)
        for i in range(part):
            row = self.b.smin(self.b.add(self.b.mul(k, I64(part)), I64(i)), last)
            for v in range(tile.vectors):
                values = {**tile.values, t.m: self.b.add(tile.top, row)}
                values[t.n] = self.b.add(tile.column, I64(v * self.lanes))
                for e in self.beside:
                    at = self.expressions.index(e.index, Lanes(values))
                    self.build.prefetch(self.offset(self.expressions.bases[e.buffer], at, e.dtype))
                for result in t.results if self.fetches_results else ():
                    buffer, at = result.out.buffer, self._place(result, tile, row, v)
                    base, dtype = self.expressions.bases[buffer], self.expressions.dtypes[buffer]
                    self.build.prefetch(self.offset(base, at, dtype), write=True)

    def _fetch_sums(self, tile: Place, turn: ir.Value) -> None:
        """A line of the sums of the next tile, in each turn of the innermost loop until it has all."""
        b, (result,) = self.b, self.t.results
        cells = I64(tile.height * tile.vectors)
        cell = b.select(b.icmp_signed("<", turn, cells), turn, I64(0))
        row, vector = b.udiv(cell, I64(tile.vectors)), b.urem(cell, I64(tile.vectors))
        if self.cut.rightwards:
            vector = b.add(vector, I64(tile.vectors))
        else:
            row = b.add(row, I64(tile.height))
        at = b.add(self._place(result, tile, row, 0), b.mul(vector, I64(self.lanes)))
        self.build.prefetch(self.offset(self.expressions.bases[result.out.buffer], at), level=1)

    def _rank_one(self, tile: Place, a: ir.Value, b: ir.Value) -> None:
        """acc[s, r, v] += a[r] * b[s, v] for all sums, rows and vectors of the tile."""
        right = []
        for start in self.panel_starts(tile) if self.cut.pack else self.t.starts:
            for v in range(tile.vectors):
                mask = None if self.cut.pack else tile.mask_of(v)
                right.append((v, self._load(self._offset_b(b, start + v * self.lanes), mask)))
        for r in range(tile.height):
            row = self._left(tile, self.offset(a, self._row(tile, r)))
            for i, (v, columns) in enumerate(right):
                slot = self._slot(tile, i // tile.vectors, r, v)
                total = self.b.load(slot, typ=self.vector)
                self.b.store(self._multiply_add(row[v], columns, total), slot)

    def _left(self, tile: Place, at: ir.Value) -> list[ir.Value]:
        """What each vector of columns meets of a row of the first operand."""
        if self.t.along:
            cells = [(self.offset(at, v * self.lanes), tile.mask_of(v)) for v in range(tile.vectors)]
            return [self.build.load(p, I64(0), self.a_type, self.lanes, mask) for p, mask in cells]
        x = self.b.load(at, typ=self.type, align=self.size)
        return [self.build.splat(x, self.lanes)] * tile.vectors

    def _row(self, tile: Place, r: int) -> int:
        """Where a row of the first operand begins, from where those of the tile do."""
        if not self.t.rows:
            return r * self.a_steps[0]
        assert isinstance(tile.top, ir.Constant)
        return self.t.rows[tile.top.constant + r]

    def _multiply_add(self, x: ir.Value, y: ir.Value, total: ir.Value) -> ir.Value:
        if self.t.words == 1:
            return self.build.multiply_add(x, y, total)
        multiply = multiply_brains if self.t.wide else multiply_pairs if self.t.words == 2 else multiply_quads
        return multiply(self.build, x, y, total)

    def _load(self, pointer: ir.Value, mask: ir.Value | None) -> ir.Value:
        """A vector of the second operand."""
        dtype = self.t.dtype if self.cut.pack else self.b_type
        return self.build.load(pointer, I64(0), dtype, self.lanes, mask)

    def done(self) -> None:
        """After the last tile of a kernel."""
