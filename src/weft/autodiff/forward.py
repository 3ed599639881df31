"""Forward mode: tangents pushed from inputs to the outputs that depend on them."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.state import state
from ..ir.node import Node
from ..ir.primitive import pick_prim
from .reverse import differentiable_path
from .rules import node_jvp


def pushforward(
    outputs: Sequence[Node], wrt: Sequence[Node], tangents: Sequence[Node | None], bit: int
) -> list[Node | None]:
    """For each output: J applied to the tangents of the nodes `wrt`, or None if it depends on none of them."""
    order, reached = differentiable_path(outputs, wrt, bit)
    known: dict[Node, Sequence[Node | None]] = {w: (t,) for w, t in zip(wrt, tangents, strict=True)}
    saved = state.site
    try:
        for node in order:
            if node not in reached or node in known:
                continue
            if node.sig.prim is pick_prim:
                parent = known.get(node.args[0])
                known[node] = (parent[node.sig.attrs["index"]] if parent is not None else None,)
                continue
            moving = [_tangent(known, a) for a in node.args]
            if any(t is not None for t in moving):
                state.site = node.site
                known[node] = node_jvp(node, moving)
    finally:
        state.site = saved
    return [_tangent(known, o) for o in outputs]


def _tangent(known: dict[Node, Sequence[Node | None]], node: Node) -> Node | None:
    found = known.get(node)
    return None if found is None else found[0]
