"""Picking by class index: rows of a table, and one score of each sample."""

from __future__ import annotations

import re

from ...base.errors import DTypeError, ShapeError
from ...ir.dtype import bool_, int32, int64
from ...ir.node import Aval, Node
from ...ir.shape import Size, show_shape
from ..elementwise import abs_, cast, equal, less, logical_and, not_equal, pow_, where
from ..indexing import gather, iota, iota_along, put_along_axis, scatter_add, take_along_axis
from ..movement import broadcast_to, full, reshape, slice_axis, zeros
from ..reduce import any_, sum_
from ..sorting import searchsorted
from .common import as_type, stop_gradient, widened
from .define import composite
from .first import first_max


def positions(index: Node) -> Node:
    """Indices in a type that holds every class number, -100 and sizes: narrow and unsigned ones as int64."""
    return index if index.dtype in (int32, int64) else cast(index, dtype=int64)


def from_zero(index: Node, size: Size) -> Node:
    """The index with negative ones moved out of range: they are mistakes here, and do not count from the end."""
    if not isinstance(size, int):
        return index
    return where(less(index, 0), index - size, index)


#: Composites whose indices count from 0 only.
COUNTING_FROM_ZERO = frozenset(
    {
        "pick_class",
        "class_number",
        "embedding",
        "one_hot",
        "bounded",
        "shortened_rows",
        "multilabel_margin_loss",
        "ctc_loss",
    }
)
_THINGS = {"embedding": "row", "shortened_rows": "row", "bounded": "length"}
_OUTSIDE = re.compile(r"index (-?\d+) is out of bounds for axis \d+ with size (\d+)")


def in_users_words(name: str, error: str) -> str:
    """The message about an index out of bounds with the number that the user gave, which `from_zero` moved."""
    found = _OUTSIDE.search(error)
    if found is None:
        return error
    index, size = map(int, found.groups())
    valid = f"the valid ones are 0 to {size - 1}" if size else "there are none"
    what = _THINGS.get(name, "class")
    return f"{what} {index + size if index < 0 else index} is out of bounds: {valid}"


@composite
def bounded(lengths, *, most):
    """The lengths; one that is not in 0 .. most raises `IndexError` when the program runs."""
    lengths = positions(lengths)
    if not isinstance(most, int):
        return lengths
    return gather(iota(size=most + 1, dtype=int64), from_zero(lengths, most + 1), axes=(0,))


@composite
def pick_class(x, target, *, axis):
    """x[n, target[n, ...], ...]: for each sample the entry of its class along `axis`, which is dropped.

    An index outside 0 .. size-1 raises `IndexError` when the program runs.
    """
    target = positions(target)
    spread = reshape(from_zero(target, x.shape[axis]), shape=(*target.shape[:axis], 1, *target.shape[axis:]))
    return reshape(take_along_axis(x, spread, axis), shape=target.shape)


@pick_class.vjp
def _(cts, outs, x, target, *, axis):
    target = positions(target)
    shape = (*target.shape[:axis], 1, *target.shape[axis:])
    chosen = equal(
        iota_along(x.shape, axis, target.dtype), broadcast_to(reshape(target, shape=shape), x.shape)
    )
    return where(chosen, broadcast_to(reshape(cts[0], shape=shape), x.shape), 0), None


@composite
def embedding(index, table, *, padding_idx=None):
    """Rows of a table (rows, width) at integer positions: (...) to (..., width).

    The row `padding_idx` receives no gradient. An index outside 0 .. rows-1 raises `IndexError` when the program runs.
    """
    if index.dtype.kind not in "ui":
        raise DTypeError(
            f"embedding takes integer indices, got {index.aval.describe()}; convert them with astype('int64')"
        )
    if table.ndim != 2:
        raise ShapeError(f"embedding takes a table of shape (rows, width), got {show_shape(table.shape)}")
    index = positions(index)
    out = gather(table, from_zero(index, table.shape[0]), axes=(0,))
    if padding_idx is None:
        return out
    padding = reshape(equal(index, padding_idx), shape=(*index.shape, 1))
    return where(broadcast_to(padding, out.shape), stop_gradient(out), out)


@composite
def shortened_rows(index, table, max_norm, p):
    """The table with the rows that `index` names made at most max_norm long, by the p-norm; it has no gradient."""
    rows = stop_gradient(widened(table))
    p, most = as_type(p, rows.dtype), as_type(max_norm, rows.dtype)
    length = pow_(sum_(pow_(abs_(rows), p), axes=(1,)), 1 / p)
    scale = where(less(most, length), most / (length + 1e-7), 1)
    named = _how_often(index, table.shape[0])
    scale = where(less(0, named), scale, 1)
    return as_type(rows * reshape(scale, shape=(scale.shape[0], 1)), table.dtype)


def _how_often(index: Node, rows: Size) -> Node:
    """How often each row is named."""
    flat = from_zero(reshape(positions(index), shape=(index.size,)), rows)
    return scatter_add(zeros(Aval((rows,), int64)), full(Aval(flat.shape, int64), 1), flat, axes=(0,))


@composite
def by_frequency(rows, index, *, count):
    """The rows of a table of `count` of them that `index` names, with gradients divided by how often each is named."""
    index = positions(index)
    often = gather(_how_often(index, count), index, axes=(0,))
    share = 1 / cast(reshape(often, shape=(*often.shape, 1)), dtype=rows.dtype)
    return rows * share + stop_gradient(rows * (1 - share))


@composite
def embedding_bag(index, table, factors, *, mode, padding_idx=None):
    """The sum, mean or largest elements ("max") of the rows (B, N) names in each bag: (B, width).

    `factors` (B, N), for sums only, multiply the rows. Rows `padding_idx` are not in the bag; an empty bag gives zeros.
    """
    rows = embedding(index, table)
    if index.ndim != 2:
        raise ShapeError(f"embedding_bag takes bags of indices (B, N), got {show_shape(index.shape)}")
    held = full(Aval(index.shape, bool_), True)
    if padding_idx is not None:
        held = not_equal(positions(index), padding_idx)
    return _in_bags(rows, held, factors, mode, 1)


@composite
def embedding_bag_offsets(index, table, offsets, factors, *, bags, mode, padding_idx=None):
    """`embedding_bag` of bags that lie one after the other in one list, bag b from position offsets[b] on."""
    rows = embedding(index, table)
    if index.ndim != 1 or offsets.ndim != 1 or offsets.dtype.kind not in "iu":
        raise ShapeError(
            f"embedding_bag takes indices (N) and integer offsets (B), got {index.aval.describe()} and "
            f"{offsets.aval.describe()}"
        )
    starts = slice_axis(positions(offsets), 0, 0, bags)
    here = iota(size=index.shape[0], dtype=int64)
    bag = searchsorted(starts, here, side="right") - 1
    grid = (bags, index.shape[0])
    held = equal(iota_along(grid, 0), broadcast_to(cast(bag, dtype=int64), grid))
    if offsets.shape[0] != bags:  # the last offset is the end
        end = reshape(slice_axis(positions(offsets), 0, bags, bags + 1), shape=())
        held = logical_and(held, less(broadcast_to(here, grid), end))
    if padding_idx is not None:
        held = logical_and(held, broadcast_to(not_equal(positions(index), padding_idx), grid))
    every = broadcast_to(rows, (bags, *rows.shape))
    return _in_bags(every, held, None if factors is None else broadcast_to(factors, grid), mode, 1)


def _in_bags(rows: Node, held: Node, factors: Node | None, mode: str, axis: int) -> Node:
    """Rows (B, N, width) reduced over those of N that are in each bag."""
    spread = broadcast_to(reshape(held, shape=(*held.shape, 1)), rows.shape)
    w = widened(rows)
    if mode == "max":
        some = any_(held, axes=(axis,))
        top = first_max(where(spread, w, float("-inf")), axis=axis) if rows.shape[axis] != 0 else None
        out = zeros(Aval((rows.shape[0], rows.shape[2]), w.dtype))
        if top is not None:
            out = where(broadcast_to(reshape(some, shape=(some.shape[0], 1)), top.shape), top, 0)
        return as_type(out, rows.dtype)
    if factors is not None:
        w = w * as_type(reshape(factors, shape=(*factors.shape, 1)), w.dtype)
    total = sum_(where(spread, w, 0), axes=(axis,))
    if mode == "mean":
        sizes = sum_(cast(held, dtype=w.dtype), axes=(axis,))
        total = total / reshape(where(equal(sizes, 0), 1, sizes), shape=(sizes.shape[0], 1))
    return as_type(total, rows.dtype)


@composite
def one_hot(index, *, classes, dtype):
    """A new last axis with 1 at the index and 0 elsewhere.

    An index outside 0 .. classes-1 raises `IndexError` when the program runs.
    """
    places = reshape(from_zero(positions(index), classes), shape=(*index.shape, 1))
    ones = full(Aval(places.shape, dtype), 1)
    return put_along_axis(zeros(Aval((*index.shape, classes), dtype)), ones, places, index.ndim)
