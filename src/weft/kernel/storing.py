"""What is stored though it could be computed where it is used: what would be too much to write out, or to compute."""

from __future__ import annotations

from ..ir.graph import Graph
from ..ir.node import Node
from .functions import functions
from .lower import can_pull

#: How many operations one expression may be made of, and how many it may be deep: code is written by recursion over it.
_LARGE, DEEP = 150, 64

#: As often an element is used, at least, whose computation is a formula of tens of instructions.
_SPREAD = 8


def store_the_large(graph: Graph, stored: set[Node]) -> dict[Node, int]:
    """Add to `stored` so that no expression grows beyond measure; how deep the expression of each node is then.

    What is not stored is written out at each of its uses, so a chain of operations that use their operand twice (a
    sum beside a slice of itself, say) would double with every link.
    """
    size: dict[Node, int] = {}
    depth: dict[Node, int] = {}
    for node in graph.nodes:
        size[node] = depth[node] = 1
        if node not in stored and node.value is None:
            inside = [a for a in node.args if a not in stored]
            size[node] += len(node.args) - len(inside) + sum([size[a] for a in inside])
            depth[node] += max([depth[a] for a in inside], default=0)
            if (size[node] > _LARGE or depth[node] > DEEP) and can_pull(node):
                stored.add(node)
    return depth


def store_the_spread(graph: Graph, stored: set[Node]) -> None:
    """Add to `stored` what takes many instructions and is then broadcast: each element would be computed many times."""
    heavy: set[Node] = set()
    for node in graph.nodes:
        if node.value is not None or type(node.sig.out) is tuple:
            continue
        inside = [a for a in node.args if a in heavy and a not in stored]
        for a in inside:
            if node.size >= _SPREAD * a.size:
                while a.prim.movement and len(a.args) == 1 and a.args[0].size <= a.size:
                    a = a.args[0]
                stored.add(a)
        computed = node.prim.elementwise and node.prim.name in functions
        if computed or ((node.prim.elementwise or node.prim.movement) and not stored.issuperset(inside)):
            heavy.add(node)
