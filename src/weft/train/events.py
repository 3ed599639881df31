"""Files that TensorBoard reads: records of events, each a small protocol-buffer message in a checked frame."""

from __future__ import annotations

import itertools
import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from ..base.atomic import file_error


def _table() -> list[int]:
    found = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        found.append(i)
    return found


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of some bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    """A record of a TFRecord file: length, its check, data, their check."""
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


# -- messages: a field is its number and wire type, then its value -----------------------------------------------


def _varint(n: int) -> bytes:
    out = bytearray()
    n &= (1 << 64) - 1
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def _integer(field: int, n: int) -> bytes:
    return _varint(field << 3) + _varint(n)


def _double(field: int, x: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", x)


def _float(field: int, x: float) -> bytes:
    try:
        packed = struct.pack("<f", x)
    except OverflowError:  # beyond float32
        packed = struct.pack("<f", float("inf") if x > 0 else float("-inf"))
    return _varint(field << 3 | 5) + packed


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def version_event(wall_time: float) -> bytes:
    """Event(wall_time, file_version): the first one of every file."""
    return _double(1, wall_time) + _bytes(3, b"brain.Event:2")


def scalars_event(wall_time: float, step: int, figures: Mapping[str, float]) -> bytes:
    """Event(wall_time, step, summary=Summary(value=[Value(tag, simple_value), ...]))."""
    summary = b"".join(_bytes(1, _bytes(1, tag.encode()) + _float(2, x)) for tag, x in figures.items())
    return _double(1, wall_time) + _integer(2, step) + _bytes(5, summary)


def restart_event(wall_time: float, step: int) -> bytes:
    """Event(wall_time, step, session_log=SessionLog(status=START)): readers drop events from this step on."""
    return _double(1, wall_time) + _integer(2, step) + _bytes(7, _integer(1, 1))


_numbers = itertools.count()


class EventFile:
    """A new file of events in a folder, which is made if need be.

    Raises:
        FileError: if it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
        self.path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("xb")
        except OSError as e:
            raise file_error("write", self.path, e) from None
        self.write(version_event(now))

    def write(self, event: bytes) -> None:
        """Add an event; it is handed to the system at once, whole."""
        try:
            self._file.write(record(event))
            self._file.flush()
        except OSError as e:
            raise file_error("write", self.path, e) from None

    def scalars(self, step: int, figures: Mapping[str, float]) -> None:
        """Add one number for each tag."""
        if figures:
            self.write(scalars_event(time.time(), step, figures))

    def close(self) -> None:
        self._file.close()
