"""Dead code: nodes that no output depends on, and results of calls that nobody reads."""

from __future__ import annotations

from ..ir.graph import Graph, rebuild
from ..ir.node import Node
from ..ir.primitive import pick_prim, results
from ..ops.control import call
from .rewrite import rewrite


def remove_dead(graph: Graph) -> Graph:
    """`graph` without results of calls that nothing uses.

    Nodes that no output reaches are never part of a `Graph` in the first place, so what is left to remove are
    results inside: a call in whose body something is computed for a result that nobody picks is narrowed to
    the results in use.
    """
    used: dict[Node, set[int]] = {}
    for node in graph.nodes:
        if node.sig.prim is pick_prim:
            used.setdefault(node.args[0], set()).add(node.attrs["index"])
    narrowed: dict[Node, dict[int, Node]] = {}

    def narrow(old: Node, args: tuple[Node, ...]) -> Node | None:
        if old.sig.prim is pick_prim and args[0] in narrowed:
            return narrowed[args[0]][old.attrs["index"]]
        if old.sig.prim is not call or type(old.sig.out) is not tuple:
            return None
        kept = sorted(used.get(old, ()))
        body = old.attrs["body"]
        if len(kept) == len(body.outputs):
            return None
        smaller = Graph(body.inputs, [body.outputs[i] for i in kept])
        barrier = getattr(old.attrs["rule"], "barrier", None)
        new = call.bind(args, (old.attrs["name"], smaller, barrier))
        stand_in = rebuild(old, args)
        narrowed[stand_in] = dict(zip(kept, results(new), strict=True))
        return stand_in

    return rewrite(graph, narrow)
