"""The arithmetic of elementary functions as instructions, on scalars and vectors alike."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

from ...kernel.algebra import MAGIC
from . import instructions as ir
from .build import F32, F64, I1, I32, I64, PTR, Build, element, like

Values = tuple[ir.Value, ...]


class LlvmAlgebra:
    """The arithmetic of `kernel/functions` as instructions, on a scalar or vector type."""

    def __init__(self, build: Build, type_: ir.Type) -> None:
        self.build = build
        self.b = build.b
        self.float = type_
        self.lanes = type_.count if isinstance(type_, ir.VectorType) else 1
        self.bits = 32 if element(type_) == F32 else 64
        self.int = like(ir.IntType(self.bits), self.lanes)
        self.fused = build.target.fma
        self.picks = build.target.picks

    def const(self, x: float) -> ir.Value:
        return self.build.const(x, self.float)

    def iconst(self, x: int) -> ir.Value:
        return self.build.const(x, self.int)

    def add(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.fadd(x, y)

    def sub(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.fsub(x, y)

    def mul(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.fmul(x, y)

    def div(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.fdiv(x, y)

    def neg(self, x: ir.Value) -> ir.Value:
        return self.b.fneg(x)

    def fma(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        if self.fused:
            return self.build.call1("fma", x, y, z)
        return self.b.fadd(self.b.fmul(x, y), z)

    def abs(self, x: ir.Value) -> ir.Value:
        return self.build.call1("fabs", x)

    def sqrt(self, x: ir.Value) -> ir.Value:
        return self.build.call1("sqrt", x)

    def round(self, x: ir.Value) -> ir.Value:
        return self.build.call1("rint", x)

    def floor(self, x: ir.Value) -> ir.Value:
        return self.build.call1("floor", x)

    def scale(self, x: ir.Value, n: ir.Value, vanishes: ir.Value | None = None) -> ir.Value | None:
        one = 512 // self.bits  # lanes of a register
        if self.build.target.vector_bytes != 64 or self.lanes % one:
            return None
        found = []
        for k in range(0, self.lanes, one):
            value, power, gone = x, n, vanishes
            if self.lanes > one:
                value, power = (self.build.shuffled(range(k, k + one), v, v) for v in (x, n))
                gone = None if gone is None else self.build.shuffled(range(k, k + one), gone, gone)
            found.append(self._scaled(value, power, gone))
        return self._joined(found)

    def _scaled(self, x: ir.Value, n: ir.Value, vanishes: ir.Value | None) -> ir.Value:
        """x * 2**n in one register, 0 where it `vanishes`."""
        name = f"llvm.x86.avx512.mask.scalef.{'ps' if self.bits == 32 else 'pd'}.512"
        lanes = ir.IntType(x.type.count)
        mask, as_set = lanes(-1), I32(4)
        if vanishes is not None:
            mask = self.b.bitcast(self.b.not_(vanishes), lanes)
        return self.build.intrinsic(name, x.type, (x, n, self.build.const(0.0, x.type), mask, as_set))

    def less(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.fcmp_ordered("<", x, y)

    def equal(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.fcmp_ordered("==", x, y)

    def unordered(self, x: ir.Value) -> ir.Value:
        return self.b.fcmp_unordered("uno", x, x)

    def both(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.and_(x, y)

    def either(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.or_(x, y)

    def inverse(self, x: ir.Value) -> ir.Value:
        return self.b.not_(x)

    def select(self, condition: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.select(condition, x, y)

    def as_int(self, x: ir.Value) -> ir.Value:
        return self.b.bitcast(x, self.int)

    def as_float(self, x: ir.Value) -> ir.Value:
        return self.b.bitcast(x, self.float)

    def to_int(self, x: ir.Value) -> ir.Value:
        if self.bits == 32:
            return self.b.fptosi(x, self.int)
        # Many processors have no instruction for this; adding a large number leaves the integer in the last bits.
        return self.isub(self.as_int(self.add(x, self.const(MAGIC))), self.as_int(self.const(MAGIC)))

    def to_float(self, x: ir.Value) -> ir.Value:
        if self.bits == 32:
            return self.b.sitofp(x, self.float)
        return self.sub(self.as_float(self.iadd(x, self.as_int(self.const(MAGIC)))), self.const(MAGIC))

    def iadd(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.add(x, y)

    def isub(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.sub(x, y)

    def imul(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.mul(x, y)

    def imulhi(self, x: ir.Value, y: ir.Value) -> ir.Value:
        wide = like(ir.IntType(2 * self.bits), self.lanes)
        product = self.b.mul(self.b.zext(x, wide), self.b.zext(y, wide))
        return self.b.trunc(self.b.lshr(product, self.build.const(self.bits, wide)), self.int)

    def iand(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.and_(x, y)

    def ior(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.or_(x, y)

    def iless(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.icmp_signed("<", x, y)

    def below(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.icmp_unsigned("<", x, y)

    def iequal(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.icmp_signed("==", x, y)

    def shl(self, x: ir.Value, count: ir.Value | int) -> ir.Value:
        return self.b.shl(x, self._count(count))

    def shr(self, x: ir.Value, count: ir.Value | int) -> ir.Value:
        return self.b.ashr(x, self._count(count))

    def lshr(self, x: ir.Value, count: ir.Value | int) -> ir.Value:
        return self.b.lshr(x, self._count(count))

    def _count(self, count: ir.Value | int) -> ir.Value:
        return self.iconst(count) if isinstance(count, int) else count

    def lookup(self, table: Sequence[int], index: ir.Value) -> ir.Value:
        start = self.b.ptrtoint(self._constant_table(table), I64)
        offset = self.b.mul(index, self.iconst(8))
        if self.lanes == 1:
            return self.b.load(self.b.inttoptr(self.b.add(start, offset), PTR), typ=I64, align=8)
        pointers = self.b.add(self.build.splat(start, self.lanes), offset)
        pointers = self.b.inttoptr(pointers, ir.VectorType(PTR, self.lanes))
        everywhere = self.build.const(1, ir.VectorType(I1, self.lanes))
        name = f"llvm.masked.gather.v{self.lanes}i64.v{self.lanes}p0"
        return self.build.masked(name, self.int, (pointers, everywhere, self.iconst(0)), 1)

    def pick(self, table: Sequence[float], index: ir.Value) -> ir.Value:
        halves = [
            ir.Constant(ir.VectorType(F32, 16), list(table[k : k + 16])) for k in range(0, len(table), 16)
        ]
        found = [self._picked(halves, part) for part in self._by_sixteen(index)]
        if self.lanes == 1:
            return self.b.extract_element(found[0], I32(0))
        if self.lanes < 16:
            return self.build.shuffled(range(self.lanes), found[0], found[0])
        return self._joined(found)

    def _joined(self, parts: list[ir.Value]) -> ir.Value:
        """The lanes of vectors, one after the other."""
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [self.build.shuffled(range(2 * x.type.count), x, y) for x, y in pairs]
        return parts[0]

    def _picked(self, halves: Sequence[ir.Value], index: ir.Value) -> ir.Value:
        type_ = halves[0].type
        if len(halves) == 1:
            return self.build.intrinsic("llvm.x86.avx512.permvar.sf.512", type_, (halves[0], index))
        args = (halves[0], index, halves[1])
        return self.build.intrinsic("llvm.x86.avx512.vpermi2var.ps.512", type_, args)

    def _by_sixteen(self, x: ir.Value) -> list[ir.Value]:
        """The lanes of a vector (or a scalar) in vectors of 16."""
        if self.lanes == 1:
            return [self.b.insert_element(ir.Constant(ir.VectorType(I32, 16), ir.Undefined), x, I32(0))]
        if self.lanes < 16:
            return [self.build.shuffled([min(k, self.lanes - 1) for k in range(16)], x, x)]
        if self.lanes == 16:
            return [x]
        return [self.build.shuffled(range(k, k + 16), x, x) for k in range(0, self.lanes, 16)]

    def _constant_table(self, table: Sequence[int]) -> ir.GlobalVariable:
        name = f"table.{zlib.crc32(repr(tuple(table)).encode()):08x}"
        found = self.build.module.globals.get(name)
        if found is None:
            type_ = ir.ArrayType(I64, len(table))
            found = ir.GlobalVariable(self.build.module, type_, name)
            found.initializer = ir.Constant(type_, list(table))
            found.global_constant = True
            found.linkage = "internal"
        return found

    def double(self) -> LlvmAlgebra:
        return LlvmAlgebra(self.build, like(F64, self.lanes))

    def widen(self, x: ir.Value) -> ir.Value:
        return self.b.fpext(x, like(F64, self.lanes))

    def narrow(self, x: ir.Value) -> ir.Value:
        return self.b.fptrunc(x, self.float)

    def _any(self, condition: ir.Value) -> ir.Value:
        if self.lanes == 1:
            return condition
        return self.build.intrinsic(f"llvm.vector.reduce.or.v{self.lanes}i1", I1, (condition,))

    def rarely(self, condition: ir.Value, special: Callable[[], Values], usual: Values) -> Values:
        b, function = self.b, self.build.function
        before = b.block
        some, done = function.append_basic_block("rare"), function.append_basic_block("usual")
        b.cbranch(self._any(condition), some, done)
        b.position_at_end(some)
        found = [b.select(condition, s, u) for s, u in zip(special(), usual, strict=True)]
        after = b.block
        b.branch(done)
        b.position_at_end(done)
        merged = []
        for s, u in zip(found, usual, strict=True):
            phi = b.phi(s.type)
            phi.add_incoming(u, before)
            phi.add_incoming(s, after)
            merged.append(phi)
        return tuple(merged)

    def repeat(self, busy: Callable[..., ir.Value], step: Callable[..., Values], start: Values) -> Values:
        b, function = self.b, self.build.function
        head, body, done = [function.append_basic_block(n) for n in ("repeat", "again", "settled")]
        before = b.block
        b.branch(head)
        b.position_at_end(head)
        state = [b.phi(v.type) for v in start]
        for phi, v in zip(state, start, strict=True):
            phi.add_incoming(v, before)
        on = busy(*state)
        b.cbranch(self._any(on), body, done)
        b.position_at_end(body)
        new = [b.select(on, n, s) for n, s in zip(step(*state), state, strict=True)]
        for phi, v in zip(state, new, strict=True):
            phi.add_incoming(v, b.block)
        b.branch(head)
        b.position_at_end(done)
        return tuple(state)
