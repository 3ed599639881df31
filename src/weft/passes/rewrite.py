"""The walk that all passes share: a graph rebuilt bottom-up, each node replaced by what a rule makes of it."""

from __future__ import annotations

from collections.abc import Callable

from ..base.state import NO_SITE, isolated, state
from ..ir.graph import Graph, instantiate, rebuild
from ..ir.node import Node

#: Given a node and its new arguments: the node to use instead, or None to keep the operation.
Rule = Callable[[Node, tuple[Node, ...]], Node | None]


def rewrite(graph: Graph, rule: Rule) -> Graph:
    """`graph` with `rule` applied to every node, arguments first. The same graph where nothing changes.

    What a rule makes stands for the user's line of the node that it was applied to. Nodes that nothing before them
    changes are those of `graph` itself.
    """

    def make(old: Node, args: tuple[Node, ...]) -> Node:
        state.site = old.site or NO_SITE
        new = rule(old, args)
        if new is None:
            if args == old.args:  # nodes are equal where they are the same
                return old
            new = rebuild(old, args)
            new.site = old.site
        return new

    with isolated():
        outputs = instantiate(graph, graph.inputs, make)
        if outputs == graph.outputs:
            return graph
        out = Graph(graph.inputs, outputs)
    return graph if out == graph else out
