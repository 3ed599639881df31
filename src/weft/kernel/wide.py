"""Products of bfloat16 that the processor makes by itself, with sums of float32.

There are two kinds of instructions for that, and a target says whether it has one that is quick. Both read words of two
numbers: of the first operand as they are in memory, with the contracted axis innermost, of the second from packed
panels.

- Registers that are `matrices` hold 16 rows of 64 bytes, and one instruction adds the product of two of them to a
  third: of every 32 products, those of even and those of odd numbers are summed up apart, and both are added to what
  there is.
- For vectors, an instruction multiplies `pairs` of numbers, and adds first the product of the odd one, then that of the
  even one, to a sum.

Whether a product is made so follows from its shape alone, never from how its operands came about, since the sums are
not in the order in which those of float32 are made. It is the same for rows and for columns, since the transpose of a
product is made as the product of the second operand with the first.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ..ir.dtype import bfloat16
from ..ir.graph import Graph
from ..ir.node import Node, Signature
from ..ops.contraction import dot_general, wide_dot
from ..ops.conv import conv, wide_conv
from ..ops.define import constant
from ..ops.movement import identity, pad, permute, reshape
from ..ops.selection import cast, stop_gradient
from ..passes.rewrite import rewrite
from .index import Index
from .tiles import LONG, Operand, Tap, Tiles
from .words import fill, innermost

#: Products of fewer rows or columns, of fewer of both, or of fewer steps are quicker in float32.
_ONE_SIDE, _OTHER_SIDE, _STEPS = 4, 8, 32


def multiply_wide(graph: Graph, pairs: bool = False) -> Graph:
    """`graph` with products of bfloat16 that the processor makes by itself; their operands as it needs them.

    With `pairs` in vectors, convolutions too, and long sums of products are stored as float32, before they are rounded:
    so they can wait in memory on the way.
    """

    def change(old: Node, args: tuple[Node, ...]) -> Node | None:
        if old.prim is conv:
            return _convolution(old, *args) if pairs else None
        if not _suits(old.sig):
            return None
        (cx, cy), (bx, by) = old.attrs["contract"], old.attrs["batch"]
        steps = math.prod([args[0].shape[a] for a in cx])  # type: ignore[misc]
        even = steps % 2 == 0
        (x, left), (y, right) = _operand(args[0], bx, cx, even), _operand(args[1], by, cy, even)
        lead = tuple(range(len(bx)))
        new = wide_dot(x, y, contract=((left,), (right,)), batch=(lead, lead))
        if old.prim is wide_dot:
            return new
        return cast(identity(new) if pairs and steps > 2 * LONG else new, dtype=bfloat16)

    return rewrite(graph, change, (dot_general.name, wide_dot.name, conv.name))


def is_wide(sig: Signature) -> bool:
    """Whether a product is one that the processor makes as it is."""
    if sig.prim is not wide_dot or not _suits(sig):
        return False
    x, y = sig.inputs
    (cx, cy), (bx, by) = sig.attrs["contract"], sig.attrs["batch"]
    lead = tuple(range(len(bx)))
    fits = bx == by == lead and len(cx) == 1 and x.shape[cx[0]] % 2 == 0  # type: ignore[operator]
    return fits and all(c[0] in (len(lead), v.ndim - 1) for v, c in ((x, cx), (y, cy)))


def _suits(sig: Signature) -> bool:
    """Whether a product takes less time so than in float32."""
    x, out = sig.inputs[0], sig.out
    if x.dtype is not bfloat16:
        return False
    (cx, _), (bx, _) = sig.attrs["contract"], sig.attrs["batch"]
    free = x.ndim - len(cx)
    steps = math.prod([x.shape[a] for a in cx])  # type: ignore[misc]
    rows, columns = math.prod(out.shape[len(bx) : free]), math.prod(out.shape[free:])  # type: ignore[union-attr]
    few, many = min(rows, columns), max(rows, columns)
    return few >= _ONE_SIDE and many >= _OTHER_SIDE and steps >= _STEPS and 0 not in out.shape  # type: ignore[union-attr]


def _operand(x: Node, batch: tuple[int, ...], contract: tuple[int, ...], even: bool) -> tuple[Node, int]:
    """An operand as it can be read, in memory from begin to end, and the axis to contract: its batch axes come first,
    and right behind them, or after all others, what is contracted, filled up to whole words."""
    count = len(batch)
    if even and (*batch, *contract) == tuple(range(count + len(contract))) and _lies_in_order(x):
        if len(contract) == 1:
            return x, count
        free = x.shape[count + len(contract) :]
        steps = math.prod([x.shape[a] for a in contract])  # type: ignore[misc]
        return reshape(x, shape=(*x.shape[:count], steps, *free)), count
    ordered = innermost(x, batch, contract)
    last = ordered.ndim - 1
    ordered = fill(ordered, last, 0 if even else 1)
    return (ordered if ordered is x and _lies_in_order(x) else identity(ordered)), last


def _lies_in_order(x: Node) -> bool:
    """Whether an operand is not the view of something, or one that runs through it from begin to end."""
    if x.value is None and x.prim is reshape:
        x = x.args[0]
    moves = (x.prim.movement and x.prim is not identity) or x.prim is stop_gradient
    return x.value is None and not moves


# -- convolutions -------------------------------------------------------------------------------------------------

#: Convolutions of fewer channels in, channels out, or results of one channel are quicker in float32.
_CHANNELS_IN, _CHANNELS_OUT, _PLACES = 8, 16, 16

#: So are those of images that a border of zeros, which are multiplied too, makes more than so many times as large.
_BORDERED = 4


def _convolution(old: Node, x: Node, w: Node) -> Node | None:
    """A convolution by pairs of neighbouring channels, of copies in which they are: of images with zeros around."""
    if not _suits_conv(old.sig):
        return None
    missing, attrs = w.shape[1] % 2, dict(old.attrs)  # type: ignore[operator]
    low, high = ((0, 0, *[p[k] for p in attrs["padding"]]) for k in (0, 1))
    x, w = fill(x, 1, missing), fill(w, 1, missing)
    if any((*low, *high)):
        x = pad(x, constant(0.0, x.dtype), low=low, high=high, interior=(0,) * x.ndim)
    attrs["padding"] = ((0, 0),) * (x.ndim - 2)
    spatial = tuple(range(2, x.ndim))
    return cast(wide_conv(_copy(x, (0, *spatial, 1)), _copy(w, (*spatial, 0, 1)), **attrs), dtype=bfloat16)


def _copy(x: Node, order: tuple[int, ...]) -> Node:
    """`x` as a view of a copy whose axes lie in memory in this order."""
    back = tuple([order.index(a) for a in range(x.ndim)])
    return permute(identity(permute(x, axes=order)), axes=back)


def is_wide_conv(sig: Signature) -> bool:
    """Whether a convolution is one that the processor makes as it is: of whole pairs of channels and no border."""
    if sig.prim is not wide_conv or sig.inputs[0].dtype is not bfloat16:
        return False
    a, depth = sig.attrs, sig.inputs[1].shape[1]
    alone = a["feature_groups"] == a["batch_groups"] == 1
    return alone and depth % 2 == 0 and not any(n for pair in a["padding"] for n in pair)  # type: ignore[operator]


def _suits_conv(sig: Signature) -> bool:
    """Whether a convolution takes less time so than in float32; the gradient of a kernel does not."""
    (x, w), out, a = sig.inputs, sig.out, sig.attrs
    if x.dtype is not bfloat16 or a["feature_groups"] * a["batch_groups"] > 1 or x.ndim < 3:
        return False
    if any(p < 0 for ps in a["padding"] for p in ps) or any(d > 1 for d in a["input_dilation"]):
        return False
    places, sizes = math.prod(out.shape[2:]), x.shape[2:]  # type: ignore[union-attr]
    bordered = math.prod([n + sum(p) for n, p in zip(sizes, a["padding"], strict=True)])  # type: ignore[operator]
    if bordered > _BORDERED * math.prod(sizes):  # type: ignore[arg-type]
        return False
    enough = w.shape[1] >= _CHANNELS_IN and w.shape[0] >= _CHANNELS_OUT  # type: ignore[operator]
    return enough and places >= math.prod(w.shape[2:]) > 0 and out.shape[0] * places >= _PLACES  # type: ignore[union-attr, operator]


# -- tiles --------------------------------------------------------------------------------------------------------


def wide_tiles(t: Tiles) -> Tiles:
    """A contraction of bfloat16 as one of words. An operand whose rows or columns are neighbours counts numbers: words
    are made when it is copied."""
    (tap,) = t.taps
    (a, a_step), (b, b_step) = _in_words(t.a, tap.a), _in_words(t.b, tap.b)
    return replace(t, a=a, b=b, taps=(Tap(tap.count // 2, a_step, b_step),), words=2)


def _in_words(x: Operand, step: int) -> tuple[Operand, int]:
    """An operand, and how far one word of it is from the next."""
    if x.stride == 1:
        return x, 2 * step
    assert step == 1, (x, step)
    factors = {term: f // 2 for term, f in x.base.factors.items()}
    return Operand(x.buffer, Index(factors, x.base.offset // 2), x.stride // 2), 1
