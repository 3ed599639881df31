"""Parts of a graph that are alike: what is the kernel of one is the kernel of the other.

A network is made of equal blocks, and a block of a few operations that come again and again. A kernel follows from the
operations that it computes and from the shapes, types and layouts of what it reads, and not from which nodes these are.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from ..ir.node import Node
from .layout import Order


def likeness(
    roots: Sequence[Node], reads: Sequence[Node], layouts: Mapping[Node, Order], *more: Sequence[Node | None]
) -> Hashable:
    """What tells how `roots` are computed from `reads`: equal for parts of a graph that differ in nothing else.

    `more`: nodes in between that play a role, in order.
    """
    number = {n: i for i, n in enumerate(reads)}
    told: list[Hashable] = [len(reads)]
    for n in reads:
        told += (n.sig.out, n.sig.prim if n.value is None and n.sig.prim.movement else None, layouts.get(n))
    waiting = [*roots]
    while waiting:
        node = waiting[-1]
        if node in number:
            waiting.pop()
        elif node.value is not None:
            number[waiting.pop()] = len(number)
            told += (node.sig.out, repr(node.value))
        elif missing := [a for a in node.args if a not in number]:
            waiting += missing
        else:
            number[waiting.pop()] = len(number)
            told += (node.sig, *[number[a] for a in node.args], layouts.get(node))
    for nodes in (roots, *more):
        told += (len(nodes), *[None if n is None else number[n] for n in nodes])
    return tuple(told)
