"""Elementwise primitives as instructions, on scalars and vectors alike."""

# llvmlite.ir has no annotations: what pyright infers of its values is wrong.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportAssignmentType=false

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from ...base.errors import BackendError
from ...ir.dtype import DType
from ...kernel.functions import functions
from .build import F32, I1, Build, element, like, register_type, suffix

Operate = Callable[[Build, tuple[ir.Value, ...], DType, DType], ir.Value]

#: name of a primitive -> emit(build, operands, dtype of the operands, dtype of the result)
table: dict[str, Operate] = {}


def operation(*names: str) -> Callable[[Operate], Operate]:
    def declare(emit: Operate) -> Operate:
        for name in names:
            table[name] = emit
        return emit

    return declare


def can_emit(name: str, dtypes: Sequence[DType]) -> bool:
    """Whether the primitive has instructions here for operands of these types."""
    return name in table and all(d.kind != "c" and not d.storage_only for d in dtypes)


def operate(
    build: Build, name: str, args: tuple[ir.Value, ...], dtypes: Sequence[DType], out: DType
) -> ir.Value:
    """Emit one elementwise operation."""
    if name not in table:
        raise BackendError(f"the cpu backend has no code for {name}")
    return table[name](build, args, dtypes[0], out)


def _arithmetic(name: str, floating: str, integer: str) -> None:
    @operation(name)
    def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
        return getattr(build.b, floating if dtype.kind == "f" else integer)(*args)


_arithmetic("add", "fadd", "add")
_arithmetic("sub", "fsub", "sub")
_arithmetic("mul", "fmul", "mul")
_arithmetic("div", "fdiv", "sdiv")


@operation("neg")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    return build.b.fneg(args[0]) if dtype.kind == "f" else build.b.neg(args[0])


@operation("abs")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    (x,) = args
    if dtype.kind == "f":
        return build.call1("fabs", x)
    if dtype.kind == "i":
        return build.b.select(build.b.icmp_signed("<", x, build.const(0, x.type)), build.b.neg(x), x)
    return x


def _one_float(name: str, intrinsic: str) -> None:
    @operation(name)
    def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
        return build.call1(intrinsic, args[0]) if dtype.kind == "f" else args[0]


_one_float("sqrt", "sqrt")
_one_float("floor", "floor")
_one_float("ceil", "ceil")
_one_float("trunc", "trunc")
_one_float("round", "roundeven")


@operation("square")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    return table["mul"](build, (args[0], args[0]), dtype, out)


def extremum(build: Build, largest: bool, x: ir.Value, y: ir.Value, dtype: DType) -> ir.Value:
    """The larger (or smaller) of two; a NaN wins; of two zeros of different sign, the second."""
    b = build.b
    sign = ">" if largest else "<"
    if dtype.kind == "f":
        better = b.fcmp_ordered(sign, x, y)
        nan = b.fcmp_unordered("uno", x, x)
        return b.select(b.or_(better, nan), x, y)
    if dtype.kind == "b":
        return b.or_(x, y) if largest else b.and_(x, y)
    compare = b.icmp_unsigned if dtype.kind == "u" else b.icmp_signed
    return b.select(compare(sign, x, y), x, y)


table["maximum"] = lambda build, args, dtype, out: extremum(build, True, *args, dtype)
table["minimum"] = lambda build, args, dtype, out: extremum(build, False, *args, dtype)


def _comparison(name: str, sign: str) -> None:
    @operation(name)
    def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
        if dtype.kind == "f":
            compare = build.b.fcmp_unordered if sign == "!=" else build.b.fcmp_ordered
            return compare(sign, *args)
        compare = build.b.icmp_signed if dtype.kind == "i" else build.b.icmp_unsigned
        return compare(sign, *args)


for _name, _sign in (
    ("equal", "=="), ("not_equal", "!="), ("less", "<"), ("less_equal", "<="), ("greater", ">"),
    ("greater_equal", ">="),
):  # fmt: skip
    _comparison(_name, _sign)


@operation("isnan")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    (x,) = args
    return build.b.fcmp_unordered("uno", x, x) if dtype.kind == "f" else build.b.icmp_signed("!=", x, x)


@operation("where")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    return build.b.select(*args)


def _bitwise(name: str, method: str) -> None:
    @operation(name)
    def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
        return getattr(build.b, method)(*args)


for _name, _method in (
    ("bitwise_and", "and_"), ("bitwise_or", "or_"), ("bitwise_xor", "xor"), ("bitwise_not", "not_"),
    ("logical_and", "and_"), ("logical_or", "or_"), ("logical_xor", "xor"), ("logical_not", "not_"),
):  # fmt: skip
    _bitwise(_name, _method)


@operation("cast")
def _cast(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    (x,) = args
    b = build.b
    lanes = x.type.count if isinstance(x.type, ir.VectorType) else 1
    want = like(register_type(out), lanes)
    if out.kind == "b":
        zero = build.const(0, x.type)
        if dtype.kind == "b":
            return x
        return b.fcmp_unordered("!=", x, zero) if dtype.kind == "f" else b.icmp_signed("!=", x, zero)
    if dtype.kind == "f":
        if out.kind == "f":
            return x if x.type == want else (b.fpext if out.bits > dtype.bits else b.fptrunc)(x, want)
        # Saturating: what does not fit becomes the nearest value that does, NaN becomes 0.
        name = f"llvm.fpto{'s' if out.kind == 'i' else 'u'}i.sat.{suffix(want)}.{suffix(x.type)}"
        return build.intrinsic(name, want, (x,))
    if out.kind == "f":
        return b.sitofp(x, want) if dtype.kind == "i" else b.uitofp(x, want)
    if x.type == want:
        return x
    if out.bits < dtype.bits and dtype.kind != "b":
        return b.trunc(x, want)
    return b.sext(x, want) if dtype.kind == "i" else b.zext(x, want)


# -- reductions -----------------------------------------------------------------------------------------------


def identity_of(op: str, dtype: DType) -> Any:
    """What a reduction starts from."""
    if op in ("sum", "any"):
        return 0
    if op in ("prod", "all"):
        return 1
    if dtype.kind == "f":
        return -math.inf if op == "max" else math.inf
    if dtype.kind == "b":
        return 0 if op == "max" else 1
    low, high = (
        (0, 2**dtype.bits - 1) if dtype.kind == "u" else (-(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1) - 1)
    )
    return low if op == "max" else high


def combine(build: Build, op: str, x: ir.Value, y: ir.Value, dtype: DType) -> ir.Value:
    """One step of a reduction."""
    if op in ("sum", "prod"):
        return table["add" if op == "sum" else "mul"](build, (x, y), dtype, dtype)
    if op in ("max", "min"):
        return extremum(build, op == "max", x, y, dtype)
    assert x.type == y.type and (x.type == I1 or x.type.element == I1)
    return build.b.or_(x, y) if op == "any" else build.b.and_(x, y)


# -- elementary functions -------------------------------------------------------------------------------------


class LlvmAlgebra:
    """The arithmetic of `kernel/functions.py` as instructions, on a scalar or vector type."""

    def __init__(self, build: Build, type_: ir.Type) -> None:
        self.build = build
        self.b = build.b
        self.float = type_
        lanes = type_.count if isinstance(type_, ir.VectorType) else 1
        self.bits = 32 if element(type_) == F32 else 64
        self.int = like(ir.IntType(self.bits), lanes)

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

    def fma(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        if self.build.target.fma:
            return self.build.call1("fma", x, y, z)
        return self.b.fadd(self.b.fmul(x, y), z)

    def abs(self, x: ir.Value) -> ir.Value:
        return self.build.call1("fabs", x)

    def sqrt(self, x: ir.Value) -> ir.Value:
        return self.build.call1("sqrt", x)

    def round(self, x: ir.Value) -> ir.Value:
        return self.build.call1("rint", x)

    def less(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.fcmp_ordered("<", x, y)

    def equal(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.fcmp_ordered("==", x, y)

    def unordered(self, x: ir.Value) -> ir.Value:
        return self.b.fcmp_unordered("uno", x, x)

    def select(self, condition: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.select(condition, x, y)

    def as_int(self, x: ir.Value) -> ir.Value:
        return self.b.bitcast(x, self.int)

    def as_float(self, x: ir.Value) -> ir.Value:
        return self.b.bitcast(x, self.float)

    def to_int(self, x: ir.Value) -> ir.Value:
        return self.b.fptosi(x, self.int)

    def to_float(self, x: ir.Value) -> ir.Value:
        return self.b.sitofp(x, self.float)

    def iadd(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.add(x, y)

    def isub(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.sub(x, y)

    def iand(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.and_(x, y)

    def ior(self, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.b.or_(x, y)

    def shl(self, x: ir.Value, count: int) -> ir.Value:
        return self.b.shl(x, self.iconst(count))

    def shr(self, x: ir.Value, count: int) -> ir.Value:
        return self.b.ashr(x, self.iconst(count))


def _elementary(name: str) -> None:
    @operation(name)
    def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
        return functions[name](LlvmAlgebra(build, args[0].type), args[0])


for _name in functions:
    _elementary(_name)


@operation("rsqrt")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    return build.b.fdiv(build.const(1.0, args[0].type), build.call1("sqrt", args[0]))


@operation("sign")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    (x,) = args
    zero = build.const(0, x.type)
    if dtype.kind == "f":
        up = build.b.select(build.b.fcmp_ordered(">", x, zero), build.const(1, x.type), x)
        return build.b.select(build.b.fcmp_ordered("<", x, zero), build.const(-1, x.type), up)
    compare = build.b.icmp_signed if dtype.kind == "i" else build.b.icmp_unsigned
    up = build.b.select(compare(">", x, zero), build.const(1, x.type), zero)
    return build.b.select(compare("<", x, zero), build.const(-1, x.type), up)
