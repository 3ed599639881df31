"""Axes of another size: an element as a sum of a few others, whose places and weights are in tables."""

from __future__ import annotations

from functools import lru_cache

from ..ir.node import Node
from ..ops.resample import added, resample, taps, weighs
from .index import Indices, Table, listed
from .loops import Apply, Entry, Expr
from .lower import Lowering, pull

#: Elements, at most, that one is computed from at once; of more, what the first of several axes leaves is stored.
_TOGETHER = 8


@lru_cache(256)
def _tables(size: int, new: int, *attrs: object) -> tuple[tuple[Table, Table], ...]:
    """(places, weights) for each tap."""
    places, weights = taps(size, new, *attrs)  # type: ignore[arg-type]
    return tuple(
        [(Table(tuple(p)), Table(tuple(w))) for p, w in zip(places.tolist(), weights.tolist(), strict=True)]
    )


def _of(node: Node) -> tuple[tuple[Table, Table], ...]:
    attrs = node.attrs
    size: int = node.args[0].shape[attrs["axis"]]  # type: ignore[assignment]
    return _tables(size, attrs["length"], *[attrs[n] for n in ("curve", "ratio", "align", "spread", "back")])


@pull("resample")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    (x,), axis, dtype = node.args, node.attrs["axis"], node.dtype
    weighed, here = weighs(node.attrs["curve"], node.attrs["back"]), indices[axis]

    def tap(places: Table, weights: Table) -> Expr:
        value = low.value(x, (*indices[:axis], listed(places, here), *indices[axis + 1 :]))
        return Apply("mul", (value, Entry(weights, here, dtype)), dtype) if weighed else value

    return added([tap(*tables) for tables in _of(node)], lambda a, b: Apply("add", (a, b), dtype))


def taps_of(node: Node) -> int:
    """How many elements of its operand an element of a node is computed from, along all axes that change."""
    if node.value is not None or node.prim is not resample:
        return 1
    return len(_of(node)) * taps_of(node.args[0])


def read_in_place(node: Node) -> bool:
    """Whether the operand of a node must be in memory, since it is read in several places for each element."""
    if node.value is not None or node.prim is not resample:
        return False
    inner = node.args[0]
    return inner.value is not None or inner.prim is not resample or taps_of(node) > _TOGETHER
