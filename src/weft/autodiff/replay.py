"""Backward passes written down: what reverse mode builds for a graph depends on the graph's structure alone.

A loop of training makes the same graph in every step. So the nodes of its backward pass are worked out once, with all
rules, and from then on one node stands for them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from ..base.site import user_site
from ..base.state import state
from ..ir.node import GRAD, LEAF, SPENT, Node
from ..ir.script import Script, write_down
from .reverse import taps


class Path:
    """The nodes behind an output that carry a flag, with their arguments, numbered; `key` tells the structure."""

    __slots__ = ("key", "leaves", "number", "order")

    def __init__(self) -> None:
        self.number: dict[Node, int] = {}
        self.order: list[Node] = []
        self.leaves: list[Node] = []
        self.key: tuple[Any, ...] = ()


def path_of(output: Node, bit: int = GRAD, ends: Collection[Node] = ()) -> Path | None:
    """The path behind an output, along the flag `bit`, to the leaves of `backward` or to `ends`.

    None where an earlier `backward` has cut it, or hooks want to see what comes back."""
    leaf = LEAF if bit == GRAD else 0
    if len(taps) or output.flags & leaf or output in ends:
        return None
    path = Path()
    key: list[Any] = []
    number, order = path.number, path.order
    above: list[tuple[Node, Iterator[Node]]] = []  # the way down to `node`, and what each has left
    node, rest = output, iter(output.args)
    while True:  # as in `reverse`, each step of the loop is part of the price of every backward pass
        for a in rest:
            if a in number:
                continue
            flags = a.flags
            if not flags & bit:
                if flags & SPENT:
                    return None
                key.append(None)
            elif flags & leaf or a in ends:
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
    return path


#: Structure -> its backward pass.
_known: dict[tuple[Any, ...], Script] = {}
_MOST = 4096


def known(path: Path) -> Script | None:
    """The backward pass of a graph of this structure, if it has been written down."""
    return _known.get(path.key)


def note(path: Path, leaves: Sequence[Node], gradients: Sequence[Node | None]) -> Script | None:
    """Write down how `gradients`, made without being recorded for differentiation, came about, if that can be."""
    of = dict(zip(leaves, gradients, strict=True))
    lines = {id(n.site): i for n, i in reversed(path.number.items())}
    found = [of.get(leaf) for leaf in path.leaves]
    script = write_down(list(path.number), found, lambda n: lines.get(id(n.site), 0))
    if script is not None:
        if len(_known) >= _MOST:
            _known.clear()
        _known[path.key] = script
    return script


def passed_back(script: Script, path: Path) -> list[Node | None]:
    """The gradients of the leaves of a path, in the order of its `leaves`."""
    nodes = list(path.number)
    return script.outputs(nodes, [n.site for n in nodes], state.site or user_site(1))
