"""Reverse mode: cotangents pulled back from outputs to the nodes they depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from ..base.state import state
from ..ir.node import GRAD, LEAF, Node
from ..ir.primitive import pick_prim
from .rules import node_vjp

#: Functions that see the cotangent of a node on its way back, and give the one that goes on. For a node with several
#: results it is a list, with None where nothing came back.
taps: WeakKeyDictionary[Node, Callable[[Any], Any]] = WeakKeyDictionary()


def differentiable_path(
    outputs: Sequence[Node], wrt: Sequence[Node], bit: int
) -> tuple[list[Node], set[Node]]:
    """The nodes behind `outputs` that carry the flag `bit`: in order, and those that depend on `wrt`."""
    leaf = LEAF if bit == GRAD else 0
    order: list[Node] = []
    done: set[Node] = set()
    stack = [o for o in outputs if o.flags & bit]
    while stack:  # a topological sort, written out: this loop is the backward pass's own share of its cost
        node = stack[-1]
        if node in done:
            stack.pop()
            continue
        depth = len(stack)
        if not node.flags & leaf:
            for a in node.args:
                if a.flags & bit and a not in done:
                    stack.append(a)
        if len(stack) == depth:
            stack.pop()
            done.add(node)
            order.append(node)
    reached = set(wrt)
    for node in order:
        if node not in reached:
            for a in node.args:
                if a in reached:
                    reached.add(node)
                    break
    return order, reached


def pullback(
    outputs: Sequence[Node], cotangents: Sequence[Node], wrt: Sequence[Node], bit: int
) -> list[Node | None]:
    """For each node of `wrt`: the sum over outputs of J^T cotangent, or None if no output depends on it.

    Nodes of `wrt` may depend on each other. The new nodes take over the source lines of those they differentiate.
    """
    order, reached = differentiable_path(outputs, wrt, bit)
    sources = set(wrt)
    leaf = LEAF if bit == GRAD else 0
    cts: dict[Node, Any] = {}  # of a node with several results: a list with one entry for each
    for out, ct in zip(outputs, cotangents, strict=True):
        if out in reached:
            cts[out] = cts[out] + ct if out in cts else ct
    saved = state.site
    tapped = len(taps) > 0
    try:
        for node in reversed(order):
            ct = cts.get(node)
            if ct is None:
                continue
            if tapped and node in taps:
                ct = cts[node] = taps[node](ct)
            if node.sig.prim is pick_prim and not node.flags & leaf:
                if node.args[0] in reached:
                    _collect(cts, node.args[0], node.sig.attrs["index"], ct)
                continue
            need = [a in reached for a in node.args]
            if node in sources:
                if node.flags & leaf or True not in need:
                    continue
            else:
                del cts[node]
            state.site = node.site
            found = node_vjp(node, ct if type(ct) is list else (ct,), need)
            for arg, part in zip(node.args, found, strict=True):
                if part is not None and arg in reached:
                    before = cts.get(arg)
                    cts[arg] = part if before is None else before + part
    finally:
        state.site = saved
    return [cts.get(w) for w in wrt]


def _collect(cts: dict[Node, Any], parent: Node, index: int, ct: Node) -> None:
    if parent not in cts:
        cts[parent] = [None] * len(parent.sig.outs)
    entries: list[Node | None] = cts[parent]
    before = entries[index]
    entries[index] = ct if before is None else before + ct
