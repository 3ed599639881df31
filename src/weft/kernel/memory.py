"""Where intermediate values lie: one arena, in which values that are never needed together share memory."""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection
from dataclasses import dataclass

from ..ir.graph import Graph
from ..ir.node import Node
from .schedule import Step

#: Bytes that values and scratch memory begin at a multiple of: a line of the cache.
ALIGNMENT = 64


@dataclass(frozen=True)
class Arena:
    """Byte offsets of the intermediate values, and how many bytes they need at once."""

    offsets: dict[Node, int]
    size: int


def aligned(size: int) -> int:
    """So many bytes, rounded up to the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def nbytes(node: Node) -> int:
    """The bytes of a value, rounded up to the alignment."""
    return aligned(int(node.size) * node.dtype.itemsize)


def plan_arena(graph: Graph, steps: list[Step], kept: Collection[Node] = ()) -> Arena:
    """Give each value that is neither input nor output a place, the largest first, lowest where it fits.

    A value lives from the step that makes it to the last step that reads it, one that is `kept` from one run to the
    next; two that live at the same time do not overlap.
    """
    last: dict[Node, int] = {}
    for i, step in enumerate(steps):
        for n in step.reads:
            last[n] = i
    outside = {*graph.inputs, *graph.outputs}
    lives = [(n, i, last.get(n, i)) for i, s in enumerate(steps) for n in s.writes if n not in outside]
    lives = [(n, 0, len(steps)) if n in kept else (n, begin, end) for n, begin, end in lives]
    placed: list[tuple[int, int, int, int]] = []  # begin, end, offset, end of bytes; by offset
    offsets: dict[Node, int] = {}
    for node, begin, end in sorted(lives, key=lambda life: (-nbytes(life[0]), life[1])):
        size = nbytes(node)
        offset = 0
        for b, e, low, high in placed:
            if b <= end and begin <= e:
                if offset + size <= low:
                    break
                offset = max(offset, high)
        offsets[node] = offset
        insort(placed, (begin, end, offset, offset + size), key=lambda p: p[2])
    return Arena(offsets, max((p[3] for p in placed), default=0))
