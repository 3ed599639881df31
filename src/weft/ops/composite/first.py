"""The largest element, whose gradient goes to the first of several."""

from __future__ import annotations

from ...ir.node import Node
from ..elementwise import equal, where
from ..indexing import iota_along
from ..movement import broadcast_to, reshape
from ..reduce import argmax, max_
from .define import composite


@composite
def first_max(x, *, axis):
    """The largest element along `axis`. Of several, the first has the gradient."""
    return max_(x, axes=(axis,))


@first_max.vjp
def _(cts, outs, x, *, axis):
    return (at_first(x, cts[0], axis),)


def at_first(x: Node, ct: Node, axis: int) -> Node:
    """The cotangent at the first largest element along `axis`, 0 elsewhere."""
    spread = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    first = broadcast_to(reshape(argmax(x, axis=axis), shape=spread), x.shape)
    chosen = equal(iota_along(x.shape, axis), first)
    return where(chosen, broadcast_to(reshape(ct, shape=spread), x.shape), 0)
