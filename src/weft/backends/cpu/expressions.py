"""Loop expressions as instructions: what an element is, on scalars and on vectors along a loop variable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...ir.dtype import DType, bfloat16, float32, float64
from ...kernel.functions import ENDS, NORMAL
from ...kernel.generic import Hole
from ...kernel.index import Index, Var
from ...kernel.loops import (
    Apply,
    Entry,
    Expr,
    Inside,
    Literal,
    Load,
    Lookup,
    Position,
    Scalar,
    Search,
    Total,
    found_in,
)
from . import instructions as ir
from . import philox, reinterpret  # noqa: F401  (declare their operations)
from .build import I1, I32, I64, PTR, Build, element, like, register_type
from .order import precedes
from .places import Lanes, Places, both, opposite
from .scalar import operate
from .words import round_to_brains


def _is_number(e: Expr) -> bool:
    """Whether an expression is an input of one element, perhaps of another type."""
    return isinstance(e, Scalar) or (isinstance(e, Apply) and e.op == "cast" and _is_number(e.args[0]))


class Expressions(Places):
    """Loop expressions as instructions of one function, given the pointers of its buffer table.

    After the buffers, the table of a kernel that checks indices holds the address of its status word, and then that
    of a generic kernel the address of its values, of which there are `holes`.
    """

    def __init__(self, build: Build, dtypes: tuple[DType, ...], checked: bool, holes: int = 0) -> None:
        super().__init__(build, dtypes)
        table = build.function.args[0]
        self.status: ir.Value | None = None
        if checked:
            at = self.b.gep(table, [I64(len(dtypes))], source_etype=PTR)
            self.status = self.b.load(at, typ=PTR, align=8)
        if holes:
            at = self.b.gep(table, [I64(len(dtypes) + checked)], source_etype=PTR)
            values = self.b.load(at, typ=PTR, align=8)
            for slot in range(holes):
                self.b.name_load(ir.hole_name(slot), self.b.gep(values, [I64(slot)], source_etype=I64), I64)
        self.totals: list[ir.Value] = []
        self.normal = False  #: whether no total is subnormal, and an instruction rounds such to bfloat16
        self.greatest: Mapping[int, Expr] = {}  #: what the totals that are maxima are the maxima of
        self.ahead = 0  #: bytes by which vectors are fetched ahead of their use
        self._numbers: dict[Expr, ir.Value] = {}  #: what is computed once, before all loops

    def value(self, e: Expr, lanes: Lanes, memo: dict[Expr, ir.Value]) -> ir.Value:
        """An expression as a scalar (the same in all lanes) or a vector."""
        found = memo.get(e)
        if found is None:
            if _is_number(e):
                with self.b.goto_entry_block():  # or LLVM reads it again after every store
                    found = self._numbers.get(e)
                    if found is None:
                        found = self._numbers[e] = self._value(e, Lanes({}), self._numbers)
            else:
                found = self._value(e, lanes, memo)
            memo[e] = found
        return found

    def _value(self, e: Expr, lanes: Lanes, memo: dict[Expr, ir.Value]) -> ir.Value:
        if isinstance(e, Literal) and isinstance(e.value, Hole):
            return self.b.sitofp(I64(e.value), register_type(e.dtype))
        if isinstance(e, Literal):
            return self.build.const(_number(e), register_type(e.dtype))
        if isinstance(e, Scalar):
            return self.build.load(self.bases[e.buffer], I64(0), e.dtype)
        if isinstance(e, Total):
            return self.totals[e.reduction]
        if isinstance(e, Load):
            return self._load(e, lanes)
        if isinstance(e, Lookup):
            return self._lookup(e, lanes, memo)
        if isinstance(e, Search):
            return self._search(e, lanes, memo)
        if isinstance(e, Position):
            return self._position(e, lanes)
        if isinstance(e, Entry):
            return self._entry(e, lanes)
        if isinstance(e, Inside):
            return self._inside(e, lanes, memo)
        if e.op == "exp" and (found := vanishing(e.args[0])) is not None:
            less, x, least = found
            args = self.build.same(self.value(less, lanes, memo), self.value(x, lanes, memo))
            low = least >= NORMAL[e.dtype.bits] and self._is_low(x)
            name = "exp_unless_low" if low else "exp_unless"
            return operate(self.build, name, args, [less.dtype, x.dtype], e.dtype)
        if e.op == "equal" and isinstance(e.args[0], Position) and lanes.vector is not None:
            found = self._is_at(e.args[0], e.args[1], lanes, memo)
            if found is not None:
                return found
        args = self.build.same(*[self.value(a, lanes, memo) for a in e.args])
        if e.op == "cast":
            if self.normal and e.dtype is bfloat16 and isinstance(e.args[0], Total):
                return round_to_brains(self.build, args[0])
            return self._cast(args[0], e.args[0].dtype, e.dtype)
        return operate(self.build, e.op, args, [a.dtype for a in e.args], e.dtype)

    def _is_low(self, e: Expr) -> bool:
        """Whether an expression is known to be nowhere above 0: something less the greatest of its row."""
        if not (isinstance(e, Apply) and e.op == "sub" and isinstance(e.args[1], Total)):
            return False
        return self.greatest.get(e.args[1].reduction) == e.args[0]

    def _cast(self, x: ir.Value, dtype: DType, out: DType) -> ir.Value:
        """Conversion; a 16-bit float is a float32 in its register, of a value that 16 bits can hold."""
        dtype = float32 if dtype.storage_only else dtype
        if not out.storage_only:
            return operate(self.build, "cast", (x,), [dtype], out)
        if dtype.kind != "f":
            x, dtype = operate(self.build, "cast", (x,), [dtype], float64), float64
        return self.build.round(x, dtype, out)

    def _load(self, e: Load, lanes: Lanes) -> ir.Value:
        near = lanes.vector is not None and e.index.stride(lanes.vector) == 1
        if near and self.ahead and e.buffer < self.given:
            self.fetch(e, lanes, self.ahead)
        return self.read(e.buffer, e.index, lanes)

    def _lookup(self, e: Lookup, lanes: Lanes, memo: dict[Expr, ir.Value]) -> ir.Value:
        offset, fault = self.offset(e.parts, e.wraps, lanes, memo)
        self._report(fault, lanes)
        if not isinstance(offset.type, ir.VectorType):
            return self.read(e.buffer, e.base, lanes, offset)
        at = self.b.add(self.build.splat(self.indices(e.base, lanes), lanes.count), offset)
        return self._gather(self.bases[e.buffer], at, e.dtype, lanes)

    def offset(
        self,
        parts: tuple[tuple[Expr, int, int], ...],
        wraps: bool,
        lanes: Lanes,
        memo: dict[Expr, ir.Value],
    ) -> tuple[ir.Value, ir.Value]:
        """Where run-time indices lead, those outside their axes to 0; and whether there is one of these."""
        total: ir.Value = I64(0)
        fault: ir.Value = I1(0)
        for part, size, stride in parts:
            i = self.value(part, lanes, memo)
            if element(i.type) != I64:
                signed = part.dtype.kind == "i"
                wide = like(I64, i.lanes)
                i = self.b.sext(i, wide) if signed else self.b.zext(i, wide)
            zero, end = self.build.const(0, i.type), self.build.const(size, i.type)
            if wraps and part.dtype.kind == "i":
                i = self.b.select(self.b.icmp_signed("<", i, zero), self.b.add(i, end), i)
            wrong = self.b.icmp_unsigned(">=", i, end)
            i = self.b.select(wrong, zero, i)
            fault = self._or(fault, wrong)
            step, total = self.build.same(self.b.mul(i, self.build.const(stride, i.type)), total)
            total = self.b.add(total, step)
        return total, fault

    def _search(self, e: Search, lanes: Lanes, memo: dict[Expr, ir.Value]) -> ir.Value:
        """Halving without branches: how far the edges that lie before the key reach, from the highest bit down."""
        key = self.value(e.key, lanes, memo)
        start = self.indices(e.base, lanes)
        if isinstance(key.type, ir.VectorType) or isinstance(start.type, ir.VectorType):
            key, start = self.build.splat(key, lanes.count), self.build.splat(start, lanes.count)
        found = self.build.const(0, start.type)
        for bit in reversed(range(e.size.bit_length())):
            ahead = self.b.add(found, self.build.const(1 << bit, found.type))
            last = self.build.const(e.size, found.type)
            beyond = self.b.icmp_signed(">", ahead, last)
            seen = self.b.sub(self.b.select(beyond, last, ahead), self.build.const(1, found.type))
            at = self.b.add(start, self.b.mul(seen, self.build.const(e.stride, seen.type)))
            base, dtype = self.bases[e.buffer], e.key.dtype
            vector = isinstance(at.type, ir.VectorType)
            edge = self._gather(base, at, dtype, lanes) if vector else self.build.load(base, at, dtype)
            if e.right:
                before = self.b.not_(precedes(self.build, key, edge, dtype))
            else:
                before = precedes(self.build, edge, key, dtype)
            found = self.b.select(self.b.and_(before, self.b.not_(beyond)), ahead, found)
        return found

    def _or(self, x: ir.Value, y: ir.Value) -> ir.Value:
        x, y = self.build.same(x, y)
        return self.b.or_(x, y)

    def _report(self, fault: ir.Value, lanes: Lanes) -> None:
        """Note in the kernel's status word that an index was outside its axis."""
        if isinstance(fault.type, ir.VectorType):
            if lanes.mask is not None:
                fault = self.b.and_(fault, lanes.mask)
            fault = self.build.intrinsic(f"llvm.vector.reduce.or.v{lanes.count}i1", I1, (fault,))
        assert self.status is not None
        with self.b.if_then(fault, likely=False):
            self.b.store(I64(1), self.status, align=8)

    def _position(self, e: Position, lanes: Lanes) -> ir.Value:
        index = self.indices(e.index, lanes)
        want = register_type(e.dtype)
        type_ = like(want, lanes.count) if isinstance(index.type, ir.VectorType) else want
        if e.dtype.kind == "f":
            return self.b.sitofp(index, type_)
        return index if e.dtype.bits == 64 else self.b.trunc(index, type_)

    def _entry(self, e: Entry, lanes: Lanes) -> ir.Value:
        """What a table says at an index, or in each lane; of lanes side by side, neighbours in it."""
        kind, vector, numbers = register_type(e.dtype), lanes.vector, e.table.numbers
        low, high = e.index.bounds
        if vector is None or e.index.stride(vector) != 1 or low < 0 or high >= len(numbers):
            return self.numbers(e.table, self.indices(e.index, lanes), kind, e.index)
        start = self.index(e.index, lanes)
        if isinstance(start, ir.Constant):
            last = len(numbers) - 1
            row = [numbers[min(start.constant + k, last)] for k in range(lanes.count)]
            return ir.Constant(like(kind, lanes.count), row)
        return self.build.load(self.stored(e.table, kind), start, e.dtype, lanes.count, lanes.mask)

    def _is_at(self, e: Position, other: Expr, lanes: Lanes, memo: dict[Expr, ir.Value]) -> ir.Value | None:
        """Whether a position along a vector is a number that is the same in all lanes, in 32 bits if these do."""
        assert lanes.vector is not None
        if e.dtype.bits != 64 or e.index.stride(lanes.vector) != 1 or _has_holes(e.index):
            return None
        low, high = e.index.bounds
        place = self.value(other, lanes, memo)
        if isinstance(place.type, ir.VectorType) or low < 0 or high + lanes.count >= 1 << 31:
            return None
        near = self.b.icmp_unsigned("<", place, I64(1 << 31))
        place = self.b.select(near, self.b.trunc(place, I32), I32(-1))
        first = self.b.trunc(self.index(e.index, lanes), I32)
        here = self.b.add(self.build.splat(first, lanes.count), self.build.iota(I32, lanes.count))
        return self.b.icmp_signed("==", here, self.build.splat(place, lanes.count))

    def _inside(self, e: Inside, lanes: Lanes, memo: dict[Expr, ir.Value]) -> ir.Value:
        condition = self._known_lanes(e.conditions, lanes) or self.holds(e.conditions, lanes)
        if not isinstance(condition.type, ir.VectorType):
            then = lambda: self.build.splat(self.value(e.then, lanes, {}), lanes.count)  # noqa: E731
            other = lambda: self.build.splat(self.value(e.other, lanes, {}), lanes.count)  # noqa: E731
            return self.build.choose(condition, then, other)
        found = self._in_some(e.then, condition, lanes, memo)
        rest = self._in_some(e.other, opposite(self.b, condition), lanes, memo)
        return self.b.select(condition, found, rest)

    def _in_some(self, e: Expr, wanted: ir.Value, lanes: Lanes, memo: dict[Expr, ir.Value]) -> ir.Value:
        """An expression in the lanes where it is `wanted`: nothing is read for the others, which get anything."""
        if not reads_memory(e):
            return self.build.splat(self.value(e, lanes, memo), lanes.count)
        mask = wanted if lanes.mask is None else both(self.b, wanted, lanes.mask)
        within = replace(lanes, mask=mask)
        found = lambda: self.build.splat(self.value(e, within, {}), lanes.count)  # noqa: E731
        if not reads_alike(e, lanes.vector) and not _is_choice_of_many(e):
            return found()
        # What is read once for all lanes has no mask of its own: it may only be read if a lane wants it. And of many
        # parts of a concatenation most are wanted by no lane.
        some = self.build.intrinsic(f"llvm.vector.reduce.or.v{lanes.count}i1", I1, (mask,))
        nothing = self.build.const(0, like(register_type(e.dtype), lanes.count))
        return self.build.choose(some, found, lambda: nothing)


def reads_alike(e: Expr, vector: Var | None) -> bool:
    """Whether an expression reads memory at a place that is the same for all lanes, or known only at run time."""

    def alike(x: Expr) -> bool:
        if isinstance(x, Load):
            return vector is None or x.index.stride(vector) == 0
        return isinstance(x, (Lookup, Search))

    return any(alike(x) for x in found_in([e]))


def reads_memory(e: Expr) -> bool:
    """Whether an expression reads more than inputs of one element."""
    return any(isinstance(x, (Load, Lookup, Search)) for x in found_in([e]))


def vanishing(e: Expr) -> tuple[Expr, Expr, float] | None:
    """(x < least, x, least) of where(x < least, -inf, x), if e**x is greater than 0 for any other x."""
    if not (isinstance(e, Apply) and e.op == "where" and e.args[1] == Literal("-inf", e.dtype)):
        return None
    less, _, x = e.args
    if not (isinstance(less, Apply) and less.op == "less" and less.args[0] == x):
        return None
    least = less.args[1]
    if not isinstance(least, Literal) or e.dtype.storage_only or isinstance(least.value, Hole):
        return None
    number = float(least.value)
    return (less, x, number) if number >= ENDS[e.dtype.bits][0] else None


def _number(e: Literal) -> Any:
    if e.value in ("True", "False"):
        return e.value == "True"
    value = float(e.value) if any(c in e.value for c in ".en") else int(e.value)
    return float(e.dtype.numpy.type(value)) if e.dtype.storage_only else value


def _is_choice_of_many(e: Expr, many: int = 3) -> bool:
    """Whether an expression is one of more than `many`, chosen by conditions on indices alone."""
    pending, count = [e], 0
    while pending and count <= many:
        e = pending.pop()
        if isinstance(e, Inside):
            pending += (e.then, e.other)
        else:
            count += 1
    return count > many


def _has_holes(at: Index) -> bool:
    """Whether an index has numbers that are known at run time only, or may have: its bounds are then not asked for."""
    variables = [t for t in at.factors if isinstance(t, Var)]
    numbers = (at.offset, *at.factors.values(), *[v.size for v in variables])
    return len(variables) < len(at.factors) or any(isinstance(n, Hole) for n in numbers)
