"""Helpers for tests of node-level functions: evaluation, and derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import weft.arrays  # noqa: F401  (registers the reference backend)
from weft.autodiff.forward import pushforward
from weft.autodiff.reverse import pullback
from weft.base.config import config
from weft.ir.dtype import dtype
from weft.ir.node import GRAD, Aval, Node
from weft.ir.primitive import leaf
from weft.ops.movement import identity
from weft.runtime.buffer import Buffer
from weft.runtime.executor import realize


def node(array: Any, grad: bool = False) -> Node:
    """A leaf with the value of `array`, tracked for differentiation if `grad`."""
    array = np.array(array, order="C")
    out = leaf(Aval(array.shape, dtype(array.dtype)), Buffer(array))
    if grad:
        out.flags |= GRAD
    return out


def arrays(*nodes: Node) -> list[np.ndarray]:
    """The values of nodes."""
    fresh = [identity(n) for n in nodes]
    realize(fresh)
    return [n.value.array for n in fresh]


def run(function: Callable[..., Any], *args: Any) -> Any:
    """`function` of nodes applied to arrays: an array, or a list of them."""
    out = function(*[node(a) for a in args])
    return arrays(out)[0] if isinstance(out, Node) else arrays(*out)


def _tuple(out: Any) -> tuple[Node, ...]:
    return (out,) if isinstance(out, Node) else tuple(out)


def _noise(shape: tuple[int, ...], kind: np.dtype, rng: np.random.Generator) -> np.ndarray:
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if kind.kind == "c" else x).astype(kind)


def _pairing(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.real(np.sum(np.conj(a) * b)))


def _inexact(outs: Sequence[Any]) -> list[Any]:
    return (
        [o for o in outs if o.dtype.kind in "fc"]
        if outs and isinstance(outs[0], np.ndarray)
        else [o for o in outs if o.dtype.inexact]
    )


def _together(nodes: Sequence[Node | None], otherwise: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The values of nodes, by one program; of those that are None, something else."""
    values = iter(arrays(*[n for n in nodes if n is not None]))
    return [other if n is None else next(values) for n, other in zip(nodes, otherwise, strict=True)]


def check_derivatives(
    function: Callable[..., Any],
    args: Sequence[Any],
    *,
    order: int = 2,
    tol: float = 1e-6,
    step: float = 1e-6,
) -> None:
    """Forward mode against central differences, reverse mode against forward mode, in random directions.

    Real and complex double precision arguments; integer arguments are held fixed. The derivative is itself
    checked as a function until `order`, on the reference backend.
    """
    rng = np.random.default_rng(0)
    args = [np.asarray(a) for a in args]
    moving = [i for i, a in enumerate(args) if a.dtype.kind in "fc"]
    directions = {i: _noise(args[i].shape, args[i].dtype, rng) for i in moving}

    def at(t: float) -> list[np.ndarray]:
        out = _tuple(
            function(*[node(a + t * directions[i] if i in directions else a) for i, a in enumerate(args)])
        )
        return arrays(*_inexact(out))

    differences = [(hi - lo) / (2 * step) for hi, lo in zip(at(step), at(-step))]
    nodes = [node(a, grad=i in directions) for i, a in enumerate(args)]
    outs = _inexact(_tuple(function(*nodes)))
    tangents = pushforward(outs, [nodes[i] for i in moving], [node(directions[i]) for i in moving], GRAD)
    pushed = _together(tangents, [np.zeros(d.shape) for d in differences])
    for p, d in zip(pushed, differences):
        np.testing.assert_allclose(p, d, rtol=tol * 10, atol=tol * 10)
    weights = [_noise(d.shape, d.dtype, rng) for d in differences]
    pulled = pullback(outs, [node(w) for w in weights], [nodes[i] for i in moving], GRAD)
    found = _together(pulled, [np.zeros(args[i].shape) for i in moving])
    back = sum(_pairing(f, directions[i]) for i, f in zip(moving, found))
    for i, g in zip(moving, pulled):
        assert g is None or (g.shape == args[i].shape and g.dtype is nodes[i].dtype)
    forth = sum(_pairing(w, p) for w, p in zip(weights, pushed))
    np.testing.assert_allclose(back, forth, rtol=tol, atol=tol)
    if order > 1:

        def gradient(*inner: Node) -> list[Node]:
            # A fixed nonlinear read-out, so that the second derivative of a linear function is not trivially 0.
            for i in moving:
                inner[i].flags |= GRAD
            outs = _inexact(_tuple(function(*inner)))
            cts = [o * node(w) if o.dtype.kind == "f" else node(w) for o, w in zip(outs, weights)]
            found = pullback(outs, cts, [inner[i] for i in moving], GRAD)
            return [f for f in found if f is not None]

        # Of rules, not of code: most of the time would go into compiling large graphs that run once.
        with config(backend="reference"):
            check_derivatives(gradient, args, order=order - 1, tol=tol, step=step)


def gradients(function: Callable[..., Any], *args: Any) -> list[np.ndarray]:
    """The gradients of the sum of the real parts of all results in the floating and complex arguments."""
    nodes = [node(a, grad=np.asarray(a).dtype.kind in "fc") for a in args]
    outs = [o for o in _tuple(function(*nodes)) if o.dtype.inexact]
    wrt = [n for n in nodes if n.dtype.inexact]
    ones = [node(np.ones(o.shape, o.dtype.numpy)) for o in outs]
    found = pullback(outs, ones, wrt, GRAD)
    return _together(found, [np.zeros(w.shape, w.dtype.numpy) for w in wrt])


def same(got: Any, want: Any) -> None:
    """Equal in dtype, shape and value, where NaN equals NaN and the signs of zeros count."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
    if got.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(want[~np.isnan(want)]))
