"""Messages between a loader and its worker processes: a few bytes of pickle, and beside them the memory of arrays.

    message = count of buffers, length of the body, lengths of the buffers; body; buffers

The arrays' memory is written from where it is and read into where it stays.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

_HEAD = struct.Struct("<IQ")
_PIPE_SIZE = 1 << 20


class Closed(Exception):
    """The other side is gone."""


def write(file: Any, body: bytes, buffers: Sequence[Any] = ()) -> None:
    """Write one message."""
    views = [memoryview(b).cast("B") for b in buffers]
    lengths = b"".join([v.nbytes.to_bytes(8, "little") for v in views])
    parts = [memoryview(_HEAD.pack(len(views), len(body)) + lengths + body), *views]
    try:
        for part in parts:
            while part.nbytes:
                done = file.write(part)
                part = part[done or 0 :]
        file.flush()
    except (OSError, ValueError) as e:  # ValueError: closed on this side
        raise Closed from e


def read(file: Any) -> tuple[memoryview, list[np.ndarray]]:
    """Read one message: its body and its buffers."""
    count, length = _HEAD.unpack(_exactly(file, _HEAD.size))
    lengths = np.frombuffer(_exactly(file, 8 * count), "<u8").tolist()
    return memoryview(_exactly(file, length)), [_exactly(file, n) for n in lengths]


def _exactly(file: Any, count: int) -> Any:
    memory = np.empty(count, np.uint8)
    try:
        done = file.readinto(memory.data) if count else 0
    except (OSError, ValueError) as e:
        raise Closed from e
    if done != count:
        raise Closed
    return memory


def enlarge(pipe: int) -> None:
    """Let a pipe hold more, where the system can: fewer turns for a large batch."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)  # type: ignore[attr-defined]
    except (ImportError, AttributeError, OSError):
        pass
