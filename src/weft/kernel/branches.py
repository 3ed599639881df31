"""Branches are numbered by 64-bit integers, which is what the driver compares."""

from __future__ import annotations

from ..ir.dtype import int64
from ..ir.graph import Graph
from ..ir.node import Node
from ..ops.control import cond
from ..ops.define import constant
from ..ops.elementwise import cast, minimum
from ..passes.rewrite import rewrite


def plain_indices(graph: Graph) -> Graph:
    """`graph` with 64-bit signed integers as the numbers of branches.

    What is beyond the last branch means that one, and is brought down to it first: as a signed integer, a large
    unsigned one would be negative.
    """

    def plain(old: Node, args: tuple[Node, ...]) -> Node | None:
        if old.prim is not cond or args[0].dtype is int64:
            return None
        last = constant(len(old.attrs["branches"]) - 1, args[0].dtype)
        index = cast(minimum(args[0], last), dtype=int64)
        return cond(index, *args[1:], **{**old.attrs, "rule": None})

    return rewrite(graph, plain, (cond.name,))
