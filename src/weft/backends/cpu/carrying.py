"""Running totals along rows that vectors lie across: rows are read and written in squares, transposed in registers.

One lane of a vector has one row. Read one by one, elements that lie rows apart would each take a line of the cache,
of which there are too few that can hold them where the rows are a power of two long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...kernel.index import Index, Var
from ...kernel.loops import Expr, Inside, Load, Stage, Store, found_in, operands
from . import instructions as ir
from .build import I64
from .expressions import Expressions
from .places import Lanes

#: What one turn of the loop makes of values that are known: those that it stores.
Turn = Callable[[Lanes, Mapping[Expr, ir.Value]], list[ir.Value]]


@dataclass(frozen=True)
class Squares:
    """What a stage reads and writes along its loop in squares, from turn `lanes` on, where conditions hold."""

    along: Var
    loads: list[Load]
    holding: set[Inside]


def squares(stage: Stage, outer: Lanes, lanes: int) -> Squares | None:
    """How a stage with carries can be made in squares; None if it cannot."""
    if outer.vector is None or outer.mask is not None or outer.count != lanes or lanes < 4:
        return None
    if len(stage.variables) != 1 or stage.variables[0].size < 2 * lanes:
        return None
    (along,) = stage.variables
    if not all(
        isinstance(s, Store) and not s.within and _across(s.index, along, outer) for s in stage.stores
    ):
        return None
    values = [x.value for x in (*stage.carries, *stage.stores)]
    holding = {e for e in found_in(values) if isinstance(e, Inside) and _holds(e, along, lanes)}
    read = found_in(values, lambda e: _met(e, holding))
    loads = [
        e for e in read if isinstance(e, Load) and e.dtype.itemsize >= 4 and _across(e.index, along, outer)
    ]
    return Squares(along, loads, holding) if loads else None


def _across(at: Index, along: Var, outer: Lanes) -> bool:
    """Whether an index runs along memory with the loop, and has a row for each lane."""
    assert outer.vector is not None
    return at.stride(along) in (1, -1) and at.stride(outer.vector) not in (0, 1, None)


def _holds(e: Inside, along: Var, start: int) -> bool:
    """Whether conditions are on the loop alone, and hold from turn `start` on."""
    for at, low, high in e.conditions:
        if set(at.factors) != {along}:
            return False
        ends = [at.evaluate({along: k}) for k in (start, along.size - 1)]
        if min(ends) < low or max(ends) >= high:
            return False
    return True


def _met(e: Expr, holding: set[Inside]) -> Sequence[Expr]:
    """What is computed for an expression, whatever the conditions say that are not known to hold."""
    if isinstance(e, Inside):
        return (e.then,) if e in holding else ()
    return operands(e)


def emit(code: Expressions, found: Squares, stage: Stage, outer: Lanes, turn: Turn) -> int:
    """The turns from number `lanes` on that make whole squares; returns the number of the next one."""
    n, along = outer.count, found.along
    whole = along.size // n * n
    with code.build.loop(I64(n), I64(whole), n, name=along.name) as k:
        rows = [_row(code, outer, r, along, k) for r in range(n)]
        read = {e: code.build.transposed([code.value(e, row, {}) for row in rows]) for e in found.loads}
        made = []
        for j in range(n):
            here = outer.at(along, code.b.add(k, I64(j)))
            made.append(turn(here, {e: columns[j] for e, columns in read.items()}))
        for s, columns in zip(stage.stores, zip(*made, strict=True), strict=True):
            results = code.build.transposed([code.build.splat(c, n) for c in columns])
            assert isinstance(s, Store)  # see `squares`
            for row, value in zip(rows, results, strict=True):
                code.put(s.buffer, code.index(s.index, row), s.index.stride(along), value, row)
    return whole


def _row(code: Expressions, outer: Lanes, r: int, along: Var, k: ir.Value) -> Lanes:
    """The turns from number k on in the row of one lane, as lanes themselves."""
    assert outer.vector is not None
    here = outer.at(outer.vector, code.b.add(outer.values[outer.vector], I64(r))).at(along, k)
    return replace(here, vector=along, every=outer.count)
