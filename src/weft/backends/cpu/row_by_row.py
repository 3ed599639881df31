"""Stages of several results at once, one for each lane, that write a row of memory for each: one row after the other.

The numbers of the rows are computed with a result in each lane, such as the means of channels that lie apart. What is
then stored for every element has no order, so vectors run along the rows: nothing is gathered or scattered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ...kernel.index import Var
from ...kernel.loops import Apply, Literal, Load, Scalar, Stage, Store, Total, found_in
from . import instructions as ir
from .build import I1, I64, element
from .expressions import Expressions
from .places import Lanes


def of_rows(stage: Stage, outer: Lanes, lanes: int) -> bool:
    """Whether a stage that only stores, and reads nothing but memory, does so along its last loop."""
    if outer.vector is None or not stage.variables or stage.variables[-1].size < lanes:
        return False
    last, found = stage.variables[-1], found_in([s.value for s in stage.stores])
    if not all(isinstance(e, (Apply, Literal, Load, Scalar, Total)) for e in found):
        return False
    if any(isinstance(e, Load) and e.index.stride(last) not in (0, 1) for e in found):
        return False
    return all(isinstance(s, Store) and not s.within and _apart(s, last, outer) for s in stage.stores)


def _apart(s: Store, last: Var, outer: Lanes) -> bool:
    assert outer.vector is not None
    return s.index.stride(last) == 1 and s.index.stride(outer.vector) not in (0, 1)


def can_be_taken(totals: Sequence[ir.Value]) -> bool:
    """Whether each lane of some totals has bytes of its own."""
    return all(isinstance(t.type, ir.VectorType) and t.type.element != I1 for t in totals)


def row_by_row(code: Expressions, outer: Lanes, nest: Callable[[Lanes], None]) -> None:
    """What `nest` emits for one row, once for each lane."""
    vector, known = outer.vector, outer.known
    assert vector is not None and known is not None
    first = outer.values[vector]
    totals, places = code.totals, []
    for t in totals:
        places.append(code.build.slot(t.type))
        code.b.store(t, places[-1])
    one = replace(outer, vector=None, count=1, mask=None, every=1)
    with code.build.loop(I64(0), I64(sum(known)), name=f"{vector.name}.row") as r:
        code.totals = []
        for t, place in zip(totals, places, strict=True):
            type_ = element(t.type)
            code.totals.append(code.b.load(code.b.gep(place, [r], source_etype=type_), typ=type_))
        nest(one.at(vector, code.b.add(first, r)))
    code.totals = totals
