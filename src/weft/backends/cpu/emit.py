"""Loop kernels as LLVM functions: `void kernel(ptr buffers, i64 begin, i64 end)` over a range of work units."""

# llvmlite.ir has no annotations: what pyright infers of its values is wrong.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llvmlite import ir

from ...ir.dtype import DType
from ...kernel.index import Index, Quotient, Var
from ...kernel.loops import (
    Expr,
    Inside,
    Kernel,
    Literal,
    Load,
    Lookup,
    Position,
    Reduction,
    Scalar,
    Scatter,
    Search,
    Stage,
    Total,
)
from ...kernel.target import Target
from . import philox, reinterpret  # noqa: F401  (declare their operations)
from .build import I1, I64, PTR, Build, element, like, register_type, suffix
from .order import precedes
from .scalar import combine, identity_of, operate

#: Vectors in one unit of work of an elementwise kernel: a unit is some tens of kilobytes.
BLOCK = 256


@dataclass(frozen=True)
class Lanes:
    """Where an expression is being computed: values of the loop variables, and which of them runs along lanes."""

    values: Mapping[Var, ir.Value]
    vector: Var | None = None
    count: int = 1
    mask: ir.Value | None = None

    def at(self, var: Var, value: ir.Value) -> Lanes:
        return replace(self, values={**self.values, var: value})


def units(kernel: Kernel, target: Target) -> int:
    """Into how many units, that may run in any order, a kernel's work is cut. A function of the kernel alone."""
    if not kernel.across:
        return kernel.iterations
    last = kernel.outer[-1].size
    rest = kernel.iterations // last if last else 0
    return rest * -(-last // (BLOCK * lane_count(kernel, target)))


def lane_count(kernel: Kernel, target: Target) -> int:
    """Lanes of the kernel's vectors: as many as its widest type allows."""
    sizes = [d.itemsize for d in (*kernel.inputs, *kernel.outputs)]
    for stage in kernel.stages:
        sizes += [r.dtype.itemsize for r in (*stage.reductions, *stage.carries)]
    return target.lanes(max([4, *sizes]))


def emit_kernel(module: ir.Module, kernel: Kernel, target: Target) -> ir.Function:
    """Add the function of one kernel to `module`."""
    signature = ir.FunctionType(ir.VoidType(), [PTR, I64, I64])
    function = ir.Function(module, signature, kernel.name)
    _KernelEmitter(Build(module, function, target), kernel).emit()
    return function


class Expressions:
    """Loop expressions as instructions of one function, given the pointers of its buffer table.

    After the buffers, the table of a kernel that checks indices holds the address of its status word.
    """

    def __init__(self, build: Build, dtypes: tuple[DType, ...], checked: bool) -> None:
        self.build = build
        self.b = build.b
        self.dtypes = dtypes
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
        self.totals: list[ir.Value] = []

    def value(self, e: Expr, lanes: Lanes, memo: dict[Expr, ir.Value]) -> ir.Value:
        """An expression as a scalar (the same in all lanes) or a vector."""
        found = memo.get(e)
        if found is None:
            found = memo[e] = self._value(e, lanes, memo)
        return found

    def _value(self, e: Expr, lanes: Lanes, memo: dict[Expr, ir.Value]) -> ir.Value:
        if isinstance(e, Literal):
            return self.build.const(_parse(e.value), register_type(e.dtype))
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
        args = self.build.same(*[self.value(a, lanes, memo) for a in e.args])
        return operate(self.build, e.op, args, [a.dtype for a in e.args], e.dtype)

    def _load(self, e: Load, lanes: Lanes) -> ir.Value:
        step = e.index.stride(lanes.vector) if lanes.vector is not None else 0
        base = self.bases[e.buffer]
        if step == 0:
            return self.build.load(base, self.index(e.index, lanes), e.dtype)
        if step == 1:
            return self.build.load(base, self.index(e.index, lanes), e.dtype, lanes.count, lanes.mask)
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
        got = self.build.intrinsic(name, raw.type, (pointers, self._mask(lanes), raw))
        return self.build.widen(got, dtype)

    def _position(self, e: Position, lanes: Lanes) -> ir.Value:
        index = self.indices(e.index, lanes)
        want = register_type(e.dtype)
        type_ = like(want, lanes.count) if isinstance(index.type, ir.VectorType) else want
        if e.dtype.kind == "f":
            return self.b.sitofp(index, type_)
        return index if want.width == 64 else self.b.trunc(index, type_)

    def _inside(self, e: Inside, lanes: Lanes, memo: dict[Expr, ir.Value]) -> ir.Value:
        condition: ir.Value = I1(1)
        for at, low, high in e.conditions:
            i = self.indices(at, lanes)
            least, most = at.bounds
            if least < low:
                condition = self._and(condition, self.b.icmp_signed(">=", i, self.build.const(low, i.type)))
            if most >= high:
                condition = self._and(condition, self.b.icmp_signed("<", i, self.build.const(high, i.type)))
        if not isinstance(condition.type, ir.VectorType):
            then = lambda: self.build.splat(self.value(e.then, lanes, {}), lanes.count)  # noqa: E731
            other = lambda: self.build.splat(self.value(e.other, lanes, {}), lanes.count)  # noqa: E731
            return self.build.choose(condition, then, other)
        mask = condition if lanes.mask is None else self.b.and_(condition, lanes.mask)
        then_, other_ = self.build.same(
            self.value(e.then, replace(lanes, mask=mask), {}), self.value(e.other, lanes, memo), condition
        )[:2]
        return self.b.select(condition, then_, other_)

    def _and(self, x: ir.Value, y: ir.Value) -> ir.Value:
        x, y = self.build.same(x, y)
        return self.b.and_(x, y)

    # -- indices ------------------------------------------------------------------------------------------------

    def index(self, at: Index, lanes: Lanes) -> ir.Value:
        """The index in the first lane."""
        total: ir.Value | None = None
        for term, factor in at.factors.items():
            if isinstance(term, Var):
                part = lanes.values[term]
            else:
                inner = self.index(term.of, lanes)
                part = self._divide(inner, term.by, isinstance(term, Quotient), term.of)
            if factor != 1:
                part = self.b.mul(part, I64(factor))
            total = part if total is None else self.b.add(total, part)
        if total is None:
            return I64(at.offset)
        return self.b.add(total, I64(at.offset)) if at.offset else total

    def indices(self, at: Index, lanes: Lanes) -> ir.Value:
        """The index in every lane: a scalar if they are the same, else a vector."""
        vector = lanes.vector
        if vector is None or at.stride(vector) == 0:
            return self.index(at, lanes)
        step = at.stride(vector)
        if step is not None:
            steps = ir.Constant(ir.VectorType(I64, lanes.count), [step * k for k in range(lanes.count)])
            return self.b.add(self.build.splat(self.index(at, lanes), lanes.count), steps)
        total = self.build.const(at.offset, ir.VectorType(I64, lanes.count))
        for term, factor in at.factors.items():
            if isinstance(term, Var):
                part = self.indices(Index({term: 1}, 0), lanes)
            else:
                inner = self.build.splat(self.indices(term.of, lanes), lanes.count)
                part = self._divide(inner, term.by, isinstance(term, Quotient), term.of)
            part = self.build.splat(part, lanes.count)
            total = self.b.add(total, self.b.mul(part, self.build.const(factor, part.type)))
        return total

    def _divide(self, x: ir.Value, by: int, quotient: bool, of: Index) -> ir.Value:
        divisor = self.build.const(by, x.type)
        if of.bounds[0] >= 0:
            return self.b.udiv(x, divisor) if quotient else self.b.urem(x, divisor)
        # Floor semantics for a dividend that may be negative: shift it up by a multiple of the divisor.
        shift = -(of.bounds[0] // by) * by
        up = self.b.add(x, self.build.const(shift, x.type))
        if not quotient:
            return self.b.urem(up, divisor)
        return self.b.sub(self.b.udiv(up, divisor), self.build.const(shift // by, x.type))

    def put(self, buffer: int, at: ir.Value, step: int | None, value: ir.Value, lanes: Lanes) -> None:
        """Store a value: lane k at element at + k * step."""
        base, dtype = self.bases[buffer], self.dtypes[buffer]
        if lanes.vector is None:
            self.build.store(base, at, value, dtype)
            return
        value = self.build.splat(value, lanes.count)
        if step == 1:
            self.build.store(base, at, value, dtype, lanes.mask)
            return
        assert step is not None
        raw = self.build.narrow(value, dtype)
        steps = ir.Constant(ir.VectorType(I64, lanes.count), [step * k for k in range(lanes.count)])
        pointers = self._pointers(base, self.b.add(self.build.splat(at, lanes.count), steps), dtype)
        name = f"llvm.masked.scatter.v{lanes.count}{_suffix(raw)}.v{lanes.count}p0"
        self.build.intrinsic(name, ir.VoidType(), (raw, pointers, self._mask(lanes)))

    def get(self, buffer: int, at: ir.Value, step: int | None, lanes: Lanes) -> ir.Value:
        """Read what `put` would overwrite."""
        base, dtype = self.bases[buffer], self.dtypes[buffer]
        if lanes.vector is None:
            return self.build.load(base, at, dtype)
        if step == 1:
            return self.build.load(base, at, dtype, lanes.count, lanes.mask)
        assert step is not None
        steps = ir.Constant(ir.VectorType(I64, lanes.count), [step * k for k in range(lanes.count)])
        return self._gather(base, self.b.add(self.build.splat(at, lanes.count), steps), dtype, lanes)

    def _pointers(self, base: ir.Value, at: ir.Value, dtype: DType) -> ir.Value:
        """The addresses of the elements `at`, a vector."""
        offsets = self.b.mul(at, self.build.const(dtype.itemsize, at.type))
        start = self.build.splat(self.b.ptrtoint(base, I64), at.type.count)
        return self.b.inttoptr(self.b.add(start, offsets), ir.VectorType(PTR, at.type.count))

    def _mask(self, lanes: Lanes) -> ir.Value:
        return lanes.mask if lanes.mask is not None else self.build.const(1, ir.VectorType(I1, lanes.count))


class _KernelEmitter(Expressions):
    def __init__(self, build: Build, kernel: Kernel) -> None:
        super().__init__(build, (*kernel.inputs, *kernel.outputs), kernel.checked)
        self.kernel = kernel
        self.lanes = lane_count(kernel, build.target)

    def emit(self) -> None:
        begin, end = self.build.function.args[1:]
        if self.kernel.across:
            self._emit_across(begin, end)
        else:
            with self.build.loop(begin, end, name="unit") as unit:
                self._stages(Lanes(self._decode(self.kernel.outer, unit)))
        self.b.ret_void()

    def _decode(self, variables: tuple[Var, ...], position: ir.Value) -> dict[Var, ir.Value]:
        """The values of loop variables at a position of their flattened range."""
        values: dict[Var, ir.Value] = {}
        for k, v in enumerate(reversed(variables)):
            if k == len(variables) - 1:
                values[v] = position
            else:
                values[v] = self.b.urem(position, I64(v.size))
                position = self.b.udiv(position, I64(v.size))
        return values

    def _emit_across(self, begin: ir.Value, end: ir.Value) -> None:
        *rest, last = self.kernel.outer
        width = BLOCK * self.lanes
        blocks = -(-last.size // width)
        with self.build.loop(begin, end, name="unit") as unit:
            block = self.b.urem(unit, I64(blocks)) if blocks > 1 else I64(0)
            values = self._decode(tuple(rest), self.b.udiv(unit, I64(blocks)) if blocks > 1 else unit)
            start = self.b.mul(block, I64(width))
            stop = self.b.add(start, I64(width))
            if last.size % width:
                over = self.b.icmp_signed(">", stop, I64(last.size))
                stop = self.b.select(over, I64(last.size), stop)
            for lanes in self._along(last, start, stop, Lanes(values)):
                self._stages(lanes)

    def _along(self, var: Var, start: ir.Value, stop: ir.Value, outer: Lanes) -> Iterator[Lanes]:
        """Emit what the caller does with each yielded context twice: for whole vectors, and masked for the rest."""
        if self.lanes == 1 or var.size == 1:
            with self.build.loop(start, stop, name=var.name) as i:
                yield outer.at(var, i)
            return
        width = self.b.sub(stop, start)
        whole = self.b.sub(stop, self.b.urem(width, I64(self.lanes)))
        if var.size >= self.lanes:
            with self.build.loop(start, whole, self.lanes, name=var.name) as i:
                yield replace(outer.at(var, i), vector=var, count=self.lanes)
        else:
            whole = start
        if var.size % self.lanes:
            with self.build.loop(whole, stop, self.lanes, name=f"{var.name}.tail") as i:
                left = self.build.splat(self.b.sub(stop, i), self.lanes)
                mask = self.b.icmp_signed("<", self.build.iota(I64, self.lanes), left)
                yield replace(outer.at(var, i), vector=var, count=self.lanes, mask=mask)

    # -- stages -------------------------------------------------------------------------------------------------

    def _stages(self, outer: Lanes) -> None:
        self.totals = []
        for stage in self.kernel.stages:
            found = self._reduce(stage, outer) if stage.reductions else []
            if stage.carries:
                found += self._carry(stage, outer)
            elif stage.serial:
                self._serial(stage.variables, outer, lambda lanes, stage=stage: self._store(stage, lanes))
            elif stage.stores:
                self._nest(stage, outer, lambda lanes, stage=stage: self._store(stage, lanes))
            self.totals += found

    def _nest(self, stage: Stage, outer: Lanes, body: Callable[[Lanes], None]) -> None:
        """The stage's loops around `body`."""
        if outer.vector is not None or not stage.variables:
            self._serial(stage.variables, outer, body)
            return
        *before, last = stage.variables

        def innermost(lanes: Lanes) -> None:
            for inner in self._along(last, I64(0), I64(last.size), lanes):
                body(inner)

        self._serial(tuple(before), outer, innermost)

    def _serial(self, variables: tuple[Var, ...], outer: Lanes, body: Callable[[Lanes], None]) -> None:
        if not variables:
            body(outer)
            return
        first, *rest = variables
        with self.build.loop(I64(0), I64(first.size), name=first.name) as i:
            self._serial(tuple(rest), outer.at(first, i), body)

    def _store(self, stage: Stage, lanes: Lanes) -> None:
        memo: dict[Expr, ir.Value] = {}
        for store in stage.stores:
            value = self.value(store.value, lanes, memo)
            if isinstance(store, Scatter):
                self._scatter(store, value, lanes, memo)
                continue
            step = store.index.stride(lanes.vector) if lanes.vector is not None else 0
            self.put(store.buffer, self.index(store.index, lanes), step, value, lanes)

    def _scatter(self, s: Scatter, value: ir.Value, lanes: Lanes, memo: dict[Expr, ir.Value]) -> None:
        offset, fault = self.offset(s.parts, s.wraps, lanes, memo)
        self._report(fault, lanes)
        at = self.b.add(self.index(s.base, lanes), offset)
        step = s.base.stride(lanes.vector) if lanes.vector is not None else 0
        with self.b.if_then(self.b.not_(fault), likely=True):
            if s.add:
                before = self.get(s.buffer, at, step, lanes)
                value, before = self.build.same(value, before)
                value = combine(self.build, "sum", before, value, s.value.dtype)
            self.put(s.buffer, at, step, value, lanes)

    def _carry(self, stage: Stage, outer: Lanes) -> list[ir.Value]:
        """The stage's iterations one after the other; what its carries are at the end."""
        lanes = outer.count if outer.vector is not None else 1
        known = list(self.totals)
        slots = []
        for c in stage.carries:
            type_ = like(register_type(c.dtype), lanes)
            slot = self._entry_alloca(type_)
            self.b.store(self.build.const(0, type_), slot)
            slots.append((c, slot, type_))

        def step(here: Lanes) -> None:
            self.totals = known + [self.b.load(slot, typ=type_) for _, slot, type_ in slots]
            memo: dict[Expr, ir.Value] = {}
            new = [self.build.splat(self.value(c.value, here, memo), lanes) for c, _, _ in slots]
            for value, (_, slot, _) in zip(new, slots, strict=True):
                self.b.store(value, slot)
            self.totals = known + new
            self._store(stage, here)

        self._serial(stage.variables, outer, step)
        self.totals = known
        return [self.b.load(slot, typ=type_) for _, slot, type_ in slots]

    def _reduce(self, stage: Stage, outer: Lanes) -> list[ir.Value]:
        """Accumulate the stage's reductions in the order of its loops, lane by lane, then across lanes as a tree."""
        across = outer.vector is not None
        lanes = (
            outer.count if across else (self.lanes if stage.variables and stage.variables[-1].size > 1 else 1)
        )
        slots = []
        for r in stage.reductions:
            type_ = like(register_type(r.dtype), lanes)
            slot = self._entry_alloca(type_)
            self.b.store(self.build.const(identity_of(r.op, r.dtype), type_), slot)
            slots.append((r, slot, type_))

        def step(here: Lanes) -> None:
            memo: dict[Expr, ir.Value] = {}
            for r, slot, type_ in slots:
                value = self.build.splat(self.value(r.value, here, memo), lanes)
                before = self.b.load(slot, typ=type_)
                after = combine(self.build, r.op, before, value, r.dtype)
                if here.mask is not None and not across:
                    after = self.b.select(here.mask, after, before)
                self.b.store(after, slot)

        self._nest(stage, outer, step)
        return [self._finish(r, self.b.load(slot, typ=type_), across) for r, slot, type_ in slots]

    def _finish(self, r: Reduction, value: ir.Value, across: bool) -> ir.Value:
        if across or not isinstance(value.type, ir.VectorType):
            return value
        width = value.type.count
        while width > 1:
            width //= 2
            order = [*range(width, 2 * width), *range(width)]
            order += list(range(2 * width, value.type.count))
            folded = self.b.shuffle_vector(
                value,
                ir.Constant(value.type, ir.Undefined),
                ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order),
            )
            value = combine(self.build, r.op, value, folded, r.dtype)
        return self.b.extract_element(value, ir.IntType(32)(0))

    def _entry_alloca(self, type_: ir.Type) -> ir.Value:
        with self.b.goto_entry_block():
            return self.b.alloca(type_)


def _suffix(value: ir.Value) -> str:
    return suffix(value.type.element)


def _parse(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    return float(text) if any(c in text for c in ".en") else int(text)
