"""Picking by class index: rows of a table, and one score of each sample."""

from __future__ import annotations

from ...base.errors import DTypeError, ShapeError
from ...ir.node import Node
from ...ir.shape import Size, show_shape
from ..elementwise import equal, less, where
from ..indexing import gather, iota_along, take_along_axis
from ..movement import broadcast_to, reshape
from .common import stop_gradient
from .define import composite


def from_zero(index: Node, size: Size) -> Node:
    """The index with negative ones moved out of range: they are mistakes here, and do not count from the end."""
    if index.dtype.kind == "u" or not isinstance(size, int):
        return index
    return where(less(index, 0), index - size, index)


@composite
def pick_class(x, target, *, axis):
    """x[n, target[n, ...], ...]: for each sample the entry of its class along `axis`, which is dropped.

    An index outside 0 .. size-1 raises `IndexError` when the program runs.
    """
    spread = reshape(from_zero(target, x.shape[axis]), shape=(*target.shape[:axis], 1, *target.shape[axis:]))
    return reshape(take_along_axis(x, spread, axis), shape=target.shape)


@pick_class.vjp
def _(cts, outs, x, target, *, axis):
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
    out = gather(table, from_zero(index, table.shape[0]), axes=(0,))
    if padding_idx is None:
        return out
    padding = reshape(equal(index, padding_idx), shape=(*index.shape, 1))
    return where(broadcast_to(padding, out.shape), stop_gradient(out), out)


@composite
def one_hot(index, *, classes, dtype):
    """A new last axis with 1 at the index and 0 elsewhere."""
    from ..elementwise import cast

    shape = (*index.shape, classes)
    spread = broadcast_to(reshape(index, shape=(*index.shape, 1)), shape)
    return cast(equal(iota_along(shape, index.ndim, index.dtype), spread), dtype=dtype)
