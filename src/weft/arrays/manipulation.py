"""Shapes and the order of elements: reshape, permute, join, split, repeat."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.checked import checked, describe
from ..base.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from ..ir import shape as shapes
from ..ir.dtype import DType, int64, promote
from ..ir.node import Node
from ..ir.shape import (
    Shape,
    Size,
    check_count,
    check_shape,
    divide,
    normalize_axes,
    normalize_axis,
    show_shape,
    size_of,
)
from ..ops import indexing as at_
from ..ops import movement as m
from .cell import Handle
from .dispatch import buffer_leaf, converted, is_number, node_of, wrap
from .index_plan import known
from .remembered import remembered

if TYPE_CHECKING:
    from .tensor import Tensor

Axes = int | tuple[int, ...]


# -- reshape and friends --------------------------------------------------------------------------------------


@remembered
def reshape(x: Tensor, /, shape: Any, *, copy: bool | None = None) -> Tensor:
    """The same elements in row-major order in another shape; one size may be -1 and is worked out.

    Tensors never share memory visibly, so `copy` changes nothing; `copy=False` never fails.

    Raises:
        ShapeError: the element counts differ.
    """
    node = node_of(x)
    return wrap(m.reshape.bind((node,), (target_shape(node, shape),)))


def target_shape(node: Node, shape: Any) -> Shape:
    """`shape` with its -1, if any, worked out for the elements of `node`."""
    items = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    open_ = [i for i, s in enumerate(items) if type(s) is int and s == -1]
    if not open_:
        return check_shape(items)
    if len(open_) > 1:
        raise ShapeError(f"reshape can work out one size, got more than one -1 in {items}")
    at = open_[0]
    known = check_shape(items[:at] + items[at + 1 :])
    rest = size_of(known)
    found = divide(node.size, rest)
    if found is None:
        raise ShapeError(
            f"cannot reshape {show_shape(node.shape)} to {items}: {node.size} elements do not divide into {rest}"
        )
    return (*known[:at], found, *known[at:])


@remembered
def flatten(x: Tensor, /, start: int = 0, end: int = -1) -> Tensor:
    """x with the axes `start` to `end` (included) merged into one. A tensor of no dimensions gets one."""
    node = node_of(x)
    if node.ndim == 0:
        return wrap(m.reshape.bind((node,), ((1,),)))
    first, last = normalize_axis(start, node.ndim, "start"), normalize_axis(end, node.ndim, "end")
    if first > last:
        raise ArgumentError(f"flatten needs start <= end, got axes {start} and {end}")
    s = node.shape
    return wrap(m.reshape.bind((node,), ((*s[:first], size_of(s[first : last + 1]), *s[last + 1 :]),)))


@remembered
def permute_dims(x: Tensor, /, axes: Any) -> Tensor:
    """x with its axes in another order: axis i of the result is axis `axes[i]` of x."""
    node = node_of(x)
    order = normalize_axes(tuple(axes), node.ndim, "axes")
    return wrap(m.permute.bind((node,), (order,)))


@remembered
def swapaxes(x: Tensor, axis1: int, axis2: int, /) -> Tensor:
    """x with two axes swapped."""
    node = node_of(x)
    a, b = normalize_axis(axis1, node.ndim), normalize_axis(axis2, node.ndim)
    order = list(range(node.ndim))
    order[a], order[b] = b, a
    return wrap(m.permute.bind((node,), (tuple(order),)))


@remembered
def matrix_transpose(x: Tensor, /) -> Tensor:
    """The transpose of each matrix of a stack: the last two axes swapped."""
    node = node_of(x)
    if node.ndim < 2:
        raise ShapeError(f"matrix_transpose takes two or more dimensions, got shape {show_shape(node.shape)}")
    return swapaxes(x, -1, -2)


@remembered
def moveaxis(x: Tensor, source: Axes, destination: Axes, /) -> Tensor:
    """x with the axes `source` moved to the places `destination`; the others keep their order."""
    node = node_of(x)
    from_, to = (
        normalize_axes(source, node.ndim, "source"),
        normalize_axes(destination, node.ndim, "destination"),
    )
    if len(from_) != len(to):
        raise ArgumentError(f"moveaxis needs as many sources as destinations, got {source} and {destination}")
    order = [a for a in range(node.ndim) if a not in from_]
    for place, axis in sorted(zip(to, from_, strict=True)):
        order.insert(place, axis)
    return wrap(m.permute.bind((node,), (tuple(order),)))


@remembered
def expand_dims(x: Tensor, /, axis: Axes = 0) -> Tensor:
    """x with new axes of size 1 at the places `axis` of the result."""
    node = node_of(x)
    items = axis if isinstance(axis, tuple) else (axis,)
    places = set(normalize_axes(items, node.ndim + len(items)))
    sizes = iter(node.shape)
    shape = tuple([1 if i in places else next(sizes) for i in range(node.ndim + len(items))])
    return wrap(m.reshape.bind((node,), (shape,)))


@remembered
def squeeze(x: Tensor, /, axis: Axes | None = None) -> Tensor:
    """x without the axes `axis`, which must have size 1; without all axes of size 1 for None."""
    node = node_of(x)
    if axis is None:
        gone = tuple([i for i, n in enumerate(node.shape) if type(n) is int and n == 1])
    else:
        gone = normalize_axes(axis, node.ndim)
    for i in gone:
        if node.shape[i] != 1:
            raise ShapeError(
                f"only axes of size 1 can be squeezed; axis {i} of {show_shape(node.shape)} is not"
            )
    return wrap(m.reshape.bind((node,), (tuple([n for i, n in enumerate(node.shape) if i not in gone]),)))


# -- broadcasting ---------------------------------------------------------------------------------------------


@remembered
def broadcast_shapes(*shapes_: Any) -> Shape:
    """The common shape of several, by NumPy's rule."""
    return shapes.broadcast_shapes(*[check_shape(s) for s in shapes_]) if shapes_ else ()


@remembered
def broadcast_to(x: Tensor, /, shape: Any) -> Tensor:
    """x repeated to fill `shape`: sizes are aligned at the right and must be equal, or 1 in x."""
    node, want = node_of(x), check_shape(shape)
    if len(want) < node.ndim or shapes.broadcast_shapes(node.shape, want) != want:
        raise ShapeError(f"cannot broadcast {show_shape(node.shape)} to {show_shape(want)}")
    first = len(want) - node.ndim
    return wrap(m.broadcast_in_dim.bind((node,), (want, tuple(range(first, len(want))))))


@remembered
def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    """All tensors broadcast to their common shape; dtypes stay."""
    shape = broadcast_shapes(*[node_of(a).shape for a in arrays])
    return tuple([broadcast_to(a, shape) for a in arrays])


@remembered
def expand(x: Tensor, /, shape: Any) -> Tensor:
    """x broadcast to `shape`, in which -1 keeps the size of an axis."""
    node, items = node_of(x), tuple(shape)
    first = len(items) - node.ndim
    if first < 0:
        raise ShapeError(f"cannot expand {show_shape(node.shape)} to {len(items)} dimensions")
    want = tuple([node.shape[i - first] if i >= first and s == -1 else s for i, s in enumerate(items)])
    return broadcast_to(x, want)


# -- joining and splitting ------------------------------------------------------------------------------------


def _joined(arrays: Any, name: str) -> list[Node]:
    """The nodes of several tensors, promoted to one dtype."""
    if isinstance(arrays, Handle):
        arrays = list(arrays)  # type: ignore[call-overload]
    if not isinstance(arrays, (tuple, list)):
        if isinstance(arrays, str) or not hasattr(arrays, "__iter__"):
            raise ArgumentTypeError(
                f"{name} takes a list or tuple of tensors, got {describe(arrays)}; write {name}([x, y])"
            )
        arrays = list(arrays)
    if len(arrays) == 0:
        raise ArgumentError(f"{name} needs at least one tensor")
    dtype: DType | None = None
    for a in arrays:
        if not is_number(a):
            found = node_of(a).dtype
            dtype = found if dtype is None else promote(dtype, found)
    nodes = [node_of(a, dtype) for a in arrays]
    return [n if dtype is None else converted(n, dtype) for n in nodes]


@remembered
def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """Tensors joined along an existing axis; with None each is flattened first. Dtypes are promoted.

    Raises:
        ShapeError: the other axes differ in size.
    """
    nodes = _joined(arrays, "concat")
    if axis is None:
        nodes = [m.reshape.bind((n,), ((n.size,),)) for n in nodes]
        axis = 0
    if nodes[0].ndim == 0:
        raise ShapeError("tensors of no dimensions cannot be concatenated; use stack, or axis=None")
    at = normalize_axis(axis, nodes[0].ndim)
    for i, n in enumerate(nodes):
        if n.ndim != nodes[0].ndim or any(
            a != b for k, (a, b) in enumerate(zip(n.shape, nodes[0].shape, strict=True)) if k != at
        ):
            raise ShapeError(
                f"concat along axis {at}: tensor {i} has shape {show_shape(n.shape)}, the first one "
                f"{show_shape(nodes[0].shape)}; all axes but that one must be equal"
            )
    return wrap(nodes[0] if len(nodes) == 1 else m.concatenate(*nodes, axis=at))


concatenate = concat


@remembered
def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis at place `axis`. Dtypes are promoted."""
    nodes = _joined(arrays, "stack")
    for i, n in enumerate(nodes):
        if n.shape != nodes[0].shape:
            raise ShapeError(
                f"stack needs tensors of one shape: number {i} has {show_shape(n.shape)}, the first one "
                f"{show_shape(nodes[0].shape)}"
            )
    at = normalize_axis(axis, nodes[0].ndim + 1)
    s = nodes[0].shape
    wide = [m.reshape.bind((n,), ((*s[:at], 1, *s[at:]),)) for n in nodes]
    return wrap(wide[0] if len(wide) == 1 else m.concatenate(*wide, axis=at))


@remembered
def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices of x along an axis, one tensor for each index."""
    node = node_of(x)
    if node.ndim == 0:
        raise ShapeError("a tensor of no dimensions cannot be unstacked")
    at = normalize_axis(axis, node.ndim)
    shape = (*node.shape[:at], *node.shape[at + 1 :])
    pieces = _cut(node, at, list(range(1, int(node.shape[at]) + 1)))
    return tuple([wrap(m.reshape.bind((p,), (shape,))) for p in pieces])


def _cut(node: Node, axis: int, ends: Sequence[Size]) -> list[Node]:
    """Consecutive slices of `node` along an axis, ending before each of `ends`."""
    out, high, stride = [], list(node.shape), (1,) * node.ndim
    low: list[Size] = [0] * node.ndim
    for end in ends:
        high[axis] = end
        out.append(m.slice_.bind((node,), (tuple(low), tuple(high), stride)))
        low[axis] = end
    return out


@remembered
def split(x: Tensor, sections: int | Sequence[int], /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """x cut into pieces along an axis: pieces of size `sections` (the last may be smaller), or of the sizes listed."""
    node = node_of(x)
    at = normalize_axis(axis, node.ndim)
    size = int(node.shape[at])
    if isinstance(sections, int):
        if sections < 1:
            raise ArgumentError(f"split needs a piece size of at least 1, got {sections}")
        sizes = [min(sections, size - i) for i in range(0, size, sections)]
    else:
        sizes = [int(s) for s in sections]
        if sum(sizes) != size or any(s < 0 for s in sizes):
            raise ShapeError(f"the sizes {sizes} do not add up to axis {at} of {show_shape(node.shape)}")
    return tuple([wrap(p) for p in _cut(node, at, list(accumulate(sizes)))])


# -- order and repetition -------------------------------------------------------------------------------------


@remembered
def flip(x: Tensor, /, *, axis: Axes | None = None) -> Tensor:
    """x in reverse order along the given axes, or along all of them."""
    node = node_of(x)
    return wrap(m.flip(node, axes=normalize_axes(axis, node.ndim)))


@remembered
def roll(x: Tensor, /, shift: int | tuple[int, ...], *, axis: Axes | None = None) -> Tensor:
    """x shifted along axes by `shift` places; what leaves at one end comes in at the other.

    Without an axis the flattened tensor is shifted and shaped back. Shifts are part of a program's structure.
    """
    node = node_of(x)
    if not all(hasattr(s, "__index__") for s in (shift if isinstance(shift, tuple) else (shift,))):
        raise ArgumentTypeError(
            f"roll shifts by a whole number of places, or a tuple of them, got {describe(shift)}"
        )
    if axis is None:
        flat = reshape(x, (-1,))
        total = sum(shift) if isinstance(shift, tuple) else shift
        return reshape(roll(flat, total, axis=0), node.shape)
    axes = axis if isinstance(axis, tuple) else (axis,)
    places = [normalize_axis(a, node.ndim) for a in axes]
    shifts = shift if isinstance(shift, tuple) else (shift,) * len(places)
    if len(shifts) != len(places):
        raise ArgumentError(f"roll needs one shift for each axis, got {shift} for axes {axis}")
    for place, by in zip(places, shifts, strict=True):
        size = node.shape[place]
        if isinstance(size, int):
            middle = size - by % size if size else 0
        elif by > 0:
            raise ShapeError(
                f"roll by {by} along axis {place}: its size {size} is open; only a shift back is possible"
            )
        else:
            middle = -by
        if middle in (0, size):
            continue
        head, tail = _cut(node, place, [middle, size])
        node = m.concatenate(tail, head, axis=place)
    return wrap(m.identity.bind((node,)))


@remembered
def tile(x: Tensor, repetitions: Sequence[int], /) -> Tensor:
    """x repeated as a whole, `repetitions[i]` times along axis i; both are padded with ones on the left."""
    node = node_of(x)
    times = check_shape(repetitions)
    rank = max(len(times), node.ndim)
    times = (1,) * (rank - len(times)) + times
    shape = (1,) * (rank - node.ndim) + node.shape
    wide = tuple([n for pair in zip(times, shape, strict=True) for n in pair])
    axes = tuple(range(2 * rank - 2 * node.ndim + 1, 2 * rank, 2))
    out = m.broadcast_in_dim.bind((node,), (wide, axes))
    return wrap(m.reshape.bind((out,), (tuple([t * n for t, n in zip(times, shape, strict=True)]),)))


@checked
def repeat(x: Tensor, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Each element (each slice along `axis`) repeated in place; without an axis the flattened tensor's elements.

    `repeats` is a number, or a one-dimensional tensor with one number for each slice. A tensor of repeats decides the
    shape of the result, so it is computed at once, and cannot be a traced one.
    """
    node = node_of(x)
    if axis is None:
        node, at = m.reshape.bind((node,), ((node.size,),)), 0
    else:
        at = normalize_axis(axis, node.ndim)
    counts = _counts(repeats)
    size: Any = node.shape[at]
    if counts.ndim == 0 or counts.size == 1:
        times = int(counts.reshape(()))
        if times < 0:
            raise ArgumentError(f"repeats must not be negative, got {times}")
        s = node.shape
        wide = (*s[: at + 1], times, *s[at + 1 :])
        axes = (*range(at + 1), *range(at + 2, len(wide)))
        out = m.broadcast_in_dim.bind((node,), (wide, axes))
        return wrap(m.reshape.bind((out,), ((*s[:at], size * times, *s[at + 1 :]),)))
    if counts.shape != (size,):
        raise ShapeError(
            f"repeats has shape {counts.shape}, axis {at} of {show_shape(node.shape)} has size {size}"
        )
    if np.any(counts < 0):
        raise ArgumentError("repeats must not be negative")
    check_count((sum(counts.tolist()),))
    positions = np.repeat(np.arange(size, dtype=np.int64), counts.astype(np.int64))
    return wrap(at_.take(node, buffer_leaf(positions, int64), at))


def _counts(repeats: Any) -> np.ndarray:
    if isinstance(repeats, Handle):
        node = repeats._cell.node
        if node.dtype.kind not in "iu":
            raise DTypeError(f"repeats must be integers, got {node.dtype}")
        return known(
            node,
            "repeat makes as many elements as the repeats add up to",
            "Repeat by a Python integer instead.",
        )
    counts = np.asarray(repeats)
    if counts.dtype.kind not in "iu" and counts.size:
        raise DTypeError(f"repeats must be integers, got {repeats!r}")
    return counts
