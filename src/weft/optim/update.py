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
    rows: tuple[tuple[int, tuple[str, ...]], ...]

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


#: Update -> types of the nodes -> how it is written down.
_known: dict[Update, dict[tuple[Any, ...], Script]] = {}
_MOST = 1024


class Plan:
    """What a step of a group of parameters is as long as the options of the group are what they are."""

    __slots__ = ("_scripts", "_taking", "_update", "avals", "names")

    def __init__(self, empty: Update, avals: Sequence[Any], names: Sequence[tuple[str, ...]]) -> None:
        """`empty` is the update of no parameters; `avals` and `names` are the types of all parameters of the group and
        the slots that they have."""
        self.avals, self.names = avals, names
        self._update = empty
        self._scripts: dict[tuple[Any, ...], Script] = {}
        self._taking: list[tuple[int, int]] = []

    def updated(
        self,
        taking: list[tuple[int, int]],
        counts: Sequence[Node],
        held: Sequence[Node],
        gradients: Sequence[Node],
        numbers: Sequence[Node],
    ) -> Sequence[Node]:
        """`Update.build` for some of the parameters, each with the number of its count; outside of traces by one
        node."""
        if taking != self._taking:
            rows = tuple([(count, self.names[i]) for i, count in taking])
            self._update, self._taking = self._update._replace(rows=rows), taking
            if len(_known) >= _MOST and self._update not in _known:
                _known.clear()
            self._scripts = _known.setdefault(self._update, {})
        nodes = [*counts, *held, *gradients, *numbers]
        if state.traces or len(set(nodes)) < len(nodes):
            return self._update.build(counts, held, gradients, numbers)
        key = tuple([n.sig.out for n in nodes])
        script = self._scripts.get(key)
        if script is None:
            new = self._update.build(counts, held, gradients, numbers)
            script = write_down(nodes, new)
            if script is None:
                return new
            if len(self._scripts) >= _MOST:
                self._scripts.clear()
            self._scripts[key] = script
        return script.outputs(nodes, [state.site], state.site)  # type: ignore[return-value]  # all of them are there
