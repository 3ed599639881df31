"""Products without sums: each element of the result is one product, which whatever follows can make by itself."""

from __future__ import annotations

import math

from ..ir.graph import Graph
from ..ir.node import Node
from ..ops.contraction import dot_general
from ..ops.movement import permute, reshape
from ..passes.rewrite import rewrite


def multiply_outright(graph: Graph) -> Graph:
    """`graph` with products that contract nothing, or one element, as multiplications of broadcast operands.

    So is the gradient of a weight where the batch is a single sample: an optimiser multiplies as it reads.
    """

    def change(old: Node, args: tuple[Node, ...]) -> Node | None:
        (cx, cy), (bx, by) = old.attrs["contract"], old.attrs["batch"]
        if math.prod([args[0].shape[a] for a in cx]) != 1:  # type: ignore[misc]
            return None
        x, y = (_without_contracted(v, b, c) for v, b, c in ((args[0], bx, cx), (args[1], by, cy)))
        count, rows, columns = len(bx), x.ndim - len(bx), y.ndim - len(by)
        left = (*x.shape, *[1] * columns)
        right = (*y.shape[:count], *[1] * rows, *y.shape[count:])
        return reshape(x, shape=left) * reshape(y, shape=right)

    return rewrite(graph, change, (dot_general.name,))


def _without_contracted(x: Node, batch: tuple[int, ...], contract: tuple[int, ...]) -> Node:
    """The batch axes of an operand, and its free ones."""
    free = tuple([a for a in range(x.ndim) if a not in batch and a not in contract])
    order = (*batch, *free, *contract)
    if order != tuple(range(x.ndim)):
        x = permute(x, axes=order)
    return reshape(x, shape=x.shape[: len(batch) + len(free)]) if contract else x
