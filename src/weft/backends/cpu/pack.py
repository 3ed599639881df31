"""Copying operands: into panels whose columns lie next to each other, into rows; 16-bit floats are widened."""

# llvmlite.ir has no annotations: what pyright infers of its values is wrong.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...ir.dtype import int16
from ...kernel.tiles import Tap, Tiles
from . import instructions as ir
from .build import I32, I64, Build


def pack_panel(
    build: Build,
    type_: ir.Type,
    t: Tiles,
    source: ir.Value,
    target: ir.Value,
    columns: tuple[int, int],
    step: int,
    panels: tuple[ir.Value, int],
) -> None:
    """target[k * step + n] = source[n * stride + k...]: so many columns n, filled up with zeros to so many.

    So many `panels` of them, whose columns follow each other, each so many elements behind the one before.
    """
    _Packer(build, type_, t, columns, step, panels).taps(source, target, t.taps)


class _Packer:
    """The second operand as panels."""

    def __init__(
        self,
        build: Build,
        type_: ir.Type,
        t: Tiles,
        columns: tuple[int, int],
        step: int,
        panels: tuple[ir.Value, int],
    ) -> None:
        self.build = build
        self.b = build.b
        self.type = type_
        self.t = t
        self.columns, self.width = columns
        self.panels, self.panel_size = panels
        self.step = step  #: from one row of the panel to the next
        self.lanes = build.target.lanes(t.dtype.itemsize)
        self.vector = ir.VectorType(type_, self.lanes)
        self.size = t.dtype.itemsize
        self.source = t.type_of(t.b)

    def _offset(self, base: ir.Value, by: ir.Value) -> ir.Value:
        return self.b.gep(base, [by], source_etype=self.type)

    def _read(self, source: ir.Value, at: ir.Value, lanes: int, mask: ir.Value | None = None) -> ir.Value:
        return self.build.load(source, at, self.source, lanes, mask)

    def taps(self, source: ir.Value, target: ir.Value, taps: tuple[Tap, ...]) -> None:
        """Loops over all taps but the last, which is packed as a matrix."""
        tap, *rest = taps
        if not rest:
            self._matrix(source, target, tap)
            return
        inner = self.step
        for r in rest:
            inner *= r.count
        with self.build.loop(I64(0), I64(tap.count), name="pack.tap") as k:
            from_ = self.build.address(source, self.b.mul(k, I64(tap.b)), self.source)
            self.taps(from_, self._offset(target, self.b.mul(k, I64(inner))), tuple(rest))

    def _rows(self, source: ir.Value, target: ir.Value, tap: Tap) -> None:
        """A matrix whose columns lie next to each other already: row by row."""
        over = self.columns % self.lanes
        mask = self.build.first_lanes(over, self.lanes)
        for from_, to in self._places(target, tap):
            for v in range(0, self.width, self.lanes):
                whole = v + self.lanes <= self.columns
                x = self._read(source, self.b.add(from_, I64(v)), self.lanes, None if whole else mask)
                self.b.store(x, self._offset(to, I64(v)), align=self.size)

    def _pairs(self, source: ir.Value, target: ir.Value, tap: Tap) -> None:
        """The same of 16-bit numbers: those of two rows as words."""
        mask = self.build.first_lanes(self.columns % self.lanes, self.lanes)
        for from_, to in self._places(target, tap):
            for v in range(0, self.width, self.lanes):
                part = None if v + self.lanes <= self.columns else mask
                words = _pairs(self.build, source, self.b.add(from_, I64(v)), tap.b // 2, self.lanes, part)
                self.b.store(words, self._offset(to, I64(v)), align=self.size)

    def _places(self, target: ir.Value, tap: Tap) -> Iterator[tuple[ir.Value, ir.Value]]:
        """Loops over the steps and, for each of them, over the panels: where it lies, and where it goes to."""
        loop = self.build.loop
        with loop(I64(0), I64(tap.count), name="pack.row") as k, loop(I64(0), self.panels, name="pack") as j:
            from_ = self.b.add(self.b.mul(k, I64(tap.b)), self.b.mul(j, I64(self.width)))
            to = self.b.add(self.b.mul(k, I64(self.step)), self.b.mul(j, I64(self.panel_size)))
            yield from_, self._offset(target, to)

    def _matrix(self, source: ir.Value, target: ir.Value, tap: Tap) -> None:
        if self.t.b.stride == 1:
            (self._pairs if self.t.wide else self._rows)(source, target, tap)
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


def _pairs(
    build: Build, source: ir.Value, at: ir.Value, apart: int, lanes: int, mask: ir.Value | None
) -> ir.Value:
    """16-bit numbers from two places, `apart`, as the halves of words."""
    parts = [build.load(source, build.b.add(at, I64(x)), int16, lanes, mask) for x in (0, apart)]
    order = [k // 2 + k % 2 * lanes for k in range(2 * lanes)]
    mixed = build.b.shuffle_vector(*parts, ir.Constant(ir.VectorType(I32, 2 * lanes), order))
    return build.b.bitcast(mixed, ir.VectorType(I32, lanes))


def pack_rows(
    build: Build,
    type_: ir.Type,
    t: Tiles,
    source: ir.Value,
    target: ir.Value,
    height: int,
    steps: tuple[int, int],
    count: ir.Value,
    tiles: ir.Value,
) -> None:
    """target[r * steps[0] + k... * steps[1]] = source[r * stride + k...], r < height, k < `count` in the first tap.

    The rows of so many `tiles` if they are neighbours; else of one of them.
    """
    _RowPacker(build, type_, t, height, steps, tiles).taps(source, target, t.taps, count)


class _RowPacker:
    """Rows of the first operand: next to each other where they are in memory, else each as a run of steps."""

    def __init__(
        self,
        build: Build,
        type_: ir.Type,
        t: Tiles,
        height: int,
        steps: tuple[int, int],
        tiles: ir.Value,
    ) -> None:
        self.build = build
        self.b = build.b
        self.type = type_
        self.height = height
        self.tiles = tiles
        self.stride = t.a.stride
        self.pairs = t.wide and t.a.stride == 1  #: whether words are made of neighbouring numbers
        self.apart = t.taps[-1].a // 2  #: the two of a word
        self.row, self.step = steps
        self.lanes = build.target.lanes(t.dtype.itemsize)
        self.size = t.dtype.itemsize
        self.source = t.type_of(t.a)

    def taps(self, source: ir.Value, target: ir.Value, taps: tuple[Tap, ...], count: ir.Value) -> None:
        """Loops over all taps but the last."""
        tap, *rest = taps
        if not rest:
            self._matrix(source, target, tap, count)
            return
        inner = self.step
        for r in rest:
            inner *= r.count
        with self.build.loop(I64(0), count, name="rows.tap") as k:
            from_ = self.build.address(source, self.b.mul(k, I64(tap.a)), self.source)
            to = self._offset(target, self.b.mul(k, I64(inner)))
            self.taps(from_, to, tuple(rest), I64(rest[0].count))

    def _offset(self, base: ir.Value, by: ir.Value) -> ir.Value:
        return self.b.gep(base, [by], source_etype=self.type)

    def _move(
        self, source: ir.Value, at: ir.Value, target: ir.Value, to: ir.Value, lanes: int, mask: Any
    ) -> None:
        if self.pairs:
            x = _pairs(self.build, source, at, self.apart, lanes, mask)
        else:
            x = self.build.load(source, at, self.source, lanes, mask)
        self.b.store(x, self._offset(target, to), align=self.size)

    def _words(self, source: ir.Value, target: ir.Value, tap: Tap) -> None:
        """Rows of words from neighbouring 16-bit numbers, by squares whose columns become rows."""

        def squares(k: ir.Value, count: int) -> None:
            at = self.b.mul(k, I64(tap.a))
            for top in range(0, self.height, self.lanes):
                rows = min(self.lanes, self.height - top)
                mask = None if rows == self.lanes else self.build.first_lanes(rows, self.lanes)
                here = [self.b.add(at, I64(j * tap.a + top)) for j in range(count)]
                words = [_pairs(self.build, source, x, self.apart, self.lanes, mask) for x in here]
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
            self._words(source, target, tap)
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
