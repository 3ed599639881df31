"""Concatenations of many parts, made of concatenations of some."""

from __future__ import annotations

from ..ir.graph import Graph
from ..ir.node import Node
from ..ops.movement import concatenate, identity
from ..passes.rewrite import rewrite

#: Parts that one kernel puts side by side, at most: each has an expression of its own in its code.
MOST = 64


def join_in_steps(graph: Graph) -> Graph:
    """`graph` with every concatenation of many parts as one of stored concatenations of some.

    Each step goes over the memory once more, so the steps are as few as can be: two up to `MOST`**2 parts. Groups
    are of even size, so that their kernels are mostly the same one.
    """

    def split(old: Node, args: tuple[Node, ...]) -> Node | None:
        if old.prim is not concatenate or len(args) <= MOST:
            return None
        parts, axis = list(args), old.attrs["axis"]
        while len(parts) > MOST:
            groups = -(-len(parts) // MOST)
            ends = [len(parts) * k // groups for k in range(groups + 1)]
            parts = [
                identity(concatenate(*parts[a:b], axis=axis)) for a, b in zip(ends, ends[1:], strict=False)
            ]
        return concatenate(*parts, axis=axis)

    return rewrite(graph, split, (concatenate.name,))
