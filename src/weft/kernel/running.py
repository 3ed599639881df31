"""Kernels whose iterations follow each other: running reductions along an axis, and writes at run-time places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ..ir.node import Node
from .anchors import Common, anchor
from .index import Index, Indices, Var, as_index
from .loops import Apply, Carry, Expr, Kernel, Position, Scatter, Stage, Total, literal
from .lower import as_indices, broadcast, inside, variables

#: primitive -> the elementwise one that takes a running total one element on, and what an empty total is
_STEPS: dict[str, tuple[str, Any]] = {
    "cumsum": ("add", 0),
    "cumprod": ("mul", 1),
    "cummax": ("maximum", None),
    "cummin": ("minimum", None),
}


@anchor("cumsum", "cumprod", "cummax", "cummin")
def _cumulative(c: Common) -> Kernel:
    assert c.anchor is not None
    node = c.anchor
    (x,), dtype = node.args, node.dtype
    step, empty = _STEPS[node.prim.name]

    def carry(at: Any, k: Index, size: int) -> Expr:
        def on(here: Index) -> Expr:
            return Apply(step, (Total(0, dtype), c.lowering.value(x, at(here))), dtype)

        if not node.attrs.get("exclusive", False):
            return inside([(k, 1, size)], lambda: on(k), c.lowering.value(x, at(k)))
        before = k - 1
        start = literal(float(empty) if dtype.kind == "f" else empty, dtype)
        first = inside([(k, 1, size)], lambda: c.lowering.value(x, at(before)), start)
        return inside([(k, 2, size)], lambda: on(before), first)

    return _along(c, node.attrs["axis"], node.attrs["reverse"], carry)


@anchor("linear_recurrence")
def _recurrence(c: Common) -> Kernel:
    assert c.anchor is not None
    node = c.anchor
    (a, b), dtype = node.args, node.dtype

    def carry(at: Any, k: Index, size: int) -> Expr:
        term = c.lowering.value(b, at(k))

        def on() -> Expr:
            moved = Apply("mul", (c.lowering.value(a, at(k)), Total(0, dtype)), dtype)
            return Apply("add", (moved, term), dtype)

        return inside([(k, 1, size)], on, term)

    return _along(c, node.attrs["axis"], node.attrs["reverse"], carry)


def _along(c: Common, axis: int, reverse: bool, carry: Any) -> Kernel:
    """One serial loop along `axis`; vectors along the innermost of the other axes, if there is one."""
    size = c.shape[axis]
    rest = [a for a in c.order if a != axis]
    outer = variables(tuple([c.shape[a] for a in rest]), "i")
    fixed = dict(zip(rest, as_indices(outer), strict=True))
    step = Var("k", size)

    def at(k: Index) -> Indices:
        here = as_index(size - 1) - k if reverse else k
        return tuple([here if a == axis else fixed[a] for a in range(len(c.shape))])

    k = as_index(step)
    carried = Carry(carry(at, k, size), c.anchor.dtype)  # type: ignore[union-attr]
    store = c.store(at(k))
    return c.kernel(outer, (Stage((step,), stores=(store,), carries=(carried,)),), bool(outer))


#: Results of more bytes than this are written in bands, at most so many.
_CACHED, _BANDS = 1 << 18, 4

# -- writes at places known at run time -----------------------------------------------------------------------


@anchor("scatter", "scatter_add")
def _scatter(c: Common) -> Kernel:
    """A copy of x, then the updates one after the other, in row-major order of the indices."""
    x, updates, *wanted = c.root.args
    axes: tuple[int, ...] = c.root.attrs["axes"]
    rest = [a for a in range(x.ndim) if a not in axes]
    lead = updates.ndim - len(rest)
    count = variables(updates.shape[:lead], "u")
    at = as_indices(count)
    places = {a: c.lowering.value(w, broadcast(at, w)) for a, w in zip(axes, wanted, strict=True)}
    own = _own_axes(c, places, count)
    outer, fixed = _rest_loops(c, rest, own)
    steps = c.lowering.steps(c.root)
    parts = tuple([(e, x.shape[a], steps[a]) for a, e in places.items() if a not in own])
    base = c.place(tuple([fixed.get(a, as_index(0)) for a in range(x.ndim)]))
    value = c.lowering.value(updates, (*at, *[fixed[a] for a in rest]))
    put = Scatter(len(c.inputs), base, parts, value, c.root.prim.name == "scatter_add")  # type: ignore[arg-type]
    bands = _bands(c, axes)
    if bands > 1:
        return _in_bands(c, bands, outer, fixed, count, put)
    inner = tuple([v for v in count if v not in own.values()])
    return _copy_then(c, x, outer, fixed, Stage(inner, stores=(put,), serial=True))


def _own_axes(c: Common, places: Mapping[int, Expr], count: Sequence[Var]) -> dict[int, Var]:
    """The axes whose index is the number of the update along an axis of its own, as of sums along rows: there,
    different updates never meet.

    The innermost axis stays as it is: vectors run along it, or nothing does.
    """
    found: dict[int, Var] = {}
    for a, e in places.items():
        for v in count:
            same = isinstance(e, Position) and e.index == as_index(v) and v.size == c.shape[a]
            if same and v not in found.values() and a != c.order[-1]:
                found[a] = v
    return found if len(found) < len(places) else {}


def _bands(c: Common, axes: Sequence[int]) -> int:
    """Into how many bands the indexed axis is cut, each with all updates that fall into it."""
    if len(axes) > 1 or c.order[-1] in axes or c.root.size * c.root.dtype.itemsize <= _CACHED:  # type: ignore[operator]
        return 1
    size: int = c.shape[axes[0]]
    return max(n for n in range(1, _BANDS + 1) if size % n == 0)


def _in_bands(
    c: Common,
    bands: int,
    rest: tuple[Var, ...],
    fixed: Mapping[int, Index],
    count: tuple[Var, ...],
    put: Scatter,
) -> Kernel:
    """For each band a copy of its part of x, whole rows at a time, and then the updates of these rows."""
    (axis,) = c.root.attrs["axes"]
    band, row = Var("band", bands), Var("c", c.shape[axis] // bands)
    low = as_index(band) * row.size
    at = tuple([as_index(row) + low if a == axis else fixed[a] for a in range(len(c.shape))])
    copy = c.store(at, c.lowering.value(c.root.args[0], at))
    loops = iter(rest)
    rows = Stage(tuple([row if a == axis else next(loops) for a in c.order]), stores=(copy,))
    step = c.lowering.steps(c.root)[axis]
    put = replace(put, within=(low * step, row.size * step))
    return c.kernel((band,), (rows, Stage((*count, *rest), stores=(put,))), False)


@anchor("dynamic_update_slice")
def _dynamic_update_slice(c: Common) -> Kernel:
    """A copy of x, then the window."""
    x, updates, *starts = c.root.args
    axes: tuple[int, ...] = c.root.attrs["axes"]
    outer, fixed = _rest_loops(c, [a for a in range(x.ndim) if a not in axes])
    window = [a for a in c.order if a in axes]
    loops = variables(tuple([updates.shape[a] for a in window]), "u")
    inner = dict(zip(window, as_indices(loops), strict=True))
    at = tuple([inner[a] if a in inner else fixed[a] for a in range(x.ndim)])
    steps = c.lowering.steps(c.root)
    parts = []
    for a, s in zip(axes, starts, strict=True):
        parts.append((c.lowering.value(s, ()), x.shape[a] - updates.shape[a] + 1, steps[a]))  # type: ignore[operator]
    value = c.lowering.value(updates, at)
    put = Scatter(len(c.inputs), c.place(at), tuple(parts), value, False, wraps=False)
    return _copy_then(c, x, outer, fixed, Stage(loops, stores=(put,)))


def _rest_loops(
    c: Common, rest: Sequence[int], own: Mapping[int, Var] = MappingProxyType({})
) -> tuple[tuple[Var, ...], dict[int, Index]]:
    """Outer loops over the axes that are not indexed, and those that have variables of their `own`, in the order of
    memory; different iterations never meet."""
    order = [a for a in c.order if a in rest or a in own]
    loops = variables(tuple([c.shape[a] for a in order]), "i")
    outer = tuple([own.get(a, v) for a, v in zip(order, loops, strict=True)])
    return outer, dict(zip(order, as_indices(outer), strict=True))


def _copy_then(c: Common, x: Node, outer: tuple[Var, ...], fixed: dict[int, Index], last: Stage) -> Kernel:
    """For each outer iteration a copy of its part of x, and then the stage that overwrites some of it."""
    order = [a for a in c.order if a not in fixed]
    loops = variables(tuple([c.shape[a] for a in order]), "c")
    copied = dict(zip(order, as_indices(loops), strict=True))
    at = tuple([fixed[a] if a in fixed else copied[a] for a in range(x.ndim)])
    copy = c.store(at, c.lowering.value(x, at))
    across = bool(outer) and c.order[-1] in fixed
    return c.kernel(outer, (Stage(loops, stores=(copy,)), last), across)


#: Anchors whose result is known only when all of their loops are done: nothing follows them in their kernel.
FINAL = ("scatter", "scatter_add", "dynamic_update_slice", "sort", "argsort")
