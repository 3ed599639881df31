"""The stages of a loop kernel as instructions: loops around sums, stores, and numbers taken from turn to turn."""

# llvmlite.ir has no annotations: what pyright infers of its values is wrong.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...kernel.anchors import identity_of
from ...kernel.generic import Hole
from ...kernel.index import Var
from ...kernel.loops import Expr, Inside, Kernel, Load, Reduction, Scatter, Stage, always_read, operands
from . import instructions as ir
from . import streams
from .bounded import all_inside, bounded
from .build import I1, I64, Build, like, register_type
from .expressions import Expressions, Lanes
from .extremes import Extreme
from .scalar import combine
from .wideness import accumulators, lane_count, same_along


def _repeats(var: Var) -> bool:
    """Whether a loop has more than one iteration."""
    return isinstance(var.size, Hole) or var.size > 1


class Late:
    """The stores of one unit, made in the loop of a stage of the next one: memory is written while there is work."""

    def __init__(self, stage: Stage, outer: Lanes, totals: list[ir.Value]) -> None:
        self.stage, self.outer, self.totals = stage, outer, totals
        self.same: dict[Expr, ir.Value] = {}

    def begin(self, code: Stages, last: Var, lanes: Lanes) -> None:
        """Compute what is the same in the whole loop."""
        code.totals, totals = self.totals, code.totals
        self.same = code._same(self.stage, last, self._here(lanes))
        code.totals = totals

    def step(self, code: Stages, lanes: Lanes) -> None:
        """One turn of the loop."""
        usual = code.totals, code.past, code.ahead
        code.totals, code.past, code.ahead = self.totals, True, 0
        code._store(self.stage, self._here(lanes), self.same)
        code.totals, code.past, code.ahead = usual

    def _here(self, lanes: Lanes) -> Lanes:
        return replace(lanes, values={**lanes.values, **self.outer.values})


class Stages(Expressions):
    """The stages of one kernel, for iterations of its outer loops that the caller chooses."""

    def __init__(self, build: Build, kernel: Kernel, holes: int) -> None:
        super().__init__(build, (*kernel.inputs, *kernel.outputs), kernel.checked, holes)
        self.holes = holes
        self.kernel = kernel
        self.lanes = lane_count(kernel, build.target)
        self.same: dict[Expr, ir.Value] = {}  #: what has one value in the whole innermost loop
        self.assumed: set[Inside] = set()  #: whose conditions are known to hold
        self.late: Late | None = None  #: what is written of the unit before while sums are made

    def _inside(self, e: Inside, lanes: Lanes, memo: dict[Expr, ir.Value]) -> ir.Value:
        return self.value(e.then, lanes, memo) if e in self.assumed else super()._inside(e, lanes, memo)

    def _stages(self, outer: Lanes) -> None:
        self.totals = []
        self._run(range(len(self.kernel.stages)), outer)

    def _run(self, numbers: range, outer: Lanes) -> None:
        """Some of the stages, one after the other."""
        whole = self.ahead
        for number in numbers:
            stage = self.kernel.stages[number]
            if whole and outer.vector is None:
                self.ahead = streams.reading_ahead(self.kernel, number)
            found = self._reduce(stage, outer) if stage.reductions else []
            if stage.carries:
                found += self._carry(stage, outer)
            elif stage.serial:
                self._serial(stage.variables, outer, lambda lanes, stage=stage: self._store(stage, lanes))
            elif stage.stores and not stage.reductions:
                self._nest(stage, outer, lambda lanes, stage=stage: self._store(stage, lanes))
            self.totals += found
        self.ahead = whole

    def _along(
        self, var: Var, start: ir.Value, stop: ir.Value, outer: Lanes, lanes: int, several: int
    ) -> Iterator[Lanes]:
        """Emit what the caller does with each yielded context for several vectors at once, if it wants them, for whole
        vectors, and masked for the rest."""
        if lanes == 1 or var.size == 1:
            with self.build.loop(start, stop, name=var.name) as i:
                yield outer.at(var, i)
            return
        wide = several * lanes
        if several > 1 and (isinstance(var.size, Hole) or var.size >= wide):
            end = self.b.sub(stop, self.b.urem(self.b.sub(stop, start), I64(wide)))
            with self.build.loop(start, end, wide, name=f"{var.name}.wide") as i:
                yield replace(outer.at(var, i), vector=var, count=wide)
            start = end
        width = self.b.sub(stop, start)
        whole = self.b.sub(stop, self.b.urem(width, I64(lanes)))
        if isinstance(var.size, Hole) or var.size >= lanes:
            with self.build.loop(start, whole, lanes, name=var.name) as i:
                yield replace(outer.at(var, i), vector=var, count=lanes)
        else:
            whole = start
        if isinstance(var.size, Hole) or var.size % lanes:
            with self.build.loop(whole, stop, lanes, name=f"{var.name}.tail") as i:
                if isinstance(var.size, Hole):
                    left = self.build.splat(self.b.sub(stop, i), lanes)
                    mask = self.b.icmp_signed("<", self.build.iota(I64, lanes), left)
                else:  # ranges are cut at multiples of the lanes
                    mask = self.build.first_lanes(var.size % lanes, lanes)
                yield replace(outer.at(var, i), vector=var, count=lanes, mask=mask)

    def _nest(self, stage: Stage, outer: Lanes, body: Callable[[Lanes], None]) -> None:
        """The stage's loops around `body`."""
        if outer.vector is not None or not stage.variables:
            self._serial(stage.variables, outer, body)
            return
        *before, last = stage.variables
        across = self._across(stage)
        if across:
            self._serial(tuple(before[:-1]), outer, lambda lanes: self._squares(stage, across, lanes))
            return

        def innermost(lanes: Lanes) -> None:
            self.same = self._same(stage, last, lanes)
            if self.late is not None:
                self.late.begin(self, last, lanes)
            checked = set() if self.holes else bounded(stage, last)
            if not checked:
                self._innermost(stage, last, lanes, body)
            else:
                with self.b.if_else(all_inside(self, checked, last, lanes)) as (yes, no):
                    with yes:
                        self.assumed = checked
                        self._innermost(stage, last, lanes, body)
                        self.assumed = set()
                    with no:
                        self._innermost(stage, last, lanes, body)
            self.same = {}

        self._serial(tuple(before), outer, innermost)

    def _same(self, stage: Stage, last: Var, lanes: Lanes) -> dict[Expr, ir.Value]:
        """What has one value in the whole innermost loop of a stage, or LLVM reads it again after every store."""
        found: dict[Expr, ir.Value] = {}
        for x in (*stage.reductions, *stage.stores):
            for e in same_along(x.value, last):
                self.value(e, lanes, found)
        return found

    def _innermost(self, stage: Stage, last: Var, lanes: Lanes, body: Callable[[Lanes], None]) -> None:
        several = accumulators(stage)
        for inner in self._along(last, I64(0), I64(last.size), lanes, self._lanes_of(stage), several):
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
        if self.holes or outer.mask is not None or outer.count != self.lanes or self.lanes < 4:
            return []
        if outer.vector is None or not stage.variables or stage.variables[-1].size < self.lanes:
            return []
        loads = [e for r in stage.reductions for e in always_read(r.value) if isinstance(e, Load)]
        last = stage.variables[-1]
        rows = [e for e in loads if e.index.stride(last) == 1 and e.dtype.itemsize >= 4]
        return [e for e in dict.fromkeys(rows) if e.index.stride(outer.vector) not in (0, 1, None)]

    def _turned(self, stage: Stage, rows: Sequence[Load], outer: Lanes, step: Callable[..., None]) -> None:
        """The innermost loop of a reduction, in squares of its rows that are transposed in registers; each lane adds
        up in the order of the loop."""
        last, n, vector = stage.variables[-1], self.lanes, outer.vector
        assert vector is not None
        whole = last.size // n * n
        with self.build.loop(I64(0), I64(whole), n, name=last.name) as i:
            columns = {}
            for e in rows:
                found = []
                for r in range(n):
                    here = outer.at(vector, self.b.add(outer.values[vector], I64(r))).at(last, i)
                    found.append(self.value(e, replace(here, vector=last, count=n), {}))
                columns[e] = self.build.transposed(found)
            for j in range(n):
                step(outer.at(last, self.b.add(i, I64(j))), {e: columns[e][j] for e in rows})
        if last.size % n:
            with self.build.loop(I64(whole), I64(last.size), name=f"{last.name}.rest") as i:
                step(outer.at(last, i))

    def _lanes_of(self, stage: Stage) -> int:
        """Lanes along a stage's last variable. They decide in which order is added up: what else is in the kernel must
        not show."""
        if not stage.reductions:
            return self.lanes
        return self.build.target.lanes(max([4, *[r.dtype.itemsize for r in stage.reductions]]))

    def _serial(self, variables: tuple[Var, ...], outer: Lanes, body: Callable[[Lanes], None]) -> None:
        if not variables:
            body(outer)
            return
        first, *rest = variables
        with self.build.loop(I64(0), I64(first.size), name=first.name) as i:
            self._serial(tuple(rest), outer.at(first, i), body)

    def _store(self, stage: Stage, lanes: Lanes, known: Mapping[Expr, ir.Value] | None = None) -> None:
        """Compute and store; the values of some expressions may be `known`."""
        memo: dict[Expr, ir.Value] = dict(self.same if known is None else known)
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
            slot = self._entry_alloca(type_)
            self.b.store(self.build.const(0, type_), slot)
            slots.append((c, slot, type_))

        def step(here: Lanes) -> None:
            self.totals = known + [self.b.load(slot, typ=type_) for _, slot, type_ in slots]
            memo: dict[Expr, ir.Value] = {}
            new = [self.build.splat(self.value(c.value, here, memo), lanes) for c, _, _ in slots]
            for value, (_, slot, _) in zip(new, slots, strict=True):
                self.b.store(value, slot)
            self.totals = known + new
            self._store(stage, here)

        self._serial(stage.variables, outer, step)
        self.totals = known
        return [self.b.load(slot, typ=type_) for _, slot, type_ in slots]

    def _reduce(self, stage: Stage, outer: Lanes) -> list[ir.Value]:
        """Accumulate the stage's reductions in the order of its loops, lane by lane, then across lanes as a tree."""
        across = outer.vector is not None
        lanes = (
            outer.count
            if across
            else (self._lanes_of(stage) if stage.variables and _repeats(stage.variables[-1]) else 1)
        )
        first, several = lanes, 1 if across or lanes == 1 else accumulators(stage)
        slots: list[dict[int, Any]] = []  # for each reduction: lanes -> where they are
        for r in stage.reductions:
            slots.append({})
            for count in {lanes, several * lanes}:
                type_ = like(register_type(r.dtype), count)
                slots[-1][count] = self._entry_alloca(type_), type_
                self.b.store(self.build.const(identity_of(r.op, r.dtype), type_), slots[-1][count][0])
        extremes = [self._extreme(r, lanes) if several > 1 else None for r in stage.reductions]

        def step(here: Lanes, known: Mapping[Expr, ir.Value] | None = None) -> None:
            if self.late is not None:
                self.late.step(self, here)
            memo = dict(self.same if known is None else known)
            lanes = here.count if several > 1 else first
            for r, places, extreme in zip(stage.reductions, slots, extremes, strict=True):
                slot, type_ = places[lanes]
                before = self.b.load(slot, typ=type_)
                if r.op == "dot":
                    factors = [self.build.splat(self.value(x, here, memo), lanes) for x in operands(r.value)]
                    after = self.build.multiply_add(*factors, before)
                else:
                    value = self.build.splat(self.value(r.value, here, memo), lanes)
                    if extreme is not None:
                        extreme.look(value, here.mask)
                    after = self._combined(r, before, value, extreme)
                if here.mask is not None and not across:
                    after = self.b.select(here.mask, after, before)
                self.b.store(after, slot)
            self._store(stage, here, memo)

        past, self.past = self.past, False  # what is stored here is read again soon
        rows = self._rows_across(stage, outer)
        if rows:
            self._serial(stage.variables[:-1], outer, lambda lanes: self._turned(stage, rows, lanes, step))
        else:
            self._nest(stage, outer, step)
        self.past = past
        found = []
        for r, places, extreme in zip(stage.reductions, slots, extremes, strict=True):
            value = self.b.load(places[first][0], typ=places[first][1])
            if several > 1:
                wide = self.b.load(places[several * lanes][0], typ=places[several * lanes][1])
                value = self._combined(r, self._halved(r, wide, first, extreme), value, extreme)
            value = self._finish(r, value, across, extreme)
            found.append(value if extreme is None else extreme.finish(value))
        return found

    def _extreme(self, r: Reduction, lanes: int) -> Extreme | None:
        if r.dtype.kind != "f":
            return None
        return Extreme(self.build, r, self._entry_alloca(ir.VectorType(I1, lanes)), lanes)

    def _combined(self, r: Reduction, x: ir.Value, y: ir.Value, extreme: Extreme | None) -> ir.Value:
        return combine(self.build, r.op, x, y, r.dtype) if extreme is None else extreme.combine(x, y)

    def _halved(self, r: Reduction, value: ir.Value, lanes: int, extreme: Extreme | None) -> ir.Value:
        """As many lanes of a longer vector, each combined with those that follow in the rest of it."""
        while value.type.count > lanes:
            half = value.type.count // 2
            parts = []
            for start in (0, half):
                order = ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(start, start + half)))
                nothing = ir.Constant(value.type, ir.Undefined)
                parts.append(self.b.shuffle_vector(value, nothing, order))
            value = self._combined(r, parts[0], parts[1], extreme)
        return value

    def _finish(self, r: Reduction, value: ir.Value, across: bool, extreme: Extreme | None) -> ir.Value:
        if across or not isinstance(value.type, ir.VectorType):
            return value
        width = value.type.count
        while width > 1:
            width //= 2
            order = [*range(width, 2 * width), *range(width)]
            order += list(range(2 * width, value.type.count))
            folded = self.b.shuffle_vector(
                value,
                ir.Constant(value.type, ir.Undefined),
                ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order),
            )
            value = self._combined(r, value, folded, extreme)
        return self.b.extract_element(value, ir.IntType(32)(0))

    def _entry_alloca(self, type_: ir.Type) -> ir.Value:
        with self.b.goto_entry_block():
            return self.b.alloca(type_)
