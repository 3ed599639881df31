"""What a loop need not do in every step: constants of its body put in order before the loop.

A product in the body with a matrix that is the same in every step wants that matrix packed: in panels of columns
that lie next to each other, each read from beginning to end by the tiles above each other. Packing it in each step
would cost about as much as a small product itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.graph import Graph, fresh_inputs, instantiate, rebuild
from ..ir.node import Node
from ..ir.shape import size_of
from ..ops.loops import scan, while_loop
from ..ops.movement import identity, permute, reshape
from ..passes.pipeline import run_passes
from ..passes.rewrite import rewrite

#: Smaller constants are in the cache however they lie.
_SMALL = 1024

#: Columns of a panel: two vectors of the widest kind, or eight where there are too few rows to keep those busy.
_PANEL, _WIDE_PANEL, _FEW_ROWS = 128, 512, 4  # bytes, bytes, rows

Axes = tuple[int, ...]


@dataclass(frozen=True)
class _Packing:
    """Constant number `const`: first its axes `order`, contracted ones first, in panels of `width` columns."""

    const: int
    order: Axes
    contracted: int
    width: int

    def pack(self, x: Node) -> Node:
        """(panels, contracted, width) of a constant."""
        x = permute(x, axes=self.order)
        rows = size_of(x.shape[: self.contracted])
        x = reshape(x, shape=(rows, x.size // rows // self.width, self.width))
        return permute(x, axes=(1, 0, 2))

    def unpack(self, packed: Node, shape: Axes) -> Node:
        """The constant of this shape, as a view of what was packed."""
        x = permute(packed, axes=(1, 0, 2))
        x = reshape(x, shape=tuple([shape[a] for a in self.order]))
        return permute(x, axes=tuple([self.order.index(a) for a in range(len(self.order))]))


def pack_constants(graph: Graph) -> Graph:
    """`graph` with a packed copy made before each loop of every constant that its body multiplies with.

    Each is one more constant of the loop.
    """

    def pack(old: Node, args: tuple[Node, ...]) -> Node | None:
        if old.prim is scan:
            return _scan(old, args)
        if old.prim is while_loop:
            return _while(old, args)
        return None

    return rewrite(graph, pack)


def _scan(old: Node, args: Sequence[Node]) -> Node | None:
    count = old.attrs["consts"]
    body, wanted = _packed(run_passes(old.attrs["body"]), count)
    if not wanted:
        return None
    given = (*args[:count], *[identity(p.pack(args[p.const])) for p in wanted], *args[count:])
    attrs = {**old.attrs, "body": body, "consts": count + len(wanted), "rule": None}
    return scan.bind(given, tuple([attrs[n] for n in scan.attr_names]))


def _while(old: Node, args: Sequence[Node]) -> Node | None:
    skipped, count = old.attrs["cond_consts"], old.attrs["body_consts"]
    body, wanted = _packed(run_passes(old.attrs["body"]), count)
    if not wanted:
        return None
    end = skipped + count
    packed = [identity(p.pack(args[skipped + p.const])) for p in wanted]
    attrs = {**old.attrs, "body": body, "body_consts": count + len(wanted)}
    return while_loop.bind(
        (*args[:end], *packed, *args[end:]), tuple([attrs[n] for n in while_loop.attr_names])
    )


def _packed(body: Graph, consts: int) -> tuple[Graph, list[_Packing]]:
    """`body` with more constants after its first `consts` inputs, and what they are."""
    number = {n: i for i, n in enumerate(body.inputs[:consts])}
    wanted: dict[_Packing, Node] = {}
    uses: dict[Node, _Packing] = {}
    for node in body.nodes:
        packing = _packing(node, number)
        if packing is not None:
            uses[node] = packing
            wanted.setdefault(packing, fresh_inputs([packing.pack(node.args[1]).aval])[0])
    if not uses:
        return body, []
    inputs = fresh_inputs(body.in_avals)

    def make(old: Node, args: tuple[Node, ...]) -> Node:
        if old in uses:
            args = (args[0], uses[old].unpack(wanted[uses[old]], old.args[1].shape))  # type: ignore[arg-type]
        new = rebuild(old, args)
        new.site = old.site
        return new

    outputs = instantiate(body, inputs, make)
    return Graph([*inputs[:consts], *wanted.values(), *inputs[consts:]], outputs), list(wanted)


def _packing(node: Node, number: dict[Node, int]) -> _Packing | None:
    """How the second factor of a product should lie, if it is a constant that lies otherwise."""
    if node.value is not None or node.prim.name != "dot_general" or node.args[1] not in number:
        return None
    weight = node.args[1]
    contract, batch = node.attrs["contract"][1], node.attrs["batch"]
    if batch[0] or weight.dtype.name not in ("float32", "float64") or weight.size < _SMALL:
        return None
    free = tuple([a for a in range(weight.ndim) if a not in contract])
    columns = size_of([weight.shape[a] for a in free])
    rows = node.size // columns if columns else 0
    width = (_WIDE_PANEL if rows < _FEW_ROWS else _PANEL) // weight.dtype.itemsize
    if not contract or columns % width or (columns == width and weight.ndim - 1 in free):
        return None
    return _Packing(number[weight], (*contract, *free), len(contract), width)
