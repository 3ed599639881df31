"""Sorting as code: rows become words in scratch memory, which `networks` sorts, or `radix` where rows are long.

Neither knows of anything but integers of which equal ones are identical. Two numbers that are equal and not identical,
as zeros of different sign and some NaN are, have one word: a row with such gets them a second time, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...ir.dtype import int64
from ...kernel.sorting import Sort
from ...kernel.target import Target
from . import instructions as ir
from .build import I8, I64, KERNEL, Build, like, suffix
from .expressions import Expressions
from .networks import emit_network, lanes_of, whole
from .order import key_of, number_of
from .places import Lanes
from .radix import emit_radix


def emit_sort(module: ir.Module, s: Sort, target: Target) -> ir.Function:
    """Add the function of one sort to `module`."""
    function = ir.Function(module, KERNEL, s.name)
    build = Build(module, function, target)
    rows = _Rows(build, s)
    begin, end = function.args[1:3]
    if s.axis.size:
        with build.loop(begin, end, name="row") as row:
            rows.emit(row)
    build.b.ret_void()
    return function


class _Rows(Expressions):
    """The rows of one sort, one after the other."""

    def __init__(self, build: Build, s: Sort) -> None:
        super().__init__(build, (*s.inputs, *s.outputs, *((int64,) if s.beside else ())), s.checked)
        self.s, self.lanes = s, lanes_of(s, build)
        self.words = self.bases[-1] if s.beside else build.scratch(s.scratch(build.target))
        self.word = ir.IntType(8 * s.word_bytes)
        self.key = ir.IntType(8 * s.key_bytes)
        #: the bits of all elements that are not those of the number that their word stands for
        self.lost = build.slot(like(self.key, self.lanes))

    def emit(self, row: ir.Value) -> None:
        s, values, position = self.s, {}, row
        if s.beside:
            self.words = self.b.gep(self.bases[-1], [self.b.mul(row, I64(s.row_bytes))], source_etype=I8)
        for v in reversed(s.outer):
            values[v], position = self.b.urem(position, I64(v.size)), self.b.udiv(position, I64(v.size))
        outer = Lanes(values)
        inexact = s.dtype.kind == "f" and not s.positions
        if inexact:
            self.b.store(self.build.const(0, like(self.key, self.lanes)), self.lost)
        self._fill(outer, inexact)
        if s.by_digits(self.build.target):
            first = emit_radix(self.build, s, self.words)
        else:
            emit_network(self.build, s, [self._row(k * s.row_words) for k in range(1 + s.pairs)])
            first = I64(0)
        self._drain(outer, first)
        if inexact:
            with self.b.if_then(self._any_lost(), likely=False):
                self._put_again(outer)

    def _along(self, outer: Lanes) -> Iterator[Lanes]:
        """Whole vectors along the axis, and the rest."""
        axis, n, lanes = self.s.axis, self.s.axis.size, self.lanes
        if n >= lanes:
            with self.build.turns(I64(0), I64(n // lanes * lanes), lanes, "k") as k:
                yield replace(outer.at(axis, k), vector=axis, count=lanes, every=lanes)
        if n % lanes:
            mask, at = self.build.first_lanes(n % lanes, lanes), I64(n // lanes * lanes)
            yield replace(outer.at(axis, at), vector=axis, count=lanes, mask=mask, every=lanes)

    def _row(self, start: int) -> ir.Value:
        return self.b.gep(self.words, [I64(start)], source_etype=self.word)

    # -- there

    def _fill(self, outer: Lanes, inexact: bool) -> None:
        """Words in place of the elements; behind them, such as come after all."""
        s, b, build = self.s, self.b, self.build
        last = (1 << (8 * s.word_bytes - 1)) - 1
        for lanes in self._along(outer):
            at = lanes.values[s.axis]
            x = build.splat(self.value(s.value, lanes, {}), self.lanes)
            key = key_of(build, x, s.dtype, s.descending)
            if inexact:
                changed = b.xor(b.bitcast(x, key.type), b.bitcast(self._number(key), key.type))
                b.store(b.or_(b.load(self.lost, typ=key.type), changed), self.lost)
            words = [key]
            if s.positions:
                here = b.add(build.splat(at, self.lanes), build.iota(I64, self.lanes))
                words = [key, here] if s.pairs else [self._with_position(key, here)]
            for k, word in enumerate(words):
                if lanes.mask is not None:
                    word = b.select(lanes.mask, word, build.const(last, word.type))
                self._store(word, b.add(at, I64(k * s.row_words)))
        beyond = -(-s.axis.size // self.lanes) * self.lanes
        for at in range(beyond, whole(s, self.lanes), self.lanes):
            for k in range(1 + s.pairs):
                rest = build.const(last, like(self.word, self.lanes))
                self._store(rest, I64(at + k * s.row_words))

    def _with_position(self, key: ir.Value, here: ir.Value) -> ir.Value:
        b = self.b
        return b.or_(b.shl(b.sext(key, here.type), self.build.const(32, here.type)), here)

    # -- and back

    def _drain(self, outer: Lanes, first: ir.Value) -> None:
        """The words of a row, which begins at word `first`, as elements or positions."""
        s, b = self.s, self.b
        for lanes in self._along(outer):
            at = b.add(first, lanes.values[s.axis])
            word = self._load_words(b.add(at, I64(s.row_words)) if s.pairs else at)
            if not s.positions:
                value = self._number(word)
            elif s.pairs:
                value = word
            else:
                value = b.and_(word, self.build.const((1 << 32) - 1, word.type))
            self._put(lanes, value)

    def _put(self, lanes: Lanes, value: ir.Value) -> None:
        place = self.s.place
        self.put(len(self.s.inputs), self.index(place, lanes), place.stride(self.s.axis), value, lanes)

    def _number(self, key: ir.Value) -> ir.Value:
        return number_of(self.build, key, self.s.dtype, self.s.descending)

    def _any_lost(self) -> ir.Value:
        lost = self.b.load(self.lost, typ=like(self.key, self.lanes))
        found = self.build.intrinsic(f"llvm.vector.reduce.or.{suffix(lost.type)}", self.key, (lost,))
        return self.b.icmp_signed("!=", found, self.key(0))

    def _put_again(self, outer: Lanes) -> None:
        """The zeros and NaN of a row in the order in which they came."""
        s, b, build = self.s, self.b, self.build
        size = I64(s.axis.size)
        zeros, nans = build.slot(I64), build.slot(I64)  # where the next one goes
        b.store(I64(0), zeros)
        b.store(size, nans)

        def count(slot: ir.Value, by: ir.Value) -> None:
            b.store(b.add(b.load(slot, typ=I64), by), slot)

        def element(k: ir.Value) -> tuple[Lanes, ir.Value, ir.Value]:
            lanes = outer.at(s.axis, k)
            x = self.value(s.value, lanes, {})
            return lanes, x, build.const(0.0, x.type)

        with build.loop(I64(0), size, name="count") as k:
            _, x, zero = element(k)
            count(zeros, b.zext(b.fcmp_ordered(">" if s.descending else "<", x, zero), I64))
            count(nans, b.sext(b.fcmp_unordered("uno", x, x), I64))
        with build.loop(I64(0), size, name="again") as k:
            lanes, x, zero = element(k)
            for slot, among in (
                (zeros, b.fcmp_ordered("==", x, zero)),
                (nans, b.fcmp_unordered("uno", x, x)),
            ):
                with b.if_then(among):
                    self._put(lanes.at(s.axis, b.load(slot, typ=I64)), x)
                    count(slot, I64(1))

    # -- scratch memory

    def _load_words(self, at: ir.Value) -> ir.Value:
        pointer = self.b.gep(self.words, [at], source_etype=self.word)
        return self.b.load(pointer, align=self.s.word_bytes, typ=like(self.word, self.lanes))

    def _store(self, words: ir.Value, at: ir.Value) -> None:
        pointer = self.b.gep(self.words, [at], source_etype=self.word)
        self.b.store(words, pointer, align=self.s.word_bytes)
