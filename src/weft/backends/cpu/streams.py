"""Kernels that go through more memory than caches hold: what they fetch ahead, and what they write past the caches."""

from __future__ import annotations

import math
from dataclasses import replace

from ...kernel.index import Var, as_index, flatten_index
from ...kernel.loops import Kernel, Load, Stage, Store, found_in, substituted
from .wideness import accumulators

#: Bytes from which on lines are fetched ahead of their use.
LONG = 4 << 20

#: How many bytes ahead, of all that is read together: between a line's coming from memory and its use a processor
#: can look ahead itself over few iterations of a loop with much arithmetic. And how far ahead lines are taken that
#: will be written.
AHEAD, AHEAD_WRITING = 4 << 10, 1 << 10

#: How far ahead a kernel fetches that goes through rows several times, in whole rows, at least.
_ROWS_AHEAD = 1 << 10

#: A row of more bytes than this does not stay in the first-level cache from one stage to the next.
_ROW = 24 << 10

#: What waits beside the results of a row may take so many bytes.
_ASIDE = 16 << 10

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


def ahead_of(kernel: Kernel) -> int:
    """By how many bytes a kernel that goes through its buffers once fetches ahead of what it reads of each."""
    values = [x.value for stage in kernel.stages for x in (*stage.reductions, *stage.carries, *stage.stores)]
    read = {e.buffer for e in found_in(values) if isinstance(e, Load) and e.index.factors}
    count = len(read & set(range(len(kernel.inputs))))
    return max(AHEAD // max(count, 1), AHEAD_WRITING)


def reading_ahead(kernel: Kernel, stage: int) -> int:
    """By how many bytes a stage along rows fetches ahead of what it reads.

    Where several stages go through the same rows, all but the first find them in the cache. The second one, which has
    most to compute, fetches the next row meanwhile; a maximum, which takes several lines at once, one of them before.
    """
    sizes = [math.prod([v.size for v in s.variables]) * 4 for s in kernel.stages if s.variables]
    if len(sizes) < 2 or not 0 < sizes[0] <= _ROW:
        return ahead_of(kernel)
    early = stage == 0 and accumulators(kernel.stages[0]) > 1
    return sizes[0] * -(-_ROWS_AHEAD // sizes[0]) if stage == 1 or early else 0


def set_aside(kernel: Kernel) -> tuple[Kernel, int]:
    """(the kernel with a small buffer for what waits in a row of its result, the elements of that buffer).

    A softmax leaves its exponentials in the result until their sum is known. Where results are written past the
    caches they had better wait in memory that stays in one. The buffer's number follows those of the results; the
    kernel itself and 0 where nothing waits.
    """
    *before, last = [s for s in kernel.stages if s.variables] or [Stage(())]
    early = [s for s in before if s.reductions and s.stores]
    size = math.prod([v.size for v in last.variables])
    if kernel.across or len(early) != 1 or len(last.stores) != 1 or last.reductions or size * 4 > _ASIDE:
        return kernel, 0
    (first,), (result,) = early[0].stores, last.stores
    if early[0].variables != last.variables or not (isinstance(first, Store) and isinstance(result, Store)):
        return kernel, 0
    if (first.buffer, first.index) != (result.buffer, result.index):
        return kernel, 0
    if result.buffer != len(kernel.inputs):
        return kernel, 0
    dtype = kernel.outputs[0]
    index = flatten_index(tuple(map(as_index, last.variables)), [v.size for v in last.variables])
    number = len(kernel.inputs) + len(kernel.outputs)
    old, new = Load(result.buffer, result.index, dtype), Load(number, index, dtype)
    stages = {
        id(early[0]): replace(early[0], stores=(replace(first, buffer=number, index=index),)),
        id(last): replace(last, stores=(replace(result, value=substituted(result.value, old, new)),)),
    }
    found = replace(kernel, stages=tuple([stages.get(id(s), s) for s in kernel.stages]))
    waiting = [e for s in found.stages for x in s.stores for e in found_in([x.value]) if isinstance(e, Load)]
    return (kernel, 0) if any(e.buffer == result.buffer for e in waiting) else (found, size)


def late_stage(kernel: Kernel) -> int | None:
    """The stage of a kernel of rows that writes them, if it can be part of the last stage before it, of the next row.

    Then memory is written while sums are made, and not all at once when they are known. A row must still lie in the
    first-level cache when the next one is summed up.
    """
    loops = [i for i, s in enumerate(kernel.stages) if s.variables]
    if kernel.across or len(loops) < 2 or loops != list(range(len(loops))):
        return None
    if any(s.carries or s.serial for s in kernel.stages):
        return None
    late, sums = kernel.stages[loops[-1]], kernel.stages[loops[-2]]
    if late.reductions or not all(isinstance(s, Store) for s in late.stores) or not sums.reductions:
        return None
    size = math.prod([v.size for v in late.variables]) * 4
    if late.variables != sums.variables or not 0 < size <= _ASIDE or accumulators(sums) > 1:
        return None
    return loops[-1]


def _size(factors: object) -> int:
    total = 1
    for term in factors:  # type: ignore[attr-defined]
        total *= term.size if isinstance(term, Var) else max(term.bounds[1], 0) + 1
    return total


def stores_whole_vectors(kernel: Kernel, lanes: int) -> bool:
    """Whether all stores along a vector begin at multiples of its length, if their buffers do."""
    for stage in kernel.stages:
        if stage.carries or stage.serial:
            return False
        for s in stage.stores:
            if isinstance(s, Store) and s.buffer == len(kernel.inputs) + len(kernel.outputs):
                continue  # see `set_aside`
            if stage.reductions:
                return False
            along = kernel.outer[-1] if kernel.across else stage.variables[-1] if stage.variables else None
            if along is None and isinstance(s, Store):
                continue  # a number for each row
            if not isinstance(s, Store) or along is None or s.index.stride(along) != 1:
                return False
            rest = [f for term, f in s.index.factors.items() if term is not along and term != along]
            if any(f % lanes for f in (*rest, s.index.offset)):
                return False
    return True
