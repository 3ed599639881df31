"""Reductions and running reductions: sums, products, means, extremes, truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..ir.dtype import DEFAULT_FLOAT, DEFAULT_INT, int64, uint64
from ..ir.dtype import dtype as to_dtype
from ..ir.node import Node
from ..ir.shape import normalize_axes, normalize_axis, show_shape
from ..ops import cumulative as c
from ..ops import elementwise as e
from ..ops import movement as m
from ..ops import reduce as r
from ..ops import statistics
from ..ops.comparison import truth
from .dispatch import converted, node_of, number_leaf, wrap
from .remembered import remembered

if TYPE_CHECKING:
    from .tensor import Tensor

Axis = int | tuple[int, ...] | None


def _kept(node: Node, x: Node, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """A reduced node as a tensor, the reduced axes put back with size 1 where that is asked for."""
    if keepdims and axes:
        shape = tuple([1 if i in axes else n for i, n in enumerate(x.shape)])
        node = m.reshape.bind((node,), (shape,))
    return wrap(node)


def _accumulator(node: Node, dtype: Any) -> Node:
    """`node` in the dtype that sums and products are formed in: integers in 64 bits unless told otherwise."""
    if dtype is not None:
        want = to_dtype(dtype)
    else:
        want = {"b": DEFAULT_INT, "i": int64, "u": uint64}.get(node.dtype.kind, node.dtype)
    return converted(node, want)


def _floating(node: Node, name: str) -> Node:
    if node.dtype.kind == "b":
        raise DTypeError(f"{name} takes numbers, got {node.aval.describe()}; convert it with astype")
    return node if node.dtype.inexact else converted(node, DEFAULT_FLOAT)


@remembered
def sum(x: Tensor, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """The sum of the elements over `axis` (one, several, or all for None). Nothing sums to 0.

    Integers are added in 64 bits and booleans count as 0 and 1, unless `dtype` says otherwise.
    """
    node = _accumulator(node_of(x), dtype)
    axes = normalize_axes(axis, node.ndim)
    return _kept(r.sum_.bind((node,), (axes,)), node, axes, keepdims)


@remembered
def prod(x: Tensor, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """The product of the elements over `axis`. Nothing multiplies to 1. Dtypes as in `sum`."""
    node = _accumulator(node_of(x), dtype)
    axes = normalize_axes(axis, node.ndim)
    return _kept(r.prod.bind((node,), (axes,)), node, axes, keepdims)


@remembered
def mean(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over `axis`. Integers are averaged as float32. The mean of nothing is NaN."""
    node = _floating(node_of(x), "mean")
    axes = normalize_axes(axis, node.ndim)
    return _kept(statistics.mean(node, axes), node, axes, keepdims)


@remembered
def var(x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The variance over `axis`: squared distances from the mean, summed and divided by n - correction.

    `correction=1` is the unbiased estimate from a sample. Where n <= correction the result is NaN or infinite.
    """
    node = _floating(node_of(x), "var")
    if node.dtype.kind == "c":
        raise DTypeError("var takes real numbers; take the variance of abs, or of the parts")
    axes = normalize_axes(axis, node.ndim)
    return _kept(statistics.var(node, axes, float(correction)), node, axes, keepdims)


@remembered
def std(x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The standard deviation over `axis`: the square root of `var`."""
    node = _floating(node_of(x), "std")
    if node.dtype.kind == "c":
        raise DTypeError("std takes real numbers; take the deviation of abs, or of the parts")
    axes = normalize_axes(axis, node.ndim)
    return _kept(e.sqrt(statistics.var(node, axes, float(correction))), node, axes, keepdims)


@remembered
def max(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest element over `axis`. A NaN wins. Elements that tie share the gradient evenly.

    Raises:
        ShapeError: there is no element to choose from.
    """
    node = node_of(x)
    axes = normalize_axes(axis, node.ndim)
    return _kept(r.max_.bind((node,), (axes,)), node, axes, keepdims)


@remembered
def min(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest element over `axis`. A NaN wins. Elements that tie share the gradient evenly.

    Raises:
        ShapeError: there is no element to choose from.
    """
    node = node_of(x)
    axes = normalize_axes(axis, node.ndim)
    return _kept(r.min_.bind((node,), (axes,)), node, axes, keepdims)


@remembered
def all(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether every element over `axis` differs from zero. Of nothing it is True."""
    node = truth(node_of(x))
    axes = normalize_axes(axis, node.ndim)
    return _kept(r.all_.bind((node,), (axes,)), node, axes, keepdims)


@remembered
def any(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether some element over `axis` differs from zero. Of nothing it is False."""
    node = truth(node_of(x))
    axes = normalize_axes(axis, node.ndim)
    return _kept(r.any_.bind((node,), (axes,)), node, axes, keepdims)


@remembered
def count_nonzero(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """How many elements over `axis` differ from zero."""
    node = converted(truth(node_of(x)), DEFAULT_INT)
    axes = normalize_axes(axis, node.ndim)
    return _kept(r.sum_.bind((node,), (axes,)), node, axes, keepdims)


# -- running reductions ---------------------------------------------------------------------------------------


def _one_axis(node: Node, axis: int | None, name: str) -> int:
    if axis is None and node.ndim == 1:
        return 0
    if axis is None or node.ndim == 0:
        raise ShapeError(f"{name} of a tensor of shape {show_shape(node.shape)} needs an axis")
    return normalize_axis(axis, node.ndim)


def _with_initial(node: Node, at: int, initial: int) -> Node:
    shape = tuple([1 if i == at else n for i, n in enumerate(node.shape)])
    first = m.broadcast_in_dim.bind((number_leaf(initial, node.dtype),), (shape, ()))
    return m.concatenate.bind((first, node), (at,))


@remembered
def cumulative_sum(
    x: Tensor, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Tensor:
    """Running sums along `axis` (which a one-dimensional tensor need not name). Dtypes as in `sum`.

    With `include_initial` the result begins with the sum of nothing, 0, and is one longer.
    """
    node = _accumulator(node_of(x), dtype)
    at = _one_axis(node, axis, "cumulative_sum")
    out = c.cumsum(node, axis=at, reverse=False, exclusive=False)
    return wrap(_with_initial(out, at, 0) if include_initial else out)


@remembered
def cumulative_prod(
    x: Tensor, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Tensor:
    """Running products along `axis` (which a one-dimensional tensor need not name). Dtypes as in `sum`.

    With `include_initial` the result begins with the product of nothing, 1, and is one longer.
    """
    node = _accumulator(node_of(x), dtype)
    at = _one_axis(node, axis, "cumulative_prod")
    out = c.cumprod(node, axis=at, reverse=False, exclusive=False)
    return wrap(_with_initial(out, at, 1) if include_initial else out)


@remembered
def diff(x: Tensor, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Tensor:
    """Differences of neighbours along `axis`, `n` times over; each time one element fewer.

    `prepend` and `append` are joined to x along the axis first.
    """
    node = node_of(x)
    if node.ndim == 0:
        raise ShapeError("diff needs at least one dimension")
    if n < 0:
        raise ArgumentError(f"diff of order {n} does not exist; n must not be negative")
    at = normalize_axis(axis, node.ndim)
    parts = [node_of(p) for p in (prepend, x, append) if p is not None]
    for p in parts:
        if p.dtype is not node.dtype:
            raise DTypeError(f"prepend and append must be {node.dtype} like x, got {p.dtype}")
    if len(parts) > 1:
        node = m.concatenate.bind(tuple(parts), (at,))
    for _ in range(n):
        size = node.shape[at]
        if size == 0:
            break
        upper, lower = m.slice_axis(node, at, 1, size), m.slice_axis(node, at, 0, size - 1)
        node = e.bitwise_xor(upper, lower) if node.dtype.kind == "b" else upper - lower
    return wrap(node)
