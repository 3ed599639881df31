"""Picking by class index: rows of a table, and one score of each sample."""

from __future__ import annotations

from ...base.errors import DTypeError, ShapeError
from ...ir.dtype import int32, int64
from ...ir.node import Aval, Node
from ...ir.shape import Size, show_shape
from ..elementwise import cast, equal, less, where
from ..indexing import gather, iota_along, put_along_axis, take_along_axis
from ..movement import broadcast_to, full, reshape, zeros
from .common import stop_gradient
from .define import composite


def positions(index: Node) -> Node:
    """Indices in a type that holds every class number, -100 and sizes: narrow and unsigned ones as int64."""
    return index if index.dtype in (int32, int64) else cast(index, dtype=int64)


def from_zero(index: Node, size: Size) -> Node:
    """The index with negative ones moved out of range: they are mistakes here, and do not count from the end."""
    if not isinstance(size, int):
        return index
    return where(less(index, 0), index - size, index)


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
def one_hot(index, *, classes, dtype):
    """A new last axis with 1 at the index and 0 elsewhere.

    An index outside 0 .. classes-1 raises `IndexError` when the program runs.
    """
    places = reshape(from_zero(positions(index), classes), shape=(*index.shape, 1))
    ones = full(Aval(places.shape, dtype), 1)
    return put_along_axis(zeros(Aval((*index.shape, classes), dtype)), ones, places, index.ndim)
