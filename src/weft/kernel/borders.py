"""Images in the middle of zeros: who makes one that is to be padded writes it there, and who reads it reads it there.

Convolutions over few images read copies with a border (`layout.separate_operands`). Where the image is the result of
a kernel, that kernel writes into the copy's inside itself and fills the border, and the image as such is nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.graph import Graph, rebuild, users_of
from ..ir.node import Node
from ..ops.define import constant
from ..ops.movement import identity, pad, permute, slice_
from ..ops.window import windows
from ..passes.rewrite import rewrite
from .shapes import shape_of

#: Pixels from which on rows of an image are long enough for tiles: those of shorter ones are joined, where they can be.
_LONG_ROW = 24


@dataclass(frozen=True)
class Border:
    """Elements around the inside of a buffer, which is made of rows: these are the gaps before, between, after them."""

    rows: tuple[tuple[int, int], ...]  #: (count, distance) of rows, from outermost to innermost
    start: int  #: of the first row
    length: int  #: of each
    size: int  #: of the buffer
    gaps: int  #: one more than there are rows


def border_of(inner: Sequence[int], shape: Sequence[int], low: Sequence[int], order: Sequence[int]) -> Border:
    """The border of an image of shape `inner` that lies in `shape` after `low` elements of each axis, whose axes are
    stored in the given order."""
    steps = dict(zip(reversed(order), _products([shape[a] for a in reversed(order)]), strict=True))
    last = max([k for k, a in enumerate(order) if inner[a] != shape[a]])
    start = sum([low[a] * steps[a] for a in order])
    rows = tuple([(inner[a], steps[a]) for a in order[:last]])
    gaps = math.prod([count for count, _ in rows]) + 1
    return Border(rows, start, inner[order[last]] * steps[order[last]], math.prod(shape), gaps)


def _products(sizes: Sequence[int]) -> list[int]:
    found = [1]
    for n in sizes:
        found.append(found[-1] * n)
    return found[:-1]


def inside_of(node: Node) -> Node | None:
    """What lies in the middle of a node that is it between zeros, or a copy of that."""
    if node.value is None and node.prim is identity:
        node = node.args[0]
    if node.value is not None or node.prim is not pad or any(node.attrs["interior"]):
        return None
    x, fill = node.args
    zero = fill.value is not None and str(fill.value) == "0.0"
    return x if zero and x.size and x.shape != node.shape else None


def low_of(node: Node) -> tuple[int, ...]:
    """How far from the beginning of each axis that is."""
    return (node.args[0] if node.prim is identity else node).attrs["low"]


def is_narrow(conv: Node) -> bool:
    """Whether a convolution goes on from one row of an image to the next, and should, as these are short."""
    w, a = conv.args[1], conv.attrs
    alone = all(n == 1 for n in (*w.shape[2:], *a["stride"], *a["input_dilation"]))
    return alone and not any(any(p) for p in a["padding"]) and shape_of(conv)[-1] < _LONG_ROW


def read_inside(graph: Graph) -> Graph:
    """`graph` with every value that is copied into a border read from there by all that read it."""
    copies = _shared_copies(graph)
    if not copies:
        return graph
    homes = {copy: x for x, copy in copies.items()}
    made: dict[Node, Node] = {}

    def move(old: Node, args: tuple[Node, ...]) -> Node | None:
        if old in homes:
            return made[homes[old]]
        if old not in copies:
            return None
        x, padded = rebuild(old, args), copies[old].args[0]
        x.site = old.site
        home = made[old] = identity(pad(x, constant(0.0, x.dtype), **padded.attrs))
        low = padded.attrs["low"]
        limit = tuple([a + n for a, n in zip(low, x.shape, strict=True)])
        return slice_(home, start=low, limit=limit, stride=(1,) * x.ndim)

    return rewrite(graph, move)


def _shared_copies(graph: Graph) -> dict[Node, Node]:
    """value -> its copy with a border, where others read the value too and can as well read it there."""
    users = users_of(graph)
    outside = {*graph.inputs, *graph.outputs}
    found: dict[Node, Node] = {}
    for node in graph.nodes:
        x = inside_of(node) if node.value is None and node.prim is identity else None
        if x is None or x in found or x in outside or x.value is not None or x.prim.movement:
            continue
        others = [u for u in users[x] if u is not node.args[0]]
        if others and type(x.sig.out) is not tuple and all(_can_read_strided(u, users) for u in others):
            found[x] = node
    return found


def _can_read_strided(user: Node, users: dict[Node, list[Node]]) -> bool:
    """Whether a node reads what lies inside of something larger as well as what lies alone."""
    if user.prim is permute:
        return all(u.prim.name == "conv" for u in users.get(user, ()))
    if user.prim.name == "conv":
        return not is_narrow(user)
    return user.prim.elementwise or user.prim in (windows, pad)
