"""How contractions are cut: into register tiles, bands of rows, panels of columns and blocks of steps.

What the cut is follows from the shapes and the instruction set alone. It never changes a result: every sum is made in
one order, whether it stays in registers to its end or waits in memory between blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .target import WAY, Target
from .tiles import LONG, Operand, Tiles


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
    pack_rows: bool  #: whether the rows of a tile are copied before it is computed
    #: Whether columns that lie apart are read in squares, which are transposed in registers.
    squares: bool = False
    stack: int = 1  #: tiles, at most, whose rows are copied together

    @property
    def tiles(self) -> int:
        return sum(count for count, _ in self.heights)

    @property
    def panels_together(self) -> bool:
        """Whether the rows of a tile, or of a stack of them, meet all panels of a unit before the next rows do."""
        return self.pack_rows or (self.pack and self.group > 1)

    @property
    def rightwards(self) -> bool:
        """Whether the next tile has the same rows, rather than the same columns."""
        return self.panels_together and self.group > 1 and self.stack == 1

    @property
    def tallest(self) -> int:
        """Rows of the tallest tile."""
        return max([height for _, height in self.heights], default=0)


#: (vector registers, bytes of one) -> vectors in a row of a tile -> rows, at most: so many sums leave room for the
#: operands and masks. Without a multiply-add, on the last, products need registers too.
_SHAPES = {
    (32, 64): {4: 6, 3: 8, 2: 12, 1: 28},
    (32, 16): {2: 10, 1: 20},
    (16, 32): {2: 6, 1: 8},
    (16, 16): {2: 4, 1: 8},
}

#: Tiles of a few shapes do for contractions of any size: of so few rows that those of small ones fill them.
_FEW_ROWS = 8


def general_shapes(target: Target) -> dict[int, int]:
    """Vectors in a row of a tile -> rows, for tiles that contractions of all sizes share."""
    shapes = _SHAPES[target.registers, target.vector_bytes]
    return {v: min(rows, _FEW_ROWS) for v, rows in shapes.items() if v & (v - 1) == 0}


def rows_of_sums(sums: int, target: Target) -> int:
    """Rows of a tile that has several sums for each row, of a vector each."""
    most = max([r * v for v, r in _SHAPES[target.registers, target.vector_bytes].items() if v > 1])
    room = min(most, target.registers - 1 - sums)  # beside a vector of each slice, and a row's element
    return max(1, room // sums)


#: What a step of a tile takes at least, in halves of a multiply-add's time: for the next in the same sum, for any
#: number to be read, for a vector of columns to come from the second-level cache, or the first time from where they lie
#: apart.
_NEXT, _NUMBER, _COLUMN, _APART = 8, 1.2, 5, 12

#: What a tile with one vector more saves in numbers that are read.
_WIDER = 0.995


def _quickest_shape(t: Tiles, target: Target, pack: bool) -> tuple[int, int]:
    """The same of many rows, with one sum each: those that take the least time for all rows and columns."""
    shapes = _SHAPES[target.registers, target.vector_bytes]
    lanes = target.lanes(t.dtype.itemsize)
    columns = -(-t.n.size // lanes)
    if columns <= 1 or not t.m.size:
        return min(shapes[1], _rows_side_by_side(t)), 1

    def time(vectors: int) -> float:
        heights = _heights(t.m.size, shapes[vectors])
        panels, rest = divmod(columns, vectors)
        apart = not pack and t.taps[-1].b > vectors * lanes
        whole, last = _step(heights, vectors, apart), _step(heights, rest, apart)
        if t.m.size < 2 * _BAND and not pack and not t.outer:  # all units have all rows
            return _longest_share(columns, vectors) * whole * _WIDER**vectors
        return (panels * whole + last) * _WIDER**vectors

    # Tiles are tall where steps of both operands have lines of their own, or rows are copied; where columns are, they
    # are narrow enough for two units of work, each with a copy of its own columns.
    thin = t.a.stride == 1 and (t.wide or not pack)
    widest = 2 if thin else max(2, -(-columns // 2)) if pack else columns
    vectors = min([v for v in shapes if 1 < v <= min(columns, widest)], key=time)
    return shapes[vectors], vectors


#: Rows of a tile that share each place of the first-level cache, at most: there is room for the columns, too. With
#: fewer rows than the other number in all, a step would wait for the one before.
_ROWS_OF_PLACE, _ROWS_AT_LEAST = 8, 12


def _rows_side_by_side(t: Tiles) -> int:
    """So many rows of the first operand lie beside each other in the cache, while steps go through them."""
    if t.rows:
        return t.m.size
    places = WAY // math.gcd(WAY, t.a.stride * t.dtype.itemsize)
    return max(_ROWS_AT_LEAST, _ROWS_OF_PLACE * places)


def _step(heights: Sequence[tuple[int, int]], vectors: int, apart: bool) -> float:
    """A step of all tiles of a panel, whose columns lie apart or run on from step to step."""
    if not vectors:
        return 0
    steps = [max(h * vectors, _NEXT, _NUMBER * (h + vectors)) for _, h in heights]
    again = sum([n * max(step, _COLUMN * vectors) for (n, _), step in zip(heights, steps, strict=True)])
    return again + (max(0, _APART * vectors - steps[0]) if apart else 0)


def _heights(size: int, rows: int, least: int = 1) -> tuple[tuple[int, int], ...]:
    """`size` rows cut evenly into a multiple of `least` tiles of at most so many: (tiles, rows of each)."""
    count = -(-size // rows)
    count = -(-count // least) * least
    height, rest = divmod(size, count) if count else (0, 0)
    return tuple([h for h in ((rest, height + 1), (count - rest, height)) if h[0] and h[1]])


#: (vector registers) -> rows -> vectors: so few rows need more columns to keep the processor busy.
_FEW = {32: {1: 8, 2: 8, 3: 6}, 16: {1: 6, 2: 4, 3: 3}}

#: With fewer panels than this, threads share them evenly only if they are narrow: one of so many vectors.
_PANELS_OF_FEW, _NARROW = 8, (4, 5, 6)

#: (vector registers) -> (rows, vectors) of a tile whose rows are vectors: of narrow results, of wide ones. Those that
#: several steps read, one pixel further on, stay in registers.
_ALONG = {32: ((12, 1), (6, 2)), 16: ((5, 1), (3, 2))}


def _longest_share(columns: int, width: int) -> int:
    """How many panels of so many vectors one of two threads goes through: the other has as many or fewer."""
    panels = -(-columns // width)
    return -(-panels // 2)


def _shape(t: Tiles, target: Target, pack: bool) -> tuple[int, int]:
    """(rows at most, vectors) of a tile."""
    registers, sums = target.registers, len(t.starts)
    lanes = target.lanes(t.dtype.itemsize)
    if t.along:
        return _ALONG[registers][t.n.size > lanes]
    if t.m.size in _FEW[registers]:
        most, columns = max(1, _FEW[registers][t.m.size] // sums), -(-t.n.size // lanes)
        if most >= max(_NARROW) and columns < most * _PANELS_OF_FEW and not t.outer:
            most = min(_NARROW, key=lambda width: _longest_share(columns, width) * width)
        return t.m.size, min(most, columns)
    if sums > 1:
        return rows_of_sums(sums, target), 1
    return _quickest_shape(t, target, pack)


#: Steps of so many bytes find their lines in few places of the cache.
_FAR = 1024

#: The same as `LONG`, of steps that are far apart.
_LONG_FAR = 448

#: Columns that are worth copies of rows whose lines share a place of the cache.
_MANY_COLUMNS = 512

#: Steps of a block, about, of rows whose steps share lines, and where columns are packed.
_BLOCK, _NEAR_BLOCK, _LONG_BLOCK = 256, 512, 1024

#: Steps of rows that are so many bytes apart share no lines.
_LINE = 64

#: Bytes of columns, at most, that tiles go through from end to end: where few rows meet them, many, and of packed ones.
#: The second-level cache holds them beside the rows; few rows take less time than columns to come from memory, block
#: after block, each fetched ahead.
_RUN, _RUN_OF_MANY, _PACKED_RUN, _MANY_ROWS = 5 << 15, 5 << 16, 5 << 18, 512


def _block(t: Tiles, vectors: int, lanes: int, pack: bool) -> int:
    """Steps of a block, about, if sums are made in blocks, else 0: each time they go to memory and come back."""
    far = max(abs(t.taps[-1].a), t.taps[-1].b) * t.dtype.itemsize >= _FAR
    if t.fold or t.steps <= (_LONG_FAR if far and t.waits and not t.wide else LONG):
        return 0
    if t.wide and not t.waits:  # they are not much longer: see `multiply_wide`
        return 0
    if t.a.stride == 1 or (far and not pack):
        near = t.a.stride == 1 and abs(t.taps[-1].a) * t.dtype.itemsize < _LINE
        return _NEAR_BLOCK if near else _BLOCK  # each step has lines of its own
    panel = t.steps * vectors * lanes * t.dtype.itemsize
    if pack:
        return _LONG_BLOCK if panel > _PACKED_RUN else 0
    many = t.m.size * math.prod([v.size for v in t.shared]) >= _MANY_ROWS
    return _BLOCK if panel > (_RUN_OF_MANY if many else _RUN) else 0


def tiling(t: Tiles, target: Target) -> Tiling:
    """The cut of a contraction: a function of its shape and the instruction set."""
    if t.wide and target.matrices:
        return _of_matrices(t)
    if _reads_squares(t, target):
        return _of_squares(t)
    lanes = target.lanes(t.dtype.itemsize)
    pack = t.b.stride != 1 or t.wide or (not t.along and _pays(t))
    rows, vectors = _shape(t, target, pack)
    steps = _block(t, vectors, lanes, pack)
    level, block = _blocks(t, steps) if steps else (0, t.taps[0].count)
    blocked = level > 0 or block < t.taps[0].count
    panels = -(-t.n.size // (vectors * lanes))
    alone = t.a.base.variables().isdisjoint(t.outer)  # not one of several products
    cached = alone and not (pack or blocked) and t.column_bytes <= COLUMNS_CACHED
    least = max(1, min(ENOUGH, t.m.size // _BAND)) if cached else 1
    heights = _heights(t.m.size, rows, least)
    count = sum([n for n, _ in heights])
    if t.rows:  # each tile has code of its own
        heights = tuple([(1, height) for many, height in heights for _ in range(many)])
    line = max(steps or t.steps, 1) * t.dtype.itemsize  # of one row, or column
    copied, stack = _widened(t, t.a) or (pack and _collides(t)), 1
    if copied and t.a.stride == 1 and heights and t.steps and not t.rows:
        stack = max(1, min(_STACK, _STACK_BYTES // line) // heights[0][1])
    if pack:
        group, bands = _packed_shares(t, panels, vectors * lanes * line * len(t.starts), copied, stack)
    else:
        group, bands = _shares(t, blocked, panels, count, rows)
    bands = max(bands, least)
    cached = cached and bands <= least
    rows_first = (cached or len(t.shared) > 0) and not blocked
    return Tiling(
        rows, vectors, heights, level, block, pack, blocked, group, bands, rows_first, copied, stack=stack
    )


#: Where rows are neighbours in memory, those of several tiles are copied together, as they lie in the same lines: so
#: many of them at most, so many bytes; and bytes of packed panels that they meet.
_STACK, _STACK_BYTES, _STACK_PANELS = 128, 1 << 18, 1 << 20

#: Rows of a register that is a matrix, and words in each of them.
HEIGHT = 16

#: Bytes of packed panels that registers which are matrices read, at most: beside the rows in the second-level cache.
_PANELS_READ = 1 << 20


def _of_matrices(t: Tiles) -> Tiling:
    """Two by two registers of sums, or two of them for few columns; they stay there however long the sums are."""
    rows, vectors = 2 * HEIGHT, 1 if t.n.size <= HEIGHT else 2
    heights = _heights(t.m.size, rows)
    count = sum([n for n, _ in heights])
    panels = -(-t.n.size // (vectors * HEIGHT))
    panel = t.steps * vectors * HEIGHT * t.dtype.itemsize
    copied = t.a.stride == 1
    # Units share the columns, not the rows, where these are more work to read.
    by_rows = copied or t.m.size >= 2 * t.n.size
    group = max(1, min(panels if by_rows else panels // ENOUGH, _PANELS_READ // panel))
    bands = max(
        1, min(ENOUGH // -(-panels // group), count if by_rows else count * rows // _BAND_OF_MATRICES)
    )
    first = len(t.shared) > 0
    return Tiling(rows, vectors, heights, 0, t.taps[0].count, True, False, group, bands, first, copied)


#: As many rows, at most, take less time than to copy columns that lie apart for them.
_ROWS_OF_SQUARES = 8


def _reads_squares(t: Tiles, target: Target) -> bool:
    """Whether columns lie apart, and few rows meet them: they are read in squares, each number once."""
    lanes = target.lanes(t.dtype.itemsize)
    room = target.registers - lanes - 3  # beside a square, for sums
    plain = not (t.shared or t.rows or t.along or t.fold) and len(t.starts) == len(t.taps) == 1
    plain = plain and not (t.wide and t.a.stride == 1)  # rows are copied to be read as words
    apart = t.b.stride != 1 and t.taps[-1].b == 1 and t.taps[-1].guard is None
    return plain and apart and lanes > 1 and t.m.size <= min(room, _ROWS_OF_SQUARES)


def _of_squares(t: Tiles) -> Tiling:
    """One tile of all rows and one vector of columns; sums stay in registers to their end."""
    return Tiling(
        t.m.size, 1, ((1, t.m.size),), 0, t.taps[0].count, False, False, 1, 1, False, False, squares=True
    )


#: So few rows widen the second operand as they read it.
_IN_PLACE = 3


def _pays(t: Tiles) -> bool:
    """Whether the second operand is read so often that it pays to copy it."""
    return _far_apart(t) or (_widened(t, t.b) and t.m.size > _IN_PLACE)


def _widened(t: Tiles, x: Operand) -> bool:
    """Whether an operand lies in memory in another type than products are made in."""
    return t.type_of(x) is not t.dtype


#: Panels, at most, that one unit goes through where it reads its rows but once, and bytes of packed ones: they stay in
#: the second-level cache beside the rows and results that come and go.
_SHARED, _PANELS = 4, 1 << 18

#: Units that are enough to go round, of a contraction with many blocks: more would read more from memory.
ENOUGH = 4


#: Bytes of the second operand, all its columns, that lie in the second-level cache while one row of units after the
#: other reads it; and rows of a band, at least, where each thread has rows of its own.
COLUMNS_CACHED, _BAND = 1 << 18, 16


#: Rows of a band, at least, where each thread has the panels packed for itself; and in registers that are matrices.
_PACKED_BAND, _BAND_OF_MATRICES = 32, 128

#: Fewer units than this are shared evenly only if their number is even.
_FEW_UNITS = 8

#: Units that are enough where none of them takes long.
_MANY = 64


def _shares(t: Tiles, blocked: bool, panels: int, tiles: int, rows: int) -> tuple[int, int]:
    """(panels that one unit of work goes through, bands of rows), where columns are read from where they are."""
    if not blocked:
        if t.shared and _overlap(t):  # and lie in the cache together
            return 1, _at_most(tiles, -(-_MANY // max(1, panels * math.prod([v.size for v in t.outer]))))
        if t.shared:  # a tile's rows stay in the cache for the next panel
            return 1, tiles
        return 1, _at_most(tiles, tiles * rows // 192)
    if not t.shared or t.steps < t.m.size * math.prod([v.size for v in t.shared]):
        bands = _at_most(tiles, max(tiles * rows // 64, min(ENOUGH // panels, tiles * rows // _BAND)))
        return _group(panels, bands, max(1, min(_SHARED, panels * bands // ENOUGH))), bands
    # The gradient of a kernel: its sums are longer than there are rows. Every band reads the whole second operand from
    # memory, every group of panels the whole first, so the cut is the one with the fewest elements read.
    enough = max(1, min(ENOUGH // math.prod([v.size for v in t.choosing]), panels * tiles))
    options = []
    for group in range(1, panels + 1):
        groups = -(-panels // group)
        bands = -(-enough // groups)
        if bands <= tiles:
            options.append((t.n.size * bands + t.m.size * groups, -group, bands))
    _, group, bands = min(options)
    return -group, bands


def _packed_shares(t: Tiles, panels: int, panel: int, copied: bool, stack: int) -> tuple[int, int]:
    """The same, of panels of so many bytes that are packed."""
    bands = max(1, min(ENOUGH, t.m.size // _PACKED_BAND))
    most = 1  # it is quicker to read rows again for each panel, unless they are copied for it
    if copied:
        most = _STACK_PANELS // panel if stack > 1 else min(_SHARED, _PANELS // panel)
    groups = -(-panels // max(1, min(most, panels * bands // ENOUGH)))
    # A thread packs once for all its bands, but where rows come first each band packs for itself.
    if t.shared:
        bands = max(1, min(bands, ENOUGH // groups))
    return -(-panels // groups), bands  # groups as alike as can be


def _collides(t: Tiles) -> bool:
    """Whether the lines of a tile's steps have one place in the first-level cache between them, and meet enough columns
    to be copied."""
    alone = not (t.rows or t.fold) and len(t.starts) == 1 and t.a.stride == 1
    return alone and t.taps[-1].a * t.dtype.itemsize % WAY == 0 and t.n.size >= _MANY_COLUMNS


def _overlap(t: Tiles) -> bool:
    """Whether neighbouring rows have elements of the first operand in common, as neighbouring pixels do."""
    return abs(t.a.stride) <= sum([abs(tap.a) * (tap.count - 1) for tap in t.taps])


def _group(panels: int, bands: int, most: int) -> int:
    """Panels of a unit, at most so many: fewer where two threads would not share few units evenly."""
    return next(
        (g for g in range(most, 1, -1) if (units := bands * -(-panels // g)) >= _FEW_UNITS or units % 2 == 0),
        1,
    )


def _at_most(tiles: int, bands: int) -> int:
    return max(1, min(tiles, bands))


def _blocks(t: Tiles, steps: int) -> tuple[int, int]:
    """(the tap to cut, so many steps of it) for blocks of about `steps`."""
    level, inner = 0, t.steps // max(t.taps[0].count, 1)
    while inner > steps and t.taps[level].guard is None and t.taps[level + 1].guard is None:
        level += 1
        inner //= t.taps[level].count
    tap = t.taps[level]
    return level, tap.count if tap.guard is not None else min(tap.count, max(1, steps // inner))


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
    """How packed rows lie: (elements from one row to the next, from one step to the next).

    Rows that lie next to each other stay so, all rows of a stack; else the steps of each row do, and rows are a little
    further apart. Whole vectors are written, an odd number of them: so steps lie in all places of the cache.
    """
    cut, lanes = tiling(t, target), target.lanes(t.dtype.itemsize)
    if t.a.stride == 1 and not (t.wide and target.matrices):
        return 1, (cut.stack * cut.tallest // lanes + 1 | 1) * lanes
    return -(-_block_steps(t, cut) // lanes) * lanes + lanes, 1


def rows_size(t: Tiles, target: Target) -> int:
    """Elements of the packed rows of a stack."""
    cut = tiling(t, target)
    row, step = packed_rows(t, target)
    return step * _block_steps(t, cut) if row == 1 else row * cut.tallest
