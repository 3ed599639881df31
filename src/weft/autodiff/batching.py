"""Batching: the same program over one more axis."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.state import state
from ..ir.graph import toposort
from ..ir.node import Node
from ..ir.primitive import pick_prim
from ..ir.shape import Size
from ..ops.movement import broadcast_in_dim
from .rules import node_batch
from .saved import unread


def batch_nodes(
    outputs: Sequence[Node],
    inputs: Sequence[Node],
    batched_inputs: Sequence[Node],
    size: Size,
    *,
    mark: int = 0,
) -> list[tuple[Node, bool]]:
    """`outputs` with each of `inputs` replaced by a node that carries a batch axis of length `size` at the front.

    Returns for each output the node and whether it carries the axis; one that does not depend on the inputs
    does not. With a `mark`, only nodes that carry this flag are looked at (all that depend on the inputs must), and it
    is taken off them.
    """
    order = toposort(outputs, (lambda n: [a for a in n.args if a.flags & mark]) if mark else None)
    many: dict[Node, Sequence[Node]] = {i: (b,) for i, b in zip(inputs, batched_inputs, strict=True)}
    if mark:
        for node in order:
            node.flags &= ~mark
    plain = unread(order)
    saved = state.site
    try:
        for node in order:
            if node in many or not any(a in many for a in node.args):
                continue
            if node.sig.prim is pick_prim:
                many[node] = (many[node.args[0]][node.sig.attrs["index"]],)
                continue
            state.site = node.site
            args = [many[a][0] if a in many else a for a in node.args]
            like = Node(plain[node], node.args, None, node.flags, node.site) if node in plain else node
            many[node] = node_batch(like, args, [a in many for a in node.args], size)
    finally:
        state.site = saved
    return [(many[o][0], True) if o in many else (o, False) for o in outputs]


def spread(node: Node, size: Size) -> Node:
    """A node repeated along a new first axis."""
    return broadcast_in_dim(node, shape=(size, *node.shape), axes=tuple(range(1, node.ndim + 1)))
