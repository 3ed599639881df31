"""Loop expressions as instructions: what an element is, on scalars and on vectors along a loop variable."""

# llvmlite.ir has no annotations: what pyright infers of its values is wrong.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...ir.dtype import DType, bfloat16, float32, float64
from ...kernel.functions import ENDS
from ...kernel.generic import Hole
from ...kernel.index import Index, Quotient, Var
from ...kernel.loops import (
    Apply,
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
from ...kernel.patterns import Pattern, first, pattern
from . import instructions as ir
from . import philox, reinterpret  # noqa: F401  (declare their operations)
from .build import I1, I32, I64, LINE, PTR, Build, element, like, memory_type, register_type, suffix
from .order import precedes
from .picking import in_turn, picked
from .scalar import operate
from .words import round_to_brains


@dataclass(frozen=True)
class Lanes:
    """Where an expression is being computed: values of the loop variables, and which of them runs along lanes."""

    values: Mapping[Var, ir.Value]
    vector: Var | None = None
    count: int = 1
    mask: ir.Value | None = None
    every: int = 1  #: what the vector variable is a multiple of in the first lane

    def at(self, var: Var, value: ir.Value) -> Lanes:
        return replace(self, values={**self.values, var: value})


def _is_number(e: Expr) -> bool:
    """Whether an expression is an input of one element, perhaps of another type."""
    return isinstance(e, Scalar) or (isinstance(e, Apply) and e.op == "cast" and _is_number(e.args[0]))


class Expressions:
    """Loop expressions as instructions of one function, given the pointers of its buffer table.

    After the buffers, the table of a kernel that checks indices holds the address of its status word, and then that
    of a generic kernel the address of its values, of which there are `holes`.
    """

    def __init__(self, build: Build, dtypes: tuple[DType, ...], checked: bool, holes: int = 0) -> None:
        self.build = build
        self.b = build.b
        self.dtypes = dtypes
        self.given = len(dtypes)  #: buffers of the table; what a kernel sets aside follows them
        table = build.function.args[0]
        self.bases = [
            self.b.load(self.b.gep(table, [I64(i)], source_etype=PTR), typ=PTR, align=8)
            for i in range(len(dtypes))
        ]
        self.status: ir.Value | None = None
        if checked:
            self.status = self.b.load(
                self.b.gep(table, [I64(len(dtypes))], source_etype=PTR), typ=PTR, align=8
            )
            self.status.type = I64.as_pointer()
        if holes:
            at = self.b.gep(table, [I64(len(dtypes) + checked)], source_etype=PTR)
            values = self.b.load(at, typ=PTR, align=8)
            for slot in range(holes):
                self.b.name_load(ir.hole_name(slot), self.b.gep(values, [I64(slot)], source_etype=I64), I64)
        self.totals: list[ir.Value] = []
        self.normal = False  #: whether no total is subnormal, and an instruction rounds such to bfloat16
        self.greatest: Mapping[int, Expr] = {}  #: what the totals that are maxima are the maxima of
        self.ahead = 0  #: bytes by which vectors are fetched ahead of their use
        self.ahead_writing = 0  #: the same of those that are written
        #: Whether quotients in indices are hidden. Of many indices that are made of them, LLVM would look for those
        #: that are a part of others, and take longer than for all the rest.
        self.hides = False
        self.past = False  #: whether whole vectors are written past the caches
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
        if isinstance(e, Inside):
            return self._inside(e, lanes, memo)
        if e.op == "exp" and (parts := vanishing(e.args[0])) is not None:
            args = self.build.same(*[self.value(a, lanes, memo) for a in parts])
            name = "exp_unless_low" if self._is_low(parts[1]) else "exp_unless"
            return operate(self.build, name, args, [a.dtype for a in parts], e.dtype)
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
        step = e.index.stride(lanes.vector) if lanes.vector is not None else 0
        base = self.bases[e.buffer]
        if step == 0:
            return self.build.load(base, self.index(e.index, lanes), e.dtype)
        if step == 1:
            index = self.index(e.index, lanes)
            if self.ahead and e.buffer < self.given:
                self._fetch(base, index, e.dtype, lanes.count, self.ahead)
            return self.build.load(base, index, e.dtype, lanes.count, lanes.mask)
        places, wanted = self._pattern(e.index, lanes), _known(lanes.mask, lanes.count)
        if places is not None and wanted is not None:
            found = picked(self.build, base, self.index(e.index, lanes), e.dtype, places, wanted)
            if found is not None:
                return found
        at = self.build.splat(self.indices(e.index, lanes), lanes.count)
        return self._gather(base, at, e.dtype, lanes)

    def _lookup(self, e: Lookup, lanes: Lanes, memo: dict[Expr, ir.Value]) -> ir.Value:
        at = self.indices(e.base, lanes)
        offset, fault = self.offset(e.parts, e.wraps, lanes, memo)
        at, offset = self.build.same(at, offset)
        at = self.b.add(at, offset)
        self._report(fault, lanes)
        base = self.bases[e.buffer]
        if not isinstance(at.type, ir.VectorType):
            return self.build.load(base, at, e.dtype)
        return self._gather(base, at, e.dtype, lanes)

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
                wide = like(I64, i.type.count if isinstance(i.type, ir.VectorType) else 1)
                i = self.b.sext(i, wide) if signed else self.b.zext(i, wide)
            zero, end = self.build.const(0, i.type), self.build.const(size, i.type)
            if wraps:
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

    def _gather(self, base: ir.Value, at: ir.Value, dtype: DType, lanes: Lanes) -> ir.Value:
        """Elements at the places `at`; masked-off lanes are not touched."""
        pointers = self._pointers(base, at, dtype)
        raw = self.build.narrow(self.build.const(0, like(register_type(dtype), lanes.count)), dtype)
        name = f"llvm.masked.gather.v{lanes.count}{_suffix(raw)}.v{lanes.count}p0"
        got = self.build.masked(name, raw.type, (pointers, self._mask(lanes), raw), 1)
        return self.build.widen(got, dtype)

    def _position(self, e: Position, lanes: Lanes) -> ir.Value:
        index = self.indices(e.index, lanes)
        want = register_type(e.dtype)
        type_ = like(want, lanes.count) if isinstance(index.type, ir.VectorType) else want
        if e.dtype.kind == "f":
            return self.b.sitofp(index, type_)
        return index if want.width == 64 else self.b.trunc(index, type_)

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
        rest = self._in_some(e.other, _opposite(self.b, condition), lanes, memo)
        return self.b.select(condition, found, rest)

    def _known_lanes(self, conditions: Sequence[tuple[Index, int, int]], lanes: Lanes) -> ir.Constant | None:
        """The lanes in which indices lie in their ranges, if that is the same for all vectors."""
        if lanes.vector is None or lanes.every == 1:
            return None
        held = [True] * lanes.count
        for at, low, high in conditions:
            places, (start, modulus) = self._pattern(at, lanes), first(at, lanes.vector, lanes.every)
            if places is None or modulus:
                return None
            held = [h and low <= start + p < high for h, p in zip(held, places, strict=True)]
        return ir.Constant(ir.VectorType(I1, lanes.count), held)

    def holds(self, conditions: Sequence[tuple[Index, int, int]], lanes: Lanes) -> ir.Value:
        """Whether indices lie in their ranges, in each lane if they are others there."""
        condition: ir.Value = I1(1)
        for at, low, high in conditions:
            i = self.indices(at, lanes)
            below, above = _open_ends(at, low, high)
            if below:
                condition = self._and(condition, self.b.icmp_signed(">=", i, self.build.const(low, i.type)))
            if above:
                condition = self._and(condition, self.b.icmp_signed("<", i, self.build.const(high, i.type)))
        return condition

    def _in_some(self, e: Expr, wanted: ir.Value, lanes: Lanes, memo: dict[Expr, ir.Value]) -> ir.Value:
        """An expression in the lanes where it is `wanted`: nothing is read for the others, which get anything."""
        if not reads_memory(e):
            return self.build.splat(self.value(e, lanes, memo), lanes.count)
        mask = wanted if lanes.mask is None else _both(self.b, wanted, lanes.mask)
        within = replace(lanes, mask=mask)
        found = lambda: self.build.splat(self.value(e, within, {}), lanes.count)  # noqa: E731
        if not reads_alike(e, lanes.vector) and not _is_choice_of_many(e):
            return found()
        # What is read once for all lanes has no mask of its own: it may only be read if a lane wants it. And of many
        # parts of a concatenation most are wanted by no lane.
        some = self.build.intrinsic(f"llvm.vector.reduce.or.v{lanes.count}i1", I1, (mask,))
        nothing = self.build.const(0, like(register_type(e.dtype), lanes.count))
        return self.build.choose(some, found, lambda: nothing)

    def _and(self, x: ir.Value, y: ir.Value) -> ir.Value:
        x, y = self.build.same(x, y)
        return self.b.and_(x, y)

    # -- indices ------------------------------------------------------------------------------------------------

    def index(self, at: Index, lanes: Lanes) -> ir.Value:
        """The index in the first lane."""
        parts = []
        for term, factor in at.factors.items():
            if isinstance(term, Var):
                part = lanes.values[term]
            else:
                inner = self.index(term.of, lanes)
                part = self._divide(inner, term.by, isinstance(term, Quotient), term.of)
                part = self.b.hidden(part) if self.hides else part
            parts.append(self.b.mul(part, I64(factor)))
        return self._sum(parts, I64(at.offset))

    def _sum(self, parts: list[ir.Value], offset: ir.Value) -> ir.Value:
        """The parts of an index added up, those first that change least: they are added outside of inner loops."""
        total = offset
        for part in sorted(parts, key=lambda x: x.depth):
            total = self.b.add(total, part)
        return total

    def indices(self, at: Index, lanes: Lanes) -> ir.Value:
        """The index in every lane: a scalar if they are the same, else a vector."""
        vector = lanes.vector
        if vector is None or at.stride(vector) == 0:
            return self.index(at, lanes)
        step = at.stride(vector)
        if step is not None:
            return self.b.add(self.build.splat(self.index(at, lanes), lanes.count), self._steps(step, lanes))
        places = self._pattern(at, lanes)
        if places is not None:
            first = self.build.splat(self.index(at, lanes), lanes.count)
            return self.b.add(first, ir.Constant(first.type, list(places)))
        parts = []
        for term, factor in at.factors.items():
            if isinstance(term, Var):
                part = self.indices(Index({term: 1}, 0), lanes)
            else:
                inner = self.build.splat(self.indices(term.of, lanes), lanes.count)
                part = self._divide(inner, term.by, isinstance(term, Quotient), term.of)
            part = self.build.splat(part, lanes.count)
            parts.append(self.b.mul(part, self.build.const(factor, part.type)))
        return self._sum(parts, self.build.const(at.offset, ir.VectorType(I64, lanes.count)))

    def _pattern(self, at: Index, lanes: Lanes) -> Pattern | None:
        """By how much an index is larger in each lane than in the first, if that is known when a kernel is made."""
        if lanes.vector is None or lanes.every == 1:
            return None
        return pattern(at, lanes.vector, lanes.every, lanes.count)

    def _divide(self, x: ir.Value, by: int, quotient: bool, of: Index) -> ir.Value:
        divisor = self.build.const(by, x.type)
        if isinstance(by, Hole) or of.bounds[0] >= 0:
            return self.b.udiv(x, divisor) if quotient else self.b.urem(x, divisor)
        # Floor semantics for a dividend that may be negative: shift it up by a multiple of the divisor.
        shift = -(of.bounds[0] // by) * by
        up = self.b.add(x, self.build.const(shift, x.type))
        if not quotient:
            return self.b.urem(up, divisor)
        return self.b.sub(self.b.udiv(up, divisor), self.build.const(shift // by, x.type))

    def fetch(self, e: Load, lanes: Lanes, ahead: int) -> None:
        """Bring what comes so many bytes after neighbouring elements to the caches."""
        self._fetch(self.bases[e.buffer], self.index(e.index, lanes), e.dtype, lanes.count, ahead)

    def _fetch(
        self, base: ir.Value, at: ir.Value, dtype: DType, count: int, ahead: int, write: bool = False
    ) -> None:
        for k in range(0, count, LINE // dtype.itemsize):
            place = self.b.add(at, I64(ahead // dtype.itemsize + k))
            self.build.prefetch(self.build.address(base, place, dtype), write, self.build.target.fetches_to)

    def put(self, buffer: int, at: ir.Value, step: int | None, value: ir.Value, lanes: Lanes) -> None:
        """Store a value: lane k at element at + k * step."""
        base, dtype = self.bases[buffer], self.dtypes[buffer]
        if lanes.vector is None:
            self.build.store(base, at, value, dtype)
            return
        value = self.build.splat(value, lanes.count)
        if step == 1:
            aside = buffer >= self.given
            if self.ahead_writing and lanes.mask is None and not self.past and not aside:
                self._fetch(base, at, dtype, lanes.count, self.ahead_writing, write=True)
            self.build.store(base, at, value, dtype, lanes.mask, self.past)
            return
        if step == -1 and lanes.mask is None:
            first = self.b.sub(at, I64(lanes.count - 1))
            self.build.store(base, first, self.build.reversed(value), dtype)
            return
        assert step is not None
        raw = self.build.narrow(value, dtype)
        places = self.b.add(self.build.splat(at, lanes.count), self._steps(step, lanes))
        pointers = self._pointers(base, places, dtype)
        name = f"llvm.masked.scatter.v{lanes.count}{_suffix(raw)}.v{lanes.count}p0"
        self.build.masked(name, ir.VoidType(), (raw, pointers, self._mask(lanes)), 2)

    def put_in_turn(self, buffer: int, at: ir.Value, values: Sequence[ir.Value], lanes: Lanes) -> None:
        """Store the first lanes of all values, then the second lanes and so on, from element `at`."""
        values = [self.build.splat(v, lanes.count) for v in values]
        for k, value in enumerate(in_turn(self.build, values)):
            place = self.b.add(at, I64(k * lanes.count))
            self.build.store(self.bases[buffer], place, value, self.dtypes[buffer])

    def get(self, buffer: int, at: ir.Value, step: int | None, lanes: Lanes) -> ir.Value:
        """Read what `put` would overwrite."""
        base, dtype = self.bases[buffer], self.dtypes[buffer]
        if lanes.vector is None:
            return self.build.load(base, at, dtype)
        if step == 1:
            return self.build.load(base, at, dtype, lanes.count, lanes.mask)
        assert step is not None
        places = self.b.add(self.build.splat(at, lanes.count), self._steps(step, lanes))
        return self._gather(base, places, dtype, lanes)

    def _steps(self, step: Any, lanes: Lanes) -> ir.Value:
        """0, step, 2 step, ... one for each lane."""
        type_ = ir.VectorType(I64, lanes.count)
        if isinstance(step, Hole):
            return self.b.mul(self.build.const(step, type_), self.build.iota(I64, lanes.count))
        return ir.Constant(type_, [step * k for k in range(lanes.count)])

    def _pointers(self, base: ir.Value, at: ir.Value, dtype: DType) -> ir.Value:
        """The addresses of the elements `at`, a vector."""
        return self.b.gep(base, [at], source_etype=memory_type(dtype))

    def _mask(self, lanes: Lanes) -> ir.Value:
        return lanes.mask if lanes.mask is not None else self.build.const(1, ir.VectorType(I1, lanes.count))


def _known(mask: ir.Value | None, count: int) -> Sequence[bool] | None:
    """The lanes of a mask that is the same for all vectors."""
    if mask is None:
        return [True] * count
    return mask.constant if isinstance(mask, ir.Constant) else None


def _opposite(b: ir.IRBuilder, mask: ir.Value) -> ir.Value:
    if isinstance(mask, ir.Constant):
        return ir.Constant(mask.type, [not x for x in mask.constant])
    return b.not_(mask)


def _both(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    if isinstance(x, ir.Constant) and isinstance(y, ir.Constant):
        return ir.Constant(x.type, [p and q for p, q in zip(x.constant, y.constant, strict=True)])
    return b.and_(x, y)


def _has_holes(at: Index) -> bool:
    """Whether an index has numbers that are known at run time only, or may have: its bounds are then not asked for."""
    if not all(isinstance(t, Var) for t in at.factors):
        return True
    return any(isinstance(n, Hole) for n in (at.offset, *at.factors.values(), *[t.size for t in at.factors]))


def _open_ends(at: Index, low: Any, high: Any) -> tuple[bool, bool]:
    """Which ends of a range an index may be beyond; in a generic kernel, the range itself says so."""
    if not (isinstance(low, int) and isinstance(high, int)):
        return low is not None, high is not None
    least, most = at.bounds
    return least < low, most >= high


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


def vanishing(e: Expr) -> tuple[Expr, Expr] | None:
    """(x < least, x) of where(x < least, -inf, x), if e**x is greater than 0 for any other x."""
    if not (isinstance(e, Apply) and e.op == "where" and e.args[1] == Literal("-inf", e.dtype)):
        return None
    less, _, x = e.args
    if not (isinstance(less, Apply) and less.op == "less" and less.args[0] == x):
        return None
    least = less.args[1]
    if not isinstance(least, Literal) or e.dtype.storage_only or isinstance(least.value, Hole):
        return None
    return (less, x) if float(least.value) >= ENDS[e.dtype.bits][0] else None


def _suffix(value: ir.Value) -> str:
    return suffix(value.type.element)


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
