"""Memory for results and arenas, kept and used again: fresh pages from the system cost more than small kernels."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np

from ...base.locks import new_lock
from ...runtime.buffer import Buffer, holders

ALIGNMENT = 64

#: A block of memory and its address, which takes NumPy a while to say.
Block = tuple[np.ndarray, int]

#: Free blocks by size, and how many bytes may lie idle.
_free: dict[int, list[Block]] = {}
_idle = 0
_LIMIT = 512 << 20
_lock = new_lock(rank=50)


def _rounded(size: int) -> int:
    """Sizes are rounded so that blocks find new uses: to 64 bytes, above 4096 to an eighth of a power of two."""
    size = max(size, ALIGNMENT)
    step = ALIGNMENT if size <= 4096 else 1 << (size.bit_length() - 4)
    return -(-size // step) * step


def _block(size: int) -> Block:
    """A block of at least `size` bytes, 64-byte aligned."""
    global _idle
    wanted = _rounded(size)
    with _lock:
        stack = _free.get(wanted)
        if stack:
            _idle -= wanted
            return stack.pop()
    raw = np.empty(wanted + ALIGNMENT, np.uint8)
    address = raw.ctypes.data
    skip = -address % ALIGNMENT
    return raw[skip : skip + wanted], address + skip


def _release(block: np.ndarray, address: int) -> None:
    global _idle
    size = block.nbytes
    with _lock:
        if _idle + size <= _LIMIT:
            _idle += size
            _free.setdefault(size, []).append((block, address))


def trim() -> None:
    """Give all idle memory back to the system."""
    global _idle
    with _lock:
        _free.clear()
        _idle = 0


class Recycled(Buffer):
    """A buffer whose block is used again when nobody can see it any more."""

    __slots__ = ("block",)

    own_views = 2  #: the block and the array

    def __init__(self, block: np.ndarray, address: int, array: np.ndarray) -> None:
        super().__init__(array)
        self.block: np.ndarray | None = block
        self._address = address

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not ending():  # then this module may have lost its names
            recycle(self)


def take(shape: tuple[int, ...], dtype: np.dtype) -> Recycled:
    """An uninitialised buffer."""
    block, address = _block(math.prod(shape) * dtype.itemsize)
    return Recycled(block, address, np.ndarray(shape, dtype, block))


def recycle(buffer: Buffer) -> None:
    """Take back the block of a buffer that is no longer needed, unless an export still looks at it."""
    # A buffer whose making was interrupted has no block yet.
    if isinstance(buffer, Recycled) and getattr(buffer, "block", None) is not None:
        block, buffer.block = buffer.block, None
        array, buffer._array = buffer._array, None
        assert block is not None
        # An export is a view of what both are views of, and counts there.
        behind = block.base
        if array is not None and holders(array) == 1 and holders(behind) == 1 + buffer.own_views:
            del array
            _release(block, buffer.address)


class Arena:
    """Memory for the intermediate values of one running program."""

    __slots__ = ("address", "block")

    def __init__(self, block: np.ndarray, address: int) -> None:
        self.block = block
        self.address = address


def take_arena(size: int) -> Arena:
    return Arena(*_block(size))


def give_back(arena: Arena) -> None:
    _release(arena.block, arena.address)
