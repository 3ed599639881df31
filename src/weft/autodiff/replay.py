"""Backward passes written down: what reverse mode builds for a graph depends on the graph's structure alone.

A loop of training makes the same graph in every step. So the nodes of its backward pass are worked out once, with all
rules, and from then on made directly from their signatures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..base.state import state
from ..ir.graph import toposort
from ..ir.node import GRAD, LEAF, SHARED, SPENT, Node, Signature, make_node
from ..ir.primitive import input_prim, leaf_prim, pick, pick_prim
from .reverse import taps


class Path:
    """The nodes behind an output that carry GRAD, with their arguments, numbered; `key` tells the structure.

    `flags` are those that any of them has."""

    __slots__ = ("flags", "key", "leaves", "number", "order")

    def __init__(self) -> None:
        self.number: dict[Node, int] = {}
        self.order: list[Node] = []
        self.leaves: list[Node] = []
        self.key: tuple[Any, ...] = ()
        self.flags = 0


def path_of(output: Node) -> Path | None:
    """The path behind an output; None where an earlier `backward` has cut it, or hooks want to see what comes back."""
    if len(taps) or output.flags & LEAF:
        return None
    path = Path()
    number, order, key, union = path.number, path.order, [], 0
    above: list[tuple[Node, Iterator[Node]]] = []  # the way down to `node`, and what each has left
    node, rest = output, iter(output.args)
    while True:  # as in `reverse`, each step of the loop is part of the price of every backward pass
        for a in rest:
            if a in number:
                continue
            flags = a.flags
            union |= flags
            if not flags & GRAD:
                if flags & SPENT:
                    return None
                key.append(None)
            elif flags & LEAF:
                key.append(a.sig.out)
                path.leaves.append(a)
                order.append(a)
            else:
                above.append((node, rest))
                node, rest = a, iter(a.args)
                break
            number[a] = len(number)
        else:
            key.append(node.sig)
            for a in node.args:
                key.append(number[a])
            order.append(node)
            number[node] = len(number)
            if node is output:
                break
            node, rest = above.pop()
    path.key = tuple(key)
    path.flags = union | output.flags
    return path


#: The signature to apply (None: pick a result), the slots of its arguments, the number of the result to pick, and the
#: slot of the node whose line it takes over.
_Step = tuple[Signature | None, tuple[int, ...], int, int]


class Replay:
    """A backward pass over slots: the nodes of the path by their numbers, constants, then a slot for each step."""

    __slots__ = ("constants", "found", "steps")

    def __init__(self, steps: list[_Step], constants: list[Node], found: list[int]) -> None:
        self.steps = steps
        self.constants = constants
        self.found = found  #: the slot of each leaf's gradient, or -1

    def run(self, path: Path) -> list[Node | None]:
        """The gradients of the leaves of a path, in the order of its `leaves`."""
        slots = [*path.number, *self.constants]
        get, add = slots.__getitem__, slots.append
        plain = not (
            path.flags & (SHARED | state.tracing) or state.ambient
        )  # then the new nodes have no flags
        before = state.site, state.grad
        try:
            state.grad = False
            for sig, args, index, line in self.steps:
                if sig is None:
                    add(pick(slots[args[0]], index))
                elif plain:
                    add(Node(sig, tuple(map(get, args)), None, 0, slots[line].site))
                else:
                    state.site = slots[line].site
                    add(make_node(sig, tuple(map(get, args))))
        finally:
            state.site, state.grad = before
        return [None if i < 0 else slots[i] for i in self.found]


#: Structure -> its backward pass.
_known: dict[tuple[Any, ...], Replay] = {}
_MOST = 4096


def known(path: Path) -> Replay | None:
    """The backward pass of a graph of this structure, if it has been written down."""
    return _known.get(path.key)


def write_down(path: Path, leaves: Sequence[Node], gradients: Sequence[Node | None]) -> None:
    """Remember how `gradients`, made without being recorded for differentiation, came about."""
    of = dict(zip(leaves, gradients, strict=True))
    slot = dict(path.number)
    lines = {id(n.site): i for n, i in reversed(path.number.items())}
    made = toposort([g for g in gradients if g is not None], lambda n: () if n in path.number else n.args)
    constants = [n for n in made if n not in slot and n.sig.prim is leaf_prim]
    for n in constants:
        slot[n] = len(slot)
    steps: list[_Step] = []
    for n in made:
        if n in slot:
            continue
        if n.sig.prim is input_prim:
            return  # something that is not of this graph
        index = n.attrs["index"] if n.sig.prim is pick_prim else 0
        sig = None if n.sig.prim is pick_prim else n.sig
        steps.append((sig, tuple([slot[a] for a in n.args]), index, lines.get(id(n.site), 0)))
        slot[n] = len(slot)
    if len(_known) >= _MOST:
        _known.clear()
    found = [-1 if (g := of.get(leaf)) is None else slot[g] for leaf in path.leaves]
    _known[path.key] = Replay(steps, constants, found)
