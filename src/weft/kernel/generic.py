"""Kernels for every shape: the sizes, strides and offsets of a kernel as holes that are filled at run time.

Two kernels that differ in such numbers alone become the same generic kernel with different values. What code is
written differently for stays: steps of 1, loops of one iteration or none, which ends of a range must be checked.
The arithmetic and its order are those of the kernel itself, so the bits are the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .index import Index, Listed, Quotient, Remainder, Term, Var
from .loops import (
    Apply,
    Expr,
    Inside,
    Kernel,
    Literal,
    Load,
    Lookup,
    Position,
    Scalar,
    Scatter,
    Stage,
    Store,
    Total,
)

#: Numbers that are exact in every type of float that arithmetic is done in.
_EXACT = 1 << 24


@dataclass(frozen=True)
class Hole:
    """An integer known at run time: number `slot` of the kernel's values. It takes the place of a number."""

    slot: int


@dataclass(frozen=True)
class Generic:
    """A kernel with holes, and what this use of it fills them with."""

    kernel: Any
    values: tuple[int, ...]


class Special(Exception):
    """There is no generic form."""


def generalize(kernel: Kernel) -> Generic | None:
    """The generic form of a kernel; None if it has none."""
    maker = Maker()
    try:
        found = maker.kernel(kernel)
    except Special:
        return None
    return Generic(found, tuple(maker.values))


class Maker:
    """Puts holes into what kernels are made of, and notes what fills them."""

    def __init__(self) -> None:
        self.values: list[int] = []
        self._vars: dict[Var, Var] = {}
        self._indices: dict[Index, Index] = {}
        self._exprs: dict[int, Expr] = {}  # by identity: the kernel keeps them alive

    def hole(self, value: int) -> Any:
        self.values.append(value)
        return Hole(len(self.values) - 1)

    def step(self, value: int) -> Any:
        """A factor: code for 1 is different."""
        return 1 if value == 1 else self.hole(value)

    def kernel(self, k: Kernel) -> Kernel:
        return replace(
            k,
            name="generic",
            outer=tuple([self.var(v) for v in k.outer]),
            stages=tuple([self.stage(s) for s in k.stages]),
            notes=(),
        )

    def stage(self, s: Stage) -> Stage:
        variables = tuple([self.var(v) for v in s.variables])
        reductions = tuple([replace(r, value=self.expr(r.value)) for r in s.reductions])
        carries = tuple([replace(c, value=self.expr(c.value)) for c in s.carries])
        stores = tuple([self.store(x) for x in s.stores])
        return replace(s, variables=variables, reductions=reductions, stores=stores, carries=carries)

    def store(self, s: Store | Scatter) -> Store | Scatter:
        if isinstance(s, Store):
            if s.within:
                raise Special
            return replace(s, index=self.index(s.index), value=self.expr(s.value))
        within = None if s.within is None else (self.index(s.within[0]), self.hole(s.within[1]))
        parts = self.parts(s.parts)
        return replace(s, base=self.index(s.base), parts=parts, value=self.expr(s.value), within=within)

    def parts(self, parts: tuple[tuple[Expr, int, int], ...]) -> Any:
        return tuple([(self.expr(e), self.hole(size), self.step(stride)) for e, size, stride in parts])

    def var(self, v: Var) -> Var:
        found = self._vars.get(v)
        if found is None:
            found = self._vars[v] = v if v.size <= 1 else Var(v.name, self.hole(v.size))
        return found

    def index(self, at: Index) -> Index:
        found = self._indices.get(at)
        if found is None:
            factors = {self.term(t): self.step(f) for t, f in at.factors.items()}
            found = self._indices[at] = Index(factors, self.hole(at.offset) if at.offset else 0)
        return found

    def term(self, t: Term) -> Term:
        if isinstance(t, Var):
            return self.var(t)
        if isinstance(t, Listed) or t.of.bounds[0] < 0:
            raise Special
        return (Quotient if isinstance(t, Quotient) else Remainder)(self.index(t.of), self.hole(t.by))

    def expr(self, e: Expr) -> Expr:
        found = self._exprs.get(id(e))
        if found is None:
            found = self._exprs[id(e)] = self._expr(e)
        return found

    def _expr(self, e: Expr) -> Expr:
        if isinstance(e, Literal):
            return self.literal(e)
        if isinstance(e, Load):
            return replace(e, index=self.index(e.index))
        if isinstance(e, Position):
            return replace(e, index=self.index(e.index))
        if isinstance(e, Apply):
            return replace(e, args=tuple([self.expr(a) for a in e.args]))
        if isinstance(e, Inside):
            conditions: Any = tuple([self.condition(*c) for c in e.conditions])
            return replace(e, conditions=conditions, then=self.expr(e.then), other=self.expr(e.other))
        if isinstance(e, Lookup):
            return replace(e, base=self.index(e.base), parts=self.parts(e.parts))
        if isinstance(e, (Scalar, Total)):
            return e
        raise Special  # a search writes its steps out, a table its numbers

    def literal(self, e: Literal) -> Literal:
        """A count, such as that of a mean, depends on shapes; other numbers hardly do."""
        text = e.value.removesuffix(".0")
        if e.dtype.kind != "f" or e.dtype.bits < 32 or not text.isdecimal() or not 2 < int(text) < _EXACT:
            return e
        return Literal(self.hole(int(text)), e.dtype)

    def condition(self, at: Index, low: int, high: int) -> tuple[Index, Any, Any]:
        """None for an end that need not be checked."""
        least, most = at.bounds
        return (
            self.index(at),
            self.hole(low) if least < low else None,
            self.hole(high) if most >= high else None,
        )
