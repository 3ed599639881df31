"""Convolutions of single pixels go in front of what repeats pixels: fewer of them, and each result is the same sum."""

from __future__ import annotations

import itertools
import math

from ..ir.graph import Graph, users_of
from ..ir.node import Node
from ..ops.movement import broadcast_in_dim, reshape
from ..passes.rewrite import rewrite
from .shapes import shape_of

#: Output channels, at least: fewer are not made by tiles, whose sums have one order wherever their rows are.
_CHANNELS = 2


def convolve_before_repeating(graph: Graph) -> Graph:
    """`graph` with every convolution of single pixels of an image that repeats those of a smaller one, such as nearest
    upsampling, as the repetition of a convolution."""
    users = users_of(graph)
    outputs = set(graph.outputs)

    def exchange(old: Node, args: tuple[Node, ...]) -> Node | None:
        if old.prim.name != "conv" or not _of_single_pixels(old):
            return None
        repeats: list[Node] = []
        x, before = args[0], old.args[0]
        while repeats_pixels(before):
            inner = before.args[0]
            if any(n in outputs or len(users.get(n, ())) > 1 for n in (before, inner)):
                break
            repeats.append(before)
            x, before = x.args[0].args[0], inner.args[0]
        if not repeats:
            return None
        y = old.prim(x, args[1], **old.attrs)
        for r in reversed(repeats):
            y = _repeated(y, r)
        return y

    return rewrite(graph, exchange, ("conv",))


def _of_single_pixels(conv: Node) -> bool:
    """Whether each result of a convolution is made of one pixel, and of each pixel one."""
    a, w = conv.attrs, conv.args[1]
    plain = all(n == 1 for n in (*a["stride"], *a["input_dilation"], a["feature_groups"], a["batch_groups"]))
    if not plain or any(any(p) for p in a["padding"]) or any(n != 1 for n in w.shape[2:]):
        return False
    return shape_of(w)[0] >= _CHANNELS and 0 not in (*conv.shape, *w.shape)


def repeats_pixels(x: Node) -> bool:
    """Whether `x` has the pixels of an image several times each, next to each other."""
    if x.value is not None or x.prim is not reshape or x.args[0].value is not None:
        return False
    spread = x.args[0]
    if spread.prim is not broadcast_in_dim:
        return False
    small, axes = spread.args[0], spread.attrs["axes"]
    if small.ndim != x.ndim or x.ndim < 3 or tuple(axes[:3]) != (0, 1, 2):
        return False
    if any(small.shape[i] != spread.shape[a] for i, a in enumerate(axes)):
        return False
    ends = itertools.pairwise((*axes, spread.ndim))
    return all(n == math.prod(shape_of(spread)[a:b]) for n, (a, b) in zip(x.shape, ends, strict=True))


def _repeated(y: Node, like: Node) -> Node:
    """`y` with pixels repeated as those of another image are."""
    spread = like.args[0]
    channels = y.shape[1]
    wide = broadcast_in_dim(
        y, shape=(spread.shape[0], channels, *spread.shape[2:]), axes=spread.attrs["axes"]
    )
    return reshape(wide, shape=(like.shape[0], channels, *like.shape[2:]))
