"""Memory for results and arenas, kept and used again: fresh pages from the system cost more than small kernels."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable

import numpy as np

from ...runtime.buffer import Buffer, address_of

ALIGNMENT = 64

#: An array of bytes, the address of the first that is aligned, and its number.
Block = tuple[np.ndarray, int, int]

#: For a search after mistakes: whether memory is filled, before it is used, with what would show if it were read before
#: it is written. As a float it is NaN, as an integer it is no index of anything.
POISONED = os.environ.get("WEFT_POISON", "0") == "1"
_POISON = 0x7FFF

#: Free blocks by size, so many bytes of them at most, and how many may still be added before they are counted again.
#: Nothing here takes a lock: what is done to one list or one dictionary is done at once, and a count that two threads
#: have changed at the same time is soon put right.
_free: dict[int, list[Block]] = {}
_LIMIT = 512 << 20
_room = _LIMIT

#: Small blocks come and go by the dozen in a step: each list of them has a limited length.
_SMALL = 4096
_small: list[list[Block]] = [[] for _ in range(_SMALL // ALIGNMENT + 1)]
_MOST = 512


def rounded(size: int) -> int:
    """Sizes are rounded so that blocks find new uses: to 64 bytes, above 4096 to an eighth of a power of two."""
    if size <= _SMALL:
        return -(-size // ALIGNMENT) * ALIGNMENT or ALIGNMENT
    step = 1 << (size.bit_length() - 4)
    return -(-size // step) * step


def _take_block(size: int) -> Block:
    """A block with room for at least `size` bytes, 64-byte aligned."""
    try:
        if size <= _SMALL:
            return _small[(size + ALIGNMENT - 1) // ALIGNMENT or 1].pop()
        step = 1 << (size.bit_length() - 4)
        return _free[-(-size // step) * step].pop()
    except (IndexError, KeyError):
        return fresh(rounded(size))


def fresh(size: int) -> Block:
    """A block that the process has not had before."""
    if size > sys.maxsize - ALIGNMENT:
        raise MemoryError(f"no memory has {size} bytes")
    raw = np.empty(size + ALIGNMENT, np.uint8)
    address = address_of(raw)
    skip = -address % ALIGNMENT
    return raw, address + skip, skip


def poisoned(take: Callable[[int], Block]) -> Callable[[int], Block]:
    """A `take_block` whose blocks are filled with what nobody should read."""

    def filled(size: int) -> Block:
        block = take(size)
        block[0].view(np.uint16).fill(_POISON)
        return block

    return filled


take_block = poisoned(_take_block) if POISONED else _take_block


def give_back(block: Block) -> None:
    """Take back a block that nobody uses any more."""
    global _room
    size = len(block[0]) - ALIGNMENT
    if size <= _SMALL:
        if len(stack := _small[size // ALIGNMENT]) < _MOST:
            stack.append(block)
        return
    _room -= size
    if _room >= 0 or _has_room(size):
        stack = _free.get(size)
        if stack is None:
            stack = _free.setdefault(size, [])
        stack.append(block)


def _has_room(size: int) -> bool:
    """Whether so many more bytes may lie idle: those that do are counted."""
    global _room
    idle = sum([each * len(stack) for each, stack in list(_free.items())])
    _room = _LIMIT - idle - size
    return _room >= 0


def idle(size: int) -> int:
    """How many blocks of a rounded size, above 4096, nobody uses."""
    return len(_free.get(size, ()))


def trim() -> None:
    """Give all idle memory back to the system."""
    for stack in [*_free.values(), *_small]:
        stack.clear()


def exchange(old: int, new: int) -> None:
    """Let go of idle blocks for `old` bytes, as blocks for `new` will be needed in their place."""
    if old > _SMALL and rounded(old) != rounded(new):
        _free.pop(rounded(old), None)


class Recycled(Buffer):
    """A buffer whose block is used again when nobody can see it any more.

    Its arrays are made when somebody looks. All of them are views of the block's own array and count as its holders,
    and so do the views of views, since NumPy lets a view hold what owns the memory.
    """

    __slots__ = ("block", "dtype", "shape")

    def __init__(self, size: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Uninitialised memory of `size` bytes."""
        self.block = block = take_block(size)
        self._address = block[1]
        self.shape = shape
        self.dtype = dtype
        self.shared = False

    @property
    def array(self) -> np.ndarray:
        """The memory as an array."""
        return np.ndarray(self.shape, self.dtype, self.block[0], self.block[2])

    @property
    def witness(self) -> np.ndarray:
        """What everything holds that looks at the memory."""
        return self.block[0]

    def unseen(self) -> bool:
        """Whether no array looks at the memory."""
        return sys.getrefcount(self.block[0]) == _UNSEEN

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if ending():  # this module may have lost its names
            return
        try:
            block = self.block
        except AttributeError:  # its making was interrupted
            return
        if sys.getrefcount(block[0]) == _UNSEEN:
            give_back(block)


def take(shape: tuple[int, ...], dtype: np.dtype) -> Recycled:
    """An uninitialised buffer."""
    return Recycled(size_of(shape, dtype), shape, dtype)


def size_of(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """The bytes that an array takes."""
    return math.prod(shape) * dtype.itemsize


def _references_of_its_own() -> int:
    """What `unseen` compares with: differs between versions of Python."""
    probe = take((), np.dtype(np.int64))
    return next(n for n in range(2, 8) if _unseen_with(probe, n))


def _unseen_with(probe: Recycled, count: int) -> bool:
    global _UNSEEN
    _UNSEEN = count
    return probe.unseen()


_UNSEEN = 0
_UNSEEN = _references_of_its_own()
