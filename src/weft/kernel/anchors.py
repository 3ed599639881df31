"""Kernels from nodes: one builder for each kind of operation that a kernel can be built around (its anchor)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..ir.dtype import DType, bool_
from ..ir.node import Node
from .index import Index, Var, as_index, flatten_index, quotient, remainder, unflatten_index
from .loops import (
    Apply,
    Expr,
    Inside,
    Kernel,
    Load,
    Lookup,
    Position,
    Reduction,
    Stage,
    Store,
    Total,
    literal,
)
from .lower import Lowering, as_indices, inside, variables
from .tiles import Guard, Operand, Tap, Tiles, merge_taps

REDUCTIONS = ("sum", "prod", "max", "min", "any", "all")

Builder = Callable[["Common"], "Kernel | Tiles"]

#: primitive -> the kernel around it
builders: dict[str, Builder] = {}


def anchor(*names: str) -> Callable[[Builder], Builder]:
    """Declare the kernel of the primitives called `names`."""

    def declare(build: Builder) -> Builder:
        for name in names:
            builders[name] = build
        return build

    return declare


@dataclass(eq=False)
class Common:
    """What all kernels of one step share."""

    name: str
    root: Node
    anchor: Node | None
    lowering: Lowering
    inputs: tuple[DType, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.root.shape  # type: ignore[return-value]

    def result(self, indices: tuple[Index, ...]) -> Expr:
        """The value to store once the anchor's total is known."""
        if self.anchor is not None:
            self.lowering.totals[self.anchor] = 0
        return self.lowering.value(self.root, indices)

    def kernel(self, outer: tuple[Var, ...], stages: tuple[Stage, ...], across: bool) -> Kernel:
        notes = (
            (self.root.prim.name,) if self.anchor is None else (self.anchor.prim.name, self.root.prim.name)
        )
        return Kernel(self.name, outer, stages, self.inputs, (self.root.dtype,), across, notes)


def elementwise(c: Common) -> Kernel:
    for outer, indices in _collapsed(c.shape, "i"):
        value = c.lowering.value(c.root, indices)
        if _straight(value, outer[-1]):
            break
    store = Store(len(c.inputs), flatten_index(indices, c.shape), value)
    return c.kernel(outer, (Stage((), stores=(store,)),), True)


def _collapsed(shape: Sequence[int], prefix: str) -> list[tuple[tuple[Var, ...], tuple[Index, ...]]]:
    """Ways to loop over a shape: all axes merged into one first, one variable per axis last."""
    ways = []
    for keep in range(max(len(shape), 1)):
        tail = shape[keep:]
        size = 1
        for n in tail:
            size *= n
        loops = (*variables(tuple(shape[:keep]), prefix), Var(f"{prefix}v", size))
        indices = (*as_indices(loops[:-1]), *unflatten_index(as_index(loops[-1]), tail))
        ways.append((loops, indices))
    return ways


def _straight(e: Expr, var: Var) -> bool:
    """Whether every load moves evenly (by 0 or 1, if it moves at all) as `var` grows."""
    if isinstance(e, Load):
        return e.index.stride(var) in (0, 1)
    if isinstance(e, Position):
        return e.index.stride(var) is not None
    if isinstance(e, Inside):
        even = all(i.stride(var) is not None for i, _, _ in e.conditions)
        return even and _straight(e.then, var) and _straight(e.other, var)
    if isinstance(e, Lookup):
        return e.base.stride(var) is not None and all(_straight(i, var) for i, _, _ in e.parts)
    return all(_straight(a, var) for a in e.args) if isinstance(e, Apply) else True


@anchor(*REDUCTIONS)
def _reduction(c: Common) -> Kernel:
    """A reduction over the last axis runs along vectors; over others, vectors run along what is left.

    So the order in which elements are combined is a function of the shape and the axes alone.
    """
    assert c.anchor is not None
    x, axes = c.anchor.args[0], c.anchor.attrs["axes"]
    loops = variables(x.shape, "i")  # type: ignore[arg-type]
    outer = tuple([v for k, v in enumerate(loops) if k not in axes])
    inner = tuple([v for k, v in enumerate(loops) if k in axes])
    reduction = Reduction(c.anchor.prim.name, c.lowering.value(x, as_indices(loops)), c.anchor.dtype)
    across = bool(outer) and (not axes or x.ndim - 1 not in axes)
    return c.kernel(outer, _accumulate(c, inner, reduction, outer), across)


def _accumulate(
    c: Common, inner: tuple[Var, ...], reduction: Reduction, outer: tuple[Var, ...]
) -> tuple[Stage, ...]:
    indices = as_indices(outer)
    store = Store(len(c.inputs), flatten_index(indices, c.shape), c.result(indices))
    return Stage(inner, reductions=(reduction,)), Stage((), stores=(store,))


@anchor("dot_general")
def _contraction(c: Common) -> Kernel | Tiles:
    """A product summed in order of k for every element of the result: tiles where strides allow, else plain loops."""
    return _as_tiles(c) or _as_loops(c)


def _sides(c: Common) -> tuple[int, list[int], list[int]]:
    """How many batch axes the result has, and the free axes of the two operands."""
    assert c.anchor is not None
    x, y = c.anchor.args
    (cx, cy), (bx, by) = c.anchor.attrs["contract"], c.anchor.attrs["batch"]
    free_x = [a for a in range(x.ndim) if a not in cx and a not in bx]
    free_y = [a for a in range(y.ndim) if a not in cy and a not in by]
    return len(bx), free_x, free_y


def _operands(c: Common, out: Sequence[Index], inner: Sequence[Index]) -> tuple[Expr, Expr]:
    """The two factors, for indices of the result and of the contracted axes."""
    assert c.anchor is not None
    x, y = c.anchor.args
    (cx, cy), (bx, by) = c.anchor.attrs["contract"], c.anchor.attrs["batch"]
    lead, free_x, free_y = _sides(c)
    at_x = dict(zip((*bx, *free_x, *cx), (*out[: lead + len(free_x)], *inner), strict=True))
    at_y = dict(zip((*by, *free_y, *cy), (*out[:lead], *out[lead + len(free_x) :], *inner), strict=True))
    left = c.lowering.value(x, tuple([at_x[a] for a in range(x.ndim)]))
    right = c.lowering.value(y, tuple([at_y[a] for a in range(y.ndim)]))
    return left, right


def _as_loops(c: Common) -> Kernel:
    assert c.anchor is not None
    outer = variables(c.shape, "i")
    contracted = tuple([c.anchor.args[0].shape[a] for a in c.anchor.attrs["contract"][0]])
    inner = variables(contracted, "k")  # type: ignore[arg-type]
    left, right = _operands(c, as_indices(outer), as_indices(inner))
    reduction = Reduction("sum", Apply("mul", (left, right), c.anchor.dtype), c.anchor.dtype)
    return c.kernel(outer, _accumulate(c, inner, reduction, outer), bool(outer))


def _as_tiles(c: Common) -> Tiles | None:
    """The contraction with fixed strides, if its operands lie in memory so."""
    anchor = c.anchor
    assert anchor is not None
    if anchor.dtype.name not in ("float32", "float64") or c.root.dtype is not anchor.dtype:
        return None
    lead, free_x, _ = _sides(c)
    contracted = tuple([anchor.args[0].shape[a] for a in anchor.attrs["contract"][0]])
    shape = c.shape
    rows, columns = shape[lead : lead + len(free_x)], shape[lead + len(free_x) :]
    batch = variables(shape[:lead], "b")
    m, n = Var("m", _size(rows)), Var("n", _size(columns))
    inner = variables(contracted, "k")  # type: ignore[arg-type]
    at = (*as_indices(batch), *unflatten_index(as_index(m), rows), *unflatten_index(as_index(n), columns))
    left, right = _operands(c, at, as_indices(inner))
    if min(m.size, n.size) < 2 or not isinstance(left, Load) or not isinstance(right, Load):
        return None
    out = flatten_index(at, shape)
    return tiles(c, batch, m, n, inner, left, right, out, at, {})


def tiles(
    c: Common,
    outer: tuple[Var, ...],
    m: Var,
    n: Var,
    inner: tuple[Var, ...],
    left: Load,
    right: Load,
    out: Index,
    at: Sequence[Index],
    guards: Mapping[Var, Guard],
) -> Tiles | None:
    """A contraction over `inner`, if each variable moves each operand by a fixed stride."""
    assert c.anchor is not None
    moves = [(left.index.stride(v), right.index.stride(v)) for v in inner]
    sides = [left.index.stride(m), right.index.stride(n), out.stride(m), out.stride(n)]
    if any(x is None for pair in moves for x in pair) or any(x is None for x in sides):
        return None
    if left.index.stride(n) != 0 or right.index.stride(m) != 0:
        return None
    taps = [Tap(v.size, a, b, guards.get(v)) for v, (a, b) in zip(inner, moves, strict=True)]  # type: ignore[arg-type]
    gone = {v: as_index(0) for v in (m, n, *inner)}
    return Tiles(
        name=c.name,
        outer=outer,
        m=m,
        n=n,
        taps=merge_taps(taps),
        a=Operand(left.buffer, left.index.substitute(gone), sides[0]),  # type: ignore[arg-type]
        b=Operand(right.buffer, right.index.substitute(gone), sides[1]),  # type: ignore[arg-type]
        out=Operand(len(c.inputs), out.substitute(gone), sides[2]),  # type: ignore[arg-type]
        out_step=sides[3],  # type: ignore[arg-type]
        epilogue=c.result(tuple(at)),
        dtype=c.anchor.dtype,
        inputs=c.inputs,
        outputs=(c.root.dtype,),
        notes=(c.anchor.prim.name, c.root.prim.name),
    )


def _size(shape: Sequence[int]) -> int:
    total = 1
    for s in shape:
        total *= s
    return total


def _across(outer: tuple[Var, ...]) -> bool:
    return bool(outer)


@anchor("argmax", "argmin")
def _arg_extremum(c: Common) -> Kernel:
    """First the extreme value, then the first index at which it stands; the first NaN, if there is one."""
    assert c.anchor is not None
    x, axis = c.anchor.args[0], c.anchor.attrs["axis"]
    loops = variables(x.shape, "i")  # type: ignore[arg-type]
    outer = tuple([v for k, v in enumerate(loops) if k != axis])
    here = loops[axis]
    value = c.lowering.value(x, as_indices(loops))
    best = Reduction("max" if c.anchor.prim.name == "argmax" else "min", value, x.dtype)
    hit: Expr = Apply("equal", (value, Total(0, x.dtype)), bool_)
    if x.dtype.kind == "f":
        hit = Apply("logical_or", (hit, Apply("isnan", (value,), bool_)), bool_)
    out = c.anchor.dtype
    position = Apply("where", (hit, Position(as_index(here), out), literal(here.size, out)), out)
    indices = as_indices(outer)
    c.lowering.totals[c.anchor] = 1
    store = Store(len(c.inputs), flatten_index(indices, c.shape), c.lowering.value(c.root, indices))
    stages = (
        Stage((here,), reductions=(best,)),
        Stage((here,), reductions=(Reduction("min", position, out),)),
        Stage((), stores=(store,)),
    )
    return c.kernel(outer, stages, bool(outer) and axis != x.ndim - 1)


@anchor("windows_add")
def _windows_add(c: Common) -> Kernel:
    """Each element of the result adds up the windows that cover it, tap by tap."""
    assert c.anchor is not None
    x = c.anchor.args[0]
    size, stride, dilation = (c.anchor.attrs[k] for k in ("size", "stride", "dilation"))
    rank = len(size)
    lead = x.ndim - 2 * rank
    outer = variables(c.shape, "i")
    taps = variables(x.shape[lead + rank :], "k")  # type: ignore[arg-type]
    conditions, at = [], []
    for d in range(rank):
        from_ = as_index(outer[lead + d]) - as_index(taps[d]) * dilation[d]
        count: int = x.shape[lead + d]  # type: ignore[assignment]
        conditions.append((from_, 0, (count - 1) * stride[d] + 1))
        if stride[d] > 1:
            conditions.append((remainder(from_, stride[d]), 0, 1))
        at.append(quotient(from_, stride[d]))
    indices = (*as_indices(outer[:lead]), *at, *as_indices(taps))
    zero = literal(0, x.dtype) if x.dtype.kind != "f" else literal(0.0, x.dtype)
    value = inside(conditions, lambda: c.lowering.value(x, indices), zero)
    return c.kernel(outer, _accumulate(c, taps, Reduction("sum", value, x.dtype), outer), _across(outer))


@anchor("conv")
def _convolution(c: Common) -> Kernel:
    """Products summed over channels and taps in this order, for every element of the result; zeros are skipped."""
    assert c.anchor is not None
    x, w = c.anchor.args
    a = c.anchor.attrs
    outer = variables(c.anchor.shape, "i")  # type: ignore[arg-type]
    n, o, *spatial = as_indices(outer)
    channel = Var("c", w.shape[1])  # type: ignore[arg-type]
    taps = variables(w.shape[2:], "k")  # type: ignore[arg-type]
    group = quotient(o, w.shape[0] // (a["feature_groups"] * a["batch_groups"]))  # type: ignore[operator]
    image = n + group * c.anchor.shape[0] if a["batch_groups"] > 1 else n  # type: ignore[operator]
    depth = as_index(channel) + (group * channel.size if a["feature_groups"] > 1 else 0)
    conditions, at = [], []
    for d, (i, k) in enumerate(zip(spatial, taps, strict=True)):
        here = i * a["stride"][d] + as_index(k) * a["kernel_dilation"][d] - a["padding"][d][0]
        step, size = a["input_dilation"][d], x.shape[2 + d]
        conditions.append((here, 0, (size - 1) * step + 1 if size else 0))  # type: ignore[operator]
        if step > 1:
            conditions.append((remainder(here, step), 0, 1))
            here = quotient(here, step)
        at.append(here)
    weight = c.lowering.value(w, (o, as_index(channel), *as_indices(taps)))
    zero = literal(0.0 if x.dtype.kind == "f" else 0, x.dtype)
    value = inside(conditions, lambda: c.lowering.value(x, (image, depth, *at)), zero)
    product = Reduction("sum", Apply("mul", (value, weight), x.dtype), x.dtype)
    return c.kernel(outer, _accumulate(c, (channel, *taps), product, outer), _across(outer))
