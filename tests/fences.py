"""Memory with fences: whatever a program touches beyond the ends of a value ends the process.

Each input, output and intermediate value lies on pages of its own, flush with their end or their beginning, between
pages that may not be touched. Nothing shares memory, and all of it holds what is no number and no index before a run.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from weft.backends.cpu import memory, program, regions, standing
from weft.backends.cpu.backend import CpuBackend
from weft.ir.graph import Graph
from weft.kernel.memory import Arena, plan_arena
from weft.runtime.buffer import Buffer

PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)


def _up(size: int) -> int:
    return -(-size // PAGE) * PAGE


class Fenced:
    """Fresh pages, of which `open_` (offset, size) may be touched."""

    def __init__(self, size: int, open_: list[tuple[int, int]]) -> None:
        self.map = mmap.mmap(-1, max(_up(size), PAGE), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        whole = np.frombuffer(self.map, np.uint8)
        whole.view(np.uint16).fill(0x7FFF)
        self.address = whole.ctypes.data
        self.whole = whole
        self._protect(0, len(self.map), 0)
        for offset, count in open_:
            self._protect(offset, count, mmap.PROT_READ | mmap.PROT_WRITE)

    def _protect(self, offset: int, size: int, how: int) -> None:
        if size and _libc.mprotect(ctypes.c_void_p(self.address + offset), ctypes.c_size_t(size), how):
            raise OSError(ctypes.get_errno(), "mprotect")


def blank(shape: tuple[int, ...], dtype: np.dtype, at_end: bool) -> Buffer:
    """Memory for an array between fences."""
    size = int(np.prod(shape)) * dtype.itemsize
    pages = Fenced(_up(size) + 2 * PAGE, [(PAGE, _up(size))])
    start = PAGE + (_up(size) - size if at_end else 0)
    return _Held(np.ndarray(shape, dtype, pages.whole, start), pages)


def fenced(array: np.ndarray, at_end: bool) -> Buffer:
    """A copy of an array between fences."""
    buffer = blank(array.shape, array.dtype, at_end)
    buffer.array[...] = array
    return buffer


class _Held(Buffer):
    __slots__ = ("pages",)

    def __init__(self, array: np.ndarray, pages: Fenced) -> None:
        super().__init__(array)
        self.pages = pages
        assert self.address  # asked for once, and kept


_give_back = memory.give_back


def _give_back_others(block: tuple) -> None:
    """Fenced memory is not used again."""
    if not isinstance(block[0], Fenced):
        _give_back(block)


memory.give_back = _give_back_others  # for good: workers that began between fences leave later


@contextmanager
def fences(at_end: bool) -> Iterator[None]:
    """Programs that are made inside run between fences."""
    plans: dict[int, list[tuple[int, int]]] = {}

    def plan(graph, steps, kept=()):
        """Every value of the program itself on its own pages; those inside of a loop's scratch memory share it."""
        found = plan_arena(graph, steps, kept)
        offsets, open_, end = {}, [], PAGE
        for node in found.offsets:
            size = int(node.size) * node.dtype.itemsize
            offsets[node] = end + (_up(size) - size if at_end else 0)
            open_.append((end, _up(size)))
            end += _up(size) + PAGE
        if not open_:
            return found
        end += 37 * memory.ALIGNMENT  # sizes tell it from scratch memory, which is open
        while end in plans:
            end += PAGE
        plans[end] = open_
        return Arena(offsets, end)

    def take_block(size):
        pages = Fenced(size, plans.get(size, [(0, _up(size))]))
        return pages, pages.address, 0

    def recycled(size, shape, dtype):
        return blank(shape, dtype, at_end)

    def constant(node):
        held.append(fenced(program._array(node.value, node), at_end))
        return held[-1].array

    held: list[Buffer] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "plan_arena", plan)
        patch.setattr(memory, "take_block", take_block)
        patch.setattr(program, "_constant", constant)
        patch.setattr(standing, "_SMALL", -1)
        patch.setattr(memory, "Recycled", recycled)
        yield


def check_between_fences(
    graphs: Iterable[Graph], arguments: Callable[[Graph], list[np.ndarray]], where: str
) -> None:
    """Each graph gives the same results with memory fenced at its "beginning" or "end"; in a process of its own."""
    at_end = where == "end"
    for graph in graphs:
        args = arguments(graph)
        want = CpuBackend().compile(graph).run([Buffer(a) for a in args])
        with fences(at_end):
            got = CpuBackend().compile(graph).run([fenced(a, at_end) for a in args])
        for w, g in zip(want, got, strict=True):
            np.testing.assert_array_equal(g.array, w.array)
    print("fine")
