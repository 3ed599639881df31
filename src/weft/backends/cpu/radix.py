"""Sorting long rows of words as code: by one byte after the other, from the lowest on, each pass stable.

A pass puts each word where those with lesser values of a byte end; how many have each value is counted before.
What all words have in common takes no pass. There are as many passes as an element has bytes; a network has as many as
the square of the bits of the length.

D. Knuth, The Art of Computer Programming, volume 3, 5.2.5: sorting by distribution, least significant digit first.
"""

from __future__ import annotations

from ...kernel.sorting import Sort
from . import instructions as ir
from .build import I8, I64, LINE, Build

#: Values of a byte.
_VALUES = 256


def emit_radix(build: Build, s: Sort, words: ir.Value) -> ir.Value:
    """Sort a row of words: at `words`, or behind them, as many more; gives the number of its first word."""
    return _Passes(build, s, words).emit()


class _Passes:
    """The passes over one row."""

    def __init__(self, build: Build, s: Sort, words: ir.Value) -> None:
        self.build, self.b, self.s, self.words = build, build.b, s, words
        self.word = ir.IntType(8 * s.word_bytes)
        #: the lowest bit to sort by: a position may lie below
        self.low = 8 * (s.word_bytes - s.key_bytes)
        #: the byte with the sign; small unsigned integers have none
        self.sign = s.digits - 1 if s.dtype.kind in "if" or s.digits == s.key_bytes else None
        self.size = I64(s.axis.size)
        with self.b.goto_entry_block():
            self.counts = self.b.alloca(I64, s.digits * _VALUES, LINE)

    def emit(self) -> ir.Value:
        b, s = self.b, self.s
        source = self.build.slot(I64)
        b.store(I64(0), source)
        self._count()
        for digit in range(s.digits):
            row = b.load(source, typ=I64)
            same = b.load(self._counter(self._load(row), digit), typ=I64)
            with b.if_then(b.icmp_signed("!=", same, self.size)):
                other = b.sub(I64((1 + s.pairs) * s.row_words), row)
                self._distribute(digit, row, other)
                b.store(other, source)
        return b.load(source, typ=I64)

    def _count(self) -> None:
        """How many words there are with each value of each byte."""
        b = self.b
        with self.build.loop(I64(0), I64(self.s.digits * _VALUES), name="clear") as i:
            b.store(I64(0), b.gep(self.counts, [i], source_etype=I64))
        with self.build.loop(I64(0), self.size, name="count") as k:
            word = self._load(k)
            for digit in range(self.s.digits):
                at = self._counter(word, digit)
                b.store(b.add(b.load(at, typ=I64), I64(1)), at)

    def _distribute(self, digit: int, source: ir.Value, target: ir.Value) -> None:
        """Move the words of one row to the other, in the order of a byte."""
        b, build = self.b, self.build
        before = build.slot(I64)
        b.store(I64(0), before)
        with build.loop(I64(0), I64(_VALUES), name="before") as i:
            # a signed number begins with its sign: the upper half of the values of its highest byte comes first
            value = b.xor(i, I64(_VALUES // 2)) if digit == self.sign else i
            at = b.gep(self.counts, [b.add(value, I64(digit * _VALUES))], source_etype=I64)
            first, count = b.load(before, typ=I64), b.load(at, typ=I64)
            b.store(first, at)
            b.store(b.add(first, count), before)
        with build.loop(I64(0), self.size, name="move") as k:
            here = b.add(source, k)
            word = self._load(here)
            at = self._counter(word, digit)
            place = b.load(at, typ=I64)
            b.store(b.add(place, I64(1)), at)
            there = b.add(target, place)
            self._store(word, there)
            if self.s.pairs:
                beside = I64(self.s.row_words)
                self._store(self._load(b.add(here, beside)), b.add(there, beside))

    def _counter(self, word: ir.Value, digit: int) -> ir.Value:
        """Where the words with the same value of a byte are counted."""
        b = self.b
        value = b.trunc(b.lshr(word, ir.Constant(word.type, self.low + 8 * digit)), I8)
        return b.gep(self.counts, [b.add(b.zext(value, I64), I64(digit * _VALUES))], source_etype=I64)

    def _load(self, at: ir.Value) -> ir.Value:
        return self.b.load(self._address(at), typ=self.word)

    def _store(self, word: ir.Value, at: ir.Value) -> None:
        self.b.store(word, self._address(at))

    def _address(self, at: ir.Value) -> ir.Value:
        return self.b.gep(self.words, [at], source_etype=self.word)
