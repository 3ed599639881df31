"""Object files (ELF): the names that they leave open; those of AArch64 put where they run, as an executable for Linux.

A linker for code that needs nobody else: no libraries, nothing dynamic, one place for code and one for data.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = np.dtype(
    [("name", "<u4"), ("type", "<u4"), ("flags", "<u8"), ("addr", "<u8"), ("offset", "<u8"), ("size", "<u8"),
     ("link", "<u4"), ("info", "<u4"), ("align", "<u8"), ("entsize", "<u8")]
)  # fmt: skip
_SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
_RELOCATION = np.dtype([("offset", "<u8"), ("type", "<u4"), ("symbol", "<u4"), ("addend", "<i8")])
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SYMTAB, _RELA, _KEPT, _PAGE = 2, 4, 2, 1 << 16
MACHINES = {"x86_64": 62, "aarch64": 183}


class Object:
    """An object file's sections, symbols and relocations."""

    def __init__(self, code: bytes) -> None:
        head = _HEADER.unpack_from(code)
        self.code, self.machine = code, head[2]
        self.sections = np.frombuffer(code, _SECTION, head[12], head[6])
        (table,) = [s for s in self.sections if s["type"] == _SYMTAB]
        self.symbols = self._entries(table, _SYMBOL)
        strings = self._bytes(self.sections[table["link"]])
        ends = [strings.index(b"\0", s["name"]) for s in self.symbols]
        self.names = [
            strings[s["name"] : e].decode() for s, e in zip(self.symbols, ends, strict=True)
        ]  #: of the symbols

    def _bytes(self, section: np.void) -> bytes:
        return self.code[int(section["offset"]) : int(section["offset"] + section["size"])]

    def _entries(self, section: np.void, kind: np.dtype) -> np.ndarray:
        return np.frombuffer(self._bytes(section), kind)

    @property
    def missing(self) -> list[str]:
        """What is used here and must come from elsewhere."""
        return [n for n, s in zip(self.names, self.symbols, strict=True) if n and s["section"] == 0]

    def kept(self) -> list[tuple[int, int, bytes]]:
        """(number, alignment, contents) of the sections that are in memory when the program runs."""
        return [
            (i, int(s["align"]), self._bytes(s)) for i, s in enumerate(self.sections) if s["flags"] & _KEPT
        ]

    def relocations(self) -> list[tuple[int, np.ndarray]]:
        """(number of the section that is changed, changes) for the sections in memory."""
        return [
            (int(s["info"]), self._entries(s, _RELOCATION))
            for s in self.sections
            if s["type"] == _RELA and self.sections[s["info"]]["flags"] & _KEPT
        ]


def _page(word: int, to: int, at: int) -> int:
    pages = (to >> 12) - (at >> 12)
    return word | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5


def _low(shift: int) -> Callable[[int, int, int], int]:
    return lambda word, to, at: word | (to & 0xFFF) >> shift << 10


def _jump(word: int, to: int, at: int) -> int:
    return word | (to - at) >> 2 & 0x3FFFFFF


#: What a relocation makes of a word of AArch64's code: where it points `to`, and where the word is `at`.
_RULES: dict[int, Callable[[int, int, int], int]] = {
    261: lambda word, to, at: to - at & 0xFFFFFFFF,
    275: _page, 277: _low(0), 278: _low(0), 284: _low(1), 285: _low(2), 286: _low(3), 299: _low(4),
    282: _jump, 283: _jump,
}  # fmt: skip


class Code:
    """Functions of AArch64 from a given address on."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.image = bytearray()
        self.functions: dict[str, int] = {}  #: where they are

    def add(self, objects: list[bytes]) -> None:
        """Put the functions of object files behind those that are there already, and let them find these."""
        for code in objects:
            self._add(Object(code))

    def _add(self, found: Object) -> None:
        assert found.machine == MACHINES["aarch64"]
        places: dict[int, int] = {}
        for number, alignment, contents in found.kept():
            self.image += bytes(-len(self.image) % max(alignment, 1))
            places[number] = self.base + len(self.image)
            self.image += contents
        for name, s in zip(found.names, found.symbols, strict=True):
            if name and int(s["section"]) in places:
                self.functions[name] = places[int(s["section"])] + int(s["value"])
        for number, changes in found.relocations():
            for change in changes:
                name, symbol = found.names[change["symbol"]], found.symbols[change["symbol"]]
                here = places.get(int(symbol["section"]))
                start = self.functions[name] if here is None else here + int(symbol["value"])
                at = places[number] + int(change["offset"])
                self._change(at, int(change["type"]), start + int(change["addend"]))

    def _change(self, at: int, kind: int, to: int) -> None:
        (word,) = struct.unpack_from("<I", self.image, at - self.base)
        struct.pack_into("<I", self.image, at - self.base, _RULES[kind](word, to, at))


def executable(code: Code, start: bytes, data: bytes, base: int, size: int) -> bytes:
    """A program that begins with the instructions `start`; at the address `base` are `size` bytes, `data` and zeros."""
    text = bytes(code.image) + bytes(-len(code.image) % 16)
    entry, text = code.base + len(text), text + start
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head = _HEADER.pack(
        ident, 2, MACHINES["aarch64"], 1, entry, _HEADER.size, 0, 0, _HEADER.size, _SEGMENT.size,
        2, _SECTION.itemsize, 0, 0,
    )  # fmt: skip
    second = _PAGE + len(text) + -len(text) % _PAGE
    head += _SEGMENT.pack(1, 5, _PAGE, code.base, code.base, len(text), len(text), _PAGE)  # read and run
    head += _SEGMENT.pack(1, 6, second, base, base, len(data), size, _PAGE)  # read and write
    return head.ljust(_PAGE, b"\0") + text.ljust(second - _PAGE, b"\0") + data
