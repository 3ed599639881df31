"""Memory that holds the value of a tensor."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..base.errors import BackendError, DTypeError


def holders(x: object) -> int:
    """How many references to `x` there are, a local variable of the caller's among them."""
    return sys.getrefcount(x) - _OWN_REFERENCES


def _own_references() -> int:
    """What `holders` itself adds: it differs between versions of Python."""
    probe = object()
    return holders(probe) - 1


_OWN_REFERENCES = 0
_OWN_REFERENCES = _own_references()


class Buffer:
    """A block of memory with a NumPy view of it. Buffers are written once, by whoever makes them.

    The Python object graph is the reference count: tensors hold the buffer, NumPy and DLPack exports hold its array.
    `shared` marks memory that somebody outside may still write to (`from_dlpack`, `asarray(copy=False)`).
    """

    __slots__ = ("_address", "_array", "shared", "__weakref__")

    #: How many arrays of the buffer's own refer to the memory that its array is a view of, if it is one.
    own_views = 1

    def __init__(self, array: np.ndarray, *, shared: bool = False) -> None:
        self._array: np.ndarray | None = array
        self.shared = shared
        self._address = 0

    @property
    def address(self) -> int:
        """Where the memory is; asked of NumPy once, since it takes a while."""
        if not self._address:
            self._address = self.array.ctypes.data
        return self._address

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
        array = self._array
        # The array's own holders are the buffer and the variable here. A view of a view refers to neither of them but
        # to the memory behind both.
        behind = None if array is None else array.base
        unseen = not isinstance(behind, np.ndarray) or holders(behind) <= 1 + self.own_views
        return unseen and holders(self) - _SELF_REFERENCES <= expected and holders(array) <= 2

    def copy(self) -> Buffer:
        return Buffer(np.array(self.array, copy=True, order="C"))

    def donate(self) -> None:
        """Give the memory away: from now on it cannot be looked at."""
        self._array = None

    def __repr__(self) -> str:
        if self._array is None:
            return "<buffer, donated>"
        return f"<buffer {self._array.dtype} {self._array.shape}>"


def _self_references() -> int:
    """How many holders of a buffer its own methods see besides the caller's."""
    probe = Buffer(np.empty(0))
    return next(n for n in range(4) if _sees_only(probe, n))


def _sees_only(buffer: Buffer, own: int) -> bool:
    global _SELF_REFERENCES
    _SELF_REFERENCES = own
    return buffer.sole_owner(2)  # the variable here and the one above


_SELF_REFERENCES = 0
_SELF_REFERENCES = _self_references()

#: What a program takes: a buffer, or a Python number that it converts.
Value = Buffer | bool | int | float | complex


def to_array(value: Any, dtype: np.dtype) -> np.ndarray:
    """The value of a leaf as an array."""
    if isinstance(value, Buffer):
        return value.array
    try:
        return np.asarray(value, dtype=dtype)
    except OverflowError:
        raise DTypeError(f"the number {value} does not fit {dtype}") from None
