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

from ..ir.dtype import DType
from .borders import Border
from .index import Index, Var
from .loops import (
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
from .target import Target


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


#: (types of the operands) -> how many of them are read as one word of 32 bits: see `words`.
WORDS = {("uint8", "int8"): 4, ("int16", "int16"): 2}


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
    rows: tuple[
        int, ...
    ] = ()  #: where each row of the first operand begins, if not `a.stride` after the one before

    def type_of(self, x: Operand) -> DType:
        """The type in which an operand is read from memory."""
        return self.inputs[x.buffer] if self.words == 1 else self.dtype

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
        total = 1
        for t in self.taps:
            total *= t.count
        return total

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
    places = [e.index] if isinstance(e, (Load, Position)) else []
    if isinstance(e, (Lookup, Search)):
        places = [e.base]
    elif isinstance(e, Inside):
        places = [i for i, _, _ in e.conditions]
    return isinstance(e, Total) or any(row in i.variables() for i in places)


@dataclass(frozen=True)
class Tiling:
    """How a contraction is cut."""

    rows: int  #: most rows of a tile
    vectors: int  #: vectors in a row of a tile, of each sum
    heights: tuple[tuple[int, int], ...]  #: (tiles, rows of each): m split evenly
    level: int  #: the tap that is cut into blocks; those outside it go step by step
    block: int  #: steps of this tap for which the accumulators stay in registers
    pack: bool  #: whether the second operand is copied into panels first
    blocked: bool  #: whether there is more than one block
    group: int  #: panels that one unit of work goes through, sharing what it reads of the first operand
    bands: int  #: into how many bands the rows are cut; a unit of work has one
    rows_first: bool  #: whether some rows meet all columns before the next rows do
    pack_rows: bool = False  #: whether the rows of a tile are copied before it is computed

    @property
    def tiles(self) -> int:
        return sum(count for count, _ in self.heights)


#: (vector registers, bytes of one) -> tiles of (rows, vectors) that leave room for the operands, for wide and for
#: narrow results and their masks. Without a multiply-add, on the last, products need registers too.
_SHAPES = {
    (32, 64): ((12, 2), (28, 1)),
    (32, 16): ((10, 2), (20, 1)),
    (16, 32): ((6, 2), (8, 1)),
    (16, 16): ((4, 2), (8, 1)),
}


#: (vector registers) -> rows -> vectors: so few rows need more columns to keep the processor busy.
_FEW = {32: {1: 8, 2: 8, 3: 6}, 16: {1: 6, 2: 4, 3: 3}}

#: Steps of so many bytes find their lines in few places of the cache.
_FAR = 1024

#: A sum of more steps than this is made in blocks: with such steps, and without. Steps of a block, about.
_LONG_FAR, LONG, _BLOCK = 384, 768, 256


def tiling(t: Tiles, target: Target) -> Tiling:
    """The cut of a contraction: a function of its shape and the instruction set."""
    lanes = target.lanes(t.dtype.itemsize)
    wide, narrow = _SHAPES[target.registers, target.vector_bytes]
    rows, vectors = narrow if t.n.size <= lanes else wide
    sums = len(t.starts)
    if t.m.size in _FEW[target.registers]:
        most = max(1, _FEW[target.registers][t.m.size] // sums)
        rows, vectors = t.m.size, min(most, -(-t.n.size // lanes))
    elif sums > 1:
        room = min(
            wide[0] * wide[1], target.registers - 1 - sums
        )  # beside a vector of each slice, and a row's element
        rows, vectors = max(1, room // sums), 1
    outer, pack = t.taps[0], t.b.stride != 1 or _far_apart(t) or (_widened(t, t.b) and t.m.size > _IN_PLACE)
    far = max(abs(t.taps[-1].a), t.taps[-1].b) * t.dtype.itemsize >= _FAR
    long = t.steps > (_LONG_FAR if far and t.waits else LONG) and not t.fold
    level, block = _blocks(t) if long else (0, outer.count)
    blocked = level > 0 or block < outer.count
    panels = -(-t.n.size // (vectors * lanes))
    alone = t.a.base.variables().isdisjoint(t.outer)  # not one of several products
    cached = alone and not (pack or blocked) and t.column_bytes <= COLUMNS_CACHED
    least = min(ENOUGH, t.m.size // _BAND) if cached else 1
    count = -(-t.m.size // rows)
    count = -(-count // least) * least if least > 1 else count
    height, rest = divmod(t.m.size, count) if count else (0, 0)
    heights = tuple([h for h in ((rest, height + 1), (count - rest, height)) if h[0] and h[1]])
    if t.rows:  # each tile has code of its own
        heights = tuple([(1, height) for many, height in heights for _ in range(many)])
    group, bands = _shares(t, pack, blocked, panels, count, rows)
    bands = max(bands, least)
    pack_rows = _widened(t, t.a) or (pack and group >= _SHARED and _steps_far(t))
    cached = cached and bands <= least
    rows_first = (cached or len(t.shared) > 0) and not blocked
    return Tiling(rows, vectors, heights, level, block, pack, blocked, group, bands, rows_first, pack_rows)


#: So few rows widen the second operand as they read it.
_IN_PLACE = 3


def _widened(t: Tiles, x: Operand) -> bool:
    """Whether an operand lies in memory in another type than products are made in."""
    return t.type_of(x) is not t.dtype


def _steps_far(t: Tiles) -> bool:
    """Whether the rows of a tile lie together but its steps far apart: where several panels share a copy, it pays."""
    far = abs(t.taps[-1].a) * t.dtype.itemsize >= _FAR and t.a.stride == 1 and t.m.size > _IN_PLACE
    return far and not any(tap.guard for tap in t.taps)


#: Panels, at most, that one unit goes through.
_SHARED = 4

#: Units that are enough to go round, of a contraction with many blocks: more would read more from memory.
ENOUGH = 4


#: Bytes of the second operand, all its columns, that lie in the second-level cache while one row of units after the
#: other reads it; and rows of a band, at least, where each thread has rows of its own.
COLUMNS_CACHED, _BAND = 1 << 18, 16


#: Rows of a band, at least, of which each has the panels packed for itself.
_PACKED_BAND = 128

#: Units that are enough where none of them takes long.
_MANY = 64


def _shares(t: Tiles, pack: bool, blocked: bool, panels: int, tiles: int, rows: int) -> tuple[int, int]:
    """(panels that one unit of work goes through, bands of rows)."""
    if pack:  # panels that are packed serve many rows
        group = max(1, min(_SHARED, panels // ENOUGH))
        return group, max(1, min(ENOUGH // -(-panels // group), tiles * rows // _PACKED_BAND))
    if not blocked:
        if t.shared and _overlap(t):  # and lie in the cache together
            return 1, _at_most(tiles, -(-_MANY // max(1, panels * math.prod([v.size for v in t.outer]))))
        if t.shared:  # a tile's rows stay in the cache for the next panel
            return 1, tiles
        return 1, _at_most(tiles, tiles * rows // 192)
    if not t.shared or t.steps < t.m.size * math.prod([v.size for v in t.shared]):
        return _SHARED, _at_most(tiles, tiles * rows // 64)
    # The gradient of a kernel: its sums are longer than there are rows. Every band reads the whole second operand from
    # memory, every group of panels the whole first, so the cut is the one with the fewest elements read.
    enough = min(ENOUGH, panels * tiles)
    options = []
    for group in range(1, panels + 1):
        groups = -(-panels // group)
        bands = -(-enough // groups)
        if bands <= tiles:
            options.append((t.n.size * bands + t.m.size * groups, -group, bands))
    _, group, bands = min(options)
    return -group, bands


def _overlap(t: Tiles) -> bool:
    """Whether neighbouring rows have elements of the first operand in common, as neighbouring pixels do."""
    return abs(t.a.stride) <= sum([abs(tap.a) * (tap.count - 1) for tap in t.taps])


def _at_most(tiles: int, bands: int) -> int:
    return max(1, min(tiles, bands))


def _blocks(t: Tiles) -> tuple[int, int]:
    """(the tap to cut, so many steps of it) for blocks of about `_BLOCK` steps."""
    level, inner = 0, t.steps // max(t.taps[0].count, 1)
    while inner > _BLOCK and t.taps[level].guard is None and t.taps[level + 1].guard is None:
        level += 1
        inner //= t.taps[level].count
    tap = t.taps[level]
    return level, tap.count if tap.guard is not None else min(tap.count, max(1, _BLOCK // inner))


#: With so many rows the copy of the other operand is nothing beside the product, however short the sums are.
_TALL = 2048


def _far_apart(t: Tiles) -> bool:
    """Whether the rows of a second operand that is used again and again lie so far apart that copies pay."""
    far = t.taps[-1].b * t.dtype.itemsize >= _FAR
    return (
        far
        and (len(t.shared) > 0 or t.m.size >= 192)
        and not any(tap.guard for tap in t.taps)
        and (t.steps >= 256 or t.m.size >= _TALL)
    )


def _block_steps(t: Tiles, cut: Tiling) -> int:
    return cut.block * math.prod([tap.count for tap in t.taps[cut.level + 1 :]])


def scratch_size(t: Tiles, target: Target) -> int:
    """Elements of the packed panels of a unit."""
    cut = tiling(t, target)
    return cut.group * _block_steps(t, cut) * len(t.starts) * cut.vectors * target.lanes(t.dtype.itemsize)


def packed_rows(t: Tiles, target: Target) -> tuple[int, int]:
    """How packed rows of a tile lie: (elements from one row to the next, from one step to the next).

    Rows that lie next to each other stay so; else the steps of each row do, and rows are a little further apart.
    """
    cut, lanes = tiling(t, target), target.lanes(t.dtype.itemsize)
    if t.a.stride == 1:
        return 1, -(-max([h for _, h in cut.heights], default=0) // lanes) * lanes
    return -(-_block_steps(t, cut) // lanes) * lanes + lanes, 1


def rows_size(t: Tiles, target: Target) -> int:
    """Elements of the packed rows of a tile."""
    cut = tiling(t, target)
    row, step = packed_rows(t, target)
    return step * _block_steps(t, cut) if row == 1 else row * max([h for _, h in cut.heights], default=0)
