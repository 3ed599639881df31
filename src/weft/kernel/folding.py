"""Convolutions with few output channels: taps along the last axes become channels, whose results are shifted and added.

Vectors run along output channels, and of one or three channels they are mostly empty. So the products with all taps
along an axis are made for each pixel, as that many more channels of a convolution without this axis, and each result
is the sum of one of them from each pixel in its reach:

    out[o, i] = sum over k of y[(k, o), i + k],    y[(k, o), j] = sum over c and the other taps of w[o, c, k] x[c, j]

Elements between which an input is dilated are not multiplied at all. Which convolutions, and which axes, follows from
their shapes.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from ..ir.graph import Graph, users_of
from ..ir.node import Node
from ..ops.define import constant
from ..ops.elementwise import add
from ..ops.movement import identity, pad, permute, reshape, slice_
from ..passes.rewrite import rewrite
from .pixels import is_kernel_gradient

#: Bytes of a vector, of the widest ones.
_VECTOR = 64

#: Products of each sum, at least, that are left after folding; and multiplications, at least, that are worth it.
_PRODUCTS, _WORK = 32, 1 << 15

#: How much more of the vectors has to be used.
_GAIN = 1.6


def fold_taps(graph: Graph) -> Graph:
    """`graph` with taps of convolutions to few channels as channels."""
    users = users_of(graph)

    def fold(old: Node, args: tuple[Node, ...]) -> Node | None:
        axes = folded_axes(old) if old.prim.name == "conv" else 0
        if not axes:
            return None
        total = _folded(old, args, axes)
        after = users.get(old, [])
        alone = len(after) == 1 and after[0].prim.elementwise and after[0].shape == old.shape
        return total if alone else identity(total)  # once, whoever reads it where

    return rewrite(graph, fold, ("conv",))


def folded_axes(conv: Node) -> int:
    """How many of the last axes of a convolution are folded."""
    a, (x, w) = conv.attrs, conv.args
    rank = len(a["stride"])
    if conv.dtype.name not in ("float32", "float64") or a["feature_groups"] * a["batch_groups"] > 1:
        return 0
    if not math.prod((*conv.shape, *x.shape)) or is_kernel_gradient(conv):  # type: ignore[arg-type]
        return 0
    outputs, inputs, *taps = w.shape
    if math.prod(conv.shape) * math.prod(w.shape[1:]) < _WORK:  # type: ignore[arg-type]
        return 0
    best, gain = 0, _GAIN
    columns, reach = outputs, 1.0
    for count in range(1, rank + 1):
        d = rank - count
        columns *= taps[d]  # type: ignore[operator]
        reach *= conv.shape[2 + d] / (x.shape[2 + d] * a["input_dilation"][d])  # type: ignore[operator]
        if a["stride"][d] != 1 or inputs * math.prod(taps[:d]) < _PRODUCTS:  # type: ignore[operator, arg-type]
            break
        found = reach * _use(columns, conv.dtype.itemsize) / _use(outputs, conv.dtype.itemsize)  # type: ignore[arg-type, operator]
        if found >= gain:
            best, gain = count, found
        if 2 * columns * conv.dtype.itemsize >= _VECTOR:  # type: ignore[operator]
            break
    return best


def _use(columns: float, itemsize: int) -> float:
    """Which part of vectors so many columns fill."""
    lanes = _VECTOR // itemsize
    return columns / (lanes * math.ceil(columns / lanes))


def _folded(old: Node, args: tuple[Node, ...], count: int) -> Node:
    """The convolution with its last axes folded."""
    (x, w), a = args, old.attrs
    rank = len(a["stride"])
    kept = rank - count
    outputs, inputs, *taps = w.shape
    last: tuple[int, ...] = tuple(taps[kept:])  # type: ignore[assignment]
    front = permute(w, axes=(*range(2 + kept, 2 + rank), *range(2 + kept)))
    kernel = reshape(front, shape=(math.prod(last) * outputs, inputs, *taps[:kept], *(1,) * count))  # type: ignore[operator]
    attrs = dict(a)
    for name, value in [("padding", (0, 0)), ("stride", 1), ("input_dilation", 1), ("kernel_dilation", 1)]:
        attrs[name] = (*a[name][:kept], *(value,) * count)
    y = old.prim(x, kernel, **attrs)
    total: Node | None = None
    for number, tap in enumerate(itertools.product(*[range(k) for k in last])):
        start, limit = [0, number * outputs], [y.shape[0], (number + 1) * outputs]  # type: ignore[operator]
        low, high, between = [0, 0], [0, 0], [0, 0]
        for d in range(rank):
            size, shift, step, end = y.shape[2 + d], 0, 1, old.shape[2 + d]
            if d >= kept:  # element j goes to pixel j * step + shift
                step = a["input_dilation"][d]
                shift = a["padding"][d][0] - tap[d - kept] * a["kernel_dilation"][d]
            first: Any = min(size, max(0, -(shift // step)))  # type: ignore[type-var]  (nothing, perhaps)
            stop: Any = max(first, min(size, (end - 1 - shift) // step + 1))  # type: ignore[operator, type-var]
            start.append(first)
            limit.append(stop)
            if stop > first:
                at = first * step + shift
                low.append(at)
                high.append(end - 1 - at - (stop - first - 1) * step)  # type: ignore[operator]
            else:
                low.append(end)  # type: ignore[arg-type]
                high.append(0)
            between.append(step - 1)
        part = slice_(y, start=tuple(start), limit=tuple(limit), stride=(1,) * y.ndim)
        zero = constant(0.0, y.dtype)
        part = pad(part, zero, low=tuple(low), high=tuple(high), interior=tuple(between))
        total = part if total is None else add(total, part)
    assert total is not None
    return total
