"""State that is written where it lies: which results of a program may take the place of what they replace.

An optimiser's update reads each element of the old state and writes the new one. It needs no second buffer, if
everything else has read the old state by then, and if nothing can go wrong any more: so updates come last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..ir.node import Node
from .loops import Expr, Kernel, Load, Lookup, Scalar, Search, Stage, Store, always_read, found_in
from .schedule import Step


@dataclass(frozen=True)
class Updates:
    """The steps of a program with those that update state at the end, and the results that they write in place."""

    steps: list[Step]
    last: frozenset[Step]
    results: frozenset[Node]


def updates(steps: list[Step], replaced: Mapping[Node, Node | None]) -> Updates:
    """Which results may lie where what they replace does (`replaced`: result -> input, or None where the program does
    not read that)."""
    readers: dict[Node, list[Step]] = {}
    for step in steps:
        for n in step.reads:
            readers.setdefault(n, []).append(step)
    olds = {n: old for n, old in replaced.items() if old is not None}
    last = {s for s in steps if any(n in olds and _updates(s, olds[n], n) for n in s.writes)}
    while early := [s for s in last if any(r not in last for n in s.writes for r in readers.get(n, ()))]:
        last.difference_update(early)
    order = [s for s in steps if s not in last] + [s for s in steps if s in last]
    place = {s: i for i, s in enumerate(order)}

    def safe(step: Step, result: Node) -> bool:
        old = replaced[result]
        if old is None:
            return True
        return _updates(step, old, result) and all(place[r] <= place[step] for r in readers.get(old, ()))

    results = {n for s in last for n in s.writes if n in replaced and safe(s, n)}
    return Updates(order, frozenset(last), frozenset(results))


def _updates(step: Step, old: Node, new: Node) -> bool:
    """Whether a step may write `new` over `old`: every element of it is read before the one in its place is written.

    What is read once in an iteration stays in a register for the stores that follow.
    """
    kernel = step.kernel
    if not isinstance(kernel, Kernel) or kernel.checked or old.dtype.kind == "c":
        return False
    if old not in step.reads:
        return True
    read, written = step.reads.index(old), len(step.reads) + step.writes.index(new)
    writing = [x for x in kernel.stages if any(store.buffer == written for store in x.stores)]
    others = [x for x in kernel.stages if all(x is not w for w in writing)]
    if any(x.reductions or x.carries for x in writing) or any(_reads(x, read) for x in others):
        return False
    if len(writing) > 1 and any(x.reductions for x in others):
        return False  # only of pieces is it known that none writes where another does
    return all(_stays_in_place(kernel, x, read, written) for x in writing)


def _stays_in_place(kernel: Kernel, stage: Stage, read: int, written: int) -> bool:
    """Whether a stage reads nothing of one buffer but what lies where it writes to another, or has read it before."""
    known: set[Expr] = set()
    place = None
    for store in stage.stores:
        assert isinstance(store, Store)  # others are checked
        known.update(always_read(store.value))
        if store.buffer == written:
            place = store.index
            break
    assert place is not None
    uses = _reads(stage, read)
    if kernel.iterations == 1 and not stage.variables:
        return uses <= known
    return uses <= known and uses <= {Load(read, place, kernel.inputs[read])}


def _reads(stage: Stage, buffer: int) -> set[Expr]:
    """Where the expressions of a stage read a buffer."""
    values = found_in([x.value for x in (*stage.reductions, *stage.carries, *stage.stores)])
    return {e for e in values if isinstance(e, (Load, Scalar, Lookup, Search)) and e.buffer == buffer}
