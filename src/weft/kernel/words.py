"""Products of small integers that are summed as int32: several of them at a time, as words of 32 bits.

Processors multiply two or four neighbouring integers with two or four others and add all products to a sum. For that
both operands lie with the contracted axis innermost, and padded with zeros to whole words. Then a product of words is
what a product of numbers is elsewhere, and everything else about tiles stays as it is. Sums of integers are exact (they
wrap around like those of int32), so nothing shows of all this.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ..ir.dtype import DType, int8, int16, int32, uint8
from ..ir.graph import Graph
from ..ir.node import Node
from ..ops.bits import bitcast, bitwise_xor
from ..ops.define import constant
from ..ops.movement import identity, pad, permute, reshape
from ..ops.reduce import sum_
from ..ops.selection import cast
from ..passes.rewrite import rewrite
from .index import Index
from .tiles import WORDS, Operand, Tap, Tiles

#: Types whose products are taken in words; anything else is multiplied one by one.
SMALL = (int8, uint8, int16)

#: Sums of fewer products than this are not worth copies of the operands.
_SHORT = 8


def group_integers(graph: Graph, quads: bool) -> Graph:
    """`graph` with the operands of contractions of small integers copied so that they can be read as words.

    Four to a word if the processor multiplies `quads` of unsigned with signed bytes, else two.
    """

    def group(old: Node, args: tuple[Node, ...]) -> Node | None:
        if old.prim.name not in ("dot_general", "conv") or old.dtype is not int32:
            return None
        x, y = (_small(a) for a in args)
        if x is None or y is None or any(n == 0 for n in (*old.shape, *x.shape, *y.shape)):
            return None
        words = _Words(quads and y.dtype is int8 and x.dtype is not int16, x.dtype is int8)
        return (_product if old.prim.name == "dot_general" else _convolution)(old, x, y, words)

    return rewrite(graph, group, ("dot_general", "conv"))


def _small(x: Node) -> Node | None:
    """What small integers were cast to make an operand, in the order of its axes."""
    if x.value is not None:
        return None
    if x.prim.name == "cast":
        return x.args[0] if x.args[0].dtype in SMALL else None
    if x.prim.name in ("permute", "reshape"):
        found = _small(x.args[0])
        return None if found is None else x.prim(found, **x.attrs)
    return None


class _Words:
    """How the operands of one contraction become words."""

    def __init__(self, quads: bool, signed: bool) -> None:
        self.quads = quads
        self.shifted = quads and signed  #: whether 128 is added to the first operand, to make it unsigned
        self.depth = 4 if quads else 2

    def first(self, x: Node) -> Node:
        if self.shifted:
            return bitwise_xor(bitcast(x, dtype=uint8), constant(0x80, uint8))
        return x if self.quads else _as(x, int16)

    def second(self, y: Node) -> Node:
        return y if self.quads else _as(y, int16)

    def missing(self, size: int) -> int:
        """Elements up to a whole number of words."""
        return -size % self.depth


def _as(x: Node, dtype: DType) -> Node:
    return x if x.dtype is dtype else cast(x, dtype=dtype)


def fill(x: Node, axis: int, count: int, value: int = 0) -> Node:
    """`x` with `count` more elements behind the others of an axis."""
    if not count:
        return x
    none = (0,) * x.ndim
    high = tuple([count if a == axis else 0 for a in range(x.ndim)])
    return pad(x, constant(value, x.dtype), low=none, high=high, interior=none)


def _read(x: Node, original: Node) -> Node:
    """An operand as int32: of a copy, unless it is in memory as it should be."""
    return cast(x if x is original else identity(x), dtype=int32)


# -- matrix products ----------------------------------------------------------------------------------------------


def _product(old: Node, x: Node, y: Node, words: _Words) -> Node | None:
    (cx, cy), (bx, by) = old.attrs["contract"], old.attrs["batch"]
    size = math.prod([x.shape[a] for a in cx])  # type: ignore[misc]
    rows = math.prod(old.shape[len(bx) : x.ndim - len(cx)])  # type: ignore[arg-type]
    columns = math.prod(old.shape[x.ndim - len(cx) :])  # type: ignore[arg-type]
    if size < _SHORT or min(rows, columns) < 2:
        return None  # what is read once is not worth a copy
    left, right = innermost(x, bx, cx), innermost(y, by, cy)
    first = fill(words.first(left), left.ndim - 1, words.missing(size))
    second = fill(words.second(right), right.ndim - 1, words.missing(size))
    if first is x and second is y:
        return None
    read = _read(second, y)
    lead = tuple(range(len(bx)))
    out = old.prim(_read(first, x), read, contract=((left.ndim - 1,), (right.ndim - 1,)), batch=(lead, lead))
    if not words.shifted:
        return out
    total = sum_(read, axes=(right.ndim - 1,))
    ones = (1,) * (old.ndim - total.ndim)
    shape = (*total.shape[: len(bx)], *ones, *total.shape[len(bx) :])
    return out - reshape(total, shape=shape) * constant(128, int32)


def innermost(x: Node, batch: tuple[int, ...], contract: tuple[int, ...]) -> Node:
    """The batch axes, the free ones, and those that are contracted as one; if there are none, one of size 1."""
    free = tuple([a for a in range(x.ndim) if a not in batch and a not in contract])
    order = (*batch, *free, *contract)
    if order != tuple(range(x.ndim)):
        x = permute(x, axes=order)
    if len(contract) == 1:
        return x
    kept = x.shape[: x.ndim - len(contract)]
    return reshape(x, shape=(*kept, math.prod(x.shape[len(kept) :])))  # type: ignore[arg-type]


# -- convolutions -------------------------------------------------------------------------------------------------


def _convolution(old: Node, x: Node, w: Node, words: _Words) -> Node | None:
    attrs = dict(old.attrs)
    groups, channels = attrs["feature_groups"], w.shape[1]
    padding = attrs["padding"]
    open_ = any(p < 0 for ps in padding for p in ps) or any(d > 1 for d in attrs["input_dilation"])
    if words.shifted and open_:
        words = _Words(False, True)
    missing = words.missing(channels)  # type: ignore[arg-type]
    if attrs["batch_groups"] > 1 or (groups > 1 and missing):
        return None
    first = fill(words.first(x), 1, missing)
    if words.shifted and any(any(p) for p in padding):  # what is outside the image is 0 + 128 as well
        low, high = ((0, 0, *[p[k] for p in padding]) for k in (0, 1))
        first = pad(first, constant(0x80, uint8), low=low, high=high, interior=(0,) * x.ndim)
        attrs["padding"] = ((0, 0),) * len(padding)
    second = fill(words.second(w), 1, missing)
    out = old.prim(cast(identity(first), dtype=int32), cast(identity(second), dtype=int32), **attrs)
    if not words.shifted:
        return out
    total = sum_(cast(w, dtype=int32), axes=tuple(range(1, w.ndim)))
    return out - reshape(total, shape=(1, total.shape[0], *(1,) * (w.ndim - 2))) * constant(128, int32)


# -- tiles --------------------------------------------------------------------------------------------------------


def in_words(t: Tiles) -> Tiles | None:
    """A contraction of small integers as one of words, if both operands lie so."""
    kinds = t.inputs[t.a.buffer].name, t.inputs[t.b.buffer].name
    last = t.taps[-1]
    if kinds not in WORDS or (last.a, last.b) != (1, 1) or last.guard is not None:
        return None
    depth = WORDS[kinds]
    steps = [s for tap in t.taps[:-1] for s in (tap.a, tap.b)]
    numbers = [last.count, t.a.stride, t.b.stride, *steps]
    for x in (t.a, t.b):
        numbers += [x.base.offset, *x.base.factors.values()]
    if any(n % depth for n in numbers):
        return None

    def operand(x: Operand) -> Operand:
        factors = {term: f // depth for term, f in x.base.factors.items()}
        return Operand(x.buffer, Index(factors, x.base.offset // depth), x.stride // depth)

    taps = [replace(tap, a=tap.a // depth, b=tap.b // depth) for tap in t.taps[:-1]]
    taps.append(Tap(last.count // depth, 1, 1))
    return replace(t, a=operand(t.a), b=operand(t.b), taps=tuple(taps), words=depth)
