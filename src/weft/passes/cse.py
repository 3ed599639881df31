"""Common subexpressions computed once."""

from __future__ import annotations

from typing import Any

from ..ir.graph import Graph, rebuild
from ..ir.node import Node
from ..ir.primitive import pick_prim
from ..ops.movement import pad
from .rewrite import rewrite


def eliminate_common(graph: Graph) -> Graph:
    """`graph` with one node in place of all that apply the same operation to the same arguments.

    A body marked for recomputation stays apart from the forward pass: merging the two would keep what
    `checkpoint` was asked to drop.
    """
    seen: dict[Any, Node] = {}

    def merge(old: Node, args: tuple[Node, ...]) -> Node | None:
        if old.sig.prim is pick_prim:
            key: Any = ("pick", old.attrs["index"], args)
        elif old.sig.prim is pad:
            key = (old.sig, args[0], _number(args[1]))
        else:
            key = (old.sig, args)
        found = seen.get(key)
        if found is None and args == old.args:
            found = seen[key] = old
        elif found is None:
            found = seen[key] = rebuild(old, args)
            found.site = old.site
        return found

    return rewrite(graph, merge)


def _number(fill: Node) -> Any:
    """What a pad's fill is compared by: zeros around an image are the same zeros wherever they were written.

    Other operations of numbers that were written twice stay apart: a gradient computes some of them again on purpose.
    """
    return repr(fill.value) if isinstance(fill.value, (bool, int, float, complex)) else fill
