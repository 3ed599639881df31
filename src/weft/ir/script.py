"""Scripts: nodes written down, and single nodes that stand for all of them.

A loop of training makes the same nodes in every step: which ones a backward pass or an optimiser's update consists of
depends on structure alone. So they are worked out once, with all rules, and written down; from then on one node with
many results takes their place wherever the graph is built, walked and let go of. No program ever sees it: `extract`
puts the nodes back, so that a program is the same however its graph came about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..base.state import NO_SITE, state
from .graph import toposort
from .node import SHARED, Aval, Node, Signature, make_node
from .primitive import input_prim, leaf_prim, pick, pick_prim, script_prim

#: The signature to apply (None: pick a result), the slots of its arguments, the number of the result to pick, and the
#: number of the user's line.
Step = tuple[Signature | None, tuple[int, ...], int, int]


class Script:
    """Nodes over slots: the inputs that are read, constants, then a slot for each step.

    The one node that stands for them has these inputs and constants as its arguments (a node with several results may
    be one, as a whole), and as its `site` the list of lines that the steps' numbers refer to.
    """

    __slots__ = ("_constants", "_found", "_read", "_results", "sig", "slots", "steps")

    def __init__(
        self,
        read: Sequence[int],
        constants: Sequence[Node],
        steps: Sequence[Step],
        found: Sequence[int],
        avals: tuple[Aval, ...],
    ) -> None:
        """`read` are the numbers of the inputs that are used, `found` the slots of the outputs (-1: none), and `avals`
        the types of those outputs that are steps, each once, in the order of `found`."""
        first = len(read) + len(constants)
        self.steps = steps
        self.slots = list(dict.fromkeys([s for s in found if s >= first]))  #: of the node's results
        self._read = read
        self._constants = tuple(constants)
        self._found = [s if s < first else first + self.slots.index(s) for s in found]
        self.sig = Signature(script_prim, {"script": self}, (), avals)
        self._results = [
            Signature(pick_prim, {"outs": avals, "index": i}, (), a) for i, a in enumerate(avals)
        ]
        self.sig.picks = self._results

    def outputs(self, inputs: Sequence[Node], sites: Sequence[Any], site: Any) -> list[Node | None]:
        """The outputs for these inputs: results of one node where that is possible. None of them is recorded for
        differentiation. `sites` are the lines that the steps refer to, `site` that of the whole."""
        args = (*[inputs[i] for i in self._read], *self._constants)
        flags, known = state.ambient, state.debug_nan
        for a in args:
            flags |= a.flags
            if a.parts is not None:  # some of its results have values: they are not to be computed again
                known = True
        if known or flags & (SHARED | state.tracing):
            slots = self.unrolled(args, sites)
            return [
                None if s < 0 else slots[s if s < len(args) else self.slots[s - len(args)]]
                for s in self._found
            ]
        node = Node(self.sig, args, None, 0, sites)
        slots = [*args, *[Node(sig, (node,), None, 0, site) for sig in self._results]]
        return [None if s < 0 else slots[s] for s in self._found]

    def unrolled(self, args: Sequence[Node], sites: Sequence[Any]) -> list[Node]:
        """The slots: the given arguments of the node, and the nodes that it stands for."""
        slots = list(args)
        get, add = slots.__getitem__, slots.append
        before = state.site, state.grad
        try:
            state.grad = False
            for sig, at, index, line in self.steps:
                if sig is None:
                    add(pick(slots[at[0]], index))
                else:
                    state.site = sites[line] or NO_SITE
                    add(make_node(sig, tuple(map(get, at))))
        finally:
            state.site, state.grad = before
        return slots


def write_down(
    inputs: Sequence[Node], outputs: Sequence[Node | None], line_of: Callable[[Node], int] = lambda n: 0
) -> Script | None:
    """How `outputs`, made without being recorded for differentiation, came from `inputs`; `line_of` gives the number of
    a node's line. None where they depend on the inputs of some other graph."""
    given = {n: i for i, n in enumerate(inputs)}
    wanted = [o for o in outputs if o is not None]
    made = toposort(wanted, lambda n: () if n in given else n.args)
    if any(n.sig.prim is input_prim and n not in given for n in made):
        return None
    read = sorted(given[n] for n in made if n in given)
    constants = [n for n in made if n.sig.prim is leaf_prim and n not in given]
    slot = {n: k for k, n in enumerate([*[inputs[i] for i in read], *constants])}
    first = len(slot)
    steps: list[Step] = []
    for n in made:
        if n in slot:
            continue
        picked = n.sig.prim is pick_prim
        index = n.sig.attrs["index"] if picked else 0
        steps.append((None if picked else n.sig, tuple([slot[a] for a in n.args]), index, line_of(n)))
        slot[n] = len(slot)
    avals = tuple([n.aval for n in dict.fromkeys(wanted) if slot[n] >= first])
    return Script(read, constants, steps, [-1 if o is None else slot[o] for o in outputs], avals)
