"""The stages of a loop kernel as instructions: loops around sums, stores, and numbers taken from turn to turn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from ...kernel.generic import Hole
from ...kernel.index import Var
from ...kernel.loops import Expr, Inside, Kernel, Load, Reduction, Scatter, Stage, Store, always_read
from . import carrying, streams
from . import instructions as ir
from .bounded import all_inside, bounded
from .build import I64, Build, like, register_type
from .expressions import Expressions
from .picking import MOST
from .places import Lanes
from .row_by_row import can_be_taken, of_rows, row_by_row
from .scalar import combine
from .sums import Sums
from .tables import Run, runs_of_tables
from .turned_sums import TurnedSums
from .wideness import accumulators, lane_count, same_along


def _repeats(var: Var) -> bool:
    """Whether a loop has more than one iteration."""
    return isinstance(var.size, Hole) or var.size > 1


def _in_turn(stores: Sequence[Store | Scatter], vector: Var | None) -> list[Store]:
    """A few stores in the order in which they write, if they lie in memory in turn, without gaps; else none."""
    plain = [s for s in stores if isinstance(s, Store) and not s.within]
    if vector is None or not 1 < len(stores) == len(plain) <= MOST:
        return []
    first, *_ = found = sorted(plain, key=lambda s: s.index.offset)
    if first.index.stride(vector) != len(found):
        return []
    follow = all((s.buffer, s.index) == (first.buffer, first.index + k) for k, s in enumerate(found))
    return found if follow else []


class Stages(Expressions):
    """The stages of one kernel, for iterations of its outer loops that the caller chooses."""

    def __init__(self, build: Build, kernel: Kernel, holes: int) -> None:
        super().__init__(build, (*kernel.inputs, *kernel.outputs), kernel.checked, holes)
        self.holes = holes
        self.kernel = kernel
        totals = [x for stage in kernel.stages for x in (*stage.reductions, *stage.carries)]
        maxima = [k for k, x in enumerate(totals) if isinstance(x, Reduction) and x.op == "max"]
        self.greatest = {k: totals[k].value for k in maxima}
        self.lanes = lane_count(kernel, build.target)
        self.same: dict[Expr, ir.Value] = {}  #: what has one value in the whole innermost loop
        self.assumed: Collection[Inside] = ()  #: whose conditions are known to hold

    def _inside(self, e: Inside, lanes: Lanes, memo: dict[Expr, ir.Value]) -> ir.Value:
        return self.value(e.then, lanes, memo) if e in self.assumed else super()._inside(e, lanes, memo)

    def _stages(self, outer: Lanes) -> None:
        self.totals = []
        self.run(range(len(self.kernel.stages)), outer)

    def run(self, numbers: range, outer: Lanes) -> None:
        """Some of the stages, one after the other."""
        whole = self.ahead
        for number in numbers:
            stage = self.kernel.stages[number]
            if whole and outer.vector is None:
                self.ahead = streams.reading_ahead(self.kernel, number, self.build.target)
            found = self._reduce(stage, outer) if stage.reductions else []
            if stage.carries:
                found += self._carry(stage, outer)
            elif stage.serial:
                self.serial(stage.variables, outer, lambda lanes, stage=stage: self._store(stage, lanes))
            elif stage.stores and not stage.reductions:
                self._stored(stage, outer)
            self.totals += found
        self.ahead = whole

    def along(
        self, var: Var, start: ir.Value, stop: ir.Value, outer: Lanes, lanes: int, several: int
    ) -> Iterator[Lanes]:
        """Emit what the caller does with each yielded context for several vectors at once, if it wants them, for whole
        vectors, and masked for the rest."""
        if lanes == 1 or var.size == 1:
            with self.build.turns(start, stop, 1, var.name) as i:
                yield outer.at(var, i)
            return
        wide, every = several * lanes, 1 if self.holes else lanes
        if several > 1 and (isinstance(var.size, Hole) or var.size >= wide):
            end = self.b.sub(stop, self.b.urem(self.b.sub(stop, start), I64(wide)))
            with self.build.turns(start, end, wide, f"{var.name}.wide") as i:
                yield replace(outer.at(var, i), vector=var, count=wide, every=every)
            start = end
        width = self.b.sub(stop, start)
        whole = self.b.sub(stop, self.b.urem(width, I64(lanes)))
        if isinstance(var.size, Hole) or var.size >= lanes:
            with self.build.turns(start, whole, lanes, var.name) as i:
                yield replace(outer.at(var, i), vector=var, count=lanes, every=every)
        else:
            whole = start
        if isinstance(var.size, Hole) or var.size % lanes:
            with self.build.turns(whole, stop, lanes, f"{var.name}.tail") as i:
                if isinstance(var.size, Hole):
                    left = self.build.splat(self.b.sub(stop, i), lanes)
                    mask = self.b.icmp_signed("<", self.build.iota(I64, lanes), left)
                else:  # ranges are cut at multiples of the lanes
                    mask = self.build.first_lanes(var.size % lanes, lanes)
                yield replace(outer.at(var, i), vector=var, count=lanes, mask=mask, every=every)

    def _along_tables(self, var: Var, runs: Sequence[Run], outer: Lanes, n: int) -> Iterator[Lanes]:
        """Contexts for all vectors of n lanes along a loop: one for each run of those that read tables alike."""
        for first, count in runs:
            if first + n > var.size:
                mask = self.build.first_lanes(var.size - first, n)
                yield replace(outer.at(var, I64(first)), vector=var, count=n, mask=mask, every=n, like=first)
                continue
            with self.build.turns(I64(first), I64(first + count * n), n, var.name) as i:
                yield replace(outer.at(var, i), vector=var, count=n, every=n, like=first)

    def _stored(self, stage: Stage, outer: Lanes) -> None:
        """A stage that only stores, with vectors along its last loop where each lane has a row of memory there."""

        def nest(outer: Lanes) -> None:
            self._nest(stage, outer, lambda lanes: self._store(stage, lanes))

        if not self.holes and of_rows(stage, outer, self.lanes) and can_be_taken(self.totals):
            row_by_row(self, outer, nest)
        else:
            nest(outer)

    def _nest(self, stage: Stage, outer: Lanes, body: Callable[[Lanes], None]) -> None:
        """The stage's loops around `body`."""
        if outer.vector is not None or not stage.variables:
            self.serial(stage.variables, outer, body)
            return
        *before, last = stage.variables
        across = self._across(stage)
        if across:
            self.serial(tuple(before[:-1]), outer, lambda lanes: self._squares(stage, across, lanes))
            return

        def innermost(lanes: Lanes) -> None:
            self.same = self.unchanging(stage, last, lanes)
            checked = () if self.holes else bounded(stage, last)
            if not checked:
                self._innermost(stage, last, lanes, body)
            else:
                with self.b.if_else(all_inside(self, checked, last, lanes)) as (yes, no):
                    with yes:
                        self.assumed = frozenset(checked)
                        self._innermost(stage, last, lanes, body)
                        self.assumed = ()
                    with no:
                        self._innermost(stage, last, lanes, body)
            self.same = {}

        self.serial(tuple(before), outer, innermost)

    def unchanging(self, stage: Stage, last: Var, lanes: Lanes) -> dict[Expr, ir.Value]:
        """What has one value in the whole innermost loop of a stage, or LLVM reads it again after every store."""
        found: dict[Expr, ir.Value] = {}
        for x in (*stage.reductions, *stage.stores):
            for e in same_along(x.value, last):
                self.value(e, lanes, found)
        return found

    def _innermost(self, stage: Stage, last: Var, lanes: Lanes, body: Callable[[Lanes], None]) -> None:
        several, count = accumulators(stage), self._lanes_of(stage)
        runs = () if self.holes or several > 1 else runs_of_tables(stage, last, count)
        if runs:
            for inner in self._along_tables(last, runs, lanes, count):
                body(inner)
            return
        for inner in self.along(last, I64(0), I64(last.size), lanes, self._lanes_of(stage), several):
            body(inner)

    def _across(self, stage: Stage) -> list[Load]:
        """What a stage without sums reads along its last variable but one and stores along the last, in squares."""
        if len(stage.variables) < 2 or stage.reductions or self.holes or self.lanes < 4:
            return []
        step, last = stage.variables[-2:]
        if step.size % self.lanes or last.size % self.lanes:
            return []
        loads = [e for s in stage.stores for e in always_read(s.value) if isinstance(e, Load)]
        return [
            e
            for e in dict.fromkeys(loads)
            if e.index.stride(step) == 1 and e.index.stride(last) not in (0, 1, None)
        ]

    def _squares(self, stage: Stage, across: Sequence[Load], outer: Lanes) -> None:
        """The two inner loops of a stage in squares of lanes x lanes, of which `across` are transposed in registers."""
        step, last = stage.variables[-2:]
        n, loop = self.lanes, self.build.loop
        with loop(I64(0), I64(step.size), n, name=step.name) as i, loop(I64(0), I64(last.size), n) as k:
            columns = {}
            for e in across:
                rows = []
                for r in range(n):
                    here = outer.at(last, self.b.add(k, I64(r))).at(step, i)
                    rows.append(self.value(e, replace(here, vector=step, count=n), {}))
                columns[e] = self.build.transposed(rows)
            for j in range(n):
                here = replace(outer.at(step, self.b.add(i, I64(j))).at(last, k), vector=last, count=n)
                self._store(stage, here, {e: columns[e][j] for e in across})

    def _rows_across(self, stage: Stage, outer: Lanes) -> list[Load]:
        """What a reduction reads along its last variable, in rows that lie apart from lane to lane."""
        if self.holes or outer.count != self.lanes or self.lanes < 4:
            return []
        if outer.vector is None or outer.known is None:
            return []
        if not stage.variables or stage.variables[-1].size < self.lanes:
            return []
        loads = [e for r in stage.reductions for e in always_read(r.value) if isinstance(e, Load)]
        last = stage.variables[-1]
        rows = [e for e in loads if e.index.stride(last) == 1 and e.dtype.itemsize >= 4]
        return [e for e in dict.fromkeys(rows) if e.index.stride(outer.vector) not in (0, 1, None)]

    def _turned(self, stage: Stage, rows: Sequence[Load], outer: Lanes, step: Callable[..., None]) -> None:
        """The innermost loop of a reduction, in squares of its rows that are transposed in registers; each lane adds
        up in the order of the loop."""
        last, n = stage.variables[-1], self.lanes
        whole, rest = last.size // n * n, last.size % n

        def square(i: ir.Value, count: int) -> None:
            columns = {e: self.build.transposed(self._rows_of_square(e, last, i, count, outer)) for e in rows}
            for j in range(count):
                step(outer.at(last, self.b.add(i, I64(j))), {e: columns[e][j] for e in rows})

        with self.build.loop(I64(0), I64(whole), n, name=last.name) as i:
            square(i, n)
        if rest:
            square(I64(whole), rest)

    def _rows_of_square(self, e: Load, last: Var, i: ir.Value, count: int, outer: Lanes) -> list[ir.Value]:
        """So many neighbours along `last` for each lane, as a row; nothing where there is no lane."""
        n, vector, known = self.lanes, outer.vector, outer.known
        assert vector is not None and known is not None
        mask = self.build.first_lanes(count, n) if count < n else None
        found = []
        for r in range(n):
            here = outer.at(vector, self.b.add(outer.values[vector], I64(r))).at(last, i)
            here = replace(here, vector=last, count=n, mask=mask)
            nothing = self.build.const(0, like(register_type(e.dtype), n))
            found.append(self.value(e, here, {}) if known[r] else nothing)
        return found

    def _lanes_of(self, stage: Stage) -> int:
        """Lanes along a stage's last variable. They decide in which order is added up: what else is in the kernel must
        not show."""
        if not stage.reductions:
            return self.lanes
        return self.build.target.lanes(max([4, *[r.dtype.itemsize for r in stage.reductions]]))

    def serial(self, variables: tuple[Var, ...], outer: Lanes, body: Callable[[Lanes], None]) -> None:
        if not variables:
            body(outer)
            return
        first, *rest = variables
        with self.build.turns(I64(0), I64(first.size), 1, first.name) as i:
            self.serial(tuple(rest), outer.at(first, i), body)

    def _store(self, stage: Stage, lanes: Lanes, known: Mapping[Expr, ir.Value] | None = None) -> None:
        """Compute and store; the values of some expressions may be `known`."""
        memo: dict[Expr, ir.Value] = dict(self.same if known is None else known)
        if lanes.every > 1 and lanes.mask is None and (turn := _in_turn(stage.stores, lanes.vector)):
            values = [self.value(s.value, lanes, memo) for s in turn]
            self.put_in_turn(turn[0].buffer, self.index(turn[0].index, lanes), values, lanes)
            return
        for store in stage.stores:
            value = self.value(store.value, lanes, memo)
            if isinstance(store, Scatter):
                self._scatter(store, value, lanes)
                continue
            step = store.index.stride(lanes.vector) if lanes.vector is not None else 0
            if not store.within or store.value in self.assumed:
                self.put(store.buffer, self.index(store.index, lanes), step, value, lanes)
                continue
            with self.b.if_then(self.holds(store.within, lanes)):
                self.put(store.buffer, self.index(store.index, lanes), step, value, lanes)

    def _scatter(self, s: Scatter, value: ir.Value, lanes: Lanes) -> None:
        one = replace(lanes, vector=None, count=1, mask=None)  # the indices are the same in every lane
        offset, fault = self.offset(s.parts, s.wraps, one, {})
        self._report(fault, one)
        at = self.b.add(self.index(s.base, lanes), offset)
        step = s.base.stride(lanes.vector) if lanes.vector is not None else 0
        ours = self.b.not_(fault)
        if s.within is not None:
            low, count = self.index(s.within[0], one), self.build.const(s.within[1], I64)
            ours = self.b.and_(ours, self.b.icmp_unsigned("<", self.b.sub(offset, low), count))
        with self.b.if_then(ours, likely=s.within is None):
            if s.add:
                before = self.get(s.buffer, at, step, lanes)
                value, before = self.build.same(value, before)
                value = combine(self.build, "sum", before, value, s.value.dtype)
            self.put(s.buffer, at, step, value, lanes)

    def _carry(self, stage: Stage, outer: Lanes) -> list[ir.Value]:
        """The stage's iterations one after the other; what its carries are at the end."""
        lanes = outer.count if outer.vector is not None else 1
        known = list(self.totals)
        slots = []
        for c in stage.carries:
            type_ = like(register_type(c.dtype), lanes)
            slot = self.build.slot(type_)
            self.b.store(self.build.const(0, type_), slot)
            slots.append((c, slot, type_))

        def carry(here: Lanes, seen: Mapping[Expr, ir.Value]) -> None:
            self.totals = known + [self.b.load(slot, typ=type_) for _, slot, type_ in slots]
            memo = dict(seen)
            new = [self.build.splat(self.value(c.value, here, memo), lanes) for c, _, _ in slots]
            for value, (_, slot, _) in zip(new, slots, strict=True):
                self.b.store(value, slot)
            self.totals = known + new

        def step(here: Lanes) -> None:
            carry(here, {})
            self._store(stage, here)

        def turn(here: Lanes, seen: Mapping[Expr, ir.Value]) -> list[ir.Value]:
            carry(here, seen)
            memo = dict(seen)
            return [self.value(s.value, here, memo) for s in stage.stores]

        found = None if self.holes else carrying.squares(stage, outer, self.lanes)
        if found is None:
            self.serial(stage.variables, outer, step)
        else:
            self._turns(found.along, 0, self.lanes, outer, step)
            self.assumed = found.holding
            rest = carrying.emit(self, found, stage, outer, turn)
            self.assumed = ()
            self._turns(found.along, rest, found.along.size, outer, step)
        self.totals = known
        return [self.b.load(slot, typ=type_) for _, slot, type_ in slots]

    def _turns(self, var: Var, start: int, stop: int, outer: Lanes, body: Callable[[Lanes], None]) -> None:
        """Some turns of a loop, one after the other."""
        if start < stop:
            with self.build.loop(I64(start), I64(stop), name=var.name) as i:
                body(outer.at(var, i))

    def _reduce(self, stage: Stage, outer: Lanes) -> list[ir.Value]:
        """Accumulate the stage's reductions in the order of its loops, lane by lane, then across lanes as a tree."""
        sums = self._turned_sums(stage, outer) if self.kernel.turned else self.sums(stage, outer)

        def step(here: Lanes, known: Mapping[Expr, ir.Value] | None = None) -> None:
            self.turn(stage, sums, here, self.same if known is None else known)

        rows = self._rows_across(stage, outer)
        if rows:
            self.serial(stage.variables[:-1], outer, lambda lanes: self._turned(stage, rows, lanes, step))
        else:
            self._nest(stage, outer, step)
        return sums.finish()

    def sums(self, stage: Stage, outer: Lanes, times: int = 1) -> Sums:
        """Places for the reductions of a stage, in which there is nothing yet; so many times as many where it keeps
        several vectors."""
        if outer.vector is not None:
            return Sums(self, stage.reductions, outer.count, 1, across=True)
        lanes = self._lanes_of(stage) if stage.variables and _repeats(stage.variables[-1]) else 1
        several = accumulators(stage) if lanes > 1 else 1
        return Sums(self, stage.reductions, lanes, several * times if several > 1 else 1, across=False)

    def _turned_sums(self, stage: Stage, outer: Lanes) -> TurnedSums:
        last = stage.variables[-1] if stage.variables else None
        parts = self._lanes_of(stage) if last is not None and _repeats(last) else 1
        several = accumulators(stage) if parts > 1 else 1
        return TurnedSums(self, stage.reductions, outer.count, last, parts, several)

    def turn(
        self, stage: Stage, sums: Sums | TurnedSums | None, here: Lanes, known: Mapping[Expr, ir.Value]
    ) -> None:
        """One turn of the innermost loop of a stage. What is stored beside sums is read again soon."""
        memo = dict(known)
        past = self.past
        if sums is not None:
            sums.add(here, memo)
            self.past = False
        self._store(stage, here, memo)
        self.past = past
