"""Contractions of every size as code: what is run before a contraction has been compiled for its own sizes.

A piece of work has one panel of columns, which are copied to lie next to each other whatever they are in memory, and a
band of rows. Every tile has as many rows and columns as any other; what is beyond the last row is the last row again
and what is beyond the last column is zero, and neither is stored. Sums are made in registers from end to end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ...kernel.generic_tiles import GenericTiles
from ...kernel.index import Var
from ...kernel.loops import Expr
from ...kernel.target import Target
from ...kernel.tiles import Guard, Tap
from . import instructions as ir
from .borders import fill_border
from .build import I64, KERNEL, Build, memory_type, register_type
from .expressions import Expressions
from .places import Lanes
from .words import multiply_pairs, multiply_quads

#: Values of the outer variables.
Values = dict[Var, ir.Value]


def emit_generic_tiles(module: ir.Module, t: GenericTiles, target: Target, holes: int) -> ir.Function:
    """Add the function of a generic contraction, called with so many values, to `module`."""
    function = ir.Function(module, KERNEL, t.name)
    _Emitter(Build(module, function, target), t, holes).emit()
    return function


@dataclass(frozen=True)
class _Steps:
    """Where some steps of a sum are: the operands, and how far each moves from one step to the next."""

    a: ir.Value
    b: ir.Value
    a_step: ir.Value
    b_step: ir.Value
    count: ir.Value


class _Emitter:
    def __init__(self, build: Build, t: GenericTiles, holes: int) -> None:
        self.build, self.b, self.t = build, build.b, t
        self.at = Expressions(build, (*t.inputs, *t.outputs), t.checked, holes)
        self.lanes = build.target.lanes(t.dtype.itemsize)
        self.type = register_type(t.dtype)
        self.vector = ir.VectorType(self.type, self.lanes)
        self.a_type, self.b_type = t.type_of(t.a), t.type_of(t.b)
        self.width = t.vectors * self.lanes  #: columns of a tile, of each sum
        self.panel = build.scratch(0)
        sums = len(t.starts) * t.vectors
        with self.b.goto_entry_block():
            self.slots = [[self.b.alloca(self.vector) for _ in range(sums)] for _ in range(t.rows_of_tile)]
            size = t.rows_of_tile * sums * self.lanes
            #: The finished sums of a tile: for each row, those of each sum.
            self.kept = self.b.alloca(self.type, size, self.lanes * t.dtype.itemsize)
        self.row_size = sums * self.lanes  #: elements of a row of finished sums, and of a step of a panel

    def emit(self) -> None:
        b, t = self.b, self.t
        first, end = (self._part_of(unit) for unit in self.build.function.args[1:3])
        if t.border is not None:
            fill_border(self.build, self.at.bases[t.results[0].out.buffer], t.outputs[0], t.border, t.units)
        # What uses the same columns follows one another, so that a thread copies them once.
        sharing = I64(t.bands)
        for v in t.shared:
            sharing = b.mul(sharing, I64(v.size))
        with self.build.loop(first, end, name="part") as part:
            values, panel, band = self._decode(part)
            column = b.mul(panel, I64(self.width))
            columns = b.smin(b.sub(I64(t.n.size), column), I64(self.width))
            new = b.or_(b.icmp_signed("==", part, first), b.icmp_signed("==", b.urem(part, sharing), I64(0)))
            with b.if_then(new):
                self._pack(values, column, columns)
            self._band(values, (column, columns), band)
        b.ret_void()

    def _part_of(self, unit: ir.Value) -> ir.Value:
        """The first piece of work of a unit."""
        return self.b.udiv(self.b.mul(unit, I64(self.t.parts)), I64(self.t.units))

    def _decode(self, part: ir.Value) -> tuple[Values, ir.Value, ir.Value]:
        """(values of the outer variables, the panel, the band) of a piece of work."""
        values: Values = {}

        def split(position: ir.Value, by: ir.Value) -> tuple[ir.Value, ir.Value]:
            return self.b.urem(position, by), self.b.udiv(position, by)

        band, part = split(part, I64(self.t.bands))
        for v in reversed(self.t.shared):
            values[v], part = split(part, I64(v.size))
        panel, part = split(part, I64(self.t.panels))
        for v in reversed(self.t.choosing):
            values[v], part = split(part, I64(v.size))
        return values, panel, band

    def _offset(self, base: ir.Value, by: ir.Value, type_: ir.Type | None = None) -> ir.Value:
        """`by` elements further: of the type that products are made in, if no other is given."""
        return self.b.gep(base, [by], source_etype=self.type if type_ is None else type_)

    # -- columns ------------------------------------------------------------------------------------------------

    def _pack(self, values: Values, column: ir.Value, columns: ir.Value) -> None:
        """Copy the columns of a panel: those of all sums side by side, step by step, filled up with zeros."""
        t = self.t
        source = self._offset(
            self.at.bases[t.b.buffer], self.at.index(t.b.base, Lanes(values)), memory_type(self.b_type)
        )
        source = self._offset(source, self.b.mul(column, I64(t.b.stride)), memory_type(self.b_type))
        for s, start in enumerate(t.starts):
            from_ = self._offset(source, I64(start), memory_type(self.b_type))
            to = self._offset(self.panel, I64(s * self.width))
            self._pack_taps(from_, to, t.taps, columns)

    def _pack_taps(self, source: ir.Value, target: ir.Value, taps: Sequence[Tap], columns: ir.Value) -> None:
        """Copy all steps of some taps."""
        b, (tap, *rest) = self.b, taps
        if not rest and self.t.b.stride != 1:
            self._pack_across(source, target, tap, columns)
            return
        size = self._size(rest)
        with self.build.loop(I64(0), I64(tap.count), name="pack.tap") as k:
            from_ = self._offset(source, b.mul(k, I64(tap.b)), memory_type(self.b_type))
            to = self._offset(target, b.mul(k, size))
            if rest:
                self._pack_taps(from_, to, rest, columns)
            else:
                self._pack_row(from_, to, columns)

    def _pack_row(self, source: ir.Value, target: ir.Value, columns: ir.Value) -> None:
        """Copy one step of columns that lie next to each other."""
        whole = self.b.and_(columns, I64(-self.lanes))
        with self.build.loop(I64(0), whole, self.lanes, name="pack") as j:
            self._copy(source, j, target, j, self.lanes)
        with self.build.loop(whole, columns, name="pack.rest") as j:
            self._copy(source, j, target, j, 1)
        self._clear(target, columns)

    def _pack_across(self, source: ir.Value, target: ir.Value, tap: Tap, columns: ir.Value) -> None:
        """Copy columns that do not lie next to each other, one by one."""
        b, loop = self.b, self.build.loop
        with loop(I64(0), columns, name="pack.column") as j:
            from_, to = b.mul(j, I64(self.t.b.stride)), self._offset(target, j)
            with loop(I64(0), I64(tap.count), name="pack.k") as k:
                at = b.add(from_, b.mul(k, I64(tap.b)))
                self._copy(source, at, to, b.mul(k, I64(self.row_size)), 1)
        with self.b.if_then(b.icmp_signed("<", columns, I64(self.width))), loop(I64(0), I64(tap.count)) as k:
            self._clear(self._offset(target, b.mul(k, I64(self.row_size))), columns)

    def _copy(self, source: ir.Value, at: ir.Value, target: ir.Value, to: ir.Value, lanes: int) -> None:
        x = self.build.load(source, at, self.b_type, lanes)
        self.b.store(x, self._offset(target, to), align=self.t.dtype.itemsize)

    def _clear(self, target: ir.Value, columns: ir.Value) -> None:
        with self.build.loop(columns, I64(self.width), name="pack.zero") as j:
            self.b.store(self.build.const(0, self.type), self._offset(target, j), align=self.t.dtype.itemsize)

    def _size(self, inner: Sequence[Tap]) -> ir.Value:
        """Elements of a panel from one step of a tap to the next, outside of some others."""
        size = I64(self.row_size)
        for tap in inner:
            size = self.b.mul(size, I64(tap.count))
        return size

    # -- rows ---------------------------------------------------------------------------------------------------

    def _band(self, values: Values, columns: tuple[ir.Value, ir.Value], band: ir.Value) -> None:
        """The tiles of a band, top to bottom."""
        b, t = self.b, self.t
        top = b.mul(band, I64(t.rows_of_band))
        end = b.smin(b.add(top, I64(t.rows_of_band)), I64(t.m.size))
        at = self.at.index(t.a.base, Lanes(values))
        a = self._offset(self.at.bases[t.a.buffer], at, memory_type(self.a_type))
        with self.build.loop(top, end, t.rows_of_tile, name="tile") as row:
            last = b.sub(I64(t.m.size), I64(1))
            rows = [b.smin(b.add(row, I64(r)), last) for r in range(t.rows_of_tile)]
            rows = [b.mul(r, I64(t.a.stride)) for r in rows]
            for slot in [s for slots in self.slots for s in slots]:
                b.store(self.build.const(0, self.vector), slot)
            self._sum(values, rows, a, self.panel, t.taps)
            self._keep()
            height = b.smin(b.sub(end, row), I64(t.rows_of_tile))
            self._finish(values, (row, height), columns)

    def _sum(
        self, values: Values, rows: list[ir.Value], a: ir.Value, b: ir.Value, taps: Sequence[Tap]
    ) -> None:
        """Add up the products of all steps of some taps, outermost first."""
        tap, *rest = taps
        steps = _Steps(a, b, I64(tap.a), self._size(rest), I64(tap.count))
        if tap.guard is not None:
            steps = self._guarded(steps, tap.guard, values)
        if not rest:
            self._innermost(rows, steps)
            return
        with self.build.loop(I64(0), steps.count, name="tap") as k:
            a = self._offset(steps.a, self.b.mul(k, steps.a_step), memory_type(self.a_type))
            self._sum(values, rows, a, self._offset(steps.b, self.b.mul(k, steps.b_step)), rest)

    def _guarded(self, steps: _Steps, guard: Guard, values: Values) -> _Steps:
        """Those steps of a tap for which its guard holds."""
        b, by, jump = self.b, guard.dilation, guard.step
        at = self.at.index(guard.at, Lanes(values))
        end = b.add(b.mul(b.sub(I64(guard.size), I64(1)), I64(jump)), I64(1))
        first = self._clipped(self._ceil(b.neg(at), by), steps.count)
        stop = self._clipped(self._ceil(b.sub(end, at), by), steps.count)
        if jump > 1:  # the first k at which at + k is a multiple of the step; dilation is 1 here
            over = b.srem(b.add(b.srem(b.add(at, first), I64(jump)), I64(jump)), I64(jump))
            first = b.add(first, b.srem(b.sub(I64(jump), over), I64(jump)))
        count = self._ceil(b.smax(b.sub(stop, first), I64(0)), jump)
        element = b.sdiv(b.add(at, b.mul(first, I64(by))), I64(jump))
        return replace(
            steps,
            a=self._offset(steps.a, b.mul(element, steps.a_step), memory_type(self.a_type)),
            b=self._offset(steps.b, b.mul(first, steps.b_step)),
            a_step=b.mul(steps.a_step, I64(by)),
            b_step=b.mul(steps.b_step, I64(jump)),
            count=count,
        )

    def _clipped(self, x: ir.Value, high: ir.Value) -> ir.Value:
        return self.b.smin(self.b.smax(x, I64(0)), high)

    def _ceil(self, x: ir.Value, by: int) -> ir.Value:
        """x / by rounded up, for x of any sign."""
        if by == 1:
            return x
        up = self.b.sdiv(self.b.add(x, I64(by - 1)), I64(by))
        return self.b.select(self.b.icmp_signed(">", x, I64(0)), up, self.b.sdiv(x, I64(by)))

    def _innermost(self, rows: list[ir.Value], steps: _Steps) -> None:
        """sums += a[rows, k] b[k, columns] for all steps k."""
        b = self.b
        starts = [b.hidden(self._offset(steps.a, r, memory_type(self.a_type))) for r in rows]
        with self.build.loop(I64(0), steps.count, name="k") as k:
            at, here = b.mul(k, steps.a_step), self._offset(steps.b, b.mul(k, steps.b_step))
            right = [
                b.load(self._offset(here, I64(i)), self.t.dtype.itemsize, typ=self.vector)
                for i in range(0, self.row_size, self.lanes)
            ]
            for start, slots in zip(starts, self.slots, strict=True):
                x = self.build.splat(self.build.load(start, at, self.a_type), self.lanes)
                for slot, y in zip(slots, right, strict=True):
                    b.store(self._multiply_add(x, y, b.load(slot, typ=self.vector)), slot)

    def _multiply_add(self, x: ir.Value, y: ir.Value, total: ir.Value) -> ir.Value:
        if self.t.words == 1:
            return self.build.multiply_add(x, y, total)
        return (multiply_pairs if self.t.words == 2 else multiply_quads)(self.build, x, y, total)

    # -- results ------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Put the sums of a tile into memory: how many of them are results is not known here."""
        for i, slot in enumerate([s for slots in self.slots for s in slots]):
            total = self.b.load(slot, typ=self.vector)
            self.b.store(total, self._offset(self.kept, I64(i * self.lanes)), align=self.t.dtype.itemsize)

    def _finish(
        self, values: Values, rows: tuple[ir.Value, ir.Value], columns: tuple[ir.Value, ir.Value]
    ) -> None:
        """Compute the results from the sums of a tile and store them: (first, how many) rows and columns."""
        b, t = self.b, self.t
        with self.build.loop(I64(0), rows[1], name="row") as r:
            sums = self._offset(self.kept, b.mul(r, I64(self.row_size)))
            row = {**values, t.m: b.add(rows[0], r)}
            for j, lanes in self._vectors(columns[1]):
                here = replace(lanes, values={**row, t.n: b.add(columns[0], j)})
                places = [self._offset(sums, b.add(j, I64(s * self.width))) for s in range(len(t.starts))]
                self.at.totals = [b.load(p, t.dtype.itemsize, typ=self.vector) for p in places]
                known: dict[Expr, ir.Value] = {}
                for result in t.results:
                    value = self.build.splat(self.at.value(result.value, here, known), self.lanes)
                    at = self.at.index(result.out.base, here)
                    at = b.add(at, b.mul(here.values[t.m], I64(result.out.stride)))
                    at = b.add(at, b.mul(here.values[t.n], I64(result.step)))
                    self.at.put(result.out.buffer, at, result.step, value, here)

    def _vectors(self, columns: ir.Value) -> Iterator[tuple[ir.Value, Lanes]]:
        """Loops over the whole vectors of some columns, and over what is left of them."""
        whole, n = self.b.and_(columns, I64(-self.lanes)), self.t.n
        with self.build.loop(I64(0), whole, self.lanes, name="column") as j:
            yield j, Lanes({}, n, self.lanes)
        with self.build.loop(whole, columns, self.lanes, name="column.rest") as j:
            left = self.build.splat(self.b.sub(columns, j), self.lanes)
            mask = self.b.icmp_signed("<", self.build.iota(I64, self.lanes), left)
            yield j, Lanes({}, n, self.lanes, mask)
