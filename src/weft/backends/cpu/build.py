"""A thin layer over the LLVM builder: types, loops, masked memory access, and the algebra of elementary functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

from ...ir.dtype import DType
from ...kernel.generic import Hole
from ...kernel.memory import aligned
from ...kernel.target import Target
from . import instructions as ir
from .half import Halves
from .processor import facts

I1, I8, I32, I64 = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
F32, F64 = ir.FloatType(), ir.DoubleType()
PTR = ir.PointerType()

#: A kernel: called with a table of its buffers, the first of the units to do, the one after the last of them, and
#: scratch memory that only this thread uses. Scratch memory is not on the stack: threads may have small ones.
KERNEL = ir.FunctionType(ir.VoidType(), [PTR, I64, I64, PTR])

#: Bytes of a line of the cache. Scratch memory begins at a multiple of it.
LINE = 64

_FLOATS = {"float32": F32, "float64": F64}


@cache
def aligned_masks() -> bool:
    """Whether intrinsics with masks take an alignment, as they did before LLVM 22."""
    return facts().version < [22]


def register_type(dtype: DType) -> ir.Type:
    """The type of an element in a register: booleans are one bit, 16-bit floats are widened."""
    if dtype.kind == "b":
        return I1
    if dtype.kind in "ui":
        return ir.IntType(dtype.bits)
    if dtype.kind == "f":
        return _FLOATS.get(dtype.name, F32)
    raise NotImplementedError(f"{dtype} in registers")


def memory_type(dtype: DType) -> ir.Type:
    """The type of an element in memory."""
    if dtype.kind == "b":
        return I8
    if dtype.storage_only:
        return ir.IntType(16)
    return register_type(dtype)


def element(type_: ir.Type) -> ir.Type:
    return type_.element if isinstance(type_, ir.VectorType) else type_


def like(scalar: ir.Type, lanes: int) -> ir.Type:
    """`lanes` of a scalar type; the scalar itself for one."""
    return ir.VectorType(scalar, lanes) if lanes > 1 else scalar


def suffix(type_: ir.Type) -> str:
    """How intrinsics name a type: v16f32."""
    if isinstance(type_, ir.VectorType):
        return f"v{type_.count}{suffix(type_.element)}"
    if isinstance(type_, ir.IntType):
        return f"i{type_.width}"
    return "f32" if type_ == F32 else "f64"


def _is_one_lane(mask: ir.Value) -> bool:
    """Whether a mask is known to be that of the first lane alone."""
    return isinstance(mask, ir.Constant) and mask.constant[0] and not any(mask.constant[1:])


class Build:
    """Emits into one function of a module."""

    def __init__(self, module: ir.Module, function: ir.Function, target: Target) -> None:
        self.module = module
        self.function = function
        self.target = target
        self.b = ir.IRBuilder(function.append_basic_block("entry"))
        self._scratch = 0  #: bytes of it that have been given out

    def scratch(self, size: int) -> ir.Value:
        """So many bytes of a kernel's scratch memory, at a multiple of `ALIGNMENT`."""
        start, self._scratch = self._scratch, self._scratch + aligned(size)
        with self.b.goto_entry_block():
            return self.b.gep(self.function.args[3], [I64(start)], source_etype=I8)

    def slot(self, type_: ir.Type) -> ir.Value:
        """A place on the stack for one value; LLVM makes a register of it."""
        with self.b.goto_entry_block():
            return self.b.alloca(type_)

    def slots(self, type_: ir.Type, count: int) -> ir.Value:
        """Places on the stack for so many values, one behind the other."""
        with self.b.goto_entry_block():
            return self.b.alloca(type_, count)

    # -- values -------------------------------------------------------------------------------------------------

    def const(self, value: Any, type_: ir.Type) -> ir.Value:
        """A number, repeated in every lane of a vector type."""
        if isinstance(value, Hole):
            return self.splat(I64(value), type_.count if isinstance(type_, ir.VectorType) else 1)
        if isinstance(type_, ir.VectorType):
            return ir.Constant(type_, [self._number(value, type_.element)] * type_.count)
        return ir.Constant(type_, self._number(value, type_))

    @staticmethod
    def _number(value: Any, type_: ir.Type) -> Any:
        return float(value) if isinstance(type_, (ir.FloatType, ir.DoubleType)) else int(value)

    def splat(self, x: ir.Value, lanes: int) -> ir.Value:
        """A scalar in every lane; a vector as it is."""
        if lanes == 1 or isinstance(x.type, ir.VectorType):
            return x
        if isinstance(x, ir.Constant):
            return ir.Constant(ir.VectorType(x.type, lanes), [x.constant] * lanes)
        type_ = ir.VectorType(x.type, lanes)
        first = self.b.insert_element(ir.Constant(type_, ir.Undefined), x, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
        return self.b.shuffle_vector(first, ir.Constant(type_, ir.Undefined), zeros)

    def same(self, *values: ir.Value) -> tuple[ir.Value, ...]:
        """The values with as many lanes as the widest of them."""
        lanes = max([v.lanes for v in values])
        return tuple([self.splat(v, lanes) for v in values])

    def iota(self, type_: ir.IntType, lanes: int) -> ir.Value:
        return ir.Constant(ir.VectorType(type_, lanes), list(range(lanes))) if lanes > 1 else type_(0)

    def first_lanes(self, count: int, lanes: int) -> ir.Constant:
        """A mask of the first `count` of `lanes`."""
        return ir.Constant(ir.VectorType(I1, lanes), [k < count for k in range(lanes)])

    def intrinsic(self, name: str, returns: ir.Type, args: Sequence[ir.Value]) -> ir.Value:
        """Call an LLVM intrinsic by its full name."""
        found = self.module.globals.get(name)
        if found is None:
            found = ir.Function(self.module, ir.FunctionType(returns, [a.type for a in args]), name)
        return self.b.call(found, args)

    def masked(self, name: str, returns: ir.Type, args: Sequence[ir.Value], mask: int) -> ir.Value:
        """Call an intrinsic that reads or writes memory by a mask, which is the operand of that number.

        Until LLVM 21 a constant in front of the mask says how the elements are aligned.
        """
        if aligned_masks():
            args = (*args[:mask], I32(1), *args[mask:])
        return self.intrinsic(name, returns, args)

    def prefetch(self, pointer: ir.Value, write: bool = False, level: int = 2) -> None:
        """Begin to bring a line to a level of the cache, to read from it soon, or to the first, to write to it."""
        kind, reading, locality, data = "llvm.prefetch.p0", int(write), 3 if write else 4 - level, 1
        found = self.module.globals.get(kind)
        if found is None:
            types = [pointer.type, I32, I32, I32]
            found = ir.Function(self.module, ir.FunctionType(ir.VoidType(), types), kind)
        self.b.call(found, [pointer, I32(reading), I32(locality), I32(data)])

    def call1(self, name: str, x: ir.Value, *more: ir.Value) -> ir.Value:
        """An overloaded intrinsic of operands of one type: call1("sqrt", x)."""
        return self.intrinsic(f"llvm.{name}.{suffix(x.type)}", x.type, (x, *more))

    def clip(self, x: ir.Value, high: int) -> ir.Value:
        """A 64-bit integer, or the nearer end of 0 ... high."""
        x = self.b.select(self.b.icmp_signed("<", x, I64(0)), I64(0), x)
        return self.b.select(self.b.icmp_signed(">", x, I64(high)), I64(high), x)

    # -- memory -------------------------------------------------------------------------------------------------

    def multiply_add(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        """x y + z, rounded once where the processor can."""
        if self.target.fma:
            return self.call1("fma", x, y, z)
        return self.b.fadd(self.b.fmul(x, y), z)

    def address(self, base: ir.Value, index: ir.Value, dtype: DType) -> ir.Value:
        return self.b.gep(base, [index], source_etype=memory_type(dtype))

    def transposed(self, rows: list[ir.Value]) -> list[ir.Value]:
        """n vectors of n lanes as the columns of the square they make, by log2(n) rounds of shuffles."""
        n, half = len(rows), len(rows) // 2
        while half:
            low = [i if not i & half else i - half + n for i in range(n)]
            high = [i + half if not i & half else i + n for i in range(n)]
            new = list(rows)
            for base in range(0, n, 2 * half):
                for j in range(base, base + half):
                    new[j] = self.shuffled(low, rows[j], rows[j + half])
                    new[j + half] = self.shuffled(high, rows[j], rows[j + half])
            rows, half = new, half // 2
        return rows

    def pieces(self, x: ir.Value, lanes: int) -> list[ir.Value]:
        """A vector cut into vectors of so many lanes."""
        return [self.shuffled(range(k, k + lanes), x) for k in range(0, x.type.count, lanes)]

    def reversed(self, x: ir.Value) -> ir.Value:
        """The lanes of a vector, last to first."""
        return self.shuffled(range(x.type.count)[::-1], x)

    def shuffled(self, order: Sequence[int], x: ir.Value, y: ir.Value | None = None) -> ir.Value:
        """The lanes of x, and behind them those of y, that have these numbers."""
        y = ir.Constant(x.type, ir.Undefined) if y is None else y
        return self.b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(order)), list(order)))

    def load(
        self, base: ir.Value, index: ir.Value, dtype: DType, lanes: int = 1, mask: ir.Value | None = None
    ) -> ir.Value:
        """`lanes` consecutive elements from element `index`; masked-off lanes are zero and not touched."""
        pointer = self.address(base, index, dtype)
        type_ = like(memory_type(dtype), lanes)
        if mask is None or lanes == 1:
            raw = self.b.load(pointer, typ=type_, align=dtype.itemsize)
        else:
            name = f"llvm.masked.load.{suffix(type_)}.p0"
            raw = self.masked(name, type_, (pointer, mask, self.const(0, type_)), 1)
        return self.widen(raw, dtype)

    def store(
        self,
        base: ir.Value,
        index: ir.Value,
        value: ir.Value,
        dtype: DType,
        mask: ir.Value | None = None,
        past: bool = False,
    ) -> None:
        """Write a scalar or consecutive lanes from element `index`; masked-off lanes are not touched.

        `past` the caches: whole vectors, whose place is a multiple of their length.
        """
        pointer = self.address(base, index, dtype)
        raw = self.narrow(value, dtype)
        if mask is None and past and isinstance(raw.type, ir.VectorType):
            size = min(dtype.itemsize * raw.type.count, self.target.vector_bytes)
            self.b.store(raw, pointer, align=size, nontemporal=True)
            return
        if mask is None or not isinstance(raw.type, ir.VectorType):
            self.b.store(raw, pointer, align=dtype.itemsize)
            return
        if _is_one_lane(mask):  # of a number that has been narrowed, LLVM would write more bytes than it has
            self.b.store(self.b.extract_element(raw, I32(0)), pointer, align=dtype.itemsize)
            return
        name = f"llvm.masked.store.{suffix(raw.type)}.p0"
        self.masked(name, ir.VoidType(), (raw, pointer, mask), 2)

    def widen(self, raw: ir.Value, dtype: DType) -> ir.Value:
        """From memory to register form."""
        if dtype.kind == "b":
            return self.b.icmp_unsigned("!=", raw, self.const(0, raw.type))
        return self._halves(raw).widen(raw, dtype) if dtype.storage_only else raw

    def narrow(self, value: ir.Value, dtype: DType) -> ir.Value:
        """From register to memory form."""
        if dtype.kind == "b":
            return self.b.zext(value, like(I8, value.lanes))
        return self._halves(value).cut(value, dtype) if dtype.storage_only else value

    def _halves(self, x: ir.Value) -> Halves:
        return Halves(self, x.lanes, self.target.half)

    def round(self, x: ir.Value, dtype: DType, out: DType) -> ir.Value:
        """A float as the nearest number of a 16-bit type, in a register of float32."""
        if dtype.bits == 64:
            x = self._halves(x).to_odd(x)
        return self.widen(self._halves(x).narrow(x, out), out)

    # -- control ------------------------------------------------------------------------------------------------

    def loop(
        self, start: ir.Value, stop: ir.Value, step: int = 1, name: str = "i"
    ) -> AbstractContextManager[ir.Value]:
        """for i in range(start, stop, step): the body is what is emitted inside the `with`."""
        return self.b.loop(start, stop, step, name)

    def turns(
        self, start: ir.Value, stop: ir.Value, step: int = 1, name: str = "i"
    ) -> AbstractContextManager[ir.Value]:
        """A loop, unless it is known to run once.

        LLVM would find that out while it changes the body, and cannot cope: LLVM 22 takes some constant, which has
        just been an addition, for an addition, and aborts.
        """
        if isinstance(start, ir.Constant) and isinstance(stop, ir.Constant):
            first, end = start.constant, stop.constant
            if type(first) is int and type(end) is int and first < end <= first + step:
                return nullcontext(start)
        return self.loop(start, stop, step, name)

    def choose(
        self, condition: ir.Value, then: Callable[[], ir.Value], other: Callable[[], ir.Value]
    ) -> ir.Value:
        """`then()` if a scalar condition holds, else `other()`; only one of them runs."""
        yes = self.function.append_basic_block("yes")
        no = self.function.append_basic_block("no")
        end = self.function.append_basic_block("end")
        self.b.cbranch(condition, yes, no)
        self.b.position_at_end(yes)
        a = then()
        from_yes = self.b.block
        self.b.branch(end)
        self.b.position_at_end(no)
        b = other()
        from_no = self.b.block
        self.b.branch(end)
        self.b.position_at_end(end)
        out = self.b.phi(a.type)
        out.add_incoming(a, from_yes)
        out.add_incoming(b, from_no)
        return out
