"""Object code as functions in memory, without LLVM.

To load LLVM takes longer than many a program runs, 30 milliseconds and 50 MB, and what is on disk already needs of it
no more than a linker. Kernels call nothing and have no data but constants, so to link one is to lay its sections side
by side and to fill in the distances between them. That is done here for ELF files of x86-64; LLVM links all others.

Source: "System V Application Binary Interface", chapter 4 (object files), and its AMD64 supplement, 4.4 (relocation).
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

#: Of a file: what it begins with, kind, machine, where its sections are described, how many there are.
_HEADER = struct.Struct("<6s10xHH20xQ12xH2x")
_RELOCATABLE_X86_64 = b"\x7fELF\x02\x01", 1, 62

_SECTION = struct.Struct("<4xIQ8xQQIIQ8x")
_PROGRAM, _SYMBOLS, _RELOCATIONS = 1, 2, 4  # types of sections
_WRITABLE, _LOADED = 1, 2  # flags of sections

_SYMBOL = struct.Struct("<I2xHQ8x")  # name, section, value
_RELOCATION = struct.Struct("<QIIq")  # where, type, symbol, what is added
#: Types of relocations: a distance of 32 bits to what is read, and to what is called.
_DISTANCES = (2, 4)
_DISTANCE = struct.Struct("<i")

#: Bytes that an object begins at a multiple of: as much as its sections ask for.
_ALIGNMENT = 64


class _Section(NamedTuple):
    type: int
    flags: int
    offset: int
    size: int
    link: int  #: of symbols: the section of their names
    info: int  #: of symbols: the first that others see; of relocations: the section that they are in
    alignment: int


class Image:
    """Functions in memory. They can be called as long as this object is alive."""

    def __init__(self, memory: mmap.mmap, functions: dict[str, int]) -> None:
        self._memory = memory
        self.functions = functions  #: name -> address


def load(objects: Sequence[bytes]) -> Image | None:
    """The functions of object files; None if it takes LLVM to load them."""
    protect = _protect()
    if protect is None:
        return None
    pieces: list[tuple[int, bytearray]] = []
    places: dict[str, int] = {}
    size = 0
    for code in objects:
        linked = _linked(code)
        if linked is None:
            return None
        piece, functions = linked
        pieces.append((size, piece))
        places.update({name: size + at for name, at in functions.items()})
        size += _up(len(piece), _ALIGNMENT)
    # Never writable and executable at a time.
    memory = mmap.mmap(
        -1, max(size, 1), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE
    )
    for at, piece in pieces:
        memory[at : at + len(piece)] = piece
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if protect(start, len(memory), mmap.PROT_READ | mmap.PROT_EXEC) != 0:
        return None
    return Image(memory, {name: start + at for name, at in places.items()})


@cache
def _protect() -> Any:
    """The system's mprotect(address, size, what is allowed); None where object files are not those read here."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    function = ctypes.CDLL(None).mprotect
    function.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    return function


def _linked(code: bytes) -> tuple[bytearray, dict[str, int]] | None:
    """An object as one piece of memory, and where its functions are in it; None if it needs more than is done here."""
    sections = _sections(code)
    where, size = _laid_out(sections)
    tables = [s for s in sections if s.type == _SYMBOLS]
    if where is None or len(tables) != 1:
        return None
    (table,) = tables
    symbols = list(_SYMBOL.iter_unpack(_bytes(code, table)))
    values = [where[s] + value if s < len(where) and where[s] >= 0 else -1 for _, s, value in symbols]
    if -1 in values[table.info :]:
        return None  # something of somebody else's
    names = sections[table.link].offset
    functions = {
        _text(code, names + name): value
        for (name, _, _), value in zip(symbols[table.info :], values[table.info :], strict=True)
    }
    piece = bytearray(size)
    for s, start in zip(sections, where, strict=True):
        if start >= 0:
            piece[start : start + s.size] = _bytes(code, s)
    for s in sections:
        if s.type == _RELOCATIONS and where[s.info] >= 0:
            for offset, type_, symbol, more in _RELOCATION.iter_unpack(_bytes(code, s)):
                if type_ not in _DISTANCES or values[symbol] < 0:
                    return None
                at = where[s.info] + offset
                _DISTANCE.pack_into(piece, at, values[symbol] + more - at)
    return piece, functions


def _sections(code: bytes) -> list[_Section]:
    """The sections of an object; none if it is not one for this machine."""
    *kind, at, count = _HEADER.unpack_from(code)
    if tuple(kind) != _RELOCATABLE_X86_64:
        return []
    return [_Section(*_SECTION.unpack_from(code, at + k * _SECTION.size)) for k in range(count)]


def _laid_out(sections: Sequence[_Section]) -> tuple[list[int] | None, int]:
    """Where each section is in memory, -1 for nowhere; and the size of it all."""
    where, size = [-1] * len(sections), 0
    for k, s in enumerate(sections):
        if s.flags & _LOADED and (s.flags & _WRITABLE or s.alignment > _ALIGNMENT):
            return None, 0
        if s.flags & _LOADED and s.type == _PROGRAM:  # and not tables of how to unwind it
            where[k] = _up(size, max(s.alignment, 1))
            size = where[k] + s.size
    return where, size


def _bytes(code: bytes, section: _Section) -> bytes:
    return code[section.offset : section.offset + section.size]


def _text(code: bytes, at: int) -> str:
    return code[at : code.index(b"\0", at)].decode()


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
