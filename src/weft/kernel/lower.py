"""From nodes to loop expressions: what an element of a node is, in terms of elements of what is in memory.

`Lowering.value(node, indices)` pulls: elementwise operations become `Apply`, movement becomes arithmetic on the
indices, and nothing is stored in between. The table `pulls` holds one rule for each primitive that can be fused so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..ir.dtype import DType, int64, uint64
from ..ir.node import Node
from .declare import declares
from .index import (
    Index,
    Indices,
    Quotient,
    Var,
    as_index,
    flatten_index,
    quotient,
    remainder,
    reshape_index,
    strides,
)
from .loops import Apply, Expr, Inside, Load, Lookup, Position, Scalar, Search, Total, literal

Pull = Callable[["Lowering", Node, Indices], Expr]

#: An index, and the range [low, high) that it lies in where the condition holds.
Condition = tuple[Index, int, int]

pulls: dict[str, Pull] = {}

#: Declares how an element of the primitives with the given names is computed.
pull = declares(pulls)


def can_pull(node: Node) -> bool:
    """Whether a node can be computed element by element inside the kernel that uses it."""
    if node.value is not None:
        return isinstance(node.value, (bool, int, float, complex))
    return node.prim.elementwise or node.prim.name in pulls


class Lowering:
    """Expressions for the elements of nodes, given which nodes are in memory and which are reductions so far."""

    def __init__(self, buffers: Mapping[Node, int], layouts: Mapping[Node, tuple[int, ...]]) -> None:
        self.buffers = dict(buffers)
        self.layouts = layouts
        self.totals: dict[Node, int] = {}
        self.sums: dict[Node, list[Indices]] = {}  # of nodes with a total for each element that is asked for
        self.places: dict[Node, Indices] = {}  # where totals that belong to one row may be used
        self.refuse: type[Exception] = AssertionError
        self._memo: dict[tuple[Node, Indices], Expr] = {}

    def value(self, node: Node, indices: Indices) -> Expr:
        """The element of `node` at `indices`."""
        key = (node, indices)
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = self._value(node, indices)
        return found

    def give(self, node: Node, indices: Indices, value: Expr) -> None:
        """Say what the element of `node` at `indices` is, from now on."""
        self._memo[node, indices] = value

    def place(self, node: Node, indices: Indices) -> Index:
        """Where in memory an element of a stored node is."""
        order = self.layouts.get(node, range(node.ndim))
        return flatten_index([indices[a] for a in order], [node.shape[a] for a in order])  # type: ignore[misc]

    def steps(self, node: Node) -> tuple[int, ...]:
        """How far in memory it is from an element of a node to the next one along each axis."""
        order = tuple(self.layouts.get(node, range(node.ndim)))
        by_axis = dict(zip(order, strides([node.shape[a] for a in order]), strict=True))  # type: ignore[misc]
        return tuple([by_axis[a] for a in range(node.ndim)])

    def _value(self, node: Node, indices: Indices) -> Expr:
        at = self.buffers.get(node)
        if at is not None:
            if node.size == 1:
                return Scalar(at, node.dtype)
            return Load(at, self.place(node, indices), node.dtype)
        total = self.totals.get(node)
        if total is not None:
            if self.places.get(node, indices) != indices:
                raise self.refuse(node)
            return Total(total, node.dtype)
        sums = self.sums.get(node)
        if sums is not None:
            if indices not in sums:
                sums.append(indices)
            return Total(sums.index(indices), node.dtype)
        if node.value is not None:
            return literal(node.value, node.dtype)
        rule = pulls.get(node.prim.name)
        if rule is not None:
            return rule(self, node, indices)
        args = tuple([self.value(a, broadcast(indices, a)) for a in node.args])
        return Apply(node.prim.name, args, node.dtype)


def broadcast(indices: Indices, operand: Node) -> Indices:
    """The indices of an operand that is broadcast by NumPy's rule."""
    tail = indices[len(indices) - operand.ndim :]
    return tuple([i if n != 1 else as_index(0) for i, n in zip(tail, operand.shape, strict=True)])


def variables(shape: tuple[Any, ...], prefix: str) -> tuple[Var, ...]:
    """A loop variable for every axis."""
    return tuple([Var(f"{prefix}{k}", n) for k, n in enumerate(shape)])


def as_indices(vars: tuple[Var, ...]) -> Indices:
    return tuple([as_index(v) for v in vars])


# -- movement: the same element, found elsewhere --------------------------------------------------------------


@pull("identity", "stop_gradient")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    return low.value(node.args[0], indices)


@pull("reshape")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    x = node.args[0]
    return low.value(x, reshape_index(indices, x.shape, node.shape))  # type: ignore[arg-type]


@pull("permute")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    x, axes = node.args[0], node.attrs["axes"]
    return low.value(x, tuple([indices[axes.index(a)] for a in range(x.ndim)]))


@pull("broadcast_in_dim")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    x, axes = node.args[0], node.attrs["axes"]
    return low.value(x, tuple([indices[a] if x.shape[i] != 1 else as_index(0) for i, a in enumerate(axes)]))


@pull("flip")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    axes = node.attrs["axes"]
    moved = [as_index(node.shape[k] - 1) - i if k in axes else i for k, i in enumerate(indices)]  # type: ignore[operator]
    return low.value(node.args[0], tuple(moved))


@pull("cast")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    return Apply("cast", (low.value(node.args[0], indices),), node.dtype)


@pull("slice")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    at = zip(indices, node.attrs["start"], node.attrs["stride"], strict=True)
    return low.value(node.args[0], tuple([i * step + start for i, start, step in at]))


@pull("pad")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    x, fill = node.args
    other = low.value(fill, ())
    conditions: list[Condition] = []
    moved: list[Index] = []
    for i, n, before, interior in zip(
        indices, x.shape, node.attrs["low"], node.attrs["interior"], strict=True
    ):
        here, step = i - before, interior + 1
        conditions.append((here, 0, (n - 1) * step + 1 if n else 0))  # type: ignore[operator]
        if step > 1:
            conditions.append((remainder(here, step), 0, 1))
            here = quotient(here, step)
        moved.append(here)
    return inside(conditions, lambda: low.value(x, tuple(moved)), other)


#: Parts of a concatenation that are tried one after the other, at most.
_FEW = 4


@pull("concatenate")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    axis = node.attrs["axis"]
    starts = [0]
    for a in node.args:
        starts.append(starts[-1] + a.shape[axis])  # type: ignore[arg-type]

    def part(k: int) -> Expr:
        here = indices[axis] - starts[k]
        return low.value(node.args[k], (*indices[:axis], here, *indices[axis + 1 :]))

    def among(parts: list[int]) -> Expr:
        """The element, which lies in one of these parts: the search halves them."""
        if len(parts) == 1:
            return part(parts[0])
        half = len(parts) // 2 if len(parts) > _FEW else 1
        before = [(indices[axis], 0, starts[parts[half]])]
        return inside(before, lambda: among(parts[:half]), among(parts[half:]))

    return among([k for k in range(len(node.args)) if starts[k] < starts[k + 1]] or [0])


@pull("iota")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    if node.dtype.storage_only:
        return Apply("cast", (Position(indices[0], int64),), node.dtype)
    return Position(indices[0], node.dtype)


@pull("windows")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    x, kernel = node.args[0], node.attrs["kernel"]
    rank = len(kernel)
    lead = x.ndim - rank
    outs, taps = indices[lead : lead + rank], indices[lead + rank :]
    at = zip(outs, taps, node.attrs["stride"], node.attrs["dilation"], strict=True)
    return low.value(x, (*indices[:lead], *[o * s + t * d for o, t, s, d in at]))


@pull("random_bits")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    (state,) = node.args
    lead = state.ndim - 1
    element = flatten_index(indices[lead:], node.shape[lead:])  # type: ignore[arg-type]
    per_block = 128 // node.attrs["bits"]
    seed, start = (low.value(state, (*indices[:lead], as_index(k))) for k in (0, 1))
    block = Position(quotient(element, per_block), uint64)
    word = Position(remainder(element, per_block), uint64)
    return Apply(f"philox{node.attrs['bits']}", (seed, start, block, word), node.dtype)


@pull("advance")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    state, count = node.args
    *lead, part = indices
    kept = low.value(state, (*broadcast_to_lead(lead, state), part))
    blocks = inside([(part, 1, 2)], lambda: low.value(count, broadcast(tuple(lead), count)), zero(uint64))
    return Apply("add", (kept, blocks), uint64)


def broadcast_to_lead(lead: list[Index], state: Node) -> Indices:
    """The indices of all but the last axis of an operand whose leading axes are broadcast."""
    tail = lead[len(lead) - (state.ndim - 1) :]
    return tuple([i if n != 1 else as_index(0) for i, n in zip(tail, state.shape[:-1], strict=True)])


@pull("gather")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    x, *wanted = node.args
    axes = node.attrs["axes"]
    lead = node.ndim - (x.ndim - len(axes))
    steps = low.steps(x)
    rest = [a for a in range(x.ndim) if a not in axes]
    base = as_index(0)
    for a, i in zip(rest, indices[lead:], strict=True):
        base = base + i * steps[a]
    parts = []
    for a, w in zip(axes, wanted, strict=True):
        parts.append((low.value(w, broadcast(indices[:lead], w)), x.shape[a], steps[a]))
    return Lookup(low.buffers[x], base, tuple(parts), node.dtype)  # type: ignore[arg-type]


@pull("dynamic_slice")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    x, *starts = node.args
    parts, steps = [], low.steps(x)
    for a, s in zip(node.attrs["axes"], starts, strict=True):
        parts.append((low.value(s, ()), x.shape[a] - node.shape[a] + 1, steps[a]))  # type: ignore[operator]
    return Lookup(low.buffers[x], low.place(x, indices), tuple(parts), node.dtype, wraps=False)


@pull("dim_size")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    return literal(node.args[0].shape[node.attrs["axis"]], node.dtype)


@pull("triangle")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    across = indices[-1] - indices[-2]
    far = max(*across.bounds, node.attrs["offset"]) + 1
    near = min(*across.bounds, node.attrs["offset"])
    kept = (
        (across, node.attrs["offset"], far)
        if node.attrs["upper"]
        else (across, near, node.attrs["offset"] + 1)
    )
    return inside([kept], lambda: low.value(node.args[0], indices), zero(node.dtype))


@pull("integer_pow", "polygamma")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    (parameter,) = node.attrs.values()
    return Apply(f"{node.prim.name}.{parameter}", (low.value(node.args[0], indices),), node.dtype)


@pull("bitcast")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    return Apply("bitcast", (low.value(node.args[0], indices),), node.dtype)


@pull("real", "imag")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    x = node.args[0]  # in memory, where the parts of an element lie next to each other
    return Load(low.buffers[x], low.place(x, indices) * 2 + (node.prim.name == "imag"), node.dtype)


@pull("complex")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    raise AssertionError("parts of complex numbers are put together where they are stored")


@pull("searchsorted")
def _(low: Lowering, node: Node, indices: Indices) -> Expr:
    edges, x = node.args
    base = low.place(edges, (*indices[: edges.ndim - 1], as_index(0)))
    key = low.value(x, indices)
    size, right = int(edges.shape[-1]), node.attrs["side"] == "right"  # type: ignore[arg-type]
    return Search(low.buffers[edges], base, size, low.steps(edges)[-1], key, right, node.dtype)


def zero(dtype: DType) -> Expr:
    """0 of a type."""
    if dtype.kind == "b":
        return literal(False, dtype)
    return literal(0.0 if dtype.kind == "f" else 0, dtype)


#: Operands that must be in memory: they are read at places not known before.
looked_up: dict[str, tuple[int, ...]] = {"gather": (0,), "dynamic_slice": (0,), "searchsorted": (0,)}


def inside(conditions: list[Condition], then: Callable[[], Expr], other: Expr) -> Expr:
    """An `Inside` without the conditions that always hold; `other` if one never does."""
    conditions = [_undivided(*c) for c in conditions]
    for index, low, high in conditions:
        least, most = index.bounds
        if most < low or least >= high:
            return other
    left = open_conditions(conditions)
    value = then()
    return Inside(left, value, other, value.dtype) if left else value


def _undivided(index: Index, low: int, high: int) -> Condition:
    """A condition on a quotient as one on what is divided, which moves evenly along more variables."""
    while len(index.factors) == 1:
        ((term, factor),) = index.factors.items()
        if not isinstance(term, Quotient) or factor != 1:
            break
        low, high = (low - index.offset) * term.by, (high - index.offset) * term.by
        index = term.of
    return index, low, high


def open_conditions(conditions: list[Condition]) -> tuple[Condition, ...]:
    """Those of the conditions that do not always hold."""
    return tuple([(i, low, high) for i, low, high in conditions if i.bounds[0] < low or i.bounds[1] >= high])
