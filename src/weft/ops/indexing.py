"""Reading and writing at run-time positions: the primitives under one import, and what is derived from them."""

from __future__ import annotations

from ..base.errors import ShapeError
from ..ir.dtype import int64
from ..ir.node import Node
from .define import lift
from .dynamic import dynamic_slice, dynamic_update_slice
from .gather import dim_size, gather, iota, iota_along, scatter, scatter_add, with_ones
from .movement import permute, reshape

__all__ = [
    "add_along_axis",
    "dim_size",
    "dynamic_slice",
    "dynamic_update_slice",
    "gather",
    "integer_scalar",
    "iota",
    "iota_along",
    "put_along_axis",
    "scatter",
    "scatter_add",
    "take",
    "take_along_axis",
    "with_ones",
]


def take(x: Node, indices: Node, axis: int) -> Node:
    """The slices of x at integer positions along one axis, in place of that axis (indices of any shape)."""
    out = gather(x, indices, axes=(axis,))
    rank = indices.ndim
    order = (*range(rank, rank + axis), *range(rank), *range(rank + axis, out.ndim))
    return out if order == tuple(range(out.ndim)) else permute(out, axes=order)


def take_along_axis(x: Node, indices: Node, axis: int) -> Node:
    """out[..., j, ...] = x[..., indices[..., j, ...], ...]: one index for each element of the result.

    `indices` has the sizes of x along all other axes (or 1, which broadcasts).
    """
    if indices.ndim != x.ndim:
        raise ShapeError(
            f"take_along_axis: {x.ndim} dimensions expected of the indices, got {indices.aval.describe()}"
        )
    return gather(x, *_grid(x, indices, axis), axes=tuple(range(x.ndim)))


def put_along_axis(x: Node, updates: Node, indices: Node, axis: int) -> Node:
    """x with out[..., indices[..., j, ...], ...] = updates[..., j, ...]; the last of several writes stays."""
    return scatter(x, updates, *_grid(x, indices, axis), axes=tuple(range(x.ndim)))


def add_along_axis(x: Node, updates: Node, indices: Node, axis: int) -> Node:
    """x with updates[..., j, ...] added to out[..., indices[..., j, ...], ...], one by one."""
    return scatter_add(x, updates, *_grid(x, indices, axis), axes=tuple(range(x.ndim)))


def _grid(x: Node, indices: Node, axis: int) -> list[Node]:
    out = []
    for a in range(x.ndim):
        if a == axis:
            out.append(indices)
        else:
            line = iota(size=x.shape[a], dtype=int64)
            out.append(reshape(line, shape=tuple([x.shape[a] if i == a else 1 for i in range(x.ndim)])))
    return out


def integer_scalar(n: int | Node) -> Node:
    """A Python integer as a run-time index; a node as it is."""
    return lift((n,), int64)[0]
