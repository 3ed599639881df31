"""The container of all files: safetensors, with a digest.

A file is eight bytes (the header's length, little-endian), a JSON header, and the elements of the tensors one after
the other. Any program that reads safetensors reads it. On top of that Weft writes into the header's metadata:

- `weft.format`: "1"; `weft.kind`: what the file holds
- `weft.digest`: SHA-256 of the header without this entry (as JSON with sorted keys and no spaces), then the elements
- `weft.complex`: the names of complex tensors, which are stored as real ones with a last axis of two

The digest finds damage, not forgery: who can write the file can also write a digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from ..base.atomic import Path, file_error, path_text, replacing
from ..base.errors import ArgumentError, FormatError
from ..ir import dtype as d

FORMAT = "1"
_MAX_HEADER = 100_000_000  # the bound that readers of safetensors share
_CODES = {
    d.bool_: "BOOL", d.uint8: "U8", d.uint16: "U16", d.uint32: "U32", d.uint64: "U64",
    d.int8: "I8", d.int16: "I16", d.int32: "I32", d.int64: "I64",
    d.bfloat16: "BF16", d.float16: "F16", d.float32: "F32", d.float64: "F64",
}  # fmt: skip
_DTYPES = {code: dtype for dtype, code in _CODES.items()} | {"C64": d.complex64}


@dataclass
class Content:
    """What a file holds: arrays of their own memory, and the header's metadata."""

    tensors: dict[str, np.ndarray]
    metadata: dict[str, str]

    @property
    def kind(self) -> str | None:
        """What sort of file Weft wrote; None for a safetensors file from elsewhere."""
        return self.metadata.get("weft.kind")


# -- writing --------------------------------------------------------------------------------------------------


def write(path: Path, tensors: Mapping[str, np.ndarray], kind: str, metadata: Mapping[str, str]) -> None:
    """Write a file, replacing an old one only when the new one is whole on the disk."""
    pieces = _pieces(tensors, kind, metadata)
    with replacing(path) as file:
        for piece in pieces:
            file.write(piece)


def to_bytes(tensors: Mapping[str, np.ndarray], kind: str, metadata: Mapping[str, str]) -> bytes:
    """What `write` would write."""
    return b"".join(_pieces(tensors, kind, metadata))


def _pieces(tensors: Mapping[str, np.ndarray], kind: str, metadata: Mapping[str, str]) -> list[Any]:
    """The contents of a file, the elements without a copy."""
    stored, header = _layout(tensors, {**metadata, "weft.format": FORMAT, "weft.kind": kind})
    digest = hashlib.sha256(_canonical(header))
    for _, array in stored:
        digest.update(_bytes(array))
    header["__metadata__"]["weft.digest"] = digest.hexdigest()
    text = _header_text(header)
    if len(text) > _MAX_HEADER:
        raise ArgumentError(
            f"the description of what is saved takes {len(text)} bytes, at most {_MAX_HEADER} fit"
        )
    return [len(text).to_bytes(8, "little"), text, *[_bytes(array) for _, array in stored]]


def _layout(
    tensors: Mapping[str, np.ndarray], metadata: dict[str, str]
) -> tuple[list[tuple[str, np.ndarray]], dict[str, Any]]:
    """The arrays as they are stored, widest elements first so that all are aligned, and the header."""
    stored: list[tuple[str, np.ndarray]] = []
    halves: list[str] = []
    for name, array in tensors.items():
        _check_name(name)
        kind = d.dtype(array.dtype.newbyteorder("="))
        array = np.asarray(array, dtype=kind.numpy.newbyteorder("<"), order="C")
        if kind.kind == "c":
            halves.append(name)
            kind = d.real_dtype(kind)
            array = array.reshape(*array.shape, 1).view(kind.numpy)
        stored.append((name, array))
    if halves:
        metadata = {**metadata, "weft.complex": json.dumps(sorted(halves))}
    stored.sort(key=lambda entry: (-entry[1].dtype.itemsize, entry[0]))
    header: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for name, array in stored:
        end = at + array.nbytes
        header[name] = {
            "dtype": _CODES[d.dtype(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [at, end],
        }
        at = end
    return stored, header


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise ArgumentError(f"a tensor's name must be a text, got {name!r}")
    if name == "__metadata__":
        raise ArgumentError("a tensor cannot be called '__metadata__': files use that name for themselves")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ArgumentError(f"the tensor's name {name!r} is not valid Unicode") from None


def _bytes(array: np.ndarray) -> Any:
    """The elements of a contiguous array, without a copy."""
    return array.reshape(-1).view(np.uint8).data if array.size else b""


def _header_text(header: Mapping[str, Any]) -> bytes:
    """The header as it is written: padded with spaces, so that the elements start at a multiple of eight."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _canonical(header: Mapping[str, Any]) -> bytes:
    about = {k: v for k, v in header["__metadata__"].items() if k != "weft.digest"}
    return json.dumps({**header, "__metadata__": about}, sort_keys=True, separators=(",", ":")).encode()


# -- reading --------------------------------------------------------------------------------------------------


def read(path: Path) -> Content:
    """Read a file and check it whole; `FormatError` if it is damaged or something else."""
    name = path_text(path)
    try:
        with open(name, "rb") as file:
            return _read(file, os.fstat(file.fileno()).st_size, repr(name))
    except OSError as e:
        raise file_error("read", name, e) from None


def read_bytes(data: bytes, title: str = "the data") -> Content:
    """The same from memory."""
    return _read(io.BytesIO(data), len(data), title)


def _read(file: IO[bytes], size: int, title: str) -> Content:
    start = file.read(8)
    _refuse_others(start, file, title)
    length = int.from_bytes(start, "little")
    if size < 8 or length > min(size - 8, _MAX_HEADER):
        raise FormatError(f"{title} is not a file that Weft wrote, or it is truncated ({size} bytes)")
    text = file.read(length)
    header = _parse_header(text, title)
    exact = _header_text(header) == text
    about = header.pop("__metadata__", {})
    entries = _check_entries(header, about, size - 8 - length, title)
    header["__metadata__"] = about
    digest = hashlib.sha256(_canonical(header))
    tensors: dict[str, np.ndarray] = {}
    for name, kind, shape in entries:
        array = np.empty(shape, kind.numpy.newbyteorder("<"))
        if array.size:
            view = _bytes(array)
            if file.readinto(view) != len(view):  # type: ignore[attr-defined]
                raise FormatError(f"{title} is truncated inside the tensor {name!r}")
            digest.update(view)
            if kind is d.bool_:
                np.not_equal(array.view(np.uint8), 0, out=array)
        tensors[name] = array.astype(kind.numpy, copy=False)
    if any(key.startswith("weft.") for key in about):
        _check_ours(about, digest.hexdigest() if exact else "", title)
    _join_complex(tensors, about, title)
    return Content({name: tensors[name] for name in sorted(tensors)}, about)


def _refuse_others(start: bytes, file: IO[bytes], title: str) -> None:
    """Files that people try to load, and that must not be taken for something to run."""
    if start[:4] == b"PK\x03\x04":
        head = start + file.read(4096)
        if b".npy" in head:
            raise FormatError(
                f"{title} is a NumPy archive (.npz): read it with numpy.load and pass the arrays on"
            )
        raise FormatError(
            f"{title} is a zip archive: if another framework saved it (.pt, .pth, .keras), it holds pickled Python "
            "objects or code, which Weft never runs. Save it there as safetensors, and load that"
        )
    # A header of 640, 896, ... bytes starts with the same two bytes as a pickle, but then come zeros.
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and start[2:8] != bytes(6):
        raise FormatError(
            f"{title} is a pickle: loading it could run any code, so Weft does not. "
            "Save the tensors as safetensors, and load that"
        )
    if start == b"\x89HDF\r\n\x1a\n":
        raise FormatError(f"{title} is an HDF5 file (.h5): save the weights as safetensors, and load that")
    if start[:6] == b"\x93NUMPY":
        raise FormatError(f"{title} is a NumPy array (.npy): read it with numpy.load")
    if start[:4] == b"GGUF":
        raise FormatError(f"{title} is a GGUF file: convert it to safetensors, and load that")


def _parse_header(text: bytes, title: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) != len(pairs):
            raise ValueError("a name occurs twice")
        return out

    try:
        header = json.loads(text.decode(), object_pairs_hook=unique, parse_constant=float)
    except (ValueError, RecursionError) as e:
        raise FormatError(
            f"{title} is not a file that Weft wrote, or it is damaged: its header is not JSON ({e})"
        ) from None
    about = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(about, dict) or not all(isinstance(v, str) for v in about.values()):
        raise FormatError(f"{title} is damaged: its header does not describe tensors")
    return header


Entry = tuple[str, d.DType, tuple[int, ...]]


def _check_entries(header: dict[str, Any], about: dict[str, str], size: int, title: str) -> list[Entry]:
    """The tensors in the order of their elements, which must fill the file exactly."""
    found: list[tuple[int, int, Entry]] = []
    for name, entry in header.items():
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise FormatError(f"{title} is damaged: the entry of {name!r} is not a tensor's")
        code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(code, str) or code not in _DTYPES:
            raise FormatError(
                f"the tensor {name!r} in {title} has the element type {code!r}, which Weft does not have"
            )
        kind = _DTYPES[code]
        if not (_sizes(shape) and len(shape) <= 64 and _sizes(offsets) and len(offsets) == 2):
            raise FormatError(f"{title} is damaged: the shape or place of {name!r} is not made of sizes")
        if math.prod([n for n in shape if n]) * kind.itemsize >= 2**62:
            raise FormatError(f"{title} is damaged: no memory holds {name!r} of shape {shape}")
        if offsets[1] - offsets[0] != math.prod(shape) * kind.itemsize:
            raise FormatError(
                f"{title} is damaged: {name!r} has {offsets[1] - offsets[0]} bytes for shape {shape}"
            )
        found.append((offsets[0], offsets[1], (name, kind, tuple(shape))))
    found.sort(key=lambda e: e[:2])
    at = 0
    for begin, end, (name, _, _) in found:
        if begin != at:
            raise FormatError(f"{title} is damaged: {name!r} does not begin where the tensor before it ends")
        at = end
    if at != size:
        what = "truncated" if size < at else "followed by something else"
        raise FormatError(f"{title} is {what}: its tensors take {at} bytes, there are {size}")
    return [entry for _, _, entry in found]


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**62 for n in value)


def _check_ours(about: dict[str, str], digest: str, title: str) -> None:
    version = about.get("weft.format", "")
    if version != FORMAT and version.isdigit():
        raise FormatError(
            f"{title} is in format {version}, this Weft reads format {FORMAT}: a newer Weft can read it"
        )
    if about.get("weft.digest") != digest or version != FORMAT or "weft.kind" not in about:
        raise FormatError(
            f"{title} was altered or damaged after it was written: its digest does not fit. Use another copy"
        )


def _join_complex(tensors: dict[str, np.ndarray], about: dict[str, str], title: str) -> None:
    if "weft.complex" not in about:
        return
    try:
        names = dict.fromkeys(json.loads(about["weft.complex"]))
    except (ValueError, TypeError, RecursionError):
        raise FormatError(f"{title} is damaged: its list of complex tensors is none") from None
    for name in names:
        halves = tensors.get(name)
        if (
            halves is None
            or halves.dtype.kind != "f"
            or halves.dtype.itemsize < 4
            or halves.shape[-1:] != (2,)
        ):
            raise FormatError(f"{title} is damaged: {name!r} is not a complex tensor")
        kind = d.complex_dtype(d.dtype(halves.dtype)).numpy
        tensors[name] = halves.view(kind).reshape(halves.shape[:-1])
