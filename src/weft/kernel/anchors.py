"""Kernels from nodes: one builder for each kind of operation that a kernel can be built around (its anchor)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir.dtype import DType, bool_
from ..ir.node import Node
from ..ops.movement import permute
from .borders import Border, border_of, low_of
from .declare import declares
from .index import Index, Var, as_index
from .joined import joined
from .loops import (
    Apply,
    Expr,
    Kernel,
    Position,
    Reduction,
    Stage,
    Store,
    Total,
    literal,
)
from .lower import Lowering, as_indices, variables
from .summation import REDUCTIONS, runs_across
from .turning import turned


def identity_of(op: str, dtype: DType) -> bool | int | float:
    """What a reduction starts from: what changes nothing in it."""
    if op in ("max", "min") and dtype.kind in "iu":
        low = 0 if dtype.kind == "u" else -(2 ** (dtype.bits - 1))
        return low if op == "max" else low + 2**dtype.bits - 1
    if op in ("max", "min") and dtype.kind == "f":
        return -math.inf if op == "max" else math.inf
    one = op in ("prod", "all", "min")
    return bool(one) if dtype.kind == "b" else float(one) if dtype.kind == "f" else int(one)


#: A builder gives a `Kernel`, `Tiles` or a `Sort`.
Builder = Callable[["Common"], Any]

#: primitive -> the kernel around it
builders: dict[str, Builder] = {}


#: Declares the kernel of the primitives with the given names.
anchor = declares(builders)


@dataclass(eq=False)
class Common:
    """What all kernels of one step share."""

    name: str
    root: Node
    anchor: Node | None
    lowering: Lowering
    inputs: tuple[DType, ...]
    #: what `inner` is the greatest of, in windows; the anchor's epilogue ends there
    pooled: Node | None = None
    #: what lies in the middle of the root, the border of which is zero, or has its axes in another order
    framed: Node | None = None

    @property
    def inner(self) -> Node:
        """What the kernel computes: the root, or what the root is in another place."""
        return self.root if self.framed is None else self.framed

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape  # type: ignore[return-value]

    @property
    def order(self) -> tuple[int, ...]:
        """The axes of the result from outermost to innermost in memory."""
        found = self.lowering.layouts.get(self.root, tuple(range(len(self.shape))))
        return found if self._axes is None else tuple([self._axes[a] for a in found])

    @property
    def _axes(self) -> tuple[int, ...] | None:
        """Which axes of what is computed those of the root are, if it is that with its axes in another order."""
        return self.root.attrs["axes"] if self.framed is not None and self.root.prim is permute else None

    def loops(self, prefix: str = "i") -> tuple[tuple[Var, ...], tuple[Index, ...]]:
        """Variables for the axes of the result in the order of memory, and the indices in the order of the shape."""
        return in_order(self.shape, self.order, prefix)

    def place(self, indices: tuple[Index, ...]) -> Index:
        """Where in memory an element of the result goes."""
        if self._axes is not None:
            indices = tuple([indices[a] for a in self._axes])
        elif self.framed is not None:
            indices = tuple([i + n for i, n in zip(indices, low_of(self.root), strict=True)])
        return self.lowering.place(self.root, indices)

    def border(self) -> Border | None:
        if self.framed is None or self._axes is not None:
            return None
        return border_of(self.shape, self.root.shape, low_of(self.root), self.order)  # type: ignore[arg-type]

    def result(self, indices: tuple[Index, ...]) -> Expr:
        """The value to store once the anchor's total is known."""
        if self.anchor is not None:
            self.lowering.totals[self.anchor] = 0
        return self.lowering.value(self.inner, indices)

    def store(self, indices: tuple[Index, ...], value: Expr | None = None) -> Store:
        """What goes to an element of the result: that of `result`, or another value."""
        return Store(len(self.inputs), self.place(indices), self.result(indices) if value is None else value)

    def kernel(self, outer: tuple[Var, ...], stages: tuple[Stage, ...], across: bool) -> Kernel:
        notes = (
            (self.root.prim.name,) if self.anchor is None else (self.anchor.prim.name, self.root.prim.name)
        )
        across = across and bool(outer)
        kernel = Kernel(self.name, outer, stages, self.inputs, (self.root.dtype,), across, notes=notes)
        return turned(joined(kernel))


def in_order(
    shape: Sequence[int], order: Sequence[int], prefix: str
) -> tuple[tuple[Var, ...], tuple[Index, ...]]:
    """Variables for the axes of a shape, listed in the given order; their indices, listed as the axes are.

    An axis of one element has none, for vectors run along the last, or along what is reduced if there is none: in which
    order is added up must not depend on where in memory such an axis is.
    """
    long = [a for a in order if shape[a] != 1]
    loops = variables(tuple([shape[a] for a in long]), prefix)
    by_axis = dict(zip(long, as_indices(loops), strict=True))
    return loops, tuple([by_axis.get(a, as_index(0)) for a in range(len(shape))])


def at_reduction(
    shape: Sequence[int], axes: Sequence[int], left: Sequence[Index] | None = None
) -> tuple[tuple[Index, ...], tuple[Var, ...], tuple[Index, ...]]:
    """(indices of what a reduction leaves, variables of what it reduces, indices of its operand)."""
    if left is None:
        left = as_indices(variables(tuple([n for a, n in enumerate(shape) if a not in axes]), "i"))
    long = [a for a in axes if shape[a] != 1]  # vectors run along the last of them
    inner = variables(tuple([shape[a] for a in long]), "k")
    given, reduced = iter(left), {a: as_index(0) for a in axes}
    reduced.update(zip(long, as_indices(inner), strict=True))
    at = tuple([reduced[a] if a in reduced else next(given) for a in range(len(shape))])
    return tuple(left), inner, at


@anchor(*REDUCTIONS)
def _reduction(c: Common) -> Kernel:
    """Elements combined in row-major order, or lane by lane along the last reduced axis: see `runs_across`."""
    assert c.anchor is not None
    x, axes = c.anchor.args[0], c.anchor.attrs["axes"]
    outer, left = c.loops()
    _, inner, at = at_reduction(x.shape, axes, left)  # type: ignore[arg-type]
    reduction = Reduction(c.anchor.prim.name, c.lowering.value(x, at), c.anchor.dtype)
    across = runs_across(x.shape, axes)  # type: ignore[arg-type]
    return c.kernel(outer, accumulate(c, inner, reduction, left), across)


def accumulate(
    c: Common, inner: tuple[Var, ...], reduction: Reduction, indices: tuple[Index, ...]
) -> tuple[Stage, ...]:
    return Stage(inner, reductions=(reduction,)), Stage((), stores=(c.store(indices),))


@anchor("argmax", "argmin")
def _arg_extremum(c: Common) -> Kernel:
    """First the extreme value, then the first index at which it stands; the first NaN, if there is one."""
    assert c.anchor is not None
    x, axis = c.anchor.args[0], c.anchor.attrs["axis"]
    outer, left = c.loops()
    here = Var("k", x.shape[axis])  # type: ignore[arg-type]
    value = c.lowering.value(x, (*left[:axis], as_index(here), *left[axis:]))
    best = Reduction("max" if c.anchor.prim.name == "argmax" else "min", value, x.dtype)
    hit: Expr = Apply("equal", (value, Total(0, x.dtype)), bool_)
    if x.dtype.kind == "f":
        hit = Apply("bitwise_or", (hit, Apply("isnan", (value,), bool_)), bool_)
    out = c.anchor.dtype
    position = Apply("where", (hit, Position(as_index(here), out), literal(here.size, out)), out)
    c.lowering.totals[c.anchor] = 1
    store = c.store(left, c.lowering.value(c.root, left))
    stages = (
        Stage((here,), reductions=(best,)),
        Stage((here,), reductions=(Reduction("min", position, out),)),
        Stage((), stores=(store,)),
    )
    return c.kernel(outer, stages, runs_across(x.shape, (axis,)))  # type: ignore[arg-type]
