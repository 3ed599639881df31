"""Sorting rows of words as code: a network of comparisons, each of vectors, the same for all rows of a length.

Sorted runs of twice the length are made of two in each round: the first is compared with the second in the opposite
order, which leaves two halves, all of the one before all of the other, that rise and fall (bitonic). Within such a
half elements are compared with those half of it away, and so on down to neighbours. Whatever lies behind the end of a
row would be greater than all, and is not looked at. No comparison decides where the code goes on, so nothing has to be
foreseen; loops go around vectors, within a vector lanes are exchanged.

K. Batcher, Sorting networks and their applications, 1968.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...kernel.sorting import Sort
from . import instructions as ir
from .build import I1, I64, Build

#: Vectors that are compared with each other in registers.
_GROUP = 4

#: A vector of words, or two: of keys, and of where they came from.
Words = list[ir.Value]


def lanes_of(s: Sort, build: Build) -> int:
    """Words in one vector: for short rows, no more than they have."""
    return min(build.target.lanes(s.word_bytes), max(4, _power(s.axis.size)))


def whole(s: Sort, lanes: int) -> int:
    """Words of a row with those that fill it up."""
    vectors = -(-s.axis.size // lanes)
    return lanes * -(-vectors // _group(vectors)) * _group(vectors)


def _group(vectors: int) -> int:
    return min(_GROUP, _power(vectors))


def _power(n: int) -> int:
    """The least power of two that is not less than n."""
    return 1 << max(n - 1, 0).bit_length()


def emit_network(build: Build, s: Sort, rows: Sequence[ir.Value]) -> None:
    """Sort the words that lie at `rows` (a second row is where they came from), filled up to whole groups."""
    _Network(build, s, rows).emit()


class _Network:
    def __init__(self, build: Build, s: Sort, rows: Sequence[ir.Value]) -> None:
        self.build, self.b, self.rows = build, build.b, rows
        self.lanes = lanes_of(s, build)
        self.vectors = whole(s, self.lanes) // self.lanes
        self.group = _group(self.vectors)
        self.type = ir.VectorType(ir.IntType(8 * s.word_bytes), self.lanes)

    def emit(self) -> None:
        b, group = self.b, self.group
        with self.build.turns(I64(0), I64(self.vectors), group, "group") as first:
            self._put(first, self._sorted_group(self._get(first)))
        least, most = group.bit_length(), (self.vectors - 1).bit_length()
        if most < least:
            return
        with self.build.turns(I64(least), I64(most + 1), name="round") as level:
            self._halves_opposite(b.shl(I64(1), level))
            with self.build.loop(I64(0), b.sub(level, I64(least)), name="half") as k:
                self._halves(b.shl(I64(1), b.sub(b.sub(level, I64(2)), k)))
            with self.build.loop(I64(0), I64(self.vectors), group, "group") as first:
                self._put(first, self._merged_group(self._get(first), group))

    # -- vectors in memory

    def _halves_opposite(self, width: ir.Value) -> None:
        """Compare the first half of all runs of so many vectors with the second, in the opposite order."""
        b, end = self.b, I64(self.vectors)
        half = b.lshr(width, I64(1))
        with self.build.loop(I64(0), self._runs(width), name="run") as k:
            begin = b.mul(k, width)
            after = b.add(begin, width)
            beyond = b.smax(b.sub(after, end), I64(0))  # there is nothing to compare the first ones with
            with self.build.loop(beyond, half, self.group, "pair") as i:
                for j in range(self.group):
                    left = b.add(b.add(begin, i), I64(j))
                    right = b.sub(b.sub(after, I64(1 + j)), i)
                    low, high = self._exchanged(self._load(left), self._reversed(self._load(right)))
                    self._store(left, low)
                    self._store(right, self._reversed(high))

    def _halves(self, distance: ir.Value) -> None:
        """Compare vectors with those so far behind them, in all runs of twice the length."""
        b, end = self.b, I64(self.vectors)
        width = b.shl(distance, I64(1))
        with self.build.loop(I64(0), self._runs(width), name="run") as k:
            begin = b.mul(k, width)
            with self.build.loop(
                I64(0), b.smin(distance, b.sub(b.sub(end, begin), distance)), self.group, "pair"
            ) as i:
                for j in range(self.group):
                    left = b.add(b.add(begin, i), I64(j))
                    right = b.add(left, distance)
                    low, high = self._exchanged(self._load(left), self._load(right))
                    self._store(left, low)
                    self._store(right, high)

    def _runs(self, width: ir.Value) -> ir.Value:
        """How many runs of so many vectors there are; the last may be shorter."""
        b = self.b
        return b.udiv(b.add(I64(self.vectors - 1), width), width)

    # -- vectors in registers

    def _sorted_group(self, group: list[Words]) -> list[Words]:
        width = 2
        while width <= self.lanes:
            group = [self._within(x, width - 1, width // 2) for x in group]
            group = self._merged_lanes(group, width // 2)
            width *= 2
        width = 2
        while width <= self.group:
            for begin in range(0, self.group, width):
                for i in range(width // 2):
                    left, right = begin + i, begin + width - 1 - i
                    low, high = self._exchanged(group[left], self._reversed(group[right]))
                    group[left], group[right] = low, self._reversed(high)
            group = self._merged_group(group, width // 2)
            width *= 2
        return group

    def _merged_group(self, group: list[Words], width: int) -> list[Words]:
        """Runs of `width` vectors, each of which rises and falls, in order."""
        distance = width // 2
        while distance:
            for left in range(self.group):
                if not left & distance:
                    right = left + distance
                    group[left], group[right] = self._exchanged(group[left], group[right])
            distance //= 2
        return self._merged_lanes(group, self.lanes)

    def _merged_lanes(self, group: list[Words], width: int) -> list[Words]:
        """Runs of `width` lanes, each of which rises and falls, in order."""
        distance = width // 2
        while distance:
            group = [self._within(x, distance, distance) for x in group]
            distance //= 2
        return group

    # -- comparisons

    def _within(self, x: Words, other: int, upper: int) -> Words:
        """Each lane compared with the lane whose number differs by the bits `other`; that with the bit `upper` gets the
        later word."""
        b = self.b
        y = [self.build.shuffled([i ^ other for i in range(self.lanes)], word) for word in x]
        later = ir.Constant(ir.VectorType(I1, self.lanes), [bool(i & upper) for i in range(self.lanes)])
        if len(x) == 1:
            low, high = self._exchanged(x, y)
            return [b.select(later, high[0], low[0])]
        swap = b.xor(self._precedes(y, x), later)
        return [b.select(swap, q, p) for p, q in zip(x, y, strict=True)]

    def _exchanged(self, x: Words, y: Words) -> tuple[Words, Words]:
        """In each lane the word that comes first, and the other."""
        swap, b = self._precedes(y, x), self.b
        low = [b.select(swap, q, p) for p, q in zip(x, y, strict=True)]
        return low, [b.select(swap, p, q) for p, q in zip(x, y, strict=True)]

    def _precedes(self, x: Words, y: Words) -> ir.Value:
        b = self.b
        found = b.icmp_signed("<", x[0], y[0])
        if len(x) == 1:
            return found
        level = b.icmp_signed("==", x[0], y[0])
        return b.or_(found, b.and_(level, b.icmp_signed("<", x[1], y[1])))

    def _reversed(self, x: Words) -> Words:
        return [self.build.reversed(word) for word in x]

    # -- memory

    def _get(self, first: ir.Value) -> list[Words]:
        return [self._load(self.b.add(first, I64(k))) for k in range(self.group)]

    def _put(self, first: ir.Value, group: list[Words]) -> None:
        for k, x in enumerate(group):
            self._store(self.b.add(first, I64(k)), x)

    def _load(self, at: ir.Value) -> Words:
        return [
            self.b.load(self.b.gep(row, [at], source_etype=self.type), typ=self.type) for row in self.rows
        ]

    def _store(self, at: ir.Value, x: Words) -> None:
        for row, word in zip(self.rows, x, strict=True):
            self.b.store(word, self.b.gep(row, [at], source_etype=self.type))
