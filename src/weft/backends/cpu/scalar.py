"""Elementwise primitives as instructions, on scalars and vectors alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ...base.errors import BackendError
from ...ir.dtype import DType
from ...kernel.declare import declares
from ...kernel.functions import exp_unless, functions, polygamma
from . import instructions as ir
from .algebra import LlvmAlgebra
from .build import I1, Build, like, register_type

Operate = Callable[[Build, tuple[ir.Value, ...], DType, DType], ir.Value]

#: name of a primitive -> emit(build, operands, dtype of the operands, dtype of the result)
table: dict[str, Operate] = {}

#: the same for primitives of one operand and an integer attribute: emit(build, operand, dtype, attribute)
parametric: dict[str, Callable[[Build, ir.Value, DType, int], ir.Value]] = {}


#: Declares the code of the primitives with the given names, for operands of any one type.
operation = declares(table)


def operate(
    build: Build, name: str, args: tuple[ir.Value, ...], dtypes: Sequence[DType], out: DType
) -> ir.Value:
    """Emit one elementwise operation; an integer parameter of it follows its name after a point."""
    name, _, parameter = name.partition(".")
    if parameter:
        return parametric[name](build, args[0], dtypes[0], int(parameter))
    if name not in table:
        raise BackendError(f"the cpu backend has no code for {name}")
    return table[name](build, args, dtypes[0], out)


# -- arithmetic -----------------------------------------------------------------------------------------------


def _arithmetic(name: str, floating: str, integer: str) -> None:
    @operation(name)
    def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
        return getattr(build.b, floating if dtype.kind == "f" else integer)(*args)


_arithmetic("add", "fadd", "add")
_arithmetic("sub", "fsub", "sub")
_arithmetic("mul", "fmul", "mul")
_arithmetic("div", "fdiv", "fdiv")


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


def extremum(build: Build, largest: bool, x: ir.Value, y: ir.Value, dtype: DType) -> ir.Value:
    """The larger (or smaller) of two; a NaN wins; of two zeros of different sign, the second."""
    b = build.b
    sign = ">" if largest else "<"
    if dtype.kind == "f":
        # The comparison is one instruction, which gives the second if one is NaN. LLVM would make two comparisons of
        # both if the NaN were not doubled, which leaves it what it is.
        better = b.select(b.fcmp_ordered(sign, x, y), x, y)
        return b.select(b.fcmp_unordered("uno", x, x), b.fadd(x, x), better)
    if dtype.kind == "b":
        return b.or_(x, y) if largest else b.and_(x, y)
    compare = b.icmp_unsigned if dtype.kind == "u" else b.icmp_signed
    return b.select(compare(sign, x, y), x, y)


table["maximum"] = lambda build, args, dtype, out: extremum(build, True, args[0], args[1], dtype)
table["minimum"] = lambda build, args, dtype, out: extremum(build, False, args[0], args[1], dtype)


@operation("clip")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    x, low, high = args
    return extremum(build, False, extremum(build, True, x, low, dtype), high, dtype)


@operation("sign")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    (x,) = args
    zero = build.const(0, x.type)
    if dtype.kind == "f":
        rest = build.b.select(build.b.fcmp_ordered("==", x, zero), zero, x)  # +0 or NaN
        up = build.b.select(build.b.fcmp_ordered(">", x, zero), build.const(1, x.type), rest)
        return build.b.select(build.b.fcmp_ordered("<", x, zero), build.const(-1, x.type), up)
    compare = build.b.icmp_signed if dtype.kind == "i" else build.b.icmp_unsigned
    up = build.b.select(compare(">", x, zero), build.const(1, x.type), zero)
    return up if dtype.kind == "u" else build.b.select(compare("<", x, zero), build.const(-1, x.type), up)


@operation("rsqrt")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    return build.b.fdiv(build.const(1.0, args[0].type), build.call1("sqrt", args[0]))


@operation("conj")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    return args[0]


# -- comparison -----------------------------------------------------------------------------------------------


def _comparison(name: str, sign: str) -> None:
    @operation(name)
    def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
        if dtype.kind == "f":
            return build.b.fcmp_ordered(sign, *args)
        compare = build.b.icmp_signed if dtype.kind == "i" else build.b.icmp_unsigned
        return compare(sign, *args)


for _name, _sign in (
    ("equal", "=="), ("less", "<"), ("less_equal", "<="),
):  # fmt: skip
    _comparison(_name, _sign)


@operation("isnan")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    (x,) = args
    return build.b.fcmp_unordered("uno", x, x) if dtype.kind == "f" else build.b.icmp_signed("!=", x, x)


def _finiteness(name: str, sign: str, of_integers: bool) -> None:
    @operation(name)
    def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
        (x,) = args
        if dtype.kind != "f":
            return build.b.icmp_signed("==" if of_integers else "!=", x, x)
        return build.b.fcmp_ordered(sign, build.call1("fabs", x), build.const(math.inf, x.type))


_finiteness("isinf", "==", False)
_finiteness("isfinite", "<", True)


@operation("signbit")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    a = LlvmAlgebra(build, args[0].type)
    return a.iless(a.as_int(args[0]), a.iconst(0))


# -- choice and bits ------------------------------------------------------------------------------------------


@operation("where")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    return build.b.select(*args)


def _bitwise(name: str, method: str) -> None:
    @operation(name)
    def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
        return getattr(build.b, method)(*args)


for _name, _method in (
    ("bitwise_and", "and_"), ("bitwise_or", "or_"), ("bitwise_xor", "xor"), ("bitwise_not", "not_"),
):  # fmt: skip
    _bitwise(_name, _method)


def _shift(name: str) -> None:
    @operation(name)
    def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
        b, (x, count) = build.b, args
        inside = b.icmp_unsigned("<", count, build.const(dtype.bits, count.type))
        if name == "shift_right" and dtype.kind == "i":
            return b.ashr(x, b.select(inside, count, build.const(dtype.bits - 1, count.type)))
        safe = b.select(inside, count, build.const(0, count.type))
        moved = b.shl(x, safe) if name == "shift_left" else b.lshr(x, safe)
        return b.select(inside, moved, build.const(0, x.type))


_shift("shift_left")
_shift("shift_right")


# -- conversion -----------------------------------------------------------------------------------------------


@operation("cast")
def _cast(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    (x,) = args
    b = build.b
    lanes = x.lanes
    want = like(register_type(out), lanes)
    if out.kind == "b":
        zero = build.const(0, x.type)
        if dtype.kind == "b":
            return x
        return b.fcmp_unordered("!=", x, zero) if dtype.kind == "f" else b.icmp_signed("!=", x, zero)
    if dtype.kind == "f":
        if out.kind == "f":
            return x if x.type == want else (b.fpext if out.bits > dtype.bits else b.fptrunc)(x, want)
        return _saturated(build, x, want, out)
    if out.kind == "f":
        return b.sitofp(x, want) if dtype.kind == "i" else b.uitofp(x, want)
    if x.type == want:
        return x
    if out.bits < dtype.bits and dtype.kind != "b":
        return b.trunc(x, want)
    return b.sext(x, want) if dtype.kind == "i" else b.zext(x, want)


def _saturated(build: Build, x: ir.Value, want: ir.Type, out: DType) -> ir.Value:
    """A float as an integer: what does not fit becomes the nearest number that does, NaN becomes 0.

    In comparisons, since LLVM's own saturating conversion takes vectors apart.
    """
    b = build.b
    high = 2.0 ** (out.bits - (out.kind == "i"))  # the first number that does not fit
    low = -high if out.kind == "i" else 0.0
    above = b.fcmp_ordered(">=", x, build.const(high, x.type))
    below = b.fcmp_ordered("<", x, build.const(low, x.type))
    wrong = b.or_(b.or_(above, below), b.fcmp_unordered("uno", x, x))
    fits = b.select(wrong, build.const(0.0, x.type), x)
    found = b.fptosi(fits, want) if out.kind == "i" else b.fptoui(fits, want)
    found = b.select(above, build.const(int(high) - 1, want), found)
    return b.select(below, build.const(int(low), want), found)


# -- integers -------------------------------------------------------------------------------------------------


def _divide(build: Build, x: ir.Value, y: ir.Value, dtype: DType) -> tuple[ir.Value, ir.Value, ir.Value]:
    """(quotient, remainder, y is 0) of integers, floored; never a trap."""
    b = build.b
    zero, one = build.const(0, y.type), build.const(1, y.type)
    none = b.icmp_unsigned("==", y, zero)
    if dtype.kind == "u":
        safe = b.select(none, one, y)
        return b.udiv(x, safe), b.urem(x, safe), none
    # The smallest number over -1 overflows, which processors treat like a division by 0.
    minus = b.icmp_signed("==", y, build.const(-1, y.type))
    safe = b.select(b.or_(none, minus), one, y)
    quotient, rest = b.sdiv(x, safe), b.srem(x, safe)
    quotient = b.select(minus, b.sub(zero, x), quotient)
    other_side = b.icmp_signed("<", b.xor(rest, safe), zero)
    down = b.and_(b.icmp_signed("!=", rest, zero), other_side)
    quotient = b.select(down, b.sub(quotient, one), quotient)
    return quotient, b.select(down, b.add(rest, safe), rest), none


@operation("floor_divide")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    quotient, _, none = _divide(build, args[0], args[1], dtype)
    return build.b.select(none, build.const(0, quotient.type), quotient)


@operation("remainder")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    _, rest, none = _divide(build, args[0], args[1], dtype)
    return build.b.select(none, build.const(0, rest.type), rest)


@operation("pow")
def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
    """Repeated squaring over the bits of the exponent."""
    b, (x, y) = build.b, args
    zero, one = build.const(0, x.type), build.const(1, x.type)
    with b.goto_entry_block():
        slots = [b.alloca(x.type) for _ in range(3)]
    for value, slot in zip((one, x, y), slots, strict=True):
        b.store(value, slot)
    with build.loop(ir.IntType(64)(0), ir.IntType(64)(dtype.bits - (dtype.kind == "i")), name="bit"):
        result, base, left = [b.load(slot, typ=x.type) for slot in slots]
        odd = b.icmp_unsigned("!=", b.and_(left, one), zero)
        b.store(b.select(odd, b.mul(result, base), result), slots[0])
        b.store(b.mul(base, base), slots[1])
        b.store(b.lshr(left, one), slots[2])
    result = b.load(slots[0], typ=x.type)
    if dtype.kind == "u":
        return result
    # To a negative power: 1, -1 by the exponent's last bit, or 0.
    unit = b.or_(b.icmp_signed("==", x, one), b.icmp_signed("==", x, build.const(-1, x.type)))
    odd = b.icmp_unsigned("!=", b.and_(y, one), zero)
    negative = b.select(unit, b.select(odd, x, one), zero)
    return b.select(b.icmp_signed("<", y, zero), negative, result)


# -- elementary functions -------------------------------------------------------------------------------------


def _elementary(name: str) -> None:
    integers = table.get(name)

    @operation(name)
    def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
        if dtype.kind != "f" and integers is not None:
            return integers(build, args, dtype, out)
        return functions[name](LlvmAlgebra(build, args[0].type), *args)


# Last, so that those of them that have a form for integers keep it.
for _name in functions:
    _elementary(_name)


def _exp_unless(name: str, low: bool) -> None:
    @operation(name)
    def _(build: Build, args: tuple[ir.Value, ...], dtype: DType, out: DType) -> ir.Value:
        vanishes, x = args
        return exp_unless(LlvmAlgebra(build, x.type), vanishes, x, low)


_exp_unless("exp_unless", False)
_exp_unless("exp_unless_low", True)


# -- with an attribute ----------------------------------------------------------------------------------------


def _integer_pow(build: Build, x: ir.Value, dtype: DType, exponent: int) -> ir.Value:
    if exponent == 0:
        return build.const(1, x.type)
    out: ir.Value | None = None
    n = abs(exponent)
    multiply = build.b.fmul if dtype.kind == "f" else build.b.mul
    while n:
        if n & 1:
            out = x if out is None else multiply(out, x)
        n >>= 1
        if n:
            x = multiply(x, x)
    assert out is not None
    return build.b.fdiv(build.const(1, out.type), out) if exponent < 0 else out


parametric["integer_pow"] = _integer_pow
parametric["polygamma"] = lambda build, x, dtype, order: polygamma(LlvmAlgebra(build, x.type), x, order)


# -- reductions -----------------------------------------------------------------------------------------------


def combine(build: Build, op: str, x: ir.Value, y: ir.Value, dtype: DType) -> ir.Value:
    """One step of a reduction."""
    if op in ("sum", "dot", "prod"):
        return table["mul" if op == "prod" else "add"](build, (x, y), dtype, dtype)
    if op in ("max", "min"):
        return extremum(build, op == "max", x, y, dtype)
    assert x.type == y.type and (x.type == I1 or x.type.element == I1)
    return build.b.or_(x, y) if op == "any" else build.b.and_(x, y)
