"""Kernels that go through more memory than caches hold: what they fetch ahead, and what they write past the caches."""

from __future__ import annotations

import math

from ...kernel.index import Var
from ...kernel.loops import Kernel, Load, Store, found_in

#: Bytes from which on lines are fetched ahead of their use, and how far.
LONG, AHEAD = 4 << 20, 1 << 10

#: A row of more bytes than this does not stay in the first-level cache from one stage to the next.
_ROW = 24 << 10

#: Bytes from which on results are written to memory and not to the caches: whoever reads them will not find them there
#: anyway.
HUGE = 96 << 20


def bytes_moved(kernel: Kernel) -> int:
    """How many bytes a kernel reads and writes one after the other, each buffer once."""
    moved: dict[int, int] = {}
    for stage in kernel.stages:
        for x in (*stage.reductions, *stage.carries, *stage.stores):
            for e in found_in([x.value]):
                if isinstance(e, Load):
                    moved[e.buffer] = max(moved.get(e.buffer, 0), _size(e.index.factors) * e.dtype.itemsize)
        for s in stage.stores:
            if isinstance(s, Store):
                moved[s.buffer] = (
                    _size(s.index.factors) * kernel.outputs[s.buffer - len(kernel.inputs)].itemsize
                )
    return sum(moved.values())


def reading_ahead(kernel: Kernel, stage: int) -> int:
    """By how many bytes a stage along rows fetches ahead of what it reads.

    Where several stages go through the same rows, all but the first find them in the cache. The second one, which has
    most to compute, fetches the next row meanwhile.
    """
    sizes = [math.prod([v.size for v in s.variables]) * 4 for s in kernel.stages if s.variables]
    if len(sizes) < 2 or not 0 < sizes[0] <= _ROW:
        return AHEAD
    return 0 if stage != 1 else sizes[0] * -(-AHEAD // sizes[0])


def _size(factors: object) -> int:
    total = 1
    for term in factors:  # type: ignore[attr-defined]
        total *= term.size if isinstance(term, Var) else max(term.bounds[1], 0) + 1
    return total


def stores_whole_vectors(kernel: Kernel, lanes: int) -> bool:
    """Whether all stores along a vector begin at multiples of its length, if their buffers do."""
    for stage in kernel.stages:
        if stage.carries or stage.serial or (stage.reductions and stage.stores):
            return False
        for s in stage.stores:
            along = kernel.outer[-1] if kernel.across else stage.variables[-1] if stage.variables else None
            if along is None and isinstance(s, Store):
                continue  # a number for each row
            if not isinstance(s, Store) or along is None or s.index.stride(along) != 1:
                return False
            rest = [f for term, f in s.index.factors.items() if term is not along and term != along]
            if any(f % lanes for f in (*rest, s.index.offset)):
                return False
    return True
