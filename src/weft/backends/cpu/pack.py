"""Copying operands: into panels whose columns lie next to each other, into rows; 16-bit floats are widened."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...ir.dtype import int16
from ...kernel.tiles import Operand, Tap, Tiles
from . import instructions as ir
from .build import I32, I64, Build, register_type


class _Packer:
    """Copies an operand, tap by tap; the last tap, and rows or columns, make a matrix."""

    def __init__(self, build: Build, t: Tiles, operand: Operand, step: int) -> None:
        self.build = build
        self.b = build.b
        self.t = t
        self.type = register_type(t.dtype)
        self.lanes = build.target.lanes(t.dtype.itemsize)
        self.vector = ir.VectorType(self.type, self.lanes)
        self.size = t.dtype.itemsize
        self.source = t.type_of(operand)
        self.step = step  #: from one step of the innermost tap to the next, where it is copied to

    def _offset(self, base: ir.Value, by: ir.Value) -> ir.Value:
        return self.b.gep(base, [by], source_etype=self.type)

    def _taps(self, source: ir.Value, target: ir.Value, taps: tuple[Tap, ...], count: ir.Value) -> None:
        """Loops over all taps but the last; so many steps of the first of them."""
        tap, *rest = taps
        if not rest:
            self._matrix(source, target, tap, count)
            return
        inner = self.step * math.prod([r.count for r in rest])
        with self.build.loop(I64(0), count, name="pack.tap") as k:
            from_ = self.build.address(source, self.b.mul(k, I64(self._apart(tap))), self.source)
            to = self._offset(target, self.b.mul(k, I64(inner)))
            self._taps(from_, to, tuple(rest), I64(rest[0].count))

    def _apart(self, tap: Tap) -> int:
        """How far the operand moves for a step of a tap."""
        raise NotImplementedError

    def _matrix(self, source: ir.Value, target: ir.Value, tap: Tap, count: ir.Value) -> None:
        """So many steps of the last tap."""
        raise NotImplementedError


class PanelPacker(_Packer):
    """The second operand as panels: target[k * step + n] = source[n * stride + k...].

    Panels have so many `columns`, filled up with zeros to so many. So many `panels` of them, whose columns follow each
    other, are made at once, each so many elements behind the one before.
    """

    def __init__(
        self, build: Build, t: Tiles, columns: tuple[int, int], step: int, panels: tuple[ir.Value, int]
    ) -> None:
        super().__init__(build, t, t.b, step)
        self.columns, self.width = columns
        self.panels, self.panel_size = panels

    def copy(self, source: ir.Value, target: ir.Value) -> None:
        self._taps(source, target, self.t.taps, I64(self.t.taps[0].count))

    def _apart(self, tap: Tap) -> int:
        return tap.b

    def _read(self, source: ir.Value, at: ir.Value, lanes: int, mask: ir.Value | None = None) -> ir.Value:
        return self.build.load(source, at, self.source, lanes, mask)

    def _rows(self, source: ir.Value, target: ir.Value, tap: Tap) -> None:
        """A matrix whose columns lie next to each other already: row by row."""
        over = self.columns % self.lanes
        mask = self.build.first_lanes(over, self.lanes)
        for from_, to in self._places(target, tap):
            for v in range(0, self.width, self.lanes):
                whole = v + self.lanes <= self.columns
                x = self._read(source, self.b.add(from_, I64(v)), self.lanes, None if whole else mask)
                self.b.store(x, self._offset(to, I64(v)), align=self.size)

    def _paired_rows(self, source: ir.Value, target: ir.Value, tap: Tap) -> None:
        """The same of 16-bit numbers: those of two rows as words."""
        mask = self.build.first_lanes(self.columns % self.lanes, self.lanes)
        for from_, to in self._places(target, tap):
            for v in range(0, self.width, self.lanes):
                part = None if v + self.lanes <= self.columns else mask
                words = _words(self.build, source, self.b.add(from_, I64(v)), tap.b // 2, self.lanes, part)
                self.b.store(words, self._offset(to, I64(v)), align=self.size)

    def _places(self, target: ir.Value, tap: Tap) -> Iterator[tuple[ir.Value, ir.Value]]:
        """Loops over the steps and, for each of them, over the panels: where it lies, and where it goes to."""
        loop = self.build.loop
        with loop(I64(0), I64(tap.count), name="pack.row") as k, loop(I64(0), self.panels, name="pack") as j:
            from_ = self.b.add(self.b.mul(k, I64(tap.b)), self.b.mul(j, I64(self.width)))
            to = self.b.add(self.b.mul(k, I64(self.step)), self.b.mul(j, I64(self.panel_size)))
            yield from_, self._offset(target, to)

    def _matrix(self, source: ir.Value, target: ir.Value, tap: Tap, count: ir.Value) -> None:
        del count  # panels have all steps of the tap
        if self.t.b.stride == 1:
            (self._paired_rows if self.t.wide else self._rows)(source, target, tap)
            return
        with self.build.loop(I64(0), self.panels, name="pack") as j:
            from_ = self.build.address(source, self.b.mul(j, I64(self.width * self.t.b.stride)), self.source)
            self._across(from_, self._offset(target, self.b.mul(j, I64(self.panel_size))), tap)

    def _across(self, source: ir.Value, target: ir.Value, tap: Tap) -> None:
        """A matrix whose steps, perhaps, lie next to each other: squares of them are turned, else one is copied."""
        if tap.b != 1 or self.lanes == 1:
            self._one_by_one(source, target, tap)
            return
        whole = tap.count - tap.count % self.lanes
        with self.build.loop(I64(0), I64(whole), self.lanes, name="pack.k") as k:
            self._squares(source, target, k, self.lanes)
        if whole < tap.count:
            self._squares(source, target, I64(whole), tap.count - whole)

    def _one_by_one(self, source: ir.Value, target: ir.Value, tap: Tap) -> None:
        loop = self.build.loop
        if self.columns < self.width:
            with loop(I64(0), I64(tap.count), name="pack.zero") as k:
                at = self.b.add(self.b.mul(k, I64(self.step)), I64(self.width - self.lanes))
                self.b.store(self.build.const(0, self.vector), self._offset(target, at), align=self.size)
        with loop(I64(0), I64(self.columns)) as n, loop(I64(0), I64(tap.count)) as k:
            at = self.b.add(self.b.mul(n, I64(self.t.b.stride)), self.b.mul(k, I64(tap.b)))
            x = self._read(source, at, 1)
            to = self._offset(target, self.b.add(self.b.mul(k, I64(self.step)), n))
            self.b.store(x, to, align=self.size)

    def _squares(self, source: ir.Value, target: ir.Value, k: ir.Value, steps: int) -> None:
        """So many steps from k on, of each vector of columns: read along k and written along n."""
        n = self.lanes
        mask = None if steps == n else self.build.first_lanes(steps, n)
        for v in range(0, self.width, n):
            count = min(n, self.columns - v)
            places = [self.b.add(k, I64((v + j) * self.t.b.stride)) for j in range(count)]
            columns = [self._read(source, at, n, mask) for at in places]
            columns += [self.build.const(0, self.vector)] * (n - count)
            for r, row in enumerate(self.build.transposed(columns)[:steps]):
                at = self.b.add(self.b.mul(self.b.add(k, I64(r)), I64(self.step)), I64(v))
                self.b.store(row, self._offset(target, at), align=self.size)


def _words(
    build: Build, source: ir.Value, at: ir.Value, apart: int, lanes: int, mask: ir.Value | None
) -> ir.Value:
    """16-bit numbers from two places, `apart`, as the halves of words."""
    x, y = (build.load(source, build.b.add(at, I64(k)), int16, lanes, mask) for k in (0, apart))
    order = [k // 2 + k % 2 * lanes for k in range(2 * lanes)]
    return build.b.bitcast(build.shuffled(order, x, y), ir.VectorType(I32, lanes))


class RowPacker(_Packer):
    """Rows of the first operand: target[r * steps[0] + k... * steps[1]] = source[r * stride + k...], r < height.

    They lie next to each other where they do in memory, those of so many `tiles`; else each is a run of steps, and
    those of one tile are copied.
    """

    def __init__(self, build: Build, t: Tiles, height: int, steps: tuple[int, int], tiles: ir.Value) -> None:
        super().__init__(build, t, t.a, steps[1])
        self.height = height
        self.tiles = tiles
        self.stride = t.a.stride
        self.row = steps[0]
        self.pairs = t.wide and t.a.stride == 1  #: whether words are made of neighbouring numbers
        self.apart = t.taps[-1].a // 2  #: the two of a word

    def copy(self, source: ir.Value, target: ir.Value, count: ir.Value) -> None:
        """So many steps of the first tap."""
        self._taps(source, target, self.t.taps, count)

    def _apart(self, tap: Tap) -> int:
        return tap.a

    def _move(
        self,
        source: ir.Value,
        at: ir.Value,
        target: ir.Value,
        to: ir.Value,
        lanes: int,
        mask: ir.Value | None,
    ) -> None:
        if self.pairs:
            x = _words(self.build, source, at, self.apart, lanes, mask)
        else:
            x = self.build.load(source, at, self.source, lanes, mask)
        self.b.store(x, self._offset(target, to), align=self.size)

    def _rows_of_words(self, source: ir.Value, target: ir.Value, tap: Tap) -> None:
        """Rows of words from neighbouring 16-bit numbers, by squares whose columns become rows."""

        def squares(k: ir.Value, count: int) -> None:
            at = self.b.mul(k, I64(tap.a))
            for top in range(0, self.height, self.lanes):
                rows = min(self.lanes, self.height - top)
                mask = None if rows == self.lanes else self.build.first_lanes(rows, self.lanes)
                here = [self.b.add(at, I64(j * tap.a + top)) for j in range(count)]
                words = [_words(self.build, source, x, self.apart, self.lanes, mask) for x in here]
                words += [self.build.const(0, words[0].type)] * (self.lanes - count)
                for r, row in enumerate(self.build.transposed(words)[:rows]):
                    to = self._offset(target, self.b.add(k, I64((top + r) * self.row)))
                    self.b.store(row, to, align=self.size)

        whole = tap.count // self.lanes * self.lanes
        with self.build.loop(I64(0), I64(whole), self.lanes, name="rows.pairs") as k:
            squares(k, self.lanes)
        if whole < tap.count:
            squares(I64(whole), tap.count - whole)

    def _matrix(self, source: ir.Value, target: ir.Value, tap: Tap, count: ir.Value) -> None:
        loop = self.build.loop
        if self.pairs and self.row != 1:
            self._rows_of_words(source, target, tap)
            return
        if self.row == 1:
            self._neighbours(source, target, tap, count)
            return
        whole = self.b.and_(count, I64(-self.lanes)) if tap.a == 1 else I64(0)
        with loop(I64(0), I64(self.height), name="rows.row") as r:
            at, to = self.b.mul(r, I64(self.stride)), self.b.mul(r, I64(self.row))
            if tap.a == 1:
                with loop(I64(0), whole, self.lanes, name="rows.k") as k:
                    self._move(source, self.b.add(at, k), target, self.b.add(to, k), self.lanes, None)
            with loop(whole, count, name="rows.rest") as k:
                from_ = self.b.add(at, self.b.mul(k, I64(tap.a)))
                self._move(source, from_, target, self.b.add(to, k), 1, None)

    def _neighbours(self, source: ir.Value, target: ir.Value, tap: Tap, count: ir.Value) -> None:
        """Rows that are neighbours stay so: step by step, those of all tiles."""
        b, n = self.b, self.lanes
        rows = b.mul(self.tiles, I64(self.height))
        whole = b.and_(rows, I64(-n))
        lanes = ir.Constant(ir.VectorType(I64, n), list(range(n)))
        mask = b.icmp_signed("<", lanes, self.build.splat(b.sub(rows, whole), n))
        with self.build.loop(I64(0), count, name="rows.k") as k:
            at, to = b.mul(k, I64(tap.a)), b.mul(k, I64(self.step))
            with self.build.loop(I64(0), whole, n, name="rows.r") as r:
                self._move(source, b.add(at, r), target, b.add(to, r), n, None)
            self._move(source, b.add(at, whole), target, b.add(to, whole), n, mask)
