"""Products without sums: each element of the result is one product, which whatever follows can make by itself."""

from __future__ import annotations

import math

from ..ir.graph import Graph
from ..ir.node import Node
from ..ops.contraction import dot_general
from ..ops.movement import reshape
from ..passes.rewrite import rewrite
from .words import innermost


def multiply_outright(graph: Graph) -> Graph:
    """`graph` with products that contract nothing, or one element, as multiplications of broadcast operands.

    So is the gradient of a weight where the batch is a single sample: an optimiser multiplies as it reads.
    """

    def change(old: Node, args: tuple[Node, ...]) -> Node | None:
        (cx, cy), (bx, by) = old.attrs["contract"], old.attrs["batch"]
        if math.prod([args[0].shape[a] for a in cx]) != 1:  # type: ignore[misc]
            return None
        x, y = innermost(args[0], bx, cx), innermost(args[1], by, cy)
        (*left, _), (*right, _), count = x.shape, y.shape, len(bx)
        rows, columns = len(left) - count, len(right) - count
        x = reshape(x, shape=(*left, *[1] * columns))
        return x * reshape(y, shape=(*right[:count], *[1] * rows, *right[count:]))

    return rewrite(graph, change, (dot_general.name,))
