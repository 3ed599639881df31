"""Copying an operand into panels whose columns lie next to each other."""

# llvmlite.ir has no annotations: what pyright infers of its values is wrong.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportAssignmentType=false

from __future__ import annotations

from ...kernel.tiles import Tap, Tiles
from . import instructions as ir
from .build import I1, I64, Build, suffix


def pack_panel(
    build: Build, type_: ir.Type, t: Tiles, source: ir.Value, target: ir.Value, columns: int, width: int
) -> None:
    """target[k..., n] = source[n * stride + k...], n < columns, filled with zeros up to `width`."""
    _Packer(build, type_, t, columns, width).taps(source, target, t.taps)


class _Packer:
    def __init__(self, build: Build, type_: ir.Type, t: Tiles, columns: int, width: int) -> None:
        self.build = build
        self.b = build.b
        self.type = type_
        self.t = t
        self.columns = columns
        self.width = width
        self.lanes = build.target.lanes(t.dtype.itemsize)
        self.vector = ir.VectorType(type_, self.lanes)
        self.size = t.dtype.itemsize

    def _offset(self, base: ir.Value, by: ir.Value) -> ir.Value:
        return self.b.gep(base, [by], source_etype=self.type)

    def taps(self, source: ir.Value, target: ir.Value, taps: tuple[Tap, ...]) -> None:
        """Loops over all taps but the last, which is packed as a matrix."""
        tap, *rest = taps
        if not rest:
            self._matrix(source, target, tap)
            return
        inner = self.width
        for r in rest:
            inner *= r.count
        with self.build.loop(I64(0), I64(tap.count), name="pack.tap") as k:
            from_ = self._offset(source, self.b.mul(k, I64(tap.b)))
            self.taps(from_, self._offset(target, self.b.mul(k, I64(inner))), tuple(rest))

    def _rows(self, source: ir.Value, target: ir.Value, tap: Tap) -> None:
        """A matrix whose columns lie next to each other already: row by row."""
        over = self.columns % self.lanes
        mask = ir.Constant(ir.VectorType(I1, self.lanes), [k < over for k in range(self.lanes)])
        with self.build.loop(I64(0), I64(tap.count), name="pack.row") as k:
            from_ = self._offset(source, self.b.mul(k, I64(tap.b)))
            to = self._offset(target, self.b.mul(k, I64(self.width)))
            for v in range(0, self.width, self.lanes):
                part = self._offset(from_, I64(v))
                if v + self.lanes <= self.columns:
                    x = self.b.load(part, typ=self.vector, align=self.size)
                else:
                    name = f"llvm.masked.load.{suffix(self.vector)}.p0"
                    zero = ir.Constant(self.vector, [0.0] * self.lanes)
                    x = self.build.intrinsic(name, self.vector, (part, mask, zero))
                self.b.store(x, self._offset(to, I64(v)), align=self.size)

    def _matrix(self, source: ir.Value, target: ir.Value, tap: Tap) -> None:
        if self.t.b.stride == 1:
            self._rows(source, target, tap)
            return
        if self.columns < self.width:
            with self.build.loop(I64(0), I64(tap.count), name="pack.zero") as k:
                at = self.b.add(self.b.mul(k, I64(self.width)), I64(self.width - self.lanes))
                zero = ir.Constant(self.vector, [0.0] * self.lanes)
                self.b.store(zero, self._offset(target, at), align=self.size)
        square = tap.b == 1 and self.columns >= self.lanes and self.lanes > 1
        done = tap.count // self.lanes * self.lanes if square else 0
        whole = self.columns // self.lanes * self.lanes if done else 0
        if done:
            with self.build.loop(I64(0), I64(done), self.lanes, name="pack.k") as k:
                for v in range(whole // self.lanes):
                    self._transpose(source, target, k, v)
        self._copy(source, target, tap, (0, done), (whole, self.columns))
        self._copy(source, target, tap, (done, tap.count), (0, self.columns))

    def _copy(
        self, source: ir.Value, target: ir.Value, tap: Tap, rows: tuple[int, int], columns: tuple[int, int]
    ) -> None:
        if rows[0] >= rows[1] or columns[0] >= columns[1]:
            return
        loop = self.build.loop
        with loop(I64(columns[0]), I64(columns[1])) as n, loop(I64(rows[0]), I64(rows[1])) as k:
            at = self.b.add(self.b.mul(n, I64(self.t.b.stride)), self.b.mul(k, I64(tap.b)))
            x = self.b.load(self._offset(source, at), typ=self.type, align=self.size)
            to = self._offset(target, self.b.add(self.b.mul(k, I64(self.width)), n))
            self.b.store(x, to, align=self.size)

    def _transpose(self, source: ir.Value, target: ir.Value, k: ir.Value, v: int) -> None:
        """lanes x lanes elements, read along k and written along n, by log2(lanes) rounds of shuffles."""
        n = self.lanes
        rows = []
        for r in range(n):
            at = self.b.add(k, I64((v * n + r) * self.t.b.stride))
            rows.append(self.b.load(self._offset(source, at), typ=self.vector, align=self.size))
        rows = self.build.transposed(rows)
        for r in range(n):
            at = self.b.add(self.b.mul(self.b.add(k, I64(r)), I64(self.width)), I64(v * n))
            self.b.store(rows[r], self._offset(target, at), align=self.size)
