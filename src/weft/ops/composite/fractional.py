"""Fractional max pooling: windows at random distances, so that an image shrinks by any factor."""

from __future__ import annotations

from ...base.errors import ArgumentError, DTypeError, ShapeError
from ...ir.dtype import int64
from ...ir.node import Aval, Node
from ...ir.shape import Shape, show_shape, size_of
from ..elementwise import cast, equal, floor, where
from ..indexing import iota_along, take_along_axis
from ..movement import broadcast_to, full, reshape, slice_axis
from ..reduce import argmax
from .define import composite
from .first import first_max

Sizes = tuple[int, ...]


def _check(x: Node, samples: Node, kernel: Sizes, sizes: Sizes) -> Sizes:
    rank = len(kernel)
    name = f"fractional_max_pool{rank}d"
    if x.ndim != rank + 2 or x.dtype.kind in "bc":
        raise ShapeError(f"{name} takes real numbers (batch, channels, ...), got {x.aval.describe()}")
    space = x.shape[2:]
    if not all(isinstance(n, int) for n in space):
        raise ShapeError(f"{name} needs known spatial sizes, got {show_shape(x.shape)}")
    if samples.shape != (*x.shape[:2], rank):
        raise ShapeError(
            f"{name} takes random samples of shape {show_shape((*x.shape[:2], rank))}, got {show_shape(samples.shape)}"
        )
    if samples.dtype.kind != "f":
        raise DTypeError(f"{name} takes floating random samples, got {samples.aval.describe()}")
    if any(s + k - 1 > n for s, k, n in zip(sizes, kernel, space, strict=True)):
        raise ArgumentError(
            f"{name}: {show_shape(sizes)} windows of {show_shape(kernel)} do not fit into {show_shape(space)}"
        )
    return space  # type: ignore[return-value]


def _starts(sample: Node, size: int, kernel: int, count: int) -> Node:
    """Where the windows along one axis begin, (N, C, count), for a sample (N, C) from [0, 1)."""
    shape: Shape = (*sample.shape, count)
    last = full(Aval(shape, int64), size - kernel)
    if count == 1:
        return last
    u = broadcast_to(reshape(sample, shape=(*sample.shape, 1)), shape)
    alpha = (size - kernel) / (count - 1)
    step = iota_along(shape, 2)
    begin = floor((cast(step, dtype=u.dtype) + u) * alpha) - floor(u * alpha)
    return where(equal(step, count - 1), last, cast(begin, dtype=int64))


def _cells(x: Node, samples: Node, kernel: Sizes, sizes: Sizes) -> Node:
    """The row-major positions of the elements of each window: (N, C, *sizes, elements)."""
    space, rank = _check(x, samples, kernel, sizes), len(kernel)
    lead = x.shape[:2]
    shape: Shape = (*lead, *sizes, *kernel)
    at = full(Aval(shape, int64), 0)
    for i in range(rank):
        # The first sample is that of the columns in two dimensions, that of the depth in three.
        chosen = rank - 1 - i if rank == 2 else i
        sample = reshape(slice_axis(samples, 2, chosen, chosen + 1), shape=lead)
        starts = _starts(sample, space[i], kernel[i], sizes[i])
        laid = tuple([sizes[i] if j == i else 1 for j in range(rank)])
        first = broadcast_to(reshape(starts, shape=(*lead, *laid, *(1,) * rank)), shape)
        at = at * space[i] + first + iota_along(shape, 2 + rank + i)
    return reshape(at, shape=(*lead, *sizes, size_of(kernel)))


def _flat(x: Node) -> Node:
    return reshape(x, shape=(*x.shape[:2], size_of(x.shape[2:])))


@composite
def fractional_max_pool(x, samples, *, kernel, sizes):
    """The largest element of each of `sizes` windows, which begin at floor((i + u) a) - floor(u a) along each axis.

    a = (size - kernel) / (count - 1), the last window ends at the end, and u is the sample of the axis: `samples`
    (N, C, rank), from [0, 1). Of several largest elements the first has the gradient.
    """
    cells = _cells(x, samples, kernel, sizes)
    found = take_along_axis(_flat(x), _flat(cells), 2)
    return first_max(reshape(found, shape=cells.shape), axis=cells.ndim - 1)


@composite
def fractional_max_pool_positions(x, samples, *, kernel, sizes):
    """Where the largest element of each window lies: its row-major position among the spatial axes."""
    cells = _cells(x, samples, kernel, sizes)
    found = reshape(take_along_axis(_flat(x), _flat(cells), 2), shape=cells.shape)
    inside = argmax(found, axis=cells.ndim - 1)
    spread = reshape(inside, shape=(*inside.shape, 1))
    return reshape(take_along_axis(cells, spread, cells.ndim - 1), shape=inside.shape)
