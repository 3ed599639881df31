"""Differentiation as users call it: `backward` into leaves, and functions that take functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..autodiff.forward import pushforward
from ..autodiff.reverse import pullback
from ..base.errors import GradientError, ShapeError
from ..base.pytree import flatten, unflatten
from ..base.state import state
from ..ir.graph import toposort
from ..ir.node import GRAD, LEAF, LEVEL, SPENT, TRACED, Node
from ..ir.shape import show_shape
from ..ops.movement import full, identity, zeros
from .tensor import Tensor


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside, operations are not recorded for differentiation: their results are constants to any `grad`."""
    saved, state.grad = state.grad, False
    try:
        yield
    finally:
        state.grad = saved


@contextmanager
def enable_grad() -> Iterator[None]:
    """Inside, operations are recorded again, also within `no_grad`."""
    saved, state.grad = state.grad, True
    try:
        yield
    finally:
        state.grad = saved


def _seed(output: Tensor, gradient: Tensor | None) -> Node:
    node = output._node
    if gradient is not None:
        if gradient.shape != output.shape:
            raise ShapeError(
                f"the gradient has shape {show_shape(gradient.shape)}, the output {show_shape(output.shape)}"
            )
        return gradient._node
    if output.size != 1:
        raise GradientError(
            f"backward() of a tensor of shape {show_shape(output.shape)} needs a gradient of that shape; "
            "without one the output must have exactly one element (take sum() or mean())"
        )
    return full(node.aval, 1.0)


def backward(
    outputs: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> None:
    """Add the gradients of `outputs` to `.grad` of every leaf that requires one.

    The graph is released on the way unless `retain_graph` or `create_graph` (which also records the gradients
    themselves for differentiation) is set.
    """
    nodes = [o._node for o in outputs]
    for o, n in zip(outputs, nodes, strict=True):
        if n.flags & SPENT:
            raise GradientError(
                "backward() has already passed here and released what it needs; "
                "call the first one with retain_graph=True"
            )
        if not n.flags & GRAD:
            raise GradientError(
                f"this tensor ({o._node.aval.describe()}) does not depend on any tensor that requires a gradient"
            )
    seeds = [_seed(o, g) for o, g in zip(outputs, gradients, strict=True)]
    order = toposort(nodes, lambda n: () if n.flags & LEAF else [a for a in n.args if a.flags & GRAD])
    leaves = [n for n in order if n.flags & LEAF]
    saved, state.grad = state.grad, create_graph
    try:
        found = pullback(nodes, seeds, leaves, GRAD)
        for leaf, gradient in zip(leaves, found, strict=True):
            cell = leaf.cell() if leaf.cell is not None else None
            if cell is not None and gradient is not None:
                cell.grad = Tensor(gradient) if cell.grad is None else Tensor(cell.grad._node + gradient)
    finally:
        state.grad = saved
    if not (retain_graph or create_graph):
        for n in order:
            if not n.flags & LEAF:
                n.flags = n.flags & ~GRAD | SPENT
                if n.value is not None and type(n.value) is not list:
                    n.args = ()


# -- functions of functions -----------------------------------------------------------------------------------


@contextmanager
def level() -> Iterator[int]:
    """One more functional transformation: yields the node flag that marks what depends on its inputs."""
    bit = LEVEL
    while state.active & bit:
        bit <<= 1
    saved = state.active, state.grad
    state.active, state.grad = state.active | bit, True
    try:
        yield bit
    finally:
        state.active, state.grad = saved


def _anchor(node: Node, bit: int) -> Node:
    """A node of the same value that the derivative is taken with respect to."""
    new = identity.bind((node,))
    new.flags |= bit
    return new


def _checked_leaves(tree: Any, what: str) -> tuple[list[Tensor], Any]:
    leaves, structure = flatten(tree)
    for x in leaves:
        if not isinstance(x, Tensor) or not x.dtype.inexact:
            got = f"{x.dtype} tensor" if isinstance(x, Tensor) else type(x).__name__
            raise GradientError(f"{what} must hold floating or complex tensors, got a {got}")
    return leaves, structure


def _split_arguments(args: tuple[Any, ...], argnums: int | Sequence[int]) -> tuple[int, ...]:
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for n in numbers:
        if not -len(args) <= n < len(args):
            raise GradientError(f"argnums {argnums!r} names argument {n}, but {len(args)} were given")
    return tuple(n % len(args) for n in numbers)


def value_and_grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns (value, gradient) of a scalar `function` with respect to the arguments `argnums`.

    The gradient has the structure of the argument (a tuple of them for several argnums). With `has_aux` the
    function returns (value, aux) and the result is ((value, aux), gradient).
    """

    def transformed(*args: Any, **kwargs: Any) -> Any:
        numbers = _split_arguments(args, argnums)
        leaves, structure = _checked_leaves([args[n] for n in numbers], "the differentiated arguments")
        with level() as bit:
            anchors = [_anchor(x._node, bit) for x in leaves]
            replaced = list(args)
            for n, x in zip(numbers, unflatten(structure, [Tensor(a) for a in anchors]), strict=True):
                replaced[n] = x
            out = function(*replaced, **kwargs)
            value = out[0] if has_aux else out
            if not isinstance(value, Tensor) or value.size != 1 or not value.dtype.inexact:
                raise GradientError(f"grad needs a function that returns one number, it returned {value!r}")
            found = pullback([value._node], [full(value._node.aval, 1.0)], anchors, bit)
        grads = [Tensor(zeros(a.aval) if g is None else g) for a, g in zip(anchors, found, strict=True)]
        tree = unflatten(structure, grads)
        return out, tree[0] if isinstance(argnums, int) else tuple(tree)

    return transformed


def grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """The gradient of a scalar function; with `has_aux` a pair (gradient, aux). See `value_and_grad`."""
    both = value_and_grad(function, argnums, has_aux=has_aux)

    def transformed(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return transformed


def jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """(value, J t): the value of `function(*primals)` and its derivative in the direction `tangents`."""
    leaves, structure = _checked_leaves(list(primals), "primals")
    directions, other = _checked_leaves(list(tangents), "tangents")
    if structure != other:
        raise GradientError(f"primals and tangents differ in structure: {structure!r} and {other!r}")
    for p, t in zip(leaves, directions, strict=True):
        if p.shape != t.shape or p.dtype is not t.dtype:
            raise ShapeError(f"a tangent of {t._node.aval.describe()} does not fit {p._node.aval.describe()}")
    with level() as bit:
        anchors = [_anchor(x._node, bit) for x in leaves]
        out = function(*unflatten(structure, [Tensor(a) for a in anchors]))
        values, out_structure = flatten(out)
        pushed = pushforward([v._node for v in values], anchors, [t._node for t in directions], bit)
    moved = [Tensor(zeros(v._node.aval) if t is None else t) for v, t in zip(values, pushed, strict=True)]
    return out, unflatten(out_structure, moved)


__all__ = ["TRACED", "backward", "enable_grad", "grad", "jvp", "no_grad", "value_and_grad"]
