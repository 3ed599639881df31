"""Long reductions with few results, in two steps that many threads can share: blocks, then what they leave."""

from __future__ import annotations

from collections.abc import Callable

from ..ir.dtype import int32
from ..ir.graph import Graph
from ..ir.node import Node
from ..ops.comparison import equal, isnan, logical_or
from ..ops.define import constant
from ..ops.gather import iota_along
from ..ops.movement import broadcast_in_dim, pad, reshape
from ..ops.reduce import argmax, argmin, max_, min_
from ..ops.selection import cast, where
from ..passes.rewrite import rewrite
from .anchors import identity_of
from .summation import REDUCTIONS, block_of


def reduce_in_blocks(graph: Graph) -> Graph:
    """`graph` with every long reduction that leaves few results as a reduction of those of blocks.

    The blocks follow from the shape and the axes alone, so the order in which elements are combined does, too.
    """

    def cut(old: Node, args: tuple[Node, ...]) -> Node | None:
        if old.prim.name in REDUCTIONS:
            return _reduced(old.prim, args[0], old.attrs["axes"])
        return _first_extreme(old, args[0]) if old.prim in (argmax, argmin) else None

    return rewrite(graph, cut)


def _reduced(prim: Callable[..., Node], x: Node, axes: tuple[int, ...]) -> Node | None:
    """A reduction in two steps or more; None if one will do."""
    shape: tuple[int, ...] = x.shape  # type: ignore[assignment]
    block = block_of(shape, axes)
    if block is None:
        return None
    axis, length = block
    behind = tuple([a for a in axes if a >= axis])
    if length > 1:
        pieces = -(-shape[axis] // length)
        if shape[axis] % length:
            after = tuple([pieces * length - n if a == axis else 0 for a, n in enumerate(shape)])
            fill = constant(identity_of(prim.name, x.dtype), x.dtype)  # type: ignore[attr-defined]
            x = pad(x, fill, low=(0,) * x.ndim, high=after, interior=(0,) * x.ndim)
        x = reshape(x, shape=(*shape[:axis], pieces, length, *shape[axis + 1 :]))
        first = prim(x, axes=tuple([a + 1 for a in behind]))
        rest = (*[a for a in axes if a < axis], axis)
    else:
        first = prim(x, axes=behind)
        rest = tuple([a for a in axes if a < axis])
    return _combined(prim, first, rest)


def _combined(prim: Callable[..., Node], x: Node, axes: tuple[int, ...]) -> Node:
    """A reduction in as many steps as it takes."""
    found = _reduced(prim, x, axes)
    return prim(x, axes=axes) if found is None else found


def _first_extreme(old: Node, x: Node) -> Node | None:
    """The least of the places where the extreme value, or a NaN, stands."""
    axis = old.attrs["axis"]
    if block_of(x.shape, (axis,)) is None:  # type: ignore[arg-type]
        return None
    best = _combined(max_ if old.prim is argmax else min_, x, (axis,))
    kept = tuple([a for a in range(x.ndim) if a != axis])
    hit = equal(x, broadcast_in_dim(best, shape=x.shape, axes=kept))
    if x.dtype.kind == "f":
        hit = logical_or(hit, isnan(x))
    count = x.shape[axis]
    places = where(hit, iota_along(x.shape, axis, int32 if count < 1 << 31 else old.dtype), count)
    return cast(_combined(min_, places, (axis,)), dtype=old.dtype)
