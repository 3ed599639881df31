"""What the reverse rule of a node reads, so that a flush before `backward` can keep it; and how to be rid of it."""

from __future__ import annotations

from typing import Any

from ..base.state import isolated
from ..ir.graph import Graph, fresh_inputs, instantiate, rebuild, subgraphs, toposort
from ..ir.node import GRAD, Node, Signature, make_node
from ..ir.primitive import pick_prim
from .rules import node_vjp
from .saved import Saved


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
        found = [c for c in node_vjp(node, cts, need) if c is not None]
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
    found = graph.memo.get("plain")
    if found is None:
        found = graph.memo["plain"] = _without_residuals(graph)
        found.memo["plain"] = found
    return found


def _without_residuals(graph: Graph) -> Graph:
    read = {
        n.args[0]
        for n in graph.nodes
        if n.sig.prim is pick_prim and n.attrs["index"] >= _own_results(n.args[0])
    }
    changed = False

    def make(node: Node, args: tuple[Node, ...]) -> Node:
        nonlocal changed
        if node.sig.prim is pick_prim and type(args[0].sig.out) is not tuple:
            return args[0]
        if not subgraphs(node):
            return rebuild(node, args)
        values = tuple([_plain(v) for v in node.attrs.values()])
        rule = node.attrs.get("rule")
        if isinstance(rule, Residuals) and node not in read:
            body = node.attrs["body"]
            body = drop_unused_residuals(Graph(body.inputs, body.outputs[: rule.pair_.results]))
            values = (node.attrs["name"], body, rule.inner)
        if values == tuple(node.attrs.values()):
            return rebuild(node, args)
        changed = True
        new = make_node(node.prim.signature(node.sig.inputs, values), args)
        new.flags &= node.flags | ~GRAD
        return new

    with isolated():
        inputs = fresh_inputs(graph.in_avals)
        outputs = instantiate(graph, inputs, make)
    return Graph(inputs, outputs) if changed else graph


def _own_results(node: Node) -> int:
    rule = node.attrs.get("rule")
    return rule.pair_.results if isinstance(rule, Residuals) else len(node.sig.outs)


def _plain(value: Any) -> Any:
    if isinstance(value, Graph):
        return drop_unused_residuals(value)
    if isinstance(value, tuple):
        return tuple([_plain(v) for v in value])
    return value
