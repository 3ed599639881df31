"""What a tile fetches before it is needed: rows of images further down, the lines that its results go to, operands and
sums of tiles that come later."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...kernel.loops import Load, found_in
from ...kernel.tiles import Tiles
from ...kernel.tiling import Tiling
from . import instructions as ir
from .build import I8, I64, LINE, Build

#: What the turn of the innermost loop with a number, counted from 0, fetches for later. Few lines in each turn: while
#: many are on their way from memory, those that the tile itself needs would wait for them.
Fetch = Callable[[ir.Value], None]

#: Bytes of results from which on it pays to fetch the lines that they go to: fewer are in the cache.
_RESULTS = 1 << 18


def lines_of_rows(t: Tiles, cut: Tiling, height: int, unroll: int) -> int:
    """How many lines each turn of the innermost loop has to fetch so that, while a tile adds up one step of the
    outermost tap, the rows of the next come to the cache; 0 if these are not one run of memory."""
    if cut.blocked or cut.pack_rows or len(t.taps) != 2 or t.type_of(t.a) is not t.dtype or t.words > 1:
        return 0
    outermost, run = t.taps
    if outermost.guard is not None or run.guard is not None or run.a != 1 or run.count < unroll:
        return 0
    if abs(t.a.stride) > run.count or abs(outermost.a) < run.count:
        return 0
    size = (abs(t.a.stride) * (height - 1) + run.count) * t.dtype.itemsize
    return -(-size // (LINE * (run.count // unroll)))


def fetches_results(t: Tiles, cut: Tiling) -> bool:
    """Whether a tile fetches the lines of its results: a product of a few steps would take longer for it."""
    return not cut.blocked and len(t.taps) > 1 and _are_many(t)


def fetches_sums(t: Tiles, cut: Tiling) -> bool:
    """Whether a tile fetches the lines in which the sums of the next one wait for this block, or will."""
    return cut.blocked and cut.level == len(t.taps) - 1 and _are_many(t)


def _are_many(t: Tiles) -> bool:
    size = math.prod([v.size for v in t.outer]) * t.m.size * t.n.size * t.outputs[0].itemsize
    return all(r.step == 1 for r in t.results) and size >= _RESULTS


def along_results(t: Tiles) -> list[Load]:
    """What the results are computed from and lies as they do: row after row, vectors of neighbours."""
    found = [e for e in found_in([r.value for r in t.results]) if isinstance(e, Load)]
    return [e for e in found if e.index.stride(t.m) and e.index.stride(t.n) == 1]


def run_of_lines(build: Build, start: ir.Value, lines: int) -> Fetch:
    """So many lines in each turn, of those that follow one another from `start` on."""

    def fetch(turn: ir.Value) -> None:
        first = build.b.gep(start, [build.b.mul(turn, I64(lines * LINE))], source_etype=I8)
        for i in range(lines):
            build.prefetch(build.b.gep(first, [I64(i * LINE)], source_etype=I8))

    return fetch


def part_of_rows(
    build: Build, start: ir.Value, shape: tuple[int, int, int], part: ir.Value, parts: int
) -> Fetch:
    """One line in each turn, of one of so many parts of the lines of a matrix: (rows, bytes of each, from one to the
    next)."""
    b, (rows, size, apart) = build.b, shape
    lines = size // LINE + 1  # wherever in a line a row begins
    share = -(-rows * lines // parts)

    def fetch(turn: ir.Value) -> None:
        own = b.select(b.icmp_signed("<", turn, I64(share)), turn, I64(0))
        line = b.add(b.mul(part, I64(share)), own)
        line = b.select(b.icmp_signed("<", line, I64(rows * lines)), line, I64(0))
        at = b.add(b.mul(b.udiv(line, I64(lines)), I64(apart)), b.mul(b.urem(line, I64(lines)), I64(LINE)))
        build.prefetch(b.gep(start, [at], source_etype=I8))

    return fetch
