"""Pooling: one number from each window."""

from __future__ import annotations

import numpy as np

from ...base.errors import ArgumentError, DTypeError, ShapeError
from ...ir.dtype import int64
from ...ir.node import Aval, Node
from ...ir.shape import Shape, show_shape, size_of
from ..define import constant
from ..elementwise import equal, floor_divide, pow_, remainder, where
from ..indexing import iota_along, scatter, take_along_axis
from ..movement import concatenate, full, pad, reshape, slice_axis
from ..reduce import argmax, max_, sum_
from ..window import windows, windows_add
from .classes import from_zero
from .common import along, as_type, keep, mean, widened
from .define import composite
from .first import at_first, first_max

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
    parts = at_first(flat, cts[0], flat.ndim - 1)
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
def max_pool_positions(x, *, kernel, stride, padding, dilation, ceil_mode):
    """Where the largest element of each window lies: its row-major position among the spatial axes of x."""
    _check("max_pool", x, len(kernel))
    low, high = _widths(x, kernel, stride, padding, dilation, ceil_mode)
    inside = argmax(_flat_windows(_fitted(x, _lowest(x), low, high), kernel, stride, dilation), axis=x.ndim)
    first = x.ndim - len(kernel)
    out = full(inside.aval, 0)
    for i in range(len(kernel)):
        within = remainder(floor_divide(inside, size_of(kernel[i + 1 :])), kernel[i])
        start = iota_along(inside.shape, first + i) * stride[i] - padding[i]
        out = out * x.shape[first + i] + (start + within * dilation[i])
    return out


@composite
def max_unpool(x, positions, *, sizes):
    """Zeros of the given spatial sizes with each element of x at its row-major position among them."""
    lead = x.shape[: x.ndim - len(sizes)]
    if positions.shape != x.shape or positions.dtype.kind not in "iu":
        raise ShapeError(
            f"max_unpool takes one integer position for each element of {show_shape(x.shape)}, got "
            f"{positions.aval.describe()}"
        )
    rows, cells = size_of(lead), size_of(sizes)
    flat = (rows, size_of(x.shape[len(lead) :]))
    values = reshape(x, shape=flat)
    blank = full(Aval((rows, cells), x.dtype), 0)
    at = from_zero(reshape(as_type(positions, int64), shape=flat), cells)
    return reshape(scatter(blank, values, iota_along(flat, 0), at, axes=(0, 1)), shape=(*lead, *sizes))


@composite
def lp_pool(x, p, *, kernel, stride, ceil_mode):
    """(sum of x**p over each window)**(1/p): the sum for p = 1, near the maximum for large p.

    The sum is not of absolute values; where a window reaches over the end (`ceil_mode`) it is scaled up to a whole one.
    Where it is 0 the derivative is 0.
    """
    w = widened(x)
    p = as_type(p, w.dtype)
    none = (0,) * len(kernel)
    total = avg_pool(
        pow_(w, p),
        None,
        kernel=kernel,
        stride=stride,
        padding=none,
        ceil_mode=ceil_mode,
        count_include_pad=True,
    ) * size_of(kernel)
    zero = equal(total, 0)
    return as_type(where(zero, 0, pow_(where(zero, 1, total), 1 / p)), x.dtype)


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


def _cells(size: int, count: int) -> list[tuple[int, int]]:
    """The `count` intervals that an axis is cut into by adaptive pooling; neighbours may share an element."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _adaptive(x: Node, sizes: Shape, reduce, name: str, last_first: bool) -> Node:
    return _adaptive_together((x,), sizes, lambda xs, axis: (reduce(xs[0], axis),), name, last_first)[0]


def _adaptive_together(
    xs: tuple[Node, ...], sizes: Shape, reduce, name: str, last_first: bool = True
) -> tuple[Node, ...]:
    """Reduce tensors of one shape axis by axis: evenly cut axes in one step, others interval by interval.

    With the last axis first, of several maxima the first in row-major order is the first of each step. With it last,
    most elements are combined with those of other rows, next to which they lie in memory."""
    x = xs[0]
    _check(name, x, len(sizes))
    axes = list(enumerate(sizes, x.ndim - len(sizes)))
    for axis, want in reversed(axes) if last_first else axes:
        shape = xs[0].shape
        size = shape[axis]
        single = (*shape[:axis], 1, *shape[axis + 1 :])
        if want == size:
            continue
        if want == 1 and size != 0:  # one cell needs no cutting: the size may be open
            xs = tuple([reshape(v, shape=single) for v in reduce(xs, axis)])
            continue
        if not isinstance(size, int) or not isinstance(want, int):
            raise ShapeError(f"{name} needs known spatial sizes, got {show_shape(x.shape)}")
        if want < 1 or size < 1:
            raise ShapeError(f"{name} cannot make {want} cells of the {size} elements of axis {axis}")
        if size % want == 0:
            cut = (*shape[:axis], want, size // want, *shape[axis + 1 :])
            xs = reduce(tuple([reshape(v, shape=cut) for v in xs]), axis + 1)
        else:
            parts = [
                reduce(tuple([slice_axis(v, axis, a, b) for v in xs]), axis) for a, b in _cells(size, want)
            ]
            xs = tuple(
                [
                    concatenate(*[reshape(p, shape=single) for p in ps], axis=axis)
                    for ps in zip(*parts, strict=True)
                ]
            )
    return xs


@composite
def adaptive_avg_pool(x, *, sizes):
    """The mean of each cell of a grid of the given sizes laid over the last axes."""
    w = widened(x)
    if len(sizes) > 1 and all(n == 1 for n in sizes):  # all at once: a sum over the pixels of each image
        _check("adaptive_avg_pool", x, len(sizes))
        axes = tuple(range(x.ndim - len(sizes), x.ndim))
        if all(x.shape[a] != 0 for a in axes):
            return as_type(keep(mean(w, axes), w, axes), x.dtype)
    return as_type(_adaptive(w, sizes, lambda v, axis: mean(v, (axis,)), "adaptive_avg_pool", False), x.dtype)


@composite
def adaptive_max_pool(x, *, sizes):
    """The largest element of each cell of a grid of the given sizes laid over the last axes.

    Of several, the first in row-major order has the gradient.
    """
    return _adaptive(x, sizes, lambda v, axis: first_max(v, axis=axis), "adaptive_max_pool", True)


@composite
def adaptive_max_pool_positions(x, *, sizes):
    """Where the largest element of each cell lies: its row-major position among the last axes of x."""
    first = x.ndim - len(sizes)
    at = full(Aval(x.shape, int64), 0)
    for axis in range(first, x.ndim):
        at = at * x.shape[axis] + iota_along(x.shape, axis)

    def reduce(pair: tuple[Node, Node], axis: int) -> tuple[Node, Node]:
        v, where_ = pair
        chosen = argmax(v, axis=axis)
        spread = reshape(chosen, shape=(*v.shape[:axis], 1, *v.shape[axis + 1 :]))
        return max_(v, axes=(axis,)), reshape(take_along_axis(where_, spread, axis), shape=chosen.shape)

    return _adaptive_together((x, at), sizes, reduce, "adaptive_max_pool")[1]
