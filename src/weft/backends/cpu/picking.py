"""Elements that lie in memory in another order than in vectors: read or written as neighbours, ordered in registers."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.dtype import DType
from . import instructions as ir
from .build import I64, Build

#: From how many vectors at most elements are picked, and how many are woven: a gather reads every one on its own.
MOST = 4


def picked(
    build: Build, base: ir.Value, at: ir.Value, dtype: DType, places: Sequence[int], wanted: Sequence[bool]
) -> ir.Value | None:
    """The elements at + places, one for each lane; None if they are too far apart.

    Nothing is read outside of the range of those that are `wanted`; lanes that are not get anything.
    """
    seen = [p for p, w in zip(places, wanted, strict=True) if w]
    if not seen:
        return None
    low, width = min(seen), max(seen) - min(seen) + 1
    size = min(1 << (width.bit_length() - 1), len(places))
    if width > MOST * size:
        return None
    starts = [min(k, width - size) for k in range(0, width, size)]
    parts = [build.load(base, build.b.add(at, I64(low + k)), dtype, size) for k in starts]
    if size == 1:
        return build.splat(parts[0], len(places))
    near = [p - low if 0 <= p - low < width else 0 for p in places]
    return _chosen(build, parts, [(p // size, p - starts[p // size]) for p in near])


def in_turn(build: Build, values: Sequence[ir.Value]) -> list[ir.Value]:
    """As many vectors as there are values, of the first lanes of all values, the second lanes, and so on."""
    n, lanes = len(values), values[0].type.count
    places = [divmod(k, n) for k in range(n * lanes)]
    return [
        _chosen(build, values, [(part, lane) for lane, part in places[k : k + lanes]])
        for k in range(0, n * lanes, lanes)
    ]


def _chosen(build: Build, parts: Sequence[ir.Value], order: Sequence[tuple[int, int]]) -> ir.Value:
    """For each (part, lane) of `order` that lane of that part."""
    size, half = parts[0].type.count, len(parts) // 2
    if len(parts) > 2:
        sides = [
            _chosen(build, side, [(p - k, i) if 0 <= p - k < len(side) else (0, 0) for p, i in order])
            for k, side in ((0, parts[:half]), (half, parts[half:]))
        ]
        size, order = len(order), [(int(p >= half), k) for k, (p, _) in enumerate(order)]
        parts = sides
    return build.shuffled([p * size + i for p, i in order], *parts)
