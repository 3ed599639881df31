"""Whole Jacobians and Hessians, built from directional derivatives mapped over a basis."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autodiff.batching import batch_nodes
from ..autodiff.forward import pushforward
from ..autodiff.reverse import pullback
from ..base.checked import checked
from ..base.errors import GradientError
from ..base.pytree import unflatten
from ..ir.dtype import DType
from ..ir.node import Aval, Node
from ..ir.primitive import leaf
from ..ir.shape import is_static, size_of
from ..ops.movement import reshape, zeros
from ..runtime.buffer import Buffer
from .grad import Differentiated, checked_leaves, level
from .tensor import Tensor
from .tracing import Trace, marking, opened, stand_in
from .vmap import move_axis

Argnums = int | Sequence[int]


@checked
def jacfwd(
    function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """The Jacobian of `function`, computed column by column in forward mode: best where it has few inputs.

    The result has the structure of the function's value; in the place of each tensor of shape `o` stands the
    structure of the argument (a tuple of them for several argnums) with tensors of shape `o + i`. With `has_aux`
    the function returns (value, aux) and the result is (jacobian, aux).
    """

    @functools.wraps(function)
    def transformed(*args: Any, **kwargs: Any) -> Any:
        inner = Differentiated(args, argnums)
        with level() as bit:
            out = function(*inner.at(bit), **kwargs)
            values, structure = checked_leaves(
                _value(out, has_aux), "the value of the differentiated function"
            )
            _only_real([*inner.leaves, *values])
            outs = [v._node for v in values]
            columns = [_columns(outs, inner.anchors, i, bit) for i in range(len(inner.anchors))]
        rows = [inner.result([Tensor(c[o]) for c in columns]) for o in range(len(outs))]
        jacobian = unflatten(structure, rows)
        return (jacobian, out[1]) if has_aux else jacobian

    return transformed


@checked
def jacrev(
    function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """The Jacobian of `function`, computed row by row in reverse mode: best where it has few outputs.

    The result is that of `jacfwd`.
    """

    @functools.wraps(function)
    def transformed(*args: Any, **kwargs: Any) -> Any:
        inner = Differentiated(args, argnums)
        with level() as bit:
            out = function(*inner.at(bit), **kwargs)
            values, structure = checked_leaves(
                _value(out, has_aux), "the value of the differentiated function"
            )
            _only_real([*inner.leaves, *values])
            rows = [_rows(v._node, inner.anchors, bit) for v in values]
        jacobian = unflatten(structure, [inner.result([Tensor(n) for n in row]) for row in rows])
        return (jacobian, out[1]) if has_aux else jacobian

    return transformed


@checked
def hessian(
    function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """The matrix of second derivatives of a scalar function: forward mode over reverse mode.

    For one argument of shape `i` the result has shape `i + i`; for containers it is nested twice.

    >>> hessian(lambda x: (x * x * x).sum())(tensor([1.0, 2.0])).numpy()
    array([[ 6.,  0.],
           [ 0., 12.]], dtype=float32)
    """
    return jacfwd(jacrev(function, argnums, has_aux=has_aux), argnums, has_aux=has_aux)


def _value(out: Any, has_aux: bool) -> Any:
    if not has_aux:
        return out
    if not isinstance(out, tuple) or len(out) != 2:
        raise GradientError("with has_aux the function must return a pair (value, aux)")
    return out[0]


def _only_real(tensors: Sequence[Tensor]) -> None:
    for t in tensors:
        if t.dtype.kind != "f":
            raise GradientError(
                f"Jacobians are of real functions of real arguments, got {t._node.aval.describe()}"
            )


def _basis(shape: tuple[Any, ...], dtype: DType) -> Node:
    """The unit tensors of a shape, along a new first axis."""
    if not is_static(shape):
        raise GradientError(f"a Jacobian needs known sizes, got an argument of shape {shape}")
    n = int(size_of(shape))
    array = np.eye(n, dtype=dtype.numpy).reshape(n, *shape)
    return leaf(Aval((n, *shape), dtype), Buffer(array))


def _columns(outs: Sequence[Node], anchors: Sequence[Node], index: int, bit: int) -> list[Node]:
    """d outs / d anchors[index], each of shape `o + i`."""
    wrt = anchors[index]
    basis = _basis(wrt.shape, wrt.dtype)
    with opened(Trace("jacfwd")), marking() as mark:
        direction = stand_in(wrt.aval)
        tangents: list[Node | None] = [direction if i == index else None for i in range(len(anchors))]
        pushed = pushforward(outs, anchors, tangents, bit)
    found = _map([p for p in pushed if p is not None], direction, basis, mark)
    return [
        zeros(Aval((*o.shape, *wrt.shape), o.dtype))
        if p is None
        else reshape(move_axis(n := next(found), 0, n.ndim - 1), shape=(*o.shape, *wrt.shape))
        for o, p in zip(outs, pushed, strict=True)
    ]


def _rows(out: Node, anchors: Sequence[Node], bit: int) -> list[Node]:
    """d out / d each of the anchors, of shape `o + i`."""
    basis = _basis(out.shape, out.dtype)
    with opened(Trace("jacrev")), marking() as mark:
        ct = stand_in(out.aval)
        pulled = pullback([out], [ct], anchors, bit)
    found = _map([p for p in pulled if p is not None], ct, basis, mark)
    return [
        zeros(Aval((*out.shape, *a.shape), a.dtype))
        if p is None
        else reshape(next(found), shape=(*out.shape, *a.shape))
        for a, p in zip(anchors, pulled, strict=True)
    ]


def _map(nodes: list[Node], direction: Node, basis: Node, mark: int):
    size = basis.shape[0]
    for node, carries in batch_nodes(nodes, [direction], [basis], size, mark=mark):
        assert carries  # linear in the direction, and there at all: it depends on it
        yield node
