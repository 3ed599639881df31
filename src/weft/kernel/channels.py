"""Sums over everything but the channels of images, or of each image, in two steps that many threads can share."""

from __future__ import annotations

import math

from ..ir.graph import Graph
from ..ir.node import Node
from ..ops.movement import permute
from ..ops.reduce import sum_
from ..passes.rewrite import rewrite
from .anchors import runs_across
from .blocks import block_of

#: A sum of more elements than this is made of the sums of rows, or sums of more in all channels.
_LONG, _MANY = 2048, 1 << 16


def sum_by_rows(graph: Graph) -> Graph:
    """`graph` with every long sum over all axes of images but the channels, or of few images over all pixels of each,
    as the sum of the sums of their rows.

    The two steps follow from the shape alone. Rows are summed side by side, channel by channel, as they lie in
    memory when channels are innermost.
    """

    def split(old: Node, args: tuple[Node, ...]) -> Node | None:
        (x,) = args[:1] or (None,)
        if old.prim is not sum_ or x is None or x.ndim < 3 or old.dtype.kind != "f":
            return None
        axes = old.attrs["axes"]
        if axes == (0, *range(2, x.ndim)):
            few = math.prod([x.shape[a] for a in axes]) <= _LONG and x.size < _MANY  # type: ignore[operator]
        elif axes == tuple(range(2, x.ndim)) and runs_across(x.shape, axes):  # type: ignore[arg-type]
            few = block_of(x.shape, axes) is None  # type: ignore[arg-type]
        else:
            return None
        if few:
            return None
        last = permute(x, axes=(0, *range(2, x.ndim), 1))
        rows = sum_(last, axes=(x.ndim - 2,))
        return sum_(rows, axes=tuple(range(0 if 0 in axes else 1, x.ndim - 2)))

    return rewrite(graph, split, (sum_.name,))
