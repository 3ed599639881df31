"""Sums over everything but the channels of images, or of each image, in two steps that many threads can share."""

from __future__ import annotations

from ..ir.graph import Graph
from ..ir.node import Node
from ..ops.movement import permute
from ..ops.reduce import sum_
from ..passes.rewrite import rewrite
from .summation import in_rows


def sum_by_rows(graph: Graph) -> Graph:
    """`graph` with every long sum over all axes of images but the channels, or of few images over all pixels of each,
    as the sum of the sums of their rows.

    The two steps follow from the shape alone. Rows are summed side by side, channel by channel, as they lie in
    memory when channels are innermost.
    """

    def split(old: Node, args: tuple[Node, ...]) -> Node | None:
        (x,) = args
        axes = old.attrs["axes"]
        if not in_rows(x.aval, axes):
            return None
        last = permute(x, axes=(0, *range(2, x.ndim), 1))
        rows = sum_(last, axes=(x.ndim - 2,))
        return sum_(rows, axes=tuple(range(0 if 0 in axes else 1, x.ndim - 2)))

    return rewrite(graph, split, (sum_.name,))
