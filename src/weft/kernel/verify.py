"""Kernels held against the rules of the loop IR: every variable belongs to a loop around it, every buffer is there.

With `WEFT_VERIFY=1` each kernel is checked when it is made, and again when code is written for it. A variable that was
cut or renamed in one place alone would otherwise show as a failure deep inside of the code generator, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..base.errors import BackendError
from .index import Index, Var
from .loops import (
    Entry,
    Expr,
    Inside,
    Kernel,
    Load,
    Lookup,
    Position,
    Scalar,
    Scatter,
    Search,
    Store,
    Total,
    found_in,
)
from .sorting import Sort
from .tiles import Tiles
from .winograd import Winograd
from .winograd_gradient import Sums


def verify_kernel(kernel: Any, beside: int = 0) -> None:
    """Raise a `BackendError` at the first part of a kernel of any kind that breaks a rule.

    `beside` is how many buffers there are besides inputs and outputs.
    """
    if isinstance(kernel, Winograd):
        parts: Sequence[Any] = (kernel.patches, kernel.products, kernel.results)
    elif isinstance(kernel, Sums):
        parts = (*kernel.beside, kernel.products)
    else:
        _verify(kernel, kernel.name, beside)
        return
    for part in parts:
        _verify(part, f"{kernel.name}, {part.name}")


def _verify(kernel: Kernel | Tiles | Sort, name: str, beside: int = 0) -> None:
    rules = _Rules(name, len(kernel.inputs) + len(kernel.outputs) + beside)
    if isinstance(kernel, Tiles):
        _tiles(kernel, rules)
    elif isinstance(kernel, Sort):
        _sort(kernel, rules)
    else:
        _loops(kernel, rules)


class _Rules:
    """What may occur in one kernel. `what` is always the part of it that is looked at, as people call it."""

    def __init__(self, name: str, buffers: int) -> None:
        self.name = name
        self.buffers = buffers

    def fail(self, what: str, text: str) -> None:
        raise BackendError(f"kernel {self.name}: {what} {text}")

    def loops(self, what: str, variables: Sequence[Var]) -> None:
        """Loops around each other, all with variables of their own."""
        for k, v in enumerate(variables):
            if v.size != 1 and v in variables[:k]:
                self.fail(what, f"have the variable {v.name} twice")

    def index(self, what: str, index: Index, variables: Iterable[Var]) -> None:
        known = set(variables)
        for v in sorted(index.variables() - known, key=lambda v: v.name):
            names = ", ".join([f"{k.name} < {k.size}" for k in variables]) or "none"
            self.fail(what, f"({index}) mentions {v.name} < {v.size}; the loops around it are {names}")

    def buffer(self, what: str, number: int) -> None:
        if not 0 <= number < self.buffers:
            self.fail(what, f"is buffer {number} of {self.buffers}")

    def value(self, what: str, value: Expr, variables: Iterable[Var], totals: int) -> None:
        """An expression inside loops, after so many totals."""
        for e in found_in([value]):
            if isinstance(e, (Load, Lookup, Search, Scalar)):
                self.buffer(f"an operand of {what}", e.buffer)
            if isinstance(e, Total) and e.reduction >= totals:
                self.fail(what, f"reads total {e.reduction}, of which there are {totals}")
            for name, index in _indices(e):
                self.index(f"{name} in {what}", index, variables)


def _indices(e: Expr) -> Iterator[tuple[str, Index]]:
    """The indices that an expression itself has, and what each is."""
    if isinstance(e, Load):
        yield f"the index of b{e.buffer}", e.index
    elif isinstance(e, (Lookup, Search)):
        yield f"the index of b{e.buffer}", e.base
    elif isinstance(e, Position):
        yield "a position", e.index
    elif isinstance(e, Entry):
        yield "the index of a table", e.index
    elif isinstance(e, Inside):
        for index, _, _ in e.conditions:
            yield "a bound", index


def _loops(k: Kernel, rules: _Rules) -> None:
    totals = 0
    for number, stage in enumerate(k.stages):
        scope = (*k.outer, *stage.variables)
        rules.loops(f"the loops of stage {number}", scope)
        carried = totals + len(stage.reductions) + len(stage.carries)
        for r in stage.reductions:
            rules.value(f"a {r.op} of stage {number}", r.value, scope, totals)
        for c in stage.carries:
            rules.value(f"a carry of stage {number}", c.value, scope, carried)
        totals = carried
        for s in stage.stores:
            _store(s, f"the result b{s.buffer} of stage {number}", scope, totals, rules)


def _store(s: Store | Scatter, what: str, scope: Sequence[Var], totals: int, rules: _Rules) -> None:
    rules.buffer(what, s.buffer)
    rules.value(what, s.value, scope, totals)
    if isinstance(s, Store):
        rules.index(f"the place of {what}", s.index, scope)
        for index, _, _ in s.within:
            rules.index(f"a bound of {what}", index, scope)
        return
    rules.index(f"the place of {what}", s.base, scope)
    for e, _, _ in s.parts:
        rules.value(f"the place of {what}", e, scope, totals)
    if s.within is not None:
        rules.index(f"a bound of {what}", s.within[0], scope)


def _tiles(t: Tiles, rules: _Rules) -> None:
    rules.loops("the loops", (*t.outer, t.m, t.n, *t.fold))
    for name, operand, scope in (("first", t.a, (*t.outer, *t.fold)), ("second", t.b, t.outer)):
        rules.buffer(f"the {name} operand", operand.buffer)
        rules.index(f"the place of the {name} operand", operand.base, scope)
    for number, tap in enumerate(t.taps):
        if tap.guard is not None:
            rules.index(f"the bound of tap {number}", tap.guard.at, (*t.outer, *t.fold))
    if t.rows and len(t.rows) != t.m.size:
        rules.fail("the list of rows", f"has {len(t.rows)} entries for {t.m.size} rows")
    for r in t.results:
        what = f"the result b{r.out.buffer}"
        rules.buffer(what, r.out.buffer)
        rules.index(f"the place of {what}", r.out.base, t.outer)
        rules.value(what, r.value, (*t.outer, t.m, t.n, *t.fold), len(t.starts))


def _sort(s: Sort, rules: _Rules) -> None:
    scope = (*s.outer, s.axis)
    rules.loops("the loops", scope)
    rules.value("what is sorted", s.value, scope, 0)
    rules.index("the place of the result", s.place, scope)
