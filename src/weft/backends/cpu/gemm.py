"""Contractions as code: the register tile, its loops along K, and the epilogue on the accumulators."""

# llvmlite.ir has no annotations: what pyright infers of its values is wrong.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from ...kernel.gemm import Gemm, Operand, Tiling, tiling
from ...kernel.index import Var
from ...kernel.target import Target
from .build import F32, F64, I1, I32, I64, PTR, Build
from .emit import Expressions, Lanes

#: Steps of K in one turn of the innermost loop.
UNROLL = 4


def units(g: Gemm, target: Target) -> int:
    """Into how many units, that may run in any order, the work is cut."""
    batch = 1
    for v in g.batch:
        batch *= v.size
    return batch * _panels(g, target) * _bands(g, target)


def _panel(g: Gemm, target: Target) -> int:
    return tiling(g, target).vectors * target.lanes(g.dtype.itemsize)


def _panels(g: Gemm, target: Target) -> int:
    return -(-g.n.size // _panel(g, target))


def _bands(g: Gemm, target: Target) -> int:
    """Row bands of a unit: enough that several threads find work in a narrow result, few where packing is shared."""
    cut = tiling(g, target)
    if cut.pack:
        return 1
    return max(1, min(cut.tiles, cut.tiles * cut.rows // 192))


def emit_gemm(module: ir.Module, g: Gemm, target: Target) -> ir.Function:
    """Add the function of one contraction to `module`."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [PTR, I64, I64]), g.name)
    function.attributes.add("nounwind")
    _GemmEmitter(Build(module, function, target), g).emit()
    return function


class _GemmEmitter:
    def __init__(self, build: Build, g: Gemm) -> None:
        self.build = build
        self.b = build.b
        self.g = g
        self.cut: Tiling = tiling(g, build.target)
        self.lanes = build.target.lanes(g.dtype.itemsize)
        self.type = F32 if g.dtype.bits == 32 else F64
        self.vector = ir.VectorType(self.type, self.lanes)
        self.expressions = Expressions(build, (*g.inputs, *g.outputs), g.checked)
        self.size = g.dtype.itemsize
        self.scratch: ir.Value | None = None

    def emit(self) -> None:
        begin, end = self.build.function.args[1:]
        g, cut = self.g, self.cut
        if cut.pack:
            count = self.g.k * cut.vectors * self.lanes
            with self.b.goto_entry_block():
                self.scratch = self.b.alloca(self.type, count)
                self.scratch.align = 64
                self.scratch.type = PTR  # addressed as vectors as well as elements
        panels, bands = _panels(g, self.build.target), _bands(g, self.build.target)
        with self.build.loop(begin, end, name="unit") as unit:
            band = self.b.urem(unit, I64(bands)) if bands > 1 else I64(0)
            rest = self.b.udiv(unit, I64(bands)) if bands > 1 else unit
            panel = self.b.urem(rest, I64(panels)) if panels > 1 else I64(0)
            rest = self.b.udiv(rest, I64(panels)) if panels > 1 else rest
            batch = self._decode(rest)
            width = cut.vectors * self.lanes
            column = self.b.mul(panel, I64(width))
            whole, over = divmod(g.n.size, width)
            if not over:
                self._panel(batch, column, cut.vectors, 0, band, bands)
            elif not whole:
                self._panel(batch, column, -(-over // self.lanes), over % self.lanes, band, bands)
            else:
                last = self.b.icmp_signed("==", panel, I64(panels - 1))
                with self.b.if_else(last) as (then, other):
                    with then:
                        self._panel(batch, column, -(-over // self.lanes), over % self.lanes, band, bands)
                    with other:
                        self._panel(batch, column, cut.vectors, 0, band, bands)
        self.b.ret_void()

    def _decode(self, position: ir.Value) -> dict[Var, ir.Value]:
        values: dict[Var, ir.Value] = {}
        for v in reversed(self.g.batch):
            values[v] = self.b.urem(position, I64(v.size)) if v.size > 1 else I64(0)
            position = self.b.udiv(position, I64(v.size)) if v.size > 1 else position
        return values

    def _base(self, operand: Operand, batch: dict[Var, ir.Value]) -> ir.Value:
        """The address of the operand's matrix for one index of the batch."""
        offset: ir.Value = I64(0)
        for v, stride in zip(self.g.batch, operand.batch, strict=True):
            offset = self.b.add(offset, self.b.mul(batch[v], I64(stride)))
        return self.b.gep(self.expressions.bases[operand.buffer], [offset], source_etype=self.type)

    def _panel(
        self,
        batch: dict[Var, ir.Value],
        column: ir.Value,
        vectors: int,
        partial: int,
        band: ir.Value,
        bands: int,
    ) -> None:
        """All tiles of one band of rows and `vectors` vectors of columns, the last of them `partial` lanes wide."""
        g, cut = self.g, self.cut
        a = self._base(g.a, batch)
        b = self.b.gep(self._base(g.b, batch), [self.b.mul(column, I64(g.b.free))], source_etype=self.type)
        mask = None
        if partial:
            mask = ir.Constant(ir.VectorType(I1, self.lanes), [k < partial for k in range(self.lanes)])
        if cut.pack:
            self._pack(b, vectors, partial)
            b, step = self.scratch, vectors * self.lanes
        else:
            step = g.b.contracted
        row = I64(0)
        first = 0
        for tiles, height in cut.heights:
            # The tiles of this height that fall into the band, as a run-time range.
            low, high = self._range(band, bands, first, tiles)
            with self.build.loop(low, high, name="tile") as t:
                top = self.b.add(row, self.b.mul(t, I64(height)))
                self._tile(batch, a, b, step, top, column, height, vectors, mask)
            row = self.b.add(row, I64(tiles * height))
            first += tiles
        del row

    def _range(self, band: ir.Value, bands: int, first: int, tiles: int) -> tuple[ir.Value, ir.Value]:
        if bands == 1:
            return I64(0), I64(tiles)
        total = self.cut.tiles

        def edge(k: ir.Value) -> ir.Value:
            at = self.b.sub(self.b.udiv(self.b.mul(k, I64(total)), I64(bands)), I64(first))
            at = self.b.select(self.b.icmp_signed("<", at, I64(0)), I64(0), at)
            return self.b.select(self.b.icmp_signed(">", at, I64(tiles)), I64(tiles), at)

        return edge(band), edge(self.b.add(band, I64(1)))

    # -- the tile -----------------------------------------------------------------------------------------------

    def _tile(
        self,
        batch: dict[Var, ir.Value],
        a: ir.Value,
        b: ir.Value,
        step: int,
        top: ir.Value,
        column: ir.Value,
        height: int,
        vectors: int,
        mask: ir.Value | None,
    ) -> None:
        g = self.g
        rows = self.b.gep(a, [self.b.mul(top, I64(g.a.free))], source_etype=self.type)
        blocks = -(-g.k // self.cut.block) if g.k else 1
        for block in range(blocks):
            start = block * self.cut.block
            count = min(self.cut.block, g.k - start)
            if block == 0:
                acc = [self.build.const(0.0, self.vector)] * (height * vectors)
            else:
                acc = self._partial(batch, top, column, height, vectors, mask)
            a_here = self.b.gep(rows, [I64(start * g.a.contracted)], source_etype=self.type)
            b_here = self.b.gep(b, [I64(start * step)], source_etype=self.type)
            acc = self._products(a_here, b_here, step, count, acc, height, vectors, mask)
            if block + 1 < blocks:
                self._store_partial(batch, top, column, height, vectors, mask, acc)
            else:
                self._finish(batch, top, column, height, vectors, mask, acc)

    def _products(
        self,
        a: ir.Value,
        b: ir.Value,
        step: int,
        count: int,
        acc: list[ir.Value],
        height: int,
        vectors: int,
        mask: ir.Value | None,
    ) -> list[ir.Value]:
        """acc += A[:, 0:count] B[0:count, :], in order of k."""
        turns, rest = divmod(count, UNROLL)
        if turns <= 1:
            turns, rest = 0, count
        if turns:
            acc, a, b = self._loop(a, b, step, turns, acc, height, vectors, mask)
        for k in range(rest):
            acc = self._rank_one(a, b, step, k, acc, height, vectors, mask)
        return acc

    def _loop(
        self,
        a: ir.Value,
        b: ir.Value,
        step: int,
        turns: int,
        acc: list[ir.Value],
        height: int,
        vectors: int,
        mask: ir.Value | None,
    ) -> tuple[list[ir.Value], ir.Value, ir.Value]:
        build, before = self.build, self.b.block
        body = build.function.append_basic_block("k.body")
        done = build.function.append_basic_block("k.done")
        self.b.branch(body)
        self.b.position_at_end(body)
        i = self.b.phi(I64)
        a_phi, b_phi = self.b.phi(PTR), self.b.phi(PTR)
        phis = [self.b.phi(self.vector) for _ in acc]
        inner: list[ir.Value] = list(phis)
        for k in range(UNROLL):
            inner = self._rank_one(a_phi, b_phi, step, k, inner, height, vectors, mask)
        a_next = self.b.gep(a_phi, [I64(UNROLL * self.g.a.contracted)], source_etype=self.type)
        b_next = self.b.gep(b_phi, [I64(UNROLL * step)], source_etype=self.type)
        i_next = self.b.add(i, I64(1))
        for phi, start, after in (
            (i, I64(0), i_next), (a_phi, a, a_next), (b_phi, b, b_next), *zip(phis, acc, inner, strict=True),
        ):  # fmt: skip
            phi.add_incoming(start, before)
            phi.add_incoming(after, self.b.block)
        self.b.cbranch(self.b.icmp_signed("<", i_next, I64(turns)), body, done)
        self.b.position_at_end(done)
        return inner, a_next, b_next

    def _rank_one(
        self,
        a: ir.Value,
        b: ir.Value,
        step: int,
        k: int,
        acc: Sequence[ir.Value],
        height: int,
        vectors: int,
        mask: ir.Value | None,
    ) -> list[ir.Value]:
        """acc[r, v] += a[r, k] * b[k, v] for all rows and vectors of the tile."""
        right = []
        for v in range(vectors):
            at = self.b.gep(b, [I64(k * step + v * self.lanes)], source_etype=self.type)
            right.append(self._load(at, mask if v == vectors - 1 and not self.cut.pack else None))
        out = list(acc)
        for r in range(height):
            at = self.b.gep(a, [I64(r * self.g.a.free + k * self.g.a.contracted)], source_etype=self.type)
            left = self.build.splat(self.b.load(at, typ=self.type, align=self.size), self.lanes)
            for v in range(vectors):
                out[r * vectors + v] = self._multiply_add(left, right[v], out[r * vectors + v])
        return out

    def _multiply_add(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        if self.build.target.fma:
            return self.build.call1("fma", x, y, z)
        return self.b.fadd(self.b.fmul(x, y), z)

    def _load(self, pointer: ir.Value, mask: ir.Value | None) -> ir.Value:
        if mask is None:
            return self.b.load(pointer, typ=self.vector, align=self.size)
        name = f"llvm.masked.load.v{self.lanes}f{8 * self.size}.p0"
        return self.build.intrinsic(name, self.vector, (pointer, mask, self.build.const(0.0, self.vector)))

    # -- results ------------------------------------------------------------------------------------------------

    def _out(self, batch: dict[Var, ir.Value], top: ir.Value, column: ir.Value, r: int, v: int) -> ir.Value:
        strides, sm, sn = self.g.out_strides
        at = self.b.add(self.b.mul(self.b.add(top, I64(r)), I64(sm)), self.b.mul(column, I64(sn)))
        at = self.b.add(at, I64(v * self.lanes * sn))
        for var, stride in zip(self.g.batch, strides, strict=True):
            at = self.b.add(at, self.b.mul(batch[var], I64(stride)))
        return at

    def _partial(self, batch, top, column, height, vectors, mask) -> list[ir.Value]:  # type: ignore[no-untyped-def]
        base = self.expressions.bases[self.g.out]
        out = []
        for r in range(height):
            for v in range(vectors):
                at = self.b.gep(base, [self._out(batch, top, column, r, v)], source_etype=self.type)
                out.append(self._load(at, mask if v == vectors - 1 else None))
        return out

    def _store_partial(self, batch, top, column, height, vectors, mask, acc) -> None:  # type: ignore[no-untyped-def]
        base = self.expressions.bases[self.g.out]
        for r in range(height):
            for v in range(vectors):
                at = self._out(batch, top, column, r, v)
                last = mask if v == vectors - 1 else None
                self.build.store(base, at, acc[r * vectors + v], self.g.dtype, last)

    def _finish(self, batch, top, column, height, vectors, mask, acc) -> None:  # type: ignore[no-untyped-def]
        """Apply the epilogue to the sums and store the results."""
        g = self.g
        for r in range(height):
            for v in range(vectors):
                values = {**batch, g.m: self.b.add(top, I64(r)), g.n: self.b.add(column, I64(v * self.lanes))}
                last = mask if v == vectors - 1 else None
                lanes = Lanes(values, g.n, self.lanes, last)
                self.expressions.totals = [acc[r * vectors + v]]
                value = self.build.splat(self.expressions.value(g.epilogue, lanes, {}), self.lanes)
                at = self._out(batch, top, column, r, v)
                self.build.store(self.expressions.bases[g.out], at, value, g.outputs[0], last)

    # -- packing ------------------------------------------------------------------------------------------------

    def _pack(self, b: ir.Value, vectors: int, partial: int) -> None:
        """Copy K x columns of the second operand into the scratch panel, columns next to each other."""
        g, width = self.g, vectors * self.lanes
        columns = width - (self.lanes - partial if partial else 0)
        if columns < width:
            with self.build.loop(I64(0), I64(g.k), name="zero") as k:
                at = self.b.gep(self.scratch, [self.b.add(self.b.mul(k, I64(width)), I64(width - self.lanes))],
                                source_etype=self.type)  # fmt: skip
                self.b.store(self.build.const(0.0, self.vector), at, align=self.size)
        square = self.lanes if g.b.contracted == 1 else 0
        done = g.k // square * square if square and columns >= self.lanes else 0
        whole = columns // self.lanes * self.lanes if done else 0
        if done:
            with self.build.loop(I64(0), I64(done), square, name="pack.k") as k:
                for v in range(whole // self.lanes):
                    self._transpose(b, k, v, width)
        self._copy(b, 0, done, whole, columns, width)
        self._copy(b, done, g.k, 0, columns, width)

    def _copy(self, b: ir.Value, k0: int, k1: int, c0: int, c1: int, width: int) -> None:
        if k0 >= k1 or c0 >= c1:
            return
        g = self.g
        with (
            self.build.loop(I64(c0), I64(c1), name="pack.n") as n,
            self.build.loop(I64(k0), I64(k1), name="pack.k") as k,
        ):
            source = self.b.add(self.b.mul(n, I64(g.b.free)), self.b.mul(k, I64(g.b.contracted)))
            x = self.b.load(self.b.gep(b, [source], source_etype=self.type), typ=self.type, align=self.size)
            target = self.b.add(self.b.mul(k, I64(width)), n)
            self.b.store(x, self.b.gep(self.scratch, [target], source_etype=self.type), align=self.size)

    def _transpose(self, b: ir.Value, k: ir.Value, v: int, width: int) -> None:
        """lanes x lanes elements, read along k and written along columns, by log2(lanes) rounds of shuffles."""
        n = self.lanes
        rows = []
        for r in range(n):
            at = self.b.add(k, I64((v * n + r) * self.g.b.free))
            rows.append(
                self.b.load(self.b.gep(b, [at], source_etype=self.type), typ=self.vector, align=self.size)
            )
        half = n // 2
        while half:
            new = list(rows)
            for base in range(0, n, 2 * half):
                for j in range(half):
                    x, y = rows[base + j], rows[base + j + half]
                    low = [i if not i & half else i - half + n for i in range(n)]
                    high = [i + half if not i & half else i + n for i in range(n)]
                    new[base + j] = self._shuffle(x, y, low)
                    new[base + j + half] = self._shuffle(x, y, high)
            rows = new
            half //= 2
        for r in range(n):
            at = self.b.add(self.b.mul(self.b.add(k, I64(r)), I64(width)), I64(v * n))
            self.b.store(rows[r], self.b.gep(self.scratch, [at], source_etype=self.type), align=self.size)

    def _shuffle(self, x: ir.Value, y: ir.Value, order: list[int]) -> ir.Value:
        return self.b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(order)), order))
