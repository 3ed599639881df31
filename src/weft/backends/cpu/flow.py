"""Kernels of rows with several rows in flight: a turn reads one row, works on the one before, and writes a third.

Where the stages of a row follow each other, memory waits while a row that has been read is worked on, and the
processor at the end of each sum. Here one innermost loop goes through all stages, each of another row. Every row is
computed as it is elsewhere, so the bits are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ...kernel.index import Var
from . import instructions as ir
from . import streams
from .build import I64, register_type
from .places import Lanes
from .stages import Stages
from .sums import Sums
from .wideness import WIDE, accumulators, is_long_sum

#: Elements of a row from which on twice as many vectors as elsewhere go together, where functions are added up.
_LONG = 512


class Flow:
    """The units of a kernel whose stage k is `lags[k]` rows behind the first one; `at` gives a unit's variables."""

    def __init__(self, code: Stages, lags: Sequence[int], at: Callable[[ir.Value], Lanes]) -> None:
        self.code, self.b, self.lags, self.at = code, code.b, lags, at
        self.stages = code.kernel.stages
        self.loops = [k for k, s in enumerate(self.stages) if s.variables]
        self.makers = [k for k, s in enumerate(self.stages) for _ in s.reductions]  #: of each total
        reductions = [r for s in self.stages for r in s.reductions]
        long = any(is_long_sum(s, code.build.target) and s.variables[-1].size >= _LONG for s in self.stages)
        #: What a turn brings, in the numbers of vectors that other kernels take at once.
        self.times = 2 if long else 1
        #: Each total of the last row that its stage has done, of the row before that, and so on.
        self.totals: list[list[ir.Value]] = []
        self.types = [register_type(r.dtype) for r in reductions]
        for maker, type_ in zip(self.makers, self.types, strict=True):
            self.totals.append([code.build.slot(type_) for _ in range(max(lags) - lags[maker] + 1)])

    def emit(self, begin: ir.Value, end: ir.Value) -> None:
        """All units from one number to another."""
        first = self.b.add(begin, I64(max(self.lags)))
        with self.code.build.loop(begin, self.b.add(end, I64(max(self.lags))), name="turn") as turn:
            full = self.b.and_(self.b.icmp_signed(">=", turn, first), self.b.icmp_signed("<", turn, end))
            with self.b.if_else(full) as (yes, no):
                with yes:
                    self._together(turn)
                with no:
                    for k in reversed(self.loops):
                        self._alone(k, turn, begin, end)
            for k in range(len(self.loops), len(self.stages)):
                self._alone(k, turn, begin, end)
            self._shift()

    def _row(self, k: int, turn: ir.Value) -> ir.Value:
        return self.b.sub(turn, I64(self.lags[k]))

    def _alone(self, k: int, turn: ir.Value, begin: ir.Value, end: ir.Value) -> None:
        """One stage of its row of a turn, if there is one."""
        row = self._row(k, turn)
        inside = self.b.and_(self.b.icmp_signed(">=", row, begin), self.b.icmp_signed("<", row, end))
        usual, self.code.ahead = self.code.ahead, 0
        with self.b.if_then(inside), self._seen_by(k):
            known = len(self.code.totals)
            self.code.run(range(k, k + 1), self.at(row))
            self._keep(k, self.code.totals[known:])
        self.code.ahead = usual

    def _together(self, turn: ir.Value) -> None:
        """All stages with loops in one, each of its row."""
        code, *before = self.code, *self.stages[self.loops[0]].variables
        last = before.pop()
        rows = {k: self.at(self._row(k, turn)) for k in self.loops}
        sums = {
            k: code.sums(self.stages[k], rows[k], self.times) for k in self.loops if self.stages[k].reductions
        }
        code.serial(tuple(before), Lanes({}), lambda here: self._innermost(last, here, rows, sums))
        for k, s in sums.items():
            self._keep(k, s.finish())

    def _innermost(self, last: Var, here: Lanes, rows: dict[int, Lanes], sums: dict[int, Sums]) -> None:
        code, wide = self.code, max([accumulators(self.stages[k]) for k in self.loops])
        wide *= self.times if wide > 1 else 1

        def of(k: int, lanes: Lanes) -> Lanes:
            return replace(lanes, values={**lanes.values, **rows[k].values})

        same = {}
        for k in self.loops:
            with self._seen_by(k):
                same[k] = code.unchanging(self.stages[k], last, of(k, here))

        def step(k: int, lanes: Lanes) -> None:
            with self._seen_by(k):
                code.turn(self.stages[k], sums.get(k), of(k, lanes), same[k])

        fetched = streams.fetched(code.kernel)
        ahead, code.ahead = code.ahead, 0
        for lanes in code.along(last, I64(0), I64(last.size), here, code.lanes, wide):
            starts = [self.b.add(lanes.values[last], I64(i)) for i in range(0, lanes.count, code.lanes)]
            parts = [replace(lanes.at(last, i), count=code.lanes) for i in starts]
            at_once = [k for k in reversed(self.loops) if len(parts) > 1 and self._is_wide(k)]
            # Lines that are fetched in a burst wait for each other, and whatever is read then waits for them: they are
            # spread over the turn. The oldest row comes first: where it waits for its sum, the next one will.
            for part in parts:
                for k in reversed(self.loops):
                    for e in fetched[k]:
                        code.fetch(e, of(k, part), ahead)
                    if k not in at_once:
                        step(k, part)
            for k in at_once:
                step(k, lanes)
        code.ahead = ahead

    def _is_wide(self, k: int) -> bool:
        """Whether a stage takes several vectors at once, rather than one after the other."""
        stage = self.stages[k]
        return accumulators(stage) == WIDE or is_long_sum(stage, self.code.build.target)

    @contextmanager
    def _seen_by(self, k: int) -> Iterator[None]:
        """What the totals are that a stage knows, of its row."""
        usual, self.code.totals = self.code.totals, []
        for maker, type_, slots in zip(self.makers, self.types, self.totals, strict=True):
            if maker < k:
                slot = slots[self.lags[k] - self.lags[maker]]
                self.code.totals.append(self.b.load(slot, typ=type_))
        yield
        self.code.totals = usual

    def _keep(self, k: int, found: Sequence[ir.Value]) -> None:
        slots = [slots for maker, slots in zip(self.makers, self.totals, strict=True) if maker == k]
        for value, places in zip(found, slots, strict=True):
            self.b.store(value, places[0])

    def _shift(self) -> None:
        """A turn later, every row is one further behind."""
        for type_, slots in zip(self.types, self.totals, strict=True):
            for later, earlier in zip(slots[:0:-1], slots[-2::-1], strict=True):
                self.b.store(self.b.load(earlier, typ=type_), later)
