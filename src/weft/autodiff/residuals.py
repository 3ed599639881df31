"""What the reverse rule of a node reads, so that a flush before `backward` can keep it; and how to be rid of it."""

from __future__ import annotations

from ..base.errors import GradientError
from ..base.state import isolated
from ..ir.graph import Graph, fresh_inputs, instantiate, rebuild, toposort
from ..ir.node import GRAD, Node, Signature, make_node
from ..ir.primitive import pick_prim
from .rules import node_vjp
from .saved import Saved, unread


def vjp_reads(sig: Signature, need: tuple[bool, ...]) -> tuple[tuple[bool, int], ...]:
    """The arguments (True, i) and results (False, i) that reverse mode through a node of this signature reads."""
    key = ("reads", need)
    found = sig.memo.get(key)
    if found is None:
        rule = sig.attrs.get("rule")
        found = rule.reads if isinstance(rule, Saved) else _trace(sig, need)
        sig.memo[key] = found
    return found


def _trace(sig: Signature, need: tuple[bool, ...]) -> tuple[tuple[bool, int], ...]:
    if not sig.differentiable:
        return ()
    with isolated():
        args = fresh_inputs(sig.inputs)
        node = make_node(sig, tuple(args))
        cts = [fresh_inputs([o])[0] if o.dtype.inexact else None for o in sig.outs]
        try:
            found = [c for c in node_vjp(node, cts, need) if c is not None]
        except GradientError:  # it has no reverse mode, which is an error only if that is asked for
            return ()
    reached = set(toposort(found, lambda n: () if n is node else n.args))
    reads: list[tuple[bool, int]] = [(True, i) for i, a in enumerate(args) if a in reached]
    if type(sig.out) is not tuple:
        return (*reads, (False, 0)) if node in reached else tuple(reads)
    picked = {n.attrs["index"] for n in reached if n.sig.prim is pick_prim and n.args[0] is node}
    return (*reads, *[(False, i) for i in sorted(picked)])


def drop_unused_residuals(graph: Graph) -> Graph:
    """The graph with calls that return residuals nobody reads replaced by the plain calls they came from.

    A graph recorded with gradients on but never differentiated becomes what it would have been without them.
    """
    plain = unread(graph.nodes)
    if not plain:
        return graph

    def make(node: Node, args: tuple[Node, ...]) -> Node:
        if node.sig.prim is pick_prim and type(args[0].sig.out) is not tuple:
            return args[0]
        if node not in plain:
            return rebuild(node, args)
        new = make_node(plain[node], args)
        if not node.flags & GRAD:
            new.flags = 0
        return new

    with isolated():
        inputs = fresh_inputs(graph.in_avals)
        return Graph(inputs, instantiate(graph, inputs, make))
