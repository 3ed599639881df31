"""Algebra that does not change a bit: cancelled movement, folded constants, operations that do nothing.

A rule is admitted only if the result is the same bit for bit, signed zeros, infinities and NaN included, because
where a graph was cut must not show in its values. So `x * 1` goes, but `x + 0.0` stays: it turns -0.0 into 0.0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..base.errors import ShapeError
from ..ir.dtype import DType
from ..ir.graph import Graph
from ..ir.node import Node
from ..ir.primitive import registry
from ..ir.shape import is_static
from ..ops.define import constant
from ..ops.elementwise import mul
from ..ops.movement import broadcast_in_dim, concatenate, pad, permute, reshape, slice_axis
from .rewrite import rewrite

Args = tuple[Node, ...]
Rule = Callable[[Node, Args], Node | None]

rules: dict[str, list[Rule]] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Declare a simplification of the primitives called `names`."""

    def declare(function: Rule) -> Rule:
        for name in names:
            assert name in registry, f"no primitive is called {name}"
            rules.setdefault(name, []).append(function)
        return function

    return declare


#: Rounds, at most. Each rule leaves less to be done, so that a few are enough; should two undo each other, no program
#: waits for them without an end.
_ROUNDS = 100


def simplify(graph: Graph) -> Graph:
    """`graph` with every rule applied until none applies."""
    for _ in range(_ROUNDS):
        simpler = rewrite(graph, _apply)
        if simpler is graph:
            break
        graph = simpler
    return graph


def _apply(old: Node, args: Args) -> Node | None:
    for candidate in (*rules.get(old.prim.name, ()), _broadcasts_by_itself, _fold):
        new = candidate(old, args)
        if new is not None:
            return new
    return None


# -- constants ------------------------------------------------------------------------------------------------


def number(node: Node) -> bool | int | float | complex | None:
    """The number that fills a node, seen through broadcasts and reshapes; None if it is not one number."""
    while node.value is None and node.prim.name in ("broadcast_in_dim", "reshape"):
        node = node.args[0]
    return node.value if isinstance(node.value, (bool, int, float, complex)) else None


def is_number(node: Node, wanted: float) -> bool:
    """Whether a node is filled with exactly the real number `wanted`, signed zero told apart.

    No complex number is: times one or less zero, it changes where a part of it is infinite, NaN or -0.0.
    """
    found = number(node)
    if found is None or isinstance(found, complex) or node.dtype.kind == "c":
        return False
    return found == wanted and str(float(found)) == str(float(wanted))


def _fold(old: Node, args: Args) -> Node | None:
    """An operation on numbers is a number, if the reference body rounds it as native code does.

    exp and the like have formulas of their own there, and so have products of complex numbers.
    """
    if not (old.prim.elementwise and old.prim.exact) or old.shape != () or any(a.ndim for a in args):
        return None
    numbers = [number(a) for a in args]
    if any(n is None for n in numbers) or any(
        a.dtype.storage_only or a.dtype.kind == "c" for a in (old, *args)
    ):
        return None
    arrays = [np.asarray(n, a.dtype.numpy) for n, a in zip(numbers, args, strict=True)]
    with np.errstate(all="ignore"):
        value = np.asarray(old.prim.evaluate(*arrays, **old.attrs)).astype(old.dtype.numpy)
    return constant(value.item(), old.dtype)


# -- nothing to do --------------------------------------------------------------------------------------------


@rule("identity", "stop_gradient")
def _(old: Node, args: Args) -> Node | None:
    return args[0]


@rule("dim_size")
def _(old: Node, args: Args) -> Node | None:
    size = args[0].shape[old.attrs["axis"]]
    return constant(size, old.dtype) if isinstance(size, int) else None


@rule("mul")
def _(old: Node, args: Args) -> Node | None:
    for one, other in (args, args[::-1]):
        if is_number(one, 1.0) and other.shape == old.shape:
            return other
    return None


@rule("div")
def _(old: Node, args: Args) -> Node | None:
    if is_number(args[1], 1.0) and args[0].shape == old.shape:
        return args[0]
    inverse = _exact_inverse(number(args[1]), old.dtype)
    if inverse is None or args[0].value is not None:
        return None
    return mul(args[0], constant(inverse, old.dtype)) if args[0].shape == old.shape else None


def _exact_inverse(x: bool | int | float | complex | None, dtype: DType) -> float | None:
    """1 / x for a power of two: multiplying with it rounds as dividing by x does, in a fraction of the time."""
    if (
        dtype.name not in ("float32", "float64")
        or not isinstance(x, (int, float))
        or not 2**-64 <= abs(x) <= 2**64
    ):
        return None
    return 1.0 / x if abs(math.frexp(x)[0]) == 0.5 else None


@rule("sub")
def _(old: Node, args: Args) -> Node | None:
    return args[0] if is_number(args[1], 0.0) and args[0].shape == old.shape else None


@rule("add")
def _(old: Node, args: Args) -> Node | None:
    exact_zero = 0.0 if old.dtype.kind in "ui" else -0.0
    for zero, other in (args, args[::-1]):
        if is_number(zero, exact_zero) and other.shape == old.shape and old.dtype.kind != "c":
            return other
    return None


@rule("neg", "conj", "bitwise_not")
def _(old: Node, args: Args) -> Node | None:
    inner = args[0]
    return inner.args[0] if inner.value is None and inner.prim is old.prim else None


@rule("where")
def _(old: Node, args: Args) -> Node | None:
    condition, x, y = args
    if x is y and x.shape == old.shape:
        return x
    known = number(condition)
    if known is None:
        return None
    chosen = x if known else y
    return chosen if chosen.shape == old.shape else None


def _exact(narrow: DType, wide: DType) -> bool:
    """Whether every value of one type is a value of the other."""
    if narrow is wide:
        return True
    if narrow.kind == wide.kind and narrow.kind in "uifc":
        return wide.bits > narrow.bits
    return narrow.kind == "b" or (narrow.kind == "u" and wide.kind == "i" and wide.bits > narrow.bits)


@rule("cast")
def _(old: Node, args: Args) -> Node | None:
    x = args[0]
    if x.dtype is old.dtype:
        return x
    if x.value is None and x.prim is old.prim:
        origin = x.args[0]
        if origin.dtype is old.dtype and _exact(origin.dtype, x.dtype):
            return origin
    return None


@rule("sum", "max", "min", "prod", "any", "all")
def _(old: Node, args: Args) -> Node | None:
    x = args[0]
    if x.dtype is not old.dtype:
        return None
    if not old.attrs["axes"]:
        return x
    # Over axes of size one there is nothing to combine. (The reference adds 0 to a sum, which makes 0.0 of a -0.0
    # that is alone; here, as in graphs that run at once, it stays.)
    if all(x.shape[a] == 1 for a in old.attrs["axes"]):
        return reshape(x, shape=old.shape)
    return None


# -- movement -------------------------------------------------------------------------------------------------


@rule("reshape")
def _(old: Node, args: Args) -> Node | None:
    x = args[0]
    if x.shape == old.shape:
        return x
    if x.value is None and x.prim is reshape:
        return reshape(x.args[0], shape=old.shape)
    value = number(x)
    if value is not None and x.ndim and is_static(old.shape):
        return broadcast_in_dim(constant(value, x.dtype), shape=old.shape, axes=())
    return None


@rule("permute")
def _(old: Node, args: Args) -> Node | None:
    x, axes = args[0], old.attrs["axes"]
    if axes == tuple(range(len(axes))):
        return x
    if x.value is None and x.prim is permute:
        inner = x.attrs["axes"]
        return permute(x.args[0], axes=tuple([inner[a] for a in axes]))
    if _moves_only_ones(x, axes):
        return reshape(x, shape=old.shape)
    return None


@rule("permute")
def _(old: Node, args: Args) -> Node | None:
    """The transpose of a product is the product of the other operand with the one: the same sums, term by term."""
    x, axes = args[0], old.attrs["axes"]
    if x.value is not None or x.prim.name != "dot_general":
        return None
    left, right = x.args
    contract, batch = x.attrs["contract"], x.attrs["batch"]
    lead, rows = len(batch[0]), left.ndim - len(contract[0]) - len(batch[0])
    swapped = (*range(lead), *range(lead + rows, x.ndim), *range(lead, lead + rows))
    if axes != swapped:
        return None
    return x.prim(right, left, contract=contract[::-1], batch=batch[::-1])


@rule("add")
def _(old: Node, args: Args) -> Node | None:
    """Parts padded with zeros and added, that lie side by side, are a concatenation: the gradient of a split.

    Every element is one of a part plus zeros: plus one zero is the same, and makes 0.0 of -0.0 as they do.
    """
    found = [_parts_of(a) for a in args]
    if any(not f for f in found) or old.dtype.kind not in "fui":
        return None
    parts = sorted([p for f in found for p in f], key=lambda p: p[:2])
    axis, end = parts[0][0], 0
    for along, start, part in parts:
        if along != axis or start != end:
            return None
        end += part.shape[axis]  # type: ignore[operator]
    if end != old.shape[axis]:
        return None
    zero = constant(0.0 if old.dtype.kind == "f" else 0, old.dtype)
    return concatenate(*[part + zero if old.dtype.kind == "f" else part for _, _, part in parts], axis=axis)


def _parts_of(whole: Node) -> list[tuple[int, int, Node]]:
    """(axis, start, part) of all that is put together in a sum of padded parts; nothing if it is something else."""
    found: list[tuple[int, int, Node]] = []
    stack = [whole]
    while stack and len(found) + len(stack) <= _MOST_PARTS:
        node = stack.pop()
        if node.value is not None:
            return []
        if node.prim.name == "add" and all(a.shape == node.shape for a in node.args):
            stack.extend(node.args)
            continue
        part = _padded_part(node)
        if part is None:
            return []
        found.append(part)
    return [] if stack else found


#: More padded parts than these are not looked for in a sum.
_MOST_PARTS = 64


def _padded_part(node: Node) -> tuple[int, int, Node] | None:
    """(axis, start, part) of a part padded with zeros along one axis."""
    if node.prim is not pad or not is_static(node.shape) or not is_number(node.args[1], 0.0):
        return None
    low, high, interior = (node.attrs[k] for k in ("low", "high", "interior"))
    padded = [a for a in range(node.ndim) if low[a] or high[a]]
    if len(padded) != 1 or any(interior) or low[padded[0]] < 0 or high[padded[0]] < 0:
        return None
    return padded[0], low[padded[0]], node.args[0]


@rule("windows_add")
def _(old: Node, args: Args) -> Node | None:
    """Windows that do not overlap are laid side by side: no sum is left but that with the zero they are added to."""
    (x,), size, stride = args, old.attrs["size"], old.attrs["stride"]
    rank = len(size)
    lead = x.ndim - 2 * rank
    kernel = x.shape[lead + rank :]
    if not is_static(x.shape) or 0 in x.shape or old.dtype.kind == "c":
        return None
    if any(d != 1 and k > 1 for d, k in zip(old.attrs["dilation"], kernel, strict=True)):
        return None
    if any(k > s for k, s in zip(kernel, stride, strict=True)):
        return None
    zero = constant(0.0 if old.dtype.kind == "f" else 0, old.dtype)
    none, tail = (0,) * lead, [s - k for s, k in zip(stride, kernel, strict=True)]
    x = _padded(x, zero, (*none, *(0,) * rank, *tail))
    pairs = [a for d in range(rank) for a in (lead + d, lead + rank + d)]
    x = permute(x, axes=(*range(lead), *pairs))
    runs = [x.shape[lead + 2 * d] * stride[d] for d in range(rank)]
    x = reshape(x, shape=(*x.shape[:lead], *runs))
    x = _padded(x, zero, (*none, *[max(n - r, 0) for n, r in zip(size, runs, strict=True)]))
    for axis, (n, r) in enumerate(zip(size, runs, strict=True), lead):
        if r > n:  # the gap after the last window reaches over the end
            x = slice_axis(x, axis, 0, n)
    return x if old.dtype.kind in "uib" else x + zero


def _padded(x: Node, fill: Node, high: tuple[int, ...]) -> Node:
    return pad(x, fill, low=(0,) * x.ndim, high=high, interior=(0,) * x.ndim) if any(high) else x


def _moves_only_ones(x: Node, axes: tuple[int, ...]) -> bool:
    order = [a for a in axes if x.shape[a] != 1]
    return order == sorted(order)


@rule("broadcast_in_dim")
def _(old: Node, args: Args) -> Node | None:
    x, axes = args[0], old.attrs["axes"]
    if x.shape == old.shape:
        return x
    if x.value is None and x.prim is broadcast_in_dim:
        inner = x.attrs["axes"]
        return broadcast_in_dim(x.args[0], shape=old.shape, axes=tuple([axes[a] for a in inner]))
    return None


def _broadcasts_by_itself(old: Node, args: Args) -> Node | None:
    """An elementwise operation takes its operands unbroadcast, if the others still give it its shape."""
    if not old.prim.elementwise or len(args) < 2:
        return None
    for i, a in enumerate(args):
        if a.value is not None or a.prim is not broadcast_in_dim:
            continue
        inner, axes, rank = a.args[0], a.attrs["axes"], a.ndim
        if axes != tuple(range(rank - inner.ndim, rank)):
            continue  # the inserted axes are not the leading ones
        new = (*args[:i], inner, *args[i + 1 :])
        try:
            found = old.prim.bind(new, tuple(old.attrs.values()))
        except ShapeError:  # the operands no longer fit: this one carried the shape
            continue
        if found.shape == old.shape:
            return found
    return None
