"""The walk that all passes share: a graph rebuilt bottom-up, each node replaced by what a rule makes of it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..base.state import NO_SITE, isolated, state
from ..ir.graph import Graph, rebuild
from ..ir.node import Node

#: Given a node and its new arguments: the node to use instead, or None to keep the operation.
Rule = Callable[[Node, tuple[Node, ...]], Node | None]


def rewrite(graph: Graph, rule: Rule, of: Collection[str] | None = None) -> Graph:
    """`graph` with `rule` applied to every node, arguments first. The same graph where nothing changes.

    What a rule makes stands for the user's line of the node that it was applied to. Nodes that nothing before them
    changes are those of `graph` itself. `of`: names of primitives, if the rule keeps all others.
    """
    if of is not None and not any(n.sig.prim.name in of for n in graph.nodes):
        return graph
    changed: dict[Node, Node] = {}
    with isolated():
        for old in graph.nodes:
            if old.value is not None:
                continue
            args = tuple([changed.get(a, a) for a in old.args]) if changed else old.args
            state.site = old.site or NO_SITE
            new = rule(old, args) if of is None or old.sig.prim.name in of else None
            if new is None:
                if args == old.args:  # nodes are equal where they are the same
                    continue
                new = rebuild(old, args)
                new.site = old.site
            if new is not old:
                changed[old] = new
        outputs = tuple([changed.get(n, n) for n in graph.outputs])
        if outputs == graph.outputs:
            return graph
        out = Graph(graph.inputs, outputs)
    return graph if out == graph else out
