"""What an optimiser's step computes for a group of parameters, written down the first time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..base.state import state
from ..ir.node import Node
from ..ir.script import Script, write_down
from ..ops.composite.define import Composite


class Update(NamedTuple):
    """A rule applied to some parameters, of which the nodes are still to be given.

    rows: of each parameter the number of its count of steps, and which of `slots` it has."""

    rule: Composite
    clock: Composite | None
    attributes: tuple[Any, ...]
    slots: tuple[str, ...]
    rows: tuple[tuple[int, frozenset[str]], ...]

    def build(
        self, counts: Sequence[Node], held: Sequence[Node], gradients: Sequence[Node], numbers: Sequence[Node]
    ) -> list[Node]:
        """The new counts, then of each parameter its new value and slots; `held` are the old ones in this order."""
        clocked = [] if self.clock is None else [self.clock(c, *numbers) for c in counts]
        new = [after for after, *_ in clocked]
        old = iter(held)
        for (count, names), gradient in zip(self.rows, gradients, strict=True):
            p, slots = next(old), [next(old) if n in names else None for n in self.slots]
            shared = clocked[count][1:] if clocked else ()
            found = self.rule.bind((p, gradient, *slots, *shared, *numbers), self.attributes)
            new += found[: 1 + len(names)]
        return new


_known: dict[Any, Script] = {}
_MOST = 1024


def updated(
    update: Update,
    counts: Sequence[Node],
    held: Sequence[Node],
    gradients: Sequence[Node],
    numbers: Sequence[Node],
) -> Sequence[Node]:
    """`update.build`; outside of traces by one node."""
    nodes = [*counts, *held, *gradients, *numbers]
    if state.traces or len(set(nodes)) < len(nodes):
        return update.build(counts, held, gradients, numbers)
    key = update, tuple([n.sig.out for n in nodes])
    script = _known.get(key)
    if script is None:
        new = update.build(counts, held, gradients, numbers)
        script = write_down(nodes, new)
        if script is None:
            return new
        if len(_known) >= _MOST:
            _known.clear()
        _known[key] = script
    return script.outputs(nodes, [state.site], state.site)  # type: ignore[return-value]  # all of them are there
