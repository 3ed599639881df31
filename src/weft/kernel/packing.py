"""Matrices that are multiplied with again and again, packed once: those of a loop before it, and those that stay from
run to run, such as the weights of a network in use, before the first.

A tile wants them in panels of columns that lie next to each other, each read from beginning to end by the tiles above
each other. Packing each time would cost about as much as a small product.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..ir.graph import Graph, fresh_inputs, instantiate, rebuild, users_of
from ..ir.node import Node
from ..ir.shape import size_of
from ..ops.movement import identity, permute, reshape, slice_
from ..passes.cse import eliminate_common
from ..passes.rewrite import rewrite
from .hoist import Changed, with_constants
from .shapes import shape_of
from .slices import slices_of

#: Smaller constants are in the cache however they lie.
_SMALL = 1024

#: Columns of a panel: two vectors of the widest kind, or four where there are too few rows to keep those busy.
_PANEL, _WIDE_PANEL, _FEW_ROWS = 128, 256, 4  # bytes, bytes, rows

#: And of one slice of it, at least.
_VECTOR = 64  # bytes

Axes = tuple[int, ...]


def pack_constants(graph: Graph) -> Graph:
    """`graph` with a packed copy made before each loop of every constant that its body multiplies with."""
    return with_constants(graph, _packed)


#: A larger matrix is not kept twice: to read it from memory takes longer than to pack it.
_LARGE = 1 << 26  # bytes


def pack_steady(graph: Graph, steady: Collection[int]) -> Graph:
    """`graph` with packed copies of the matrices that it multiplies with: inputs with these numbers, or parts of them
    in another order."""
    number = {graph.inputs[i]: i for i in steady}
    if not number:
        return graph
    for node in graph.nodes:
        if node.prim in (permute, reshape, slice_) and node.args[0] in number:
            number[node] = len(graph.inputs) + len(number)
    users = users_of(graph)

    def pack(old: Node, args: tuple[Node, ...]) -> Node | None:
        weight = args[1]
        packing = _packing(old, number, users)
        if packing is None or weight.size * weight.dtype.itemsize > _LARGE:
            return None
        packed = identity(packing.pack(weight))
        return rebuild(old, (args[0], packing.unpack(packed, shape_of(weight))))

    return eliminate_common(rewrite(graph, pack, ("dot_general",)))


@dataclass(frozen=True)
class _Packing:
    """Constant number `const`: first its axes `order`, contracted ones first, in panels of `width` columns.

    Where columns are read in `slices`, a panel has as many of each."""

    const: int
    order: Axes
    contracted: int
    slices: int
    width: int

    def pack(self, x: Node) -> Node:
        """(panels, contracted, columns of a panel) of a constant."""
        x = permute(x, axes=self.order)
        rows = size_of(x.shape[: self.contracted])
        panels = x.size // rows // self.slices // self.width
        x = reshape(x, shape=(rows, self.slices, panels, self.width))
        x = permute(x, axes=(2, 0, 1, 3))
        return reshape(x, shape=(panels, rows, self.slices * self.width))

    def unpack(self, packed: Node, shape: Axes) -> Node:
        """The constant of this shape, as a view of what was packed."""
        x = reshape(packed, shape=(*packed.shape[:2], self.slices, self.width))
        x = permute(x, axes=(1, 2, 0, 3))
        x = reshape(x, shape=tuple([shape[a] for a in self.order]))
        return permute(x, axes=tuple([self.order.index(a) for a in range(len(self.order))]))


def _packed(body: Graph, consts: int) -> Changed | None:
    number = {n: i for i, n in enumerate(body.inputs[:consts])}
    wanted: dict[_Packing, Node] = {}
    uses: dict[Node, _Packing] = {}
    users = users_of(body)
    for node in body.nodes:
        packing = _packing(node, number, users)
        if packing is not None:
            uses[node] = packing
            wanted.setdefault(packing, fresh_inputs([packing.pack(node.args[1]).aval])[0])
    if not uses:
        return None
    inputs = fresh_inputs(body.in_avals)

    def make(old: Node, args: tuple[Node, ...]) -> Node:
        if old in uses:
            args = args[0], uses[old].unpack(wanted[uses[old]], shape_of(old.args[1]))
        new = rebuild(old, args)
        new.site = old.site
        return new

    outputs = instantiate(body, inputs, make)
    changed = Graph([*inputs[:consts], *wanted.values(), *inputs[consts:]], outputs)
    return changed, lambda args: [identity(p.pack(args[p.const])) for p in wanted]


def _packing(node: Node, number: Mapping[Node, int], users: Mapping[Node, Sequence[Node]]) -> _Packing | None:
    """How the second factor of a product should lie, if it is a constant that lies otherwise."""
    if node.value is not None or node.prim.name != "dot_general" or node.args[1] not in number:
        return None
    weight = node.args[1]
    contract, batch = node.attrs["contract"][1], node.attrs["batch"]
    if batch[0] or weight.dtype.name not in ("float32", "float64") or int(weight.size) < _SMALL:
        return None
    free = tuple([a for a in range(weight.ndim) if a not in contract])
    columns = _columns(node)
    rows = int(node.size) // columns if columns else 0
    panel, slices = _WIDE_PANEL if rows < _FEW_ROWS else _PANEL, slices_of(node, users)
    while slices > 1 and panel * slices > (_WIDE_PANEL if rows < _FEW_ROWS else _PANEL) and panel > _VECTOR:
        panel //= 2
    width = panel // weight.dtype.itemsize
    if columns % (slices * width):
        slices, width = 1, columns
    if not contract or (columns == width and weight.ndim - 1 in free):
        return None
    return _Packing(number[weight], (*contract, *free), len(contract), slices, width)


def _columns(product: Node) -> int:
    """How many columns the second factor of a product has."""
    weight, contract = product.args[1], product.attrs["contract"][1]
    return math.prod([n for a, n in enumerate(shape_of(weight)) if a not in contract])
