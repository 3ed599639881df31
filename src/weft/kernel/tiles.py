"""Contractions as tiles: matrix products, convolutions and their gradients, all one loop nest.

out[o..., m, n] = epilogue(sum over taps k... of a[o..., m, k...] * b[o..., n, k...])

There may be several sums for each m and n, with columns of b that lie at fixed distances (see `slices`), and several
results.

The micro-kernel holds a tile of rows (m) times vectors (n) in registers and adds products tap by tap in a fixed
order, one fused multiply-add for each element and step. So every element of the result is one sequential sum, and
its bits do not depend on how m and n are cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..ir.dtype import DType, float32
from .borders import Border
from .index import Index, Var
from .loops import (
    Entry,
    Expr,
    Inside,
    Literal,
    Load,
    Lookup,
    Position,
    Scalar,
    Search,
    Total,
    found_in,
    has_lookup,
    operands,
)


@dataclass(frozen=True)
class Guard:
    """For which k a tap reads an element: 0 <= at + k * dilation < size * step, and a multiple of `step`.

    The element is number (at + k * dilation) // step along its axis. `at` depends on the outer variables.
    """

    at: Index
    dilation: int
    size: int
    step: int


@dataclass(frozen=True)
class Tap:
    """One contracted axis: its size and the strides that it moves the operands by, in elements."""

    count: int
    a: int
    b: int
    guard: Guard | None = None


@dataclass(frozen=True)
class Operand:
    """Where an operand's elements are: base (over the outer variables) + m or n times `stride` + the taps'."""

    buffer: int
    base: Index
    stride: int


@dataclass(frozen=True)
class Result:
    """What is stored for each m and n: an expression over the outer variables, m and n; `Total(s)` is sum number s."""

    out: Operand  #: `stride` is that of m; that of n is `step`
    step: int
    value: Expr


#: A sum of so few steps can be made from end to end in registers, whatever its results are.
LONG = 768

#: (types of the operands) -> how many of them are read as one word of 32 bits: see `words`.
WORDS = {("uint8", "int8"): 4, ("int16", "int16"): 2, ("bfloat16", "bfloat16"): 2}


@dataclass(frozen=True)
class Tiles:
    """A contraction, and what is computed from its sums and stored.

    With a `fold`, there is one result, and what is stored is the greatest of its values at all values of these
    variables: a convolution and the pooling of it.
    """

    name: str
    outer: tuple[Var, ...]
    m: Var
    n: Var
    taps: tuple[Tap, ...]
    a: Operand
    b: Operand
    results: tuple[Result, ...]
    dtype: DType
    inputs: tuple[DType, ...]
    outputs: tuple[DType, ...]
    fold: tuple[Var, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    border: Border | None = None  #: of zeros, around what is computed
    words: int = 1  #: neighbouring elements that both operands are read by; places and taps count words
    starts: tuple[int, ...] = (
        0,
    )  #: of the columns of each sum, in elements of the second operand from its base
    #: Where each row of the first operand begins, if not `a.stride` after the one before.
    rows: tuple[int, ...] = ()
    along: bool = False  #: whether its columns are neighbours, too: a channel meets a channel

    def type_of(self, x: Operand) -> DType:
        """The type in which an operand is read from memory."""
        alone = self.words == 1 or (self.wide and x.stride == 1)
        return self.inputs[x.buffer] if alone else self.dtype

    @property
    def wide(self) -> bool:
        """Whether it is a product of bfloat16 that the processor makes by itself: see `wide`."""
        return self.words == 2 and self.dtype is float32

    @property
    def checked(self) -> bool:
        """Whether a result reads at places known only at run time."""
        return any(has_lookup(r.value) for r in self.results)

    @property
    def waits(self) -> bool:
        """Whether unfinished sums can wait in the memory of the result: it must be of their type, and theirs alone."""
        alone = len(self.starts) == len(self.results) == 1 and not self.fold
        return alone and self.outputs[0] is self.dtype

    @property
    def choosing(self) -> tuple[Var, ...]:
        """The outer variables, outermost ones, that choose the second operand."""
        known = self.b.base.variables()
        count = len(self.outer)
        while count and self.outer[count - 1] not in known:
            count -= 1
        return self.outer[:count]

    @property
    def shared(self) -> tuple[Var, ...]:
        """The others, which all use the same second operand, as the pixels of a convolution do."""
        return self.outer[len(self.choosing) :]

    @property
    def steps(self) -> int:
        """Products in one sum, at most."""
        return math.prod([t.count for t in self.taps])

    @property
    def column_bytes(self) -> int:
        """Bytes of the second operand that meet the same rows."""
        columns = math.prod([v.size for v in self.choosing]) * self.n.size * len(self.starts)
        return self.steps * columns * self.dtype.itemsize

    @property
    def flops(self) -> int:
        outer = math.prod([v.size for v in (*self.outer, *self.fold)])
        return 2 * self.m.size * self.n.size * len(self.starts) * self.steps * self.words * outer


def merge_taps(taps: Sequence[Tap]) -> tuple[Tap, ...]:
    """Taps with neighbours joined where one runs on where the other ends.

    The order of the taps, outermost first, is the order of summation, so it is kept: it may depend on the shapes
    of the operands, never on where their elements lie.
    """
    kept = [t for t in taps if t.count != 1 or t.guard is not None]
    out: list[Tap] = []
    for t in kept:
        last = out[-1] if out else None
        if last and not (last.guard or t.guard) and (last.a, last.b) == (t.count * t.a, t.count * t.b):
            out[-1] = Tap(last.count * t.count, t.a, t.b)
        else:
            out.append(t)
    return tuple(out) if out else (Tap(1, 0, 0),)


def of_columns(t: Tiles) -> list[Expr]:
    """The largest parts of the results that follow from the column alone, such as a bias: the same for all rows."""
    known: dict[Expr, bool] = {}

    def follows(e: Expr) -> bool:
        found = known.get(e)
        if found is None:
            found = known[e] = not _by_row(e, t.m) and all(follows(a) for a in operands(e))
        return found

    def within(e: Expr) -> tuple[Expr, ...]:  # what a condition guards is not to be read elsewhere
        return () if isinstance(e, Inside) or follows(e) else operands(e)

    found = found_in([r.value for r in t.results], within)
    return [e for e in found if not isinstance(e, (Literal, Scalar)) and follows(e)]


def _by_row(e: Expr, row: Var) -> bool:
    """Whether an expression is another from row to row, even if what it is made of is not."""
    places = [e.index] if isinstance(e, (Load, Position, Entry)) else []
    if isinstance(e, (Lookup, Search)):
        places = [e.base]
    elif isinstance(e, Inside):
        places = [i for i, _, _ in e.conditions]
    return isinstance(e, Total) or any(row in i.variables() for i in places)
