"""Order: sort, argsort, search in sorted values, the k largest."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..ir.dtype import DType, float32, float64, int32, int64
from ..ir.node import Aval, Node
from ..ir.shape import is_static, show_shape
from .bits import bitcast, bitwise_and, bitwise_not, bitwise_or, bitwise_xor
from .comparison import equal, isnan, less
from .define import Sample, integer_values, primitive, values
from .gather import iota_along
from .indexing import take_along_axis
from .movement import broadcast_to, concatenate, reshape, slice_axis
from .reduce import argmax, max_
from .selection import cast, where


def _infer(x: Aval, *, axis: int, descending: bool) -> Aval:
    if x.dtype.kind == "c":
        raise DTypeError(f"complex numbers have no order, got {x.describe()}")
    if not 0 <= axis < x.ndim:
        raise ShapeError(f"there is no axis {axis} in {show_shape(x.shape)}")
    return x


def _samples(smooth: bool):
    def make() -> list[Sample]:
        x = values((3, 4, 2))
        rough = np.array([[2.0, np.nan, -1.0, 2.0], [np.inf, -0.0, 0.0, -np.inf]])
        out = []
        for d in (False, True):
            out += [
                Sample((x,), {"axis": 1, "descending": d}, smooth=smooth),
                Sample((x.astype(np.float32),), {"axis": 2, "descending": d}, smooth=smooth),
                Sample((x[:0],), {"axis": 0, "descending": d}, smooth=smooth),
                Sample((rough,), {"axis": 1, "descending": d}, smooth=False),
                Sample((integer_values() // 3,), {"axis": 0, "descending": d}, smooth=False),
                Sample((integer_values(np.uint8) // 3,), {"axis": 1, "descending": d}, smooth=False),
                Sample((x[0] > 0,), {"axis": 0, "descending": d}, smooth=False),
            ]
        return out

    return make


def _ranked(x: Any, descending: bool) -> Any:
    """Keys whose ascending order is the one wanted, equal where x is equal and NaN where it is NaN."""
    if not descending:
        return x
    return -x if x.dtype.kind == "f" else ~x


def _equal_is_identical(x: Any) -> bool:
    """Whether the order of equal elements cannot be seen: then any algorithm sorts alike, and NumPy's own is ten times
    as fast as one that keeps it."""
    return x.dtype.kind in "bui" or (x.dtype.char in "fd" and not ((x == 0).any() or np.isnan(x).any()))


@primitive(
    lambda x, **a: Aval(_infer(x, **a).shape, int64), attrs=("axis", "descending"), samples=_samples(False)
)
def argsort(x, *, axis, descending):
    """The indices that sort x along an axis. Equal elements keep their order; NaN comes last in both directions."""
    return np.argsort(_ranked(x, descending), axis=axis, kind="stable")


argsort.nondifferentiable("the result is made of indices")


@primitive(_infer, attrs=("axis", "descending"), samples=_samples(True))
def sort(x, *, axis, descending):
    """x sorted along an axis. NaN comes last in both directions. The gradient goes back where an element came from;
    equal elements keep their order."""
    if _equal_is_identical(x):
        return _ranked(np.sort(_ranked(x, descending), axis=axis), descending)
    return np.take_along_axis(x, np.argsort(_ranked(x, descending), axis=axis, kind="stable"), axis)


@sort.jvp
def _(tangents, outs, x, *, axis, descending):
    return (take_along_axis(tangents[0], argsort(x, axis=axis, descending=descending), axis),)


def _batch(prim):
    @prim.batch
    def _(size, batched, x, *, axis, descending):
        return prim(x, axis=axis + 1, descending=descending)


_batch(sort)
_batch(argsort)


def _search_infer(edges: Aval, x: Aval, *, side: str) -> Aval:
    if side not in ("left", "right"):
        raise ArgumentError(f"side must be 'left' or 'right', got {side!r}")
    if edges.dtype is not x.dtype or x.dtype.kind not in "uif":
        raise DTypeError(
            f"two operands of one real dtype expected, got {edges.describe()} and {x.describe()}"
        )
    if edges.ndim < 1 or x.shape[: edges.ndim - 1] != edges.shape[:-1]:
        raise ShapeError(
            f"the leading axes of both must agree, all but the last of {show_shape(edges.shape)} "
            f"with the first of {show_shape(x.shape)}"
        )
    return Aval(x.shape, int64)


def _search_samples() -> list[Sample]:
    edges = np.array([-1.0, 0.0, 0.0, 1.5, np.inf])
    x = np.array([[-2.0, -1.0, 0.0], [1.5, np.inf, np.nan]])
    out = []
    for side in ("left", "right"):
        out += [
            Sample((edges, x), {"side": side}, smooth=False),
            Sample((edges.astype(np.float32), x[0].astype(np.float32)), {"side": side}, smooth=False),
            Sample((np.stack([edges, edges + 1]), x), {"side": side}, smooth=False),
            Sample((edges[:0], x), {"side": side}, smooth=False),
            Sample((np.array([1, 3, 3, 7]), np.arange(9)), {"side": side}, smooth=False),
            Sample(
                (np.array([1.0, np.nan, np.nan]), np.array([np.nan, 0.0, 2.0])), {"side": side}, smooth=False
            ),
        ]
    return out


@primitive(_search_infer, attrs=("side",), samples=_search_samples)
def searchsorted(edges, x, *, side):
    """How many of the sorted `edges` lie before each element of x: where to insert it and keep them sorted.

    `side="left"` counts the edges < x, `"right"` those <= x; NaN sorts last and equals NaN. Edges of more than one
    axis are rows, each for the elements of x under the same leading indices.
    """
    if edges.ndim == 1:
        return np.searchsorted(edges, x, side)
    out = np.empty(x.shape, np.int64)
    for row in np.ndindex(edges.shape[:-1]):
        out[row] = np.searchsorted(edges[row], x[row], side)
    return out


searchsorted.nondifferentiable("the result is made of indices")


@searchsorted.batch
def _(size, batched, edges, x, *, side):
    edges, x = [
        v if own else broadcast_to(v, (size, *v.shape)) for v, own in zip((edges, x), batched, strict=True)
    ]
    return searchsorted(edges, x, side=side)


def top_k(x: Node, k: int, axis: int, *, largest: bool = True) -> tuple[Node, Node]:
    """The k largest (or smallest) elements along an axis, best first, and their indices.

    Of equal elements the first come first; NaN comes last.
    """
    n = x.shape[axis]
    if isinstance(n, int) and not 0 <= k <= n:
        raise ShapeError(f"top_k: {k} elements cannot be taken from axis {axis} of {show_shape(x.shape)}")
    few = x.dtype.kind == "f" and k <= _FEW
    length = _block(n, k) if k > 0 and x.dtype.kind in "fiu" and is_static(x.shape) else 1
    if length > 1 and not (few and k * n < _PASSES):
        indices = _first_of_blocks(x, k, axis, length, largest, _first_few if few else _first_sorted)
    elif few and k > 0 and is_static(x.shape):
        indices = _first_few(_ordered(x, largest), k, axis)
    else:
        indices = slice_axis(argsort(x, axis=axis, descending=largest), axis, 0, k)
    return take_along_axis(x, indices, axis), indices


#: So many elements are found one after the other, each in one pass: that is quicker than to sort.
_FEW = 4

#: So many elements a row's passes go through, at least, for it to be quicker to look at the heads of blocks first.
_PASSES = 1 << 13

#: Blocks of a multiple of so many elements are read in whole vectors.
_WHOLE = 16


def _ordered(x: Node, largest: bool) -> Node:
    """Integers in the order of numbers, or in the opposite one; those of NaN are the least."""
    if x.dtype.kind != "f":
        return x if largest else bitwise_not(x)
    wide = x if x.dtype is float64 else cast(x, dtype=float32)
    integer, bits = (int64, 64) if wide.dtype is float64 else (int32, 32)
    key = bitcast(where(equal(wide, 0), 0, wide), dtype=integer)
    key = where(less(key, 0), bitwise_xor(key, (1 << (bits - 1)) - 1), key)
    return where(isnan(wide), 1 - (1 << (bits - 1)), key if largest else bitwise_not(key))


def _first_few(key: Node, k: int, axis: int) -> Node:
    """Where the k largest keys are, largest first, of equal ones the first: what is behind one, or equal to it and
    comes later, has the next one among it."""
    gone = _least(key.dtype)  # less than every key
    place, rest, found = iota_along(key.shape, axis), key, []
    for _ in range(k):
        if found:
            best = take_along_axis(key, found[-1], axis)
            later = bitwise_and(equal(key, best), less(found[-1], place))
            rest = where(bitwise_or(less(key, best), later), key, gone)
        at = argmax(rest, axis=axis)
        found.append(reshape(at, shape=tuple([1 if i == axis else n for i, n in enumerate(key.shape)])))
    return concatenate(*found, axis=axis)


def _least(dtype: DType) -> int:
    """The least integer of a type."""
    return -(1 << (dtype.bits - 1)) if dtype.kind == "i" else 0


def _block(n: int, k: int) -> int:
    """How long blocks are of which to sort what k of them hold: 1 where that is hardly less than to sort everything.

    n / length heads are sorted, and k length elements: the fewest where both are the same. Whole vectors come first."""
    best = math.isqrt(n // k)
    for length in (max(round(best / _WHOLE), 1) * _WHOLE, best):
        if length > 1 and 2 * (-(-n // length) + k * length) <= n:
            return length
    return 1


def _heads(key: Node, axis: int, length: int) -> Node:
    """The largest key of each block; of what is left behind whole blocks, too."""
    n, shape = key.shape[axis], key.shape
    whole = n // length * length  # type: ignore[operator]
    blocks = reshape(
        slice_axis(key, axis, 0, whole), shape=(*shape[:axis], whole // length, length, *shape[axis + 1 :])
    )
    heads = max_(blocks, axes=(axis + 1,))
    if whole == n:
        return heads
    rest = max_(slice_axis(key, axis, whole, n), axes=(axis,))
    return concatenate(heads, reshape(rest, shape=(*shape[:axis], 1, *shape[axis + 1 :])), axis=axis)


def _first_sorted(key: Node, k: int, axis: int) -> Node:
    """The same as `_first_few`, by sorting."""
    return slice_axis(argsort(key, axis=axis, descending=True), axis, 0, k)


def _first_of_blocks(
    x: Node, k: int, axis: int, length: int, largest: bool, first: Callable[[Node, int, int], Node]
) -> Node:
    """Where the k largest elements are, as `first` finds them: in the k blocks with the largest heads, as an element of
    any other block has k heads before it, which are as large at least and in front of it."""
    n, shape = x.shape[axis], x.shape
    key = _ordered(x, largest)
    gone = _least(key.dtype)
    heads = _heads(key, axis, length)
    # Blocks in the order in which they lie, so that of equal elements the first come first.
    chosen = sort(first(heads, k, axis), axis=axis, descending=False)
    apart = reshape(chosen, shape=(*shape[:axis], k, 1, *shape[axis + 1 :]))
    places = apart * length + iota_along((*shape[:axis], k, length, *shape[axis + 1 :]), axis + 1)
    places = reshape(places, shape=(*shape[:axis], k * length, *shape[axis + 1 :]))
    there = less(places, n)
    elements = take_along_axis(x, where(there, places, 0), axis)
    candidates = where(there, _ordered(elements, largest), gone)
    return take_along_axis(places, first(candidates, k, axis), axis)
