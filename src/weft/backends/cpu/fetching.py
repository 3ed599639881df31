"""What a tile fetches before it needs it: rows of images further down, and the lines that its results go to."""

from __future__ import annotations

import math

from ...kernel.loops import Load, found_in
from ...kernel.tiles import Tiles
from ...kernel.tiling import Tiling
from .build import LINE

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
    size = math.prod([v.size for v in t.outer]) * t.m.size * t.n.size * t.outputs[0].itemsize
    return not cut.blocked and len(t.taps) > 1 and all(r.step == 1 for r in t.results) and size >= _RESULTS


def along_results(t: Tiles) -> list[Load]:
    """What the results are computed from and lies as they do: row after row, vectors of neighbours."""
    found = [e for e in found_in([r.value for r in t.results]) if isinstance(e, Load)]
    return [e for e in found if e.index.stride(t.m) and e.index.stride(t.n) == 1]
