"""Into how many units, that may run in any order, the work of a contraction is cut, and the memory that each needs."""

from __future__ import annotations

import math

from ...kernel.index import Var
from ...kernel.memory import aligned
from ...kernel.target import Target
from ...kernel.tiles import Tiles
from ...kernel.tiling import ENOUGH, rows_size, scratch_size, tiling


def units(t: Tiles, target: Target) -> int:
    """Into how many units, that may run in any order, the work is cut."""
    return (
        math.prod([v.size for v in unit_variables(t, target)])
        * group_count(t, target)
        * tiling(t, target).bands
    )


def run_length(t: Tiles, target: Target) -> int:
    """How many units that follow one another use the same packed columns: all bands, if rows do not come first."""
    cut = tiling(t, target)
    return cut.bands if cut.pack and not cut.rows_first else 1


def panel_count(t: Tiles, target: Target) -> int:
    """How many panels the columns make, the last of them perhaps less wide."""
    return -(-t.n.size // (tiling(t, target).vectors * target.lanes(t.dtype.itemsize)))


def group_count(t: Tiles, target: Target) -> int:
    """How many groups the panels make; a unit goes through one of them."""
    return -(-panel_count(t, target) // tiling(t, target).group)


def unit_variables(t: Tiles, target: Target) -> tuple[Var, ...]:
    """The outer variables that tell units apart.

    The others are gone through inside each panel and block: the taps of the gradient of a kernel read the same images,
    the pixels of a convolution the same packed kernel.
    """
    cut = tiling(t, target)
    if not (cut.blocked or cut.pack):
        return t.outer
    count = len(t.choosing)
    found = math.prod([v.size for v in t.choosing]) * group_count(t, target) * cut.bands
    while count < len(t.outer) and (found < ENOUGH or (not cut.pack and _reads_far(t, count))):
        found *= t.outer[count].size
        count += 1
    return t.outer[:count]


#: Bytes of the first operand that lie in the second-level cache while a unit goes through them block by block.
_ROWS_CACHED = 3 << 19


def _reads_far(t: Tiles, count: int) -> bool:
    """Whether a unit that goes through all but the first `count` outer variables reads more of the first operand than
    the cache holds, and one that also leaves out the next has at most half as much to read."""
    rest = sum([abs(t.a.base.stride(v) or 0) * (v.size - 1) for v in t.outer[count + 1 :]])
    rest += abs(t.a.stride) * (t.m.size - 1) + sum([abs(tap.a) * (tap.count - 1) for tap in t.taps])
    own = abs(t.a.base.stride(t.outer[count]) or 0) * (t.outer[count].size - 1)
    return t.outer[count].size == 1 or ((own + rest) * t.dtype.itemsize > _ROWS_CACHED and own > rest)


def packed_bytes(t: Tiles, target: Target) -> tuple[int, int]:
    """Bytes of packed panels and of packed rows."""
    cut, size = tiling(t, target), t.dtype.itemsize
    return scratch_size(t, target) * size * cut.pack, rows_size(t, target) * size * cut.pack_rows


def scratch_bytes(t: Tiles, target: Target) -> int:
    """The scratch memory that a contraction needs."""
    return sum([aligned(size) for size in packed_bytes(t, target)])
