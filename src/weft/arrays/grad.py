"""Derivatives as functions of functions: `grad`, `value_and_grad`, `jvp`, `vjp`, `linear_transpose`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..autodiff.forward import pushforward
from ..autodiff.replay import known, note, passed_back, path_of
from ..autodiff.reverse import pullback
from ..base.checked import checked, describe
from ..base.errors import ArgumentTypeError, GradientError, ShapeError
from ..base.pytree import flatten, unflatten
from ..base.state import state
from ..ir.graph import Graph, instantiate, toposort
from ..ir.node import LEVEL, SPENT, Node
from ..ops.movement import full, identity, zeros
from .backward import backward, enable_grad, gradients, no_grad, recording
from .tensor import Tensor
from .tracing import Trace, close, opened, stand_in


@contextmanager
def level() -> Iterator[int]:
    """One more functional transformation: yields the node flag that marks what depends on its inputs.

    Where nothing is recorded around it, what is computed inside is recorded for this transformation alone.
    """
    bit = LEVEL
    while state.active & bit:
        bit <<= 1
    saved = state.active, state.grad
    around = state.active if state.grad else state.active & (state.tracing | SPENT)
    try:
        state.active, state.grad = around | bit, True
        yield bit
    finally:
        state.active, state.grad = saved


def anchor(node: Node, bit: int) -> Node:
    """A node of the same value that the derivative is taken with respect to."""
    new = identity.bind((node,))
    new.flags |= bit
    return new


def checked_leaves(tree: Any, what: str) -> tuple[list[Tensor], Any]:
    """The leaves of a container of floating or complex tensors, and its structure."""
    leaves, structure = flatten(tree)
    for x in leaves:
        if not isinstance(x, Tensor) or not x.dtype.inexact:
            got = f"{x.dtype} tensor" if isinstance(x, Tensor) else type(x).__name__
            raise GradientError(f"{what} must hold floating or complex tensors, got a {got}")
    return leaves, structure


def split_arguments(args: tuple[Any, ...], argnums: int | Sequence[int]) -> tuple[int, ...]:
    """The positions that `argnums` names, counted from the front."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for n in numbers:
        if not -len(args) <= n < len(args):
            raise GradientError(f"argnums {argnums!r} names argument {n}, but {len(args)} were given")
    return tuple(n % len(args) for n in numbers)


class Differentiated:
    """The arguments of a function that is being differentiated, some of them replaced by anchors."""

    def __init__(self, args: tuple[Any, ...], argnums: int | Sequence[int]) -> None:
        self.single = isinstance(argnums, int)
        self.numbers = split_arguments(args, argnums)
        self.leaves, self.structure = checked_leaves(
            [args[n] for n in self.numbers], "the differentiated arguments"
        )
        self.args = args
        self.anchors: list[Node] = []

    def at(self, bit: int) -> list[Any]:
        """The arguments, with fresh anchors."""
        self.anchors = [anchor(x._node, bit) for x in self.leaves]
        replaced = list(self.args)
        inner = unflatten(self.structure, [Tensor(a) for a in self.anchors])
        for n, x in zip(self.numbers, inner, strict=True):
            replaced[n] = x
        return replaced

    def result(self, leaves: list[Any]) -> Any:
        """A value for each leaf in the structure of the differentiated arguments."""
        tree = unflatten(self.structure, leaves)
        return tree[0] if self.single else tuple(tree)


@checked
def value_and_grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns (value, gradient) of a scalar `function` with respect to the arguments `argnums`.

    The gradient has the structure of the argument (a tuple of them for several argnums). With `has_aux` the
    function returns (value, aux) and the result is ((value, aux), gradient). For a complex argument z = x + iy of
    a real function f the gradient is df/dx + i df/dy, the direction of steepest ascent.

    >>> value, slope = value_and_grad(lambda x: (x * x).sum())(tensor([1.0, 2.0]))
    >>> slope.numpy()
    array([2., 4.], dtype=float32)
    """

    return _differentiated(function, argnums, has_aux, lambda out, gradient: (out, gradient))


def _differentiated(
    function: Callable[..., Any],
    argnums: int | Sequence[int],
    has_aux: bool,
    result: Callable[[Any, Any], Any],
) -> Callable[..., Any]:
    """The function that returns `result(out, gradient)`, where `out` is what `function` returns."""

    @functools.wraps(function)
    def transformed(*args: Any, **kwargs: Any) -> Any:
        inner = Differentiated(args, argnums)
        with level() as bit:
            out = function(*inner.at(bit), **kwargs)
            value = _value_of_pair(out, has_aux)
            if not isinstance(value, Tensor) or value.size != 1 or value.dtype.kind != "f":
                raise GradientError(f"grad needs a function that returns one real number, got {_told(value)}")
            found = _gradient(value._node, inner.anchors, bit)
        grads = [Tensor(zeros(a.aval) if g is None else g) for a, g in zip(inner.anchors, found, strict=True)]
        return result(out, inner.result(grads))

    return transformed


def _gradient(output: Node, anchors: list[Node], bit: int) -> list[Node | None]:
    """The gradient of one number with respect to each of the anchors, None where it does not depend on it.

    Written down once for all outputs of the same structure, unless it may itself be differentiated.
    """
    path = path_of(output, bit, set(anchors)) if output.flags == bit and not state.ambient else None
    if path is not None:
        script = known(path)
        if script is None:
            with recording(False):
                script = note(path, path.leaves, _pulled(output, path.leaves, bit))
        if script is not None:
            of = dict(zip(path.leaves, passed_back(script, path), strict=True))
            return [of.get(a) for a in anchors]
    return _pulled(output, anchors, bit)


def _pulled(output: Node, anchors: list[Node], bit: int) -> list[Node | None]:
    return pullback([output], [full(output.aval, 1.0)], anchors, bit)


def _value_of_pair(out: Any, has_aux: bool) -> Any:
    if not has_aux:
        return out
    if not isinstance(out, tuple) or len(out) != 2:
        raise GradientError(f"with has_aux the function must return a pair (value, aux), got {_told(out)}")
    return out[0]


def _told(x: Any) -> str:
    return f"a tensor {x._node.aval.describe()}" if isinstance(x, Tensor) else f"a {type(x).__name__}"


@checked
def grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """The gradient of a scalar function; with `has_aux` a pair (gradient, aux). See `value_and_grad`."""
    with_aux = (lambda out, gradient: (gradient, out[1])) if has_aux else (lambda _, gradient: gradient)
    return _differentiated(function, argnums, has_aux, with_aux)


def _fits(given: list[Tensor], wanted: list[Node], what: str) -> None:
    for i, (t, n) in enumerate(zip(given, wanted, strict=True)):
        if t.shape != n.shape or t.dtype is not n.dtype:
            raise ShapeError(f"{what} {i} is {t._node.aval.describe()}, it must be {n.aval.describe()}")


@checked
def jvp(
    function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False
) -> tuple[Any, ...]:
    """(value, J t): the value of `function(*primals)` and its derivative in the direction `tangents`.

    With `has_aux` the function returns (value, aux) and the result is (value, J t, aux).
    """
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise ArgumentTypeError(
                f"jvp: {name} is a tuple with an entry for each argument of the function, got {describe(given)}; for "
                f"one argument write (x,): jvp(function, (x,), (tangent,))"
            )
    leaves, structure = checked_leaves(list(primals), "primals")
    directions, other = checked_leaves(list(tangents), "tangents")
    if structure != other:
        raise GradientError(f"primals and tangents differ in structure: {structure!r} and {other!r}")
    _fits(directions, [p._node for p in leaves], "tangent")
    with level() as bit:
        anchors = [anchor(x._node, bit) for x in leaves]
        out = function(*unflatten(structure, [Tensor(a) for a in anchors]))
        value = _value_of_pair(out, has_aux)
        values, value_structure = flatten(value)
        for v in values:
            if not isinstance(v, Tensor):
                raise GradientError(f"the differentiated function must return tensors, got {_told(v)}")
        pushed = pushforward([v._node for v in values], anchors, [t._node for t in directions], bit)
    moved = [Tensor(zeros(v._node.aval) if t is None else t) for v, t in zip(values, pushed, strict=True)]
    tangent = unflatten(value_structure, moved)
    return (value, tangent, out[1]) if has_aux else (value, tangent)


@checked
def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """(value, pull): the value of `function(*primals)`, and the function that pulls cotangents back.

    `pull(cotangent)`, for a cotangent of the structure of the value, returns a tuple with J^T cotangent for each
    of the primals. It can be called any number of times. With `has_aux` the function returns (value, aux) and the
    result is (value, pull, aux).
    """
    leaves, structure = checked_leaves(list(primals), "primals")
    with level() as bit:
        anchors = [anchor(x._node, bit) for x in leaves]
        out = function(*unflatten(structure, [Tensor(a) for a in anchors]))
        value = _value_of_pair(out, has_aux)
        values, value_structure = checked_leaves(value, "the value of the differentiated function")
        pull = _pull([v._node for v in values], anchors, bit, structure, value_structure)
    return (value, pull, out[1]) if has_aux else (value, pull)


def _pull(outs: list[Node], anchors: list[Node], bit: int, structure: Any, out_structure: Any) -> Any:
    """The linear map from cotangents of `outs` to those of `anchors`, as a function of tensors."""
    with opened(Trace("vjp")):
        stand_ins = [stand_in(o.aval) for o in outs]
        found = pullback(outs, stand_ins, anchors, bit)
        present = [g for g in found if g is not None]
        graph, operands = close(present, stand_ins, hoist=True)
    return _LinearMap(
        graph, operands, anchors, [g is not None for g in found], outs, structure, out_structure
    )


class _LinearMap:
    """A linear function of cotangents, held as a graph and the values it reads."""

    def __init__(
        self,
        graph: Graph,
        operands: list[Node],
        anchors: list[Node],
        present: list[bool],
        outs: list[Node],
        structure: Any,
        out_structure: Any,
    ) -> None:
        self.graph = graph
        self.operands = [
            Tensor(n) for n in operands
        ]  # as tensors, so that a flush computes them with the value
        self.results = [(a.aval, p) for a, p in zip(anchors, present, strict=True)]
        self.wanted = outs
        self.structure = structure
        self.out_structure = out_structure

    def __call__(self, cotangent: Any) -> tuple[Any, ...]:
        cts, given = checked_leaves(cotangent, "cotangents")
        if given != self.out_structure:
            raise GradientError(f"the cotangent has structure {given!r}, the value {self.out_structure!r}")
        _fits(cts, self.wanted, "cotangent")
        parts = iter(instantiate(self.graph, [t._node for t in (*self.operands, *cts)]))
        leaves = [Tensor(next(parts) if present else zeros(aval)) for aval, present in self.results]
        return tuple(unflatten(self.structure, leaves))


@checked
def linear_transpose(function: Callable[..., Any], *examples: Any) -> Callable[..., Any]:
    """The transpose of a linear function: `linear_transpose(f, x)(ct)` is (A^T ct,) where f(x) = A x.

    `examples` give the shapes and dtypes of the arguments; their values are not used. Raises GradientError if the
    function is not linear.
    """
    leaves, structure = checked_leaves(list(examples), "examples")
    with opened(Trace("linear_transpose")), level() as bit:
        anchors = [stand_in(x._node.aval) for x in leaves]
        out = function(*unflatten(structure, [Tensor(a) for a in anchors]))
        values, out_structure = checked_leaves(out, "the value of the transposed function")
        outs = [v._node for v in values]
        cts = [stand_in(o.aval) for o in outs]
        found = pullback(outs, cts, anchors, bit)
        reached = set(toposort([g for g in found if g is not None]))
        if any(a in reached for a in anchors) or any(not o.flags & bit for o in outs):
            raise GradientError("linear_transpose needs a linear function; this one is not linear (use vjp)")
        graph, operands = close([g for g in found if g is not None], cts, hoist=True)
    return _LinearMap(
        graph, operands, anchors, [g is not None for g in found], outs, structure, out_structure
    )


__all__ = [
    "backward", "enable_grad", "no_grad", "recording", "gradients",
    "grad", "value_and_grad", "jvp", "vjp", "linear_transpose",
]  # fmt: skip
