"""Memory that holds the value of a tensor."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..base.errors import BackendError


class Buffer:
    """A block of memory with a NumPy view of it. Buffers are written once, by whoever makes them.

    The Python object graph is the reference count: tensors hold the buffer, NumPy and DLPack exports hold its array.
    `shared` marks memory that somebody outside may still write to (`from_dlpack`, `asarray(copy=False)`).
    """

    __slots__ = ("_array", "shared", "__weakref__")

    def __init__(self, array: np.ndarray, *, shared: bool = False) -> None:
        self._array: np.ndarray | None = array
        self.shared = shared

    @property
    def array(self) -> np.ndarray:
        """The memory as an array; raises if it was given away to a program."""
        if self._array is None:
            raise BackendError(
                "this buffer was donated to a program and its memory is used for something else"
            )
        return self._array

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    def sole_owner(self, expected: int) -> bool:
        """Whether nobody but `expected` known holders (the caller's own references) can see the memory."""
        # getrefcount counts its own argument; the method's `self` is one more.
        return sys.getrefcount(self) - 2 <= expected and sys.getrefcount(self._array) - 1 <= 1

    def copy(self) -> Buffer:
        return Buffer(np.array(self.array, copy=True, order="C"))

    def donate(self) -> None:
        """Give the memory away: from now on it cannot be looked at."""
        self._array = None

    def __repr__(self) -> str:
        if self._array is None:
            return "<buffer, donated>"
        return f"<buffer {self._array.dtype} {self._array.shape}>"


#: What a program takes: a buffer, or a Python number that it converts.
Value = Buffer | bool | int | float | complex


def to_array(value: Any, dtype: np.dtype) -> np.ndarray:
    """The value of a leaf as an array."""
    return value.array if isinstance(value, Buffer) else np.asarray(value, dtype=dtype)
