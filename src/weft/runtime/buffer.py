"""Memory that holds the value of a tensor."""

from __future__ import annotations

from ctypes import addressof, c_char
from typing import Any

import numpy as np

from ..base.errors import DTypeError

#: Bytes from which on a copy begins with a line of the cache: vectors that lie across two lines take two reads.
_LARGE, _LINE = 1 << 14, 64


def address_of(array: np.ndarray) -> int:
    """Where an array's elements begin."""
    try:
        return addressof(c_char.from_buffer(array.data))  # NumPy's own way to it takes three times as long
    except (
        TypeError,
        ValueError,
    ):  # read-only, without elements, not in C order, or of a type that Python has not
        return array.ctypes.data


def own_copy(array: np.ndarray | np.generic, dtype: np.dtype) -> np.ndarray:
    """A copy in C order, its elements converted to `dtype`."""
    size = array.size * dtype.itemsize
    if size < _LARGE:
        return np.array(array, dtype=dtype, order="C", copy=True)
    raw = np.empty(size + _LINE, np.uint8)
    own = np.ndarray(array.shape, dtype, raw, -address_of(raw) % _LINE)
    np.copyto(own, array, casting="unsafe")
    return own


class Buffer:
    """A block of memory with a NumPy view of it. Buffers are written once, by whoever makes them.

    The Python object graph is the reference count: tensors hold the buffer, NumPy and DLPack exports what owns its
    memory.
    `shared` marks memory that somebody outside may still write to (`from_dlpack`, `asarray(copy=False)`).
    """

    __slots__ = ("_address", "_array", "shared", "__weakref__")

    def __init__(self, array: np.ndarray, *, shared: bool = False) -> None:
        self._array = array
        self.shared = shared
        self._address = 0

    @property
    def address(self) -> int:
        """Where the memory is; asked for once, since it takes a while."""
        if not self._address:
            self._address = address_of(self.array)
        return self._address

    @property
    def array(self) -> np.ndarray:
        """The memory as an array."""
        return self._array

    @property
    def witness(self) -> Any:
        """What everything holds that looks at the memory."""
        return self._array if self._array.base is None else self._array.base

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    def copy(self) -> Buffer:
        return Buffer(own_copy(self.array, self.array.dtype))

    def __repr__(self) -> str:
        array = self.array
        return f"<buffer {array.dtype} {array.shape}>"


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
