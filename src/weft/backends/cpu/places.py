"""Where elements are, as instructions: indices and conditions in every lane, and what is read and written there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...ir.dtype import DType
from ...kernel.generic import Hole
from ...kernel.index import Index, Listed, Quotient, Table, Var
from ...kernel.loops import Load
from ...kernel.patterns import Pattern, first, pattern
from . import instructions as ir
from .build import I1, I32, I64, LINE, PTR, Build, like, memory_type, register_type, suffix
from .picking import in_turn, picked


@dataclass(frozen=True)
class Lanes:
    """Where an expression is being computed: values of the loop variables, and which of them runs along lanes."""

    values: Mapping[Var, ir.Value]
    vector: Var | None = None
    count: int = 1
    mask: ir.Value | None = None
    every: int = 1  #: what the vector variable is a multiple of in the first lane
    #: where a vector begins of which tables say the same, from lane to lane, as of this one
    like: int | None = None

    def at(self, var: Var, value: ir.Value) -> Lanes:
        return replace(self, values={**self.values, var: value})

    @property
    def known(self) -> Sequence[bool] | None:
        """Which lanes are not masked off; None if that is not the same for all vectors."""
        if self.mask is None:
            return [True] * self.count
        return self.mask.constant if isinstance(self.mask, ir.Constant) else None


class Places:
    """Where elements are: indices and conditions on them as instructions, and the memory of a function's buffers."""

    def __init__(self, build: Build, dtypes: tuple[DType, ...]) -> None:
        self.build = build
        self.b = build.b
        self.dtypes = dtypes
        self.given = len(dtypes)  #: buffers of the table; what a kernel sets aside follows them
        table = build.function.args[0]
        self.bases = [
            self.b.load(self.b.gep(table, [I64(i)], source_etype=PTR), typ=PTR, align=8)
            for i in range(len(dtypes))
        ]
        self.ahead_writing = 0  #: bytes by which lines that are written are fetched ahead
        #: Whether quotients in indices are hidden. Of many indices that are made of them, LLVM would look for those
        #: that are a part of others, and take longer than for all the rest.
        self.hides = False
        self._tables: dict[tuple[Table, ir.Type], ir.Value] = {}
        self.past = False  #: whether whole vectors are written past the caches

    # -- indices

    def index(self, at: Index, lanes: Lanes) -> ir.Value:
        """The index in the first lane."""
        parts = []
        for term, factor in at.factors.items():
            if isinstance(term, Var):
                part = lanes.values[term]
            elif isinstance(term, Listed):
                part = self._listed(term, self.index(term.of, lanes))
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
            elif isinstance(term, Listed):
                part = self._listed(term, self.indices(term.of, lanes))
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
        return pattern(at, lanes.vector, lanes.every, lanes.count, lanes.like)

    def _divide(self, x: ir.Value, by: int, quotient: bool, of: Index) -> ir.Value:
        if isinstance(x.type, ir.VectorType) and self._is_short(by, of):
            short = self.b.trunc(x, ir.VectorType(I32, x.type.count))
            divisor = self.build.const(by, short.type)
            found = self.b.udiv(short, divisor) if quotient else self.b.urem(short, divisor)
            return self.b.zext(found, x.type)
        divisor = self.build.const(by, x.type)
        if isinstance(by, Hole) or of.bounds[0] >= 0:
            return self.b.udiv(x, divisor) if quotient else self.b.urem(x, divisor)
        # Floor semantics for a dividend that may be negative: shift it up by a multiple of the divisor.
        shift = -(of.bounds[0] // by) * by
        up = self.b.add(x, self.build.const(shift, x.type))
        if not quotient:
            return self.b.urem(up, divisor)
        return self.b.sub(self.b.udiv(up, divisor), self.build.const(shift // by, x.type))

    def _is_short(self, by: int, of: Index) -> bool:
        """Whether to divide numbers of 32 bits: processors have no products of 64 bits, lane by lane, which is what
        becomes of a quotient unless bits are shifted."""
        if isinstance(by, Hole) or by & (by - 1) == 0:
            return False
        least, most = of.bounds
        return isinstance(most, int) and least >= 0 and most < 1 << 31

    def _steps(self, step: Any, lanes: Lanes) -> ir.Value:
        """0, step, 2 step, ... one for each lane."""
        type_ = ir.VectorType(I64, lanes.count)
        if isinstance(step, Hole):
            return self.b.mul(self.build.const(step, type_), self.build.iota(I64, lanes.count))
        return ir.Constant(type_, [step * k for k in range(lanes.count)])

    # -- tables

    def numbers(self, table: Table, at: ir.Value, kind: ir.Type, of: Index) -> ir.Value:
        """The numbers of a table at a place, or in each lane at one; beyond its ends the first and the last."""
        low, high = of.bounds
        last = len(table.numbers) - 1
        if low < 0:
            at = self.b.smax(at, self.build.const(0, at.type))
        if high > last:
            at = self.b.smin(at, self.build.const(last, at.type))
        places = self.b.gep(self.stored(table, kind), [at], source_etype=kind)
        if not isinstance(at.type, ir.VectorType):
            return self.b.load_constant(places, kind)
        zero = self.build.const(0, like(kind, at.lanes))
        name = f"llvm.masked.gather.{suffix(zero.type)}.v{at.lanes}p0"
        everywhere = self.build.const(1, ir.VectorType(I1, at.lanes))
        return self.build.masked(name, zero.type, (places, everywhere, zero), 1)

    def _listed(self, term: Listed, at: ir.Value) -> ir.Value:
        if isinstance(at, ir.Constant) and type(at.constant) is int:
            return I64(term.at(at.constant))
        found = self.numbers(term.table, at, I32, term.of)
        return self.b.sext(found, like(I64, found.lanes))

    def stored(self, table: Table, kind: ir.Type) -> ir.Value:
        """A table as constants of the module."""
        found = self._tables.get((table, kind))
        if found is None:
            type_ = ir.ArrayType(kind, len(table.numbers))
            found = ir.GlobalVariable(self.build.module, type_, f"numbers.{len(self._tables)}")
            found.initializer = ir.Constant(type_, list(table.numbers))
            found.global_constant = True
            found.linkage = "internal"
            self._tables[table, kind] = found
        return found

    # -- conditions

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

    def _and(self, x: ir.Value, y: ir.Value) -> ir.Value:
        x, y = self.build.same(x, y)
        return self.b.and_(x, y)

    # -- memory

    def read(self, buffer: int, at: Index, lanes: Lanes, more: ir.Value | None = None) -> ir.Value:
        """What a buffer holds at an index, or so many places more, in every lane; a scalar if it is the same."""
        base, dtype, start = self.bases[buffer], self.dtypes[buffer], self.index(at, lanes)
        start = start if more is None else self.b.add(start, more)
        step = at.stride(lanes.vector) if lanes.vector is not None else 0
        if step == 0:
            return self.build.load(base, start, dtype)
        if step == 1:
            return self.build.load(base, start, dtype, lanes.count, lanes.mask)
        places, wanted = self._pattern(at, lanes), lanes.known
        if places is not None and wanted is not None:
            found = picked(self.build, base, start, dtype, places, wanted)
            if found is not None:
                return found
        each = self.build.splat(self.indices(at, lanes), lanes.count)
        if more is not None:
            each = self.b.add(each, self.build.splat(more, lanes.count))
        return self._gather(base, each, dtype, lanes)

    def _gather(self, base: ir.Value, at: ir.Value, dtype: DType, lanes: Lanes) -> ir.Value:
        """Elements at the places `at`; masked-off lanes are not touched."""
        pointers = self._pointers(base, at, dtype)
        raw = self.build.narrow(self.build.const(0, like(register_type(dtype), lanes.count)), dtype)
        name = f"llvm.masked.gather.v{lanes.count}{_suffix(raw)}.v{lanes.count}p0"
        got = self.build.masked(name, raw.type, (pointers, self._mask(lanes), raw), 1)
        return self.build.widen(got, dtype)

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

    def fetch(self, e: Load, lanes: Lanes, ahead: int) -> None:
        """Bring what comes so many bytes after neighbouring elements to the caches."""
        self._fetch(self.bases[e.buffer], self.index(e.index, lanes), e.dtype, lanes.count, ahead)

    def _fetch(
        self, base: ir.Value, at: ir.Value, dtype: DType, count: int, ahead: int, write: bool = False
    ) -> None:
        for k in range(0, count, LINE // dtype.itemsize):
            place = self.b.add(at, I64(ahead // dtype.itemsize + k))
            self.build.prefetch(self.build.address(base, place, dtype), write, self.build.target.fetches_to)

    def _pointers(self, base: ir.Value, at: ir.Value, dtype: DType) -> ir.Value:
        """The addresses of the elements `at`, a vector."""
        return self.b.gep(base, [at], source_etype=memory_type(dtype))

    def _mask(self, lanes: Lanes) -> ir.Value:
        return lanes.mask if lanes.mask is not None else self.build.const(1, ir.VectorType(I1, lanes.count))


def opposite(b: ir.IRBuilder, mask: ir.Value) -> ir.Value:
    if isinstance(mask, ir.Constant):
        return ir.Constant(mask.type, [not x for x in mask.constant])
    return b.not_(mask)


def both(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    if isinstance(x, ir.Constant) and isinstance(y, ir.Constant):
        return ir.Constant(x.type, [p and q for p, q in zip(x.constant, y.constant, strict=True)])
    return b.and_(x, y)


def _open_ends(at: Index, low: Any, high: Any) -> tuple[bool, bool]:
    """Which ends of a range an index may be beyond; in a generic kernel, the range itself says so."""
    if not (isinstance(low, int) and isinstance(high, int)):
        return low is not None, high is not None
    least, most = at.bounds
    return least < low, most >= high


def _suffix(value: ir.Value) -> str:
    return suffix(value.type.element)
