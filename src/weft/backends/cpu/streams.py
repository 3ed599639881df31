"""Kernels that go through more memory than caches hold: what they fetch ahead, and what they write past the caches."""

from __future__ import annotations

import math
from dataclasses import replace

from ...kernel.index import Index, Var, as_index, flatten_index
from ...kernel.loops import Kernel, Load, Lookup, Search, Stage, Store, found_in, substituted
from ...kernel.target import Target
from .bounded import bounded
from .wideness import along_vectors

#: Bytes from which on lines are fetched ahead of their use.
LONG = 4 << 20

#: How many bytes ahead what is only read, of one buffer, is fetched: between a line's coming from memory and its use a
#: processor can look ahead itself over few iterations of a loop with much arithmetic. And how far ahead lines are taken
#: that will be written.
AHEAD, AHEAD_WRITING = 16 << 10, 1 << 10

#: Rows from which on several are in flight.
_ROWS = 32

#: How far ahead a kernel fetches that goes through rows several times, in whole rows, at least.
_ROWS_AHEAD = 1 << 10

#: A row of more bytes than this does not stay in the first-level cache from one stage to the next.
_ROW = 24 << 10

#: A row of more bytes than this does not stay in the second-level cache with those that are in flight beside it, and
#: with what waits for the sum of one.
_TOGETHER = 256 << 10

#: Bytes from which on results are written to memory and not to the caches: whoever reads them will not find them there
#: anyway.
HUGE = 96 << 20


def bytes_moved(kernel: Kernel) -> int:
    """How many bytes a kernel reads and writes one after the other, each buffer once; of a result, all its pieces."""
    given = len(kernel.inputs)
    read: dict[int, int] = {}
    written: dict[tuple[int, Index], int] = {}
    for stage in kernel.stages:
        for x in (*stage.reductions, *stage.carries, *stage.stores):
            for e in found_in([x.value]):
                if isinstance(e, Load) and e.buffer < given:
                    read[e.buffer] = max(read.get(e.buffer, 0), _count(e.index) * e.dtype.itemsize)
        for s in stage.stores:
            if isinstance(s, Store):
                itemsize = kernel.outputs[s.buffer - given].itemsize
                written[s.buffer, s.index] = _count(s.index) * itemsize
    return sum(read.values()) + sum(written.values())


def ahead_of(kernel: Kernel, target: Target) -> int:
    """By how many bytes a kernel fetches ahead of what it reads of each of its inputs; 0 if the processor had better.

    The more it also writes, the slower it reads. And what is read side by side is fetched less far ahead: there is only
    so much on its way at a time.
    """
    read, written = sum([len(loads) for loads in fetched(kernel)]), set()
    for stage in kernel.stages:
        along = along_vectors(kernel, stage)
        written |= {s.buffer for s in stage.stores if isinstance(s, Store) and along in s.index.variables()}
    if kernel.across and read + len(written) > target.fetches:
        return 0
    return max(AHEAD // max(read * (read + len(written)), 1), AHEAD_WRITING)


def reading_ahead(kernel: Kernel, stage: int, target: Target) -> int:
    """By how many bytes a stage along rows fetches ahead of what it reads, where they are made one after the other.

    Where several stages go through the same rows, all but the first find them in the cache. The second one, which has
    most to compute, fetches the next row meanwhile.
    """
    sizes = [math.prod([v.size for v in s.variables]) * 4 for s in kernel.stages if s.variables]
    if not any(s.reductions or s.carries for s in kernel.stages):
        # These are pieces that lie apart (kernel/pieces.py): the largest one takes the time.
        here = math.prod([v.size for v in kernel.stages[stage].variables]) * 4
        return ahead_of(kernel, target) if here == max(sizes, default=here) else 0
    if len(sizes) < 2 or not 0 < sizes[0] <= _ROW:
        return ahead_of(kernel, target)
    return sizes[0] * -(-_ROWS_AHEAD // sizes[0]) if stage == 1 else 0


def set_aside(kernel: Kernel) -> tuple[Kernel, int]:
    """(the kernel with a small buffer for what waits in a row of its result, the elements of that buffer).

    A softmax leaves its exponentials in the result until their sum is known. Where results are written past the
    caches they had better wait in memory that stays in one. The buffer's number follows those of the results; the
    kernel itself and 0 where nothing waits.
    """
    *before, last = [s for s in kernel.stages if s.variables] or [Stage(())]
    early = [s for s in before if s.reductions and s.stores]
    size = math.prod([v.size for v in last.variables])
    if kernel.across or len(early) != 1 or len(last.stores) != 1 or last.reductions or size * 4 > _TOGETHER:
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


def lags(kernel: Kernel) -> tuple[int, ...]:
    """By how many rows each stage of a kernel of rows may be behind the first, when one loop goes through all stages.

    Nothing if they cannot. Some rows must stay in a cache together.
    """
    loops = [k for k, s in enumerate(kernel.stages) if s.variables]
    if kernel.across or len(loops) < 2 or loops != list(range(len(loops))) or kernel.iterations < _ROWS:
        return ()
    rows, rest = kernel.stages[: len(loops)], kernel.stages[len(loops) :]
    if any(s.carries or s.serial or not all(isinstance(x, Store) for x in s.stores) for s in kernel.stages):
        return ()
    if any(s.variables != rows[0].variables for s in rows) or any(s.reductions for s in rest):
        return ()
    size = math.prod([v.size for v in rows[0].variables]) * 4
    if not 0 < size <= _TOGETHER or any(bounded(s, s.variables[-1]) for s in rows):
        return ()
    if not _row_by_row(kernel):
        return ()
    # Two rows behind where both stay in the first-level cache: what a row begins with is then known before it. Where a
    # stage leaves something for the next one, there is place for one row of it.
    apart = 2 if size <= _ROW and not any(s.stores for s in rows) else 1
    last = apart * (len(loops) - 1)
    # What is computed of the numbers of a row comes another row later: no instruction behind waits for a sum's end.
    return (*range(0, last + 1, apart), *[last + 1 for _ in rest])


def _row_by_row(kernel: Kernel) -> bool:
    """Whether what one stage stores and another reads is of the same row; what is set aside, of the next stage."""
    given = len(kernel.inputs) + len(kernel.outputs)
    stored = {s.buffer: (k, s) for k, stage in enumerate(kernel.stages) for s in stage.stores}
    for k, stage in enumerate(kernel.stages):
        for e in found_in([x.value for x in (*stage.reductions, *stage.stores)]):
            if not isinstance(e, (Load, Lookup, Search)) or e.buffer not in stored:
                continue
            maker, store = stored[e.buffer]
            if not isinstance(e, Load) or not isinstance(store, Store) or e.index != store.index:
                return False
            if e.buffer >= given and k != maker + 1:
                return False
    return True


def fetched(kernel: Kernel) -> list[list[Load]]:
    """What each stage is the first to read of inputs that are read further and further on, once for each."""
    known: set[int] = set(range(len(kernel.inputs), len(kernel.inputs) + len(kernel.outputs) + 1))
    found = []
    for stage in kernel.stages:
        along = along_vectors(kernel, stage)
        values = found_in([x.value for x in (*stage.reductions, *stage.carries, *stage.stores)])
        loads = [e for e in values if isinstance(e, Load) and e.buffer not in known]
        on = [e for e in loads if any(v in e.index.variables() for v in kernel.outer)]
        first = {e.buffer: e for e in reversed(on) if along is not None and e.index.stride(along) == 1}
        found.append(list(first.values()))
        known |= first.keys()
    return found


def _count(at: Index) -> int:
    """How many elements an index goes through, if it meets none twice."""
    return math.prod([t.size if isinstance(t, Var) else max(t.bounds[1], 0) + 1 for t in at.factors])


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
            along = along_vectors(kernel, stage)
            if along is None and isinstance(s, Store):
                continue  # a number for each row
            if not isinstance(s, Store) or along is None or s.index.stride(along) != 1:
                return False
            rest = [f for term, f in s.index.factors.items() if term is not along and term != along]
            if any(f % lanes for f in (*rest, s.index.offset)):
                return False
    return True
