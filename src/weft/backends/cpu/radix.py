"""Sorting long rows as code: by one byte of the keys after the other, from the lowest on, each pass stable.

A pass puts each key where those with lesser values of a byte end; how many have each value is counted before.
What all keys have in common takes no pass. There are as many passes as a key has bytes, merging has as many as the
length has bits, and waits in each for what it compares.

D. Knuth, The Art of Computer Programming, volume 3, 5.2.5: sorting by distribution, least significant digit first.
"""

from __future__ import annotations

from ...ir.dtype import DType, int64
from ...kernel.sorting import Sort
from . import instructions as ir
from .build import I8, I64, LINE, Build

#: Values of a byte.
_VALUES = 256

#: Elements for each byte of a key, at least: for fewer the counts take longer than the elements.
_LONG = 10


def suits(s: Sort) -> bool:
    """Whether rows are so long that passes over bytes take less time than merging."""
    return s.axis.size >= _LONG * s.dtype.itemsize


def emit_radix(build: Build, s: Sort) -> None:
    """The body of a function sort(keys, origins, n), as `sorting` calls it."""
    _Passes(build, s).emit()


class _Passes:
    """The passes over one row."""

    def __init__(self, build: Build, s: Sort) -> None:
        self.build, self.b, self.s = build, build.b, s
        self.keys, self.origins, self.size = build.function.args
        self.bytes = _rank_type(s.dtype).width // 8
        self.counts = self.b.alloca(I64, self.bytes * _VALUES, LINE)

    def emit(self) -> None:
        b = self.b
        source = self.build.slot(I64)
        b.store(I64(0), source)
        self._count()
        for byte in range(self.bytes):
            row = b.load(source, typ=I64)
            _, rank = self._key(row)
            same = b.load(self._counter(rank, byte), typ=I64)
            with b.if_then(b.icmp_signed("!=", same, self.size)):
                other = b.sub(self.size, row)  # rows start at element 0 and element n
                self._distribute(byte, row, other)
                b.store(other, source)
        b.ret(b.load(source, typ=I64))

    def _count(self) -> None:
        """How many keys there are with each value of each byte."""
        b = self.b
        with self.build.loop(I64(0), I64(self.bytes * _VALUES), name="clear") as i:
            b.store(I64(0), b.gep(self.counts, [i], source_etype=I64))
        with self.build.loop(I64(0), self.size, name="count") as k:
            _, rank = self._key(k)
            for byte in range(self.bytes):
                at = self._counter(rank, byte)
                b.store(b.add(b.load(at, typ=I64), I64(1)), at)

    def _distribute(self, byte: int, source: ir.Value, target: ir.Value) -> None:
        """Move the keys of one row to the other, in the order of a byte."""
        b, build = self.b, self.build
        before = build.slot(I64)
        b.store(I64(0), before)
        with build.loop(I64(0), I64(_VALUES), name="before") as i:
            at = b.gep(self.counts, [b.add(i, I64(byte * _VALUES))], source_etype=I64)
            first, count = b.load(before, typ=I64), b.load(at, typ=I64)
            b.store(first, at)
            b.store(b.add(first, count), before)
        with build.loop(I64(0), self.size, name="move") as k:
            here = b.add(source, k)
            key, rank = self._key(here)
            at = self._counter(rank, byte)
            place = b.load(at, typ=I64)
            b.store(b.add(place, I64(1)), at)
            there = b.add(target, place)
            build.store(self.keys, there, key, self.s.dtype)
            if self.s.positions:
                build.store(self.origins, there, build.load(self.origins, here, int64), int64)

    def _key(self, at: ir.Value) -> tuple[ir.Value, ir.Value]:
        """A key, and its rank."""
        key = self.build.load(self.keys, at, self.s.dtype)
        return key, rank_of(self.build, key, self.s.dtype, self.s.descending)

    def _counter(self, rank: ir.Value, byte: int) -> ir.Value:
        """Where the keys with the same value of a byte are counted."""
        b = self.b
        value = rank if rank.type.width == 8 else b.trunc(b.lshr(rank, ir.Constant(rank.type, 8 * byte)), I8)
        return b.gep(self.counts, [b.add(b.zext(value, I64), I64(byte * _VALUES))], source_etype=I64)


def _rank_type(dtype: DType) -> ir.IntType:
    """Unsigned integers of the size of a number in a register; 16-bit floats are widened there."""
    return ir.IntType(max(dtype.bits, 32 if dtype.kind == "f" else 8))


def rank_of(build: Build, x: ir.Value, dtype: DType, descending: bool) -> ir.Value:
    """An unsigned integer in the order of numbers that `precedes` has: zeros are equal, and so are NaN, the last.

    The bits of floats are in the order of their magnitudes, below the sign: they are turned around where that is set.
    """
    b, type_ = build.b, _rank_type(dtype)
    sign, all_ones = ir.Constant(type_, 1 << (type_.width - 1)), ir.Constant(type_, (1 << type_.width) - 1)
    if dtype.kind != "f":
        rank = b.zext(x, type_) if dtype.kind == "b" else b.xor(x, sign) if dtype.kind == "i" else x
        return b.not_(rank) if descending else rank
    zero = ir.Constant(type_, 0)
    bits = b.select(b.fcmp_ordered("==", x, build.const(0.0, x.type)), zero, b.bitcast(x, type_))
    rank = b.select(b.icmp_signed("<", bits, zero), b.not_(bits), b.xor(bits, sign))
    return b.select(b.fcmp_unordered("uno", x, x), all_ones, b.not_(rank) if descending else rank)
