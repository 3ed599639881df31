"""Few and long dot products: vectors run along the sums, where there are too few results to fill them. A single one of
very many elements is a sum, which is made in blocks that threads share."""

from __future__ import annotations

import math

from ..ir.graph import Graph
from ..ir.node import Node
from ..ops.contraction import dot_general
from ..ops.movement import broadcast_in_dim, identity, reshape
from ..ops.reduce import sum_
from ..passes.rewrite import rewrite
from .summation import LONG_DOT, block_of

#: Results of long sums, at most, of which one operand has few rows.
_RESULTS, _ROWS = 256, 4

#: Sums that are made side by side for each result: as many vectors as keep a processor busy, or fewer.
_PARTS = (64, 48, 32, 16)


def sum_side_by_side(graph: Graph) -> Graph:
    """`graph` with few long dot products of the rows of two matrices as sums of parts, of elements p, P + p, ...

    A tile adds up each result in order, so one with a row or a column would wait for every addition. How many parts
    there are follows from the shapes alone. So does whether the one product of two arrays is the sum of what they
    come to element by element (see `blocks.py`).
    """

    def split(old: Node, args: tuple[Node, ...]) -> Node | None:
        x, y = args
        if _is_in_blocks(old):
            return sum_(x * y, axes=tuple(range(x.ndim)))
        parts = parts_of(old)
        if not parts:
            return None
        (m, length), n = x.shape, y.shape[0]
        shape = (m, n, length // parts, parts)  # type: ignore[operator]
        x, y = (_in_order(a) if a.shape[0] <= _ROWS else a for a in args)  # type: ignore[operator]
        x = broadcast_in_dim(reshape(x, shape=(m, *shape[2:])), shape=shape, axes=(0, 2, 3))
        y = broadcast_in_dim(reshape(y, shape=(n, *shape[2:])), shape=shape, axes=(1, 2, 3))
        return sum_(sum_(x * y, axes=(2,)), axes=(2,))

    return rewrite(graph, split, (dot_general.name,))


def _is_in_blocks(product: Node) -> bool:
    """Whether a product is one number, of two arrays with their axes in one order, that is made in blocks."""
    x, y = product.args
    axes = tuple(range(x.ndim))
    if product.attrs["contract"] != (axes, axes) or x.shape != y.shape:
        return False
    if not x.dtype is y.dtype is product.dtype or product.dtype.name not in ("float32", "float64"):
        return False
    return block_of(x.shape, axes) is not None  # type: ignore[arg-type]


def _in_order(x: Node) -> Node:
    """The few rows, which are read again and again, as they are summed: flattened images lie in another order."""
    return identity(x) if x.value is None and x.prim is reshape else x


def parts_of(product: Node) -> int:
    """Into how many sums each of a matrix product's is cut; 0 if it is made as it is."""
    x, y = product.args
    attrs = product.attrs
    if product.dtype.name not in ("float32", "float64") or x.ndim != 2 or y.ndim != 2:
        return 0
    if attrs["contract"] != ((1,), (1,)) or x.dtype is not product.dtype or y.dtype is not product.dtype:
        return 0
    (m, length), n = x.shape, y.shape[0]
    if not all(isinstance(s, int) for s in (m, n, length)):
        return 0
    if length < LONG_DOT or not 0 < math.prod((m, n)) <= _RESULTS or min(m, n) > _ROWS:  # type: ignore[type-var, operator]
        return 0
    if n == 1 and m != 1:  # vectors run along the rows
        return 0
    return next((p for p in _PARTS if length % p == 0), 0)  # type: ignore[operator]
