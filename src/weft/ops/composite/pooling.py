"""Pooling: one number from each window."""

from __future__ import annotations

import numpy as np

from ...base.errors import ArgumentError, DTypeError, ShapeError
from ...ir.node import Aval, Node
from ...ir.shape import Shape, show_shape, size_of
from ..define import constant
from ..elementwise import equal, where
from ..indexing import iota_along
from ..movement import broadcast_to, concatenate, full, pad, reshape, slice_axis
from ..reduce import argmax, max_, sum_
from ..window import windows, windows_add
from .common import along, as_type, mean, widened
from .define import composite

Sizes = tuple[int, ...]


def window_count(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows there are along an axis; with `ceil_mode` also a last one that reaches over the end.

    Every window begins inside the input or its padding at the front.
    """
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    return count


def _widths(
    x: Node, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> tuple[Sizes, Sizes]:
    """How much to pad before and after each axis of x so that exactly the wanted windows fit.

    The end is cut (a negative width) where no window reaches it.
    """
    first = x.ndim - len(kernel)
    low, high = [0] * first, [0] * first
    for size, k, s, p, d in zip(x.shape[first:], kernel, stride, padding, dilation, strict=True):
        if not isinstance(size, int):
            raise ShapeError(f"pooling needs known spatial sizes, got {show_shape(x.shape)}")
        if 2 * p > d * (k - 1) + 1:
            raise ArgumentError(f"pooling: padding {padding} may be at most half of the window {kernel}")
        count = window_count(size, k, s, p, d, ceil_mode)
        if count < 1:
            raise ShapeError(
                f"pooling: a window of {kernel} does not fit into the input of shape {show_shape(x.shape)} with "
                f"padding {padding}"
            )
        low.append(p)
        high.append((count - 1) * s + d * (k - 1) + 1 - size - p)
    return tuple(low), tuple(high)


def _fitted(x: Node, value: float | int, low: Sizes, high: Sizes) -> Node:
    for axis, h in enumerate(high):
        if h < 0:
            x = slice_axis(x, axis, 0, x.shape[axis] + h)
    if any(low) or any(h > 0 for h in high):
        zero = (0,) * x.ndim
        x = pad(x, constant(value, x.dtype), low=low, high=tuple([max(h, 0) for h in high]), interior=zero)
    return x


def _lowest(x: Node) -> float | int:
    return float("-inf") if x.dtype.inexact else int(np.iinfo(x.dtype.numpy).min)


def _flat_windows(x: Node, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Node:
    """The windows of x with each window's elements in row-major order along one last axis."""
    w = windows(x, kernel=kernel, stride=stride, dilation=dilation)
    return reshape(w, shape=(*w.shape[: x.ndim], size_of(kernel)))


def _check(name: str, x: Node, rank: int) -> None:
    if x.ndim not in (rank + 1, rank + 2):
        raise ShapeError(
            f"{name} over {rank} spatial axes takes (channels, ...) or (batch, channels, ...), got shape "
            f"{show_shape(x.shape)}"
        )
    if x.dtype.kind in "bc":
        raise DTypeError(f"{name} takes real numbers, got {x.aval.describe()}")


@composite
def max_pool(x, *, kernel, stride, padding, dilation, ceil_mode):
    """The largest element of each window. Of several, the first in row-major order has the gradient."""
    _check("max_pool", x, len(kernel))
    low, high = _widths(x, kernel, stride, padding, dilation, ceil_mode)
    return max_(_flat_windows(_fitted(x, _lowest(x), low, high), kernel, stride, dilation), axes=(x.ndim,))


@max_pool.vjp
def _(cts, outs, x, *, kernel, stride, padding, dilation, ceil_mode):
    low, high = _widths(x, kernel, stride, padding, dilation, ceil_mode)
    fitted = _fitted(x, _lowest(x), low, high)
    flat = _flat_windows(fitted, kernel, stride, dilation)
    parts = _at_first(flat, cts[0], flat.ndim - 1)
    return (_gathered(parts, x, fitted, kernel, stride, dilation, low, high),)


def _gathered(
    parts: Node, x: Node, fitted: Node, kernel: Sizes, stride: Sizes, dilation: Sizes, low: Sizes, high: Sizes
) -> Node:
    """What belongs to each element of x, summed over the windows that hold it: the transpose of the windows of x."""
    rank = len(kernel)
    parts = reshape(parts, shape=(*parts.shape[:-1], *kernel))
    out = windows_add(parts, size=fitted.shape[fitted.ndim - rank :], stride=stride, dilation=dilation)
    for axis, (a, h) in enumerate(zip(low, high, strict=True)):
        out = slice_axis(out, axis, a, out.shape[axis] - max(h, 0))
        if h < 0:
            none = [0] * x.ndim
            after = [0] * x.ndim
            after[axis] = -h
            out = pad(out, constant(0, out.dtype), low=tuple(none), high=tuple(after), interior=tuple(none))
    return out


@composite
def avg_pool(x, divisor, *, kernel, stride, padding, ceil_mode, count_include_pad):
    """The mean of each window. Padding counts as zeros, or (count_include_pad=False) not at all.

    What `ceil_mode` reaches beyond input and padding never counts. `divisor`, unless None, replaces the count.
    """
    _check("avg_pool", x, len(kernel))
    if x.dtype.kind != "f":
        raise DTypeError(f"avg_pool takes floating tensors, got {x.aval.describe()}")
    ones = (1,) * len(kernel)
    low, high = _widths(x, kernel, stride, padding, ones, ceil_mode)
    w = widened(x)
    total = sum_(_flat_windows(_fitted(w, 0, low, high), kernel, stride, ones), axes=(x.ndim,))
    if divisor is not None:
        return as_type(total / as_type(divisor, w.dtype), x.dtype)
    first = x.ndim - len(kernel)
    for i, (k, s, p) in enumerate(zip(kernel, stride, padding, strict=True)):
        beyond = high[first + i]
        if (beyond <= 0 and p == 0) or (count_include_pad and beyond <= p):
            total = total / k
        else:
            counts = _counts(x.shape[first + i], k, s, p, beyond, count_include_pad, w)
            total = total / along(counts, total, first + i)
    return as_type(total, x.dtype)


def _counts(size: int, kernel: int, stride: int, padding: int, beyond: int, padded: bool, like: Node) -> Node:
    """How many elements that count each window along one axis holds."""
    ones = full(Aval((size,), like.dtype), 1.0)
    own = min(beyond, padding)
    ones = _fitted(ones, 1.0 if padded else 0.0, (padding,), (own,))
    ones = _fitted(ones, 0.0, (0,), (beyond - own,))
    return sum_(windows(ones, kernel=(kernel,), stride=(stride,), dilation=(1,)), axes=(1,))


@composite
def first_max(x, *, axis):
    """The largest element along `axis`. Of several, the first has the gradient."""
    return max_(x, axes=(axis,))


@first_max.vjp
def _(cts, outs, x, *, axis):
    return (_at_first(x, cts[0], axis),)


def _at_first(x: Node, ct: Node, axis: int) -> Node:
    """The cotangent at the first largest element along `axis`, 0 elsewhere."""
    spread = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    first = broadcast_to(reshape(argmax(x, axis=axis), shape=spread), x.shape)
    chosen = equal(iota_along(x.shape, axis), first)
    return where(chosen, broadcast_to(reshape(ct, shape=spread), x.shape), 0)


def _cells(size: int, count: int) -> list[tuple[int, int]]:
    """The `count` intervals that an axis is cut into by adaptive pooling; neighbours may share an element."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _adaptive(x: Node, sizes: Shape, reduce, name: str) -> Node:
    """Reduce axis by axis: evenly cut axes in one step, others interval by interval."""
    _check(name, x, len(sizes))
    first = x.ndim - len(sizes)
    # The last axis first: of several maxima the first in row-major order is then the first of each step.
    for axis, want in reversed(list(enumerate(sizes, first))):
        size = x.shape[axis]
        if want == size:
            continue
        if want == 1 and size != 0:  # one cell needs no cutting: the size may be open
            x = reshape(reduce(x, axis), shape=(*x.shape[:axis], 1, *x.shape[axis + 1 :]))
            continue
        if not isinstance(size, int) or not isinstance(want, int):
            raise ShapeError(f"{name} needs known spatial sizes, got {show_shape(x.shape)}")
        if want < 1 or size < 1:
            raise ShapeError(f"{name} cannot make {want} cells of the {size} elements of axis {axis}")
        if size % want == 0:
            cut = reshape(x, shape=(*x.shape[:axis], want, size // want, *x.shape[axis + 1 :]))
            x = reduce(cut, axis + 1)
        else:
            parts = [reduce(slice_axis(x, axis, a, b), axis) for a, b in _cells(size, want)]
            shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
            x = concatenate(*[reshape(p, shape=shape) for p in parts], axis=axis)
    return x


@composite
def adaptive_avg_pool(x, *, sizes):
    """The mean of each cell of a grid of the given sizes laid over the last axes."""
    w = widened(x)
    return as_type(_adaptive(w, sizes, lambda v, axis: mean(v, (axis,)), "adaptive_avg_pool"), x.dtype)


@composite
def adaptive_max_pool(x, *, sizes):
    """The largest element of each cell of a grid of the given sizes laid over the last axes.

    Of several, the first in row-major order has the gradient.
    """
    return _adaptive(x, sizes, lambda v, axis: first_max(v, axis=axis), "adaptive_max_pool")
