"""Positions, order and sets: argmax, sort, searchsorted, take, nonzero, unique."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..base.checked import checked, refuse_masked
from ..base.errors import DTypeError, IndexingError, ShapeError
from ..ir.dtype import DEFAULT_INT, DType, bool_, int64, uint8
from ..ir.node import Node
from ..ir.shape import Shape, broadcasts_to, check_shape, normalize_axis, show_shape
from ..ops import elementwise as e
from ..ops import indexing as at
from ..ops import movement as m
from ..ops import reduce as r
from ..ops import sorting
from ..ops.comparison import truth
from ..ops.composite.order import topk as best
from . import dispatch
from .dispatch import as_dtype, buffer_leaf, converted, node_of, number_leaf, promoted, wrap
from .index_plan import known
from .remembered import remembered

if TYPE_CHECKING:
    from .tensor import Tensor


# -- extremes and order ---------------------------------------------------------------------------------------


def _arg(prim: Any, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    node = node_of(x)
    rank = node.ndim
    if axis is None:
        shape = (1,) * rank if keepdims else ()
        node, at_axis = m.reshape.bind((node,), ((node.size,),)), 0
    else:
        at_axis = normalize_axis(axis, rank)
        shape = tuple(
            [1 if i == at_axis else n for i, n in enumerate(node.shape) if keepdims or i != at_axis]
        )
    out = prim.bind((node,), (at_axis,))
    return wrap(out if out.shape == shape else m.reshape.bind((out,), (shape,)))


@remembered
def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the largest element along `axis`, or in the flattened tensor; of several the first. A NaN wins."""
    return _arg(r.argmax, x, axis, keepdims)


@remembered
def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the smallest element along `axis`, or in the flattened tensor; of several the first. A NaN wins."""
    return _arg(r.argmin, x, axis, keepdims)


@remembered
def sort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """x in order along `axis`. Equal elements keep their order; NaN comes last in both directions."""
    node = node_of(x)
    return wrap(sorting.sort(node, axis=normalize_axis(axis, node.ndim), descending=bool(descending)))


@remembered
def argsort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that put x in order along `axis`. Equal elements keep their order; NaN comes last."""
    node = node_of(x)
    return wrap(sorting.argsort(node, axis=normalize_axis(axis, node.ndim), descending=bool(descending)))


@remembered
def topk(x: Tensor, k: int, /, *, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) elements along `axis`, best first, and their indices."""
    node = node_of(x)
    attrs = operator.index(k), normalize_axis(axis, node.ndim), bool(largest)
    values, indices = dispatch.apply_nodes(best, (node,), attrs)
    return wrap(values), wrap(indices)


@remembered
def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Tensor | None = None) -> Tensor:
    """Where to insert the elements of x2 into the sorted vector x1 so that it stays sorted.

    "left": before equal elements; "right": after them. `sorter` are indices that sort x1.
    """
    dispatch.check_choice("side", side, ("left", "right"))
    edges, x = promoted(x1, x2)
    if edges.ndim != 1:
        raise ShapeError(f"searchsorted takes a sorted vector first, got shape {show_shape(edges.shape)}")
    if sorter is not None:
        edges = at.take(edges, node_of(sorter), 0)
    return wrap(sorting.searchsorted(edges, x, side=side))


# -- selection ------------------------------------------------------------------------------------------------


def _indices(indices: Any) -> Node:
    if isinstance(indices, (list, tuple)):
        refuse_masked(indices)
        try:
            indices = np.asarray(indices)
        except ValueError as e:
            raise IndexingError(f"indices must be a rectangular list of integers: {e}") from None
    node = node_of(indices)
    if node.dtype.kind not in "ui":
        raise DTypeError(f"indices must be integers, got {node.aval.describe()}")
    return node


@remembered
def take(x: Tensor, indices: Any, /, *, axis: int | None = None) -> Tensor:
    """The slices of x at integer positions along `axis` (which a vector need not name).

    Negative indices count from the end; one outside the axis raises `IndexError` when the value is computed.
    """
    node = node_of(x)
    if axis is None:
        if node.ndim != 1:
            raise ShapeError(f"take from a tensor of shape {show_shape(node.shape)} needs an axis")
        axis = 0
    return wrap(at.take(node, _indices(indices), normalize_axis(axis, node.ndim)))


@remembered
def take_along_axis(x: Tensor, indices: Any, /, *, axis: int = -1) -> Tensor:
    """out[..., j, ...] = x[..., indices[..., j, ...], ...]: what `argsort` and `argmax(keepdims=True)` index.

    `indices` has as many dimensions as x; all axes but `axis` are broadcast.
    """
    node, places = node_of(x), _indices(indices)
    if node.ndim != places.ndim:
        raise ShapeError(
            f"take_along_axis needs indices of {node.ndim} dimensions like x, got {show_shape(places.shape)}"
        )
    k = normalize_axis(axis, node.ndim)
    # Where x has size 1 and the indices more, x is broadcast.
    shape = list(node.shape)
    for i, n in enumerate(places.shape):
        if i != k and shape[i] == 1:
            shape[i] = n
    return wrap(at.take_along_axis(m.broadcast_to(node, tuple(shape)), places, k))


@remembered
def index_add(x: Tensor, indices: Any, source: Any, /, *, axis: int = 0) -> Tensor:
    """x with slices of `source` added to it: slice j along `axis` to the slice of x at indices[j].

    Positions that occur several times receive every slice, in order. It is how messages along the edges of a graph are
    summed up at their nodes: `index_add(wf.zeros(nodes, width), to, messages)`.

    Args:
        indices: a vector of n integers. Negative ones count from the end; one outside the axis raises `IndexError`
            when the value is computed.
        source: the shape of x, with n along `axis`; what broadcasts to it will do.
    """
    node, updates = promoted(x, source)
    places = _indices(indices)
    if places.ndim != 1:
        raise ShapeError(f"index_add takes a vector of indices, got shape {show_shape(places.shape)}")
    k = normalize_axis(axis, node.ndim)
    wide = _spread("index_add", updates, (*node.shape[:k], places.shape[0], *node.shape[k + 1 :]))
    order = (k, *range(k), *range(k + 1, node.ndim))  # the axes of the indices come first
    rows = m.permute.bind((wide,), (order,)) if k else wide
    return wrap(at.scatter_add.bind((node, rows, places), ((k,),)))


@remembered
def scatter_add(x: Tensor, indices: Any, source: Any, /, *, axis: int = -1) -> Tensor:
    """x with every source[..., j, ...] added to the element at [..., indices[..., j, ...], ...].

    It adds where `take_along_axis` reads, with an index for each element; `index_add` adds whole slices.

    Args:
        indices: as many dimensions as x, n along `axis` and the sizes of x (or 1) along all others.
        source: the shape of x, with n along `axis`; what broadcasts to it will do.
    """
    node, updates = promoted(x, source)
    places = _indices(indices)
    k = normalize_axis(axis, node.ndim)
    others = [n for i, n in enumerate(places.shape) if i != k]
    if places.ndim != node.ndim or any(
        n not in (1, own) for n, own in zip(others, (*node.shape[:k], *node.shape[k + 1 :]), strict=True)
    ):
        raise ShapeError(
            f"scatter_add along axis {k} of shape {show_shape(node.shape)} needs indices that agree in all other "
            f"axes, got {show_shape(places.shape)}"
        )
    wide = _spread("scatter_add", updates, (*node.shape[:k], places.shape[k], *node.shape[k + 1 :]))
    return wrap(at.add_along_axis(node, wide, places, k))


def _spread(name: str, source: Node, shape: Shape) -> Node:
    """What is added, broadcast to the shape of where it goes."""
    if not broadcasts_to(source.shape, shape):
        raise ShapeError(
            f"{name} of a source of shape {show_shape(source.shape)}: x and the indices need {show_shape(shape)}"
        )
    return m.broadcast_to(source, shape)


# -- results whose shape depends on the values --------------------------------------------------------------------

_SIZED = "Fix the number of results with size=n."


@checked
def nonzero(x: Tensor, /, *, size: int | None = None, fill_value: int = 0) -> tuple[Tensor, ...]:
    """The positions of the elements that differ from zero, in row-major order: one vector of indices for each axis.

    How many there are depends on the values, which are computed now. With `size` there are that many, whatever the
    values: surplus ones are left out, missing ones are `fill_value`; then nothing is computed now, and the function
    can be traced.
    """
    node = node_of(x)
    if node.ndim == 0:
        raise ShapeError("nonzero takes a tensor of at least one dimension")
    if size is not None:
        return _nonzero_sized(node, size, fill_value)
    lines = np.nonzero(known(node, "nonzero finds as many positions as are not zero", _SIZED))
    return tuple([wrap(buffer_leaf(np.array(line, np.int64), int64)) for line in lines])


def _nonzero_sized(node: Node, size: int, fill_value: int) -> tuple[Tensor, ...]:
    mask = m.reshape.bind((truth(node),), ((node.size,),))
    count = r.sum_(converted(mask, int64), axes=(0,))
    order = sorting.argsort(converted(mask, uint8), axis=0, descending=True)
    total = node.size
    if size <= total:
        order = m.slice_axis(order, 0, 0, size)
    else:
        order = m.pad(order, number_leaf(0, int64), low=(0,), high=(size - total,), interior=(0,))
    present = e.less(at.iota(size=size, dtype=int64), count)
    out = []
    for n in reversed(node.shape):
        place = e.remainder(order, number_leaf(max(int(n), 1), int64))
        order = e.floor_divide(order, number_leaf(max(int(n), 1), int64))
        out.append(wrap(e.where.bind((present, place, number_leaf(fill_value, int64)))))
    return tuple(out[::-1])


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Tensor
    inverse_indices: Tensor


#: Elements from which on it is Weft's sort that finds the distinct ones. For fewer NumPy takes some milliseconds.
_MANY = 1 << 16


def _unique(x: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The distinct elements, where each occurs first, which of them each element is, and how often they occur."""
    array, dtype = _all_known(x), node_of(x).dtype
    if array.size < _MANY or dtype.kind == "c":
        return np.unique(array, return_index=True, return_inverse=True, return_counts=True, equal_nan=False)
    order = _sorted(array, dtype, sorting.argsort)
    values = array.reshape(-1)[order]
    starts = _starts(values)
    counts = np.diff(starts, append=array.size)
    inverse = np.empty(array.size, np.int64)
    inverse[order] = np.repeat(np.arange(starts.size), counts)
    return values[starts], order[starts], inverse, counts


def _counted(x: Any) -> tuple[np.ndarray, np.ndarray]:
    """The distinct elements and how often they occur."""
    array, dtype = _all_known(x), node_of(x).dtype
    if array.size < _MANY or dtype.kind == "c":
        values, _, _, counts = _unique(x)
        return values, counts
    values = _sorted(array, dtype, sorting.sort)
    starts = _starts(values)
    return values[starts], np.diff(starts, append=array.size)


def _all_known(x: Any) -> np.ndarray:
    return known(
        node_of(x), "unique values are as many as differ", "unique_values(x, size=n) fixes their number."
    )


def _sorted(array: np.ndarray, dtype: DType, prim: Callable[..., Node]) -> np.ndarray:
    """All elements sorted, or their order. What comes after all is put behind them, so that sizes that are near to each
    other are sorted by the same code."""
    step = 1 << (array.size.bit_length() - 4)
    whole = np.empty(-(-array.size // step) * step, array.dtype)
    whole[: array.size] = array.reshape(-1)
    whole[array.size :] = (
        np.nan if dtype.kind == "f" else True if dtype.kind == "b" else np.iinfo(array.dtype).max
    )
    return known(prim(buffer_leaf(whole, dtype), axis=0, descending=False), "sorting", "")[: array.size]


def _starts(values: np.ndarray) -> np.ndarray:
    """Where sorted elements differ from those before."""
    differs = np.empty(values.size, bool)
    differs[0] = True
    np.not_equal(values[1:], values[:-1], out=differs[1:])
    return np.flatnonzero(differs)


def _found(x: Any, values: np.ndarray) -> Tensor:
    dtype = node_of(x).dtype
    return wrap(buffer_leaf(np.array(values, dtype.numpy), dtype))


def _places(places: np.ndarray) -> Tensor:
    return wrap(buffer_leaf(np.array(places, np.int64), DEFAULT_INT))


@checked
def unique_all(x: Tensor, /) -> UniqueAll:
    """The distinct elements in ascending order, where each occurs first in the flattened tensor, which of them each
    element of x is (in the shape of x), and how often they occur. Every NaN is distinct. Computed now."""
    values, first, inverse, counts = _unique(x)
    shape = node_of(x).shape
    return UniqueAll(_found(x, values), _places(first), _places(inverse.reshape(shape)), _places(counts))


@checked
def unique_counts(x: Tensor, /) -> UniqueCounts:
    """The distinct elements in ascending order and how often they occur. Every NaN is distinct. Computed now."""
    values, counts = _counted(x)
    return UniqueCounts(_found(x, values), _places(counts))


@checked
def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """The distinct elements in ascending order, and which of them each element of x is. Every NaN is distinct.
    Computed now."""
    values, _, inverse, _ = _unique(x)
    return UniqueInverse(_found(x, values), _places(inverse.reshape(node_of(x).shape)))


@checked
def unique_values(x: Tensor, /, *, size: int | None = None, fill_value: Any = None) -> Tensor:
    """The distinct elements in ascending order. Every NaN is distinct.

    How many there are depends on the values, which are computed now. With `size` there are that many: the largest are
    left out, missing ones are `fill_value` (by default the smallest element); then the function can be traced.
    """
    if size is None:
        return _found(x, _counted(x)[0])
    node = node_of(x)
    flat = sorting.sort(m.reshape.bind((node,), ((node.size,),)), axis=0, descending=False)
    n = flat.shape[0]
    if n == 0:
        raise ShapeError("unique_values of an empty tensor has no elements to fill size with")
    new = e.not_equal(m.slice_axis(flat, 0, 1, n), m.slice_axis(flat, 0, 0, n - 1))
    first = m.broadcast_in_dim.bind((number_leaf(True, bool_),), ((1,), ()))
    (places,) = _nonzero_sized(m.concatenate.bind((first, new), (0,)), size, -1)
    found = places._cell.node
    missing = e.less(found, number_leaf(0, int64))
    values = at.take(flat, e.where.bind((missing, number_leaf(0, int64), found)), 0)
    if fill_value is None:
        return wrap(values)
    return wrap(e.where.bind((missing, as_dtype(fill_value, flat.dtype), values)))


_FEW = 4096


@checked
def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Tensor:
    """Whether each element of x1 occurs in x2 (does not occur, with `invert`). NaN occurs nowhere."""
    x, pool = promoted(x1, x2)
    flat = m.reshape.bind((pool,), ((pool.size,),))
    n = flat.shape[0]
    if n == 0:
        out = m.full(x.aval, 0)
        out = e.not_equal(out, out)
    elif x.dtype.kind in "bc" or (isinstance(x.size, int) and isinstance(n, int) and x.size * n <= _FEW):
        wide = m.reshape.bind((x,), ((*x.shape, 1),))
        out = r.any_(e.equal(wide, flat), axes=(x.ndim,))
    else:
        ordered = sorting.sort(flat, axis=0, descending=False)
        place = e.minimum(sorting.searchsorted(ordered, x, side="left"), number_leaf(int(n) - 1, int64))
        out = e.equal(at.take(ordered, place, 0), x)
    return wrap(e.bitwise_not(out) if invert else out)


@checked
def bincount(x: Any, /, *, length: int) -> Tensor:
    """How often each of 0, 1, ..., length - 1 occurs among integers."""
    node = _indices(x)
    (length,) = check_shape(length)  # type: ignore[assignment]
    flat = m.reshape.bind((node,), ((node.size,),))
    ones = m.broadcast_in_dim.bind((number_leaf(1, int64),), (flat.shape, ()))
    zeros = m.broadcast_in_dim.bind((number_leaf(0, int64),), ((length,), ()))
    return wrap(at.scatter_add.bind((zeros, ones, flat), ((0,),)))
