"""The IDX format of MNIST and its relatives: arrays in files, plain or gzipped.

0 0 type count-of-axes, the length of each axis (4 bytes, the first byte counts most), the numbers
"""

from __future__ import annotations

import gzip
import math
import zlib
from typing import Any, BinaryIO

import numpy as np

from ..base.atomic import file_error, path_text
from ..base.errors import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"


def read_idx(path: Any) -> np.ndarray:
    """The array in an IDX file, which may be gzipped (whatever its name is).

    Raises `DataError` that says what was expected and what was found if the file is truncated, too long, or not of this
    format.
    """
    return parse_idx(read_bytes(path), path_text(path))


def read_bytes(path: Any) -> bytes:
    """What is in a file; of a gzipped one, what was compressed."""
    name = path_text(path)
    try:
        with open(name, "rb") as file:
            start = file.read(2)
            file.seek(0)
            return _unzipped(file, name) if start == _GZIP else file.read()
    except OSError as e:
        raise file_error("read", name, e) from None


def _unzipped(file: BinaryIO, name: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=file) as zipped:
            return zipped.read()
    except EOFError:
        raise DataError(
            f"{name} is truncated: its compressed data ends too early; get the file anew"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as e:
        raise DataError(
            f"{name} is damaged: its compressed data cannot be read ({e}); get the file anew"
        ) from None


def parse_idx(content: bytes, name: str) -> np.ndarray:
    """The array in the content of an IDX file called `name`."""
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(
            f"{name} is no IDX file: it should begin with two zero bytes, a type and a number of axes, and begins "
            f"with {content[:4].hex(' ') or 'nothing'}"
        )
    kind, axes = content[2], content[3]
    if kind not in _TYPES:
        known = ", ".join(f"{k:#04x}" for k in _TYPES)
        raise DataError(f"{name} is no IDX file: {kind:#04x} is none of its types ({known})")
    start = 4 + 4 * axes
    if len(content) < start:
        raise DataError(
            f"{name} is truncated: {axes} axes are announced and the file ends after {len(content)} bytes"
        )
    shape = tuple(np.frombuffer(content, ">u4", axes, 4).tolist())
    dtype = np.dtype(_TYPES[kind])
    expected, found = math.prod(shape) * dtype.itemsize, len(content) - start
    if expected != found:
        state = "is truncated" if found < expected else "is too long"
        raise DataError(
            f"{name} {state}: an array of shape {shape} and {dtype.itemsize} bytes for each number needs {expected} "
            f"bytes after its head, and there are {found}"
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
