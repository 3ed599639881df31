"""Mean and variance of nodes; how many elements there are is asked at run time where a dimension is open."""

from __future__ import annotations

from ..ir.dtype import DType
from ..ir.node import Node
from ..ir.shape import size_of
from .define import constant
from .indexing import dim_size
from .reduce import restore, sum_
from .selection import as_dtype

Axes = tuple[int, ...]


def count(x: Node, axes: Axes, dtype: DType) -> Node:
    """The number of elements along `axes`, as a scalar node."""
    n = size_of([x.shape[a] for a in axes])
    if isinstance(n, int):
        return constant(float(n) if dtype.inexact else n, dtype)
    total: Node | None = None
    for a in axes:
        size = dim_size(x, axis=a)
        total = size if total is None else total * size
    assert total is not None
    return as_dtype(total, dtype)


def mean(x: Node, axes: Axes) -> Node:
    """The mean over `axes` of a floating or complex node. Of nothing it is NaN."""
    return sum_(x, axes=axes) / count(x, axes, x.dtype)


def var(x: Node, axes: Axes, correction: float = 0.0) -> Node:
    """The mean squared distance from the mean over `axes`, the sum divided by n - correction (NaN or inf at 0)."""
    from .arithmetic import square

    n = count(x, axes, x.dtype)
    away = x - restore(mean(x, axes), x, axes)
    return sum_(square(away), axes=axes) / (n - float(correction) if correction else n)
