"""What every composite is tested for, given a table of cases: one case is one application of one composite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from nodes import arrays, check_derivatives, node, run
from weft.autodiff.batching import batch_nodes
from weft.autodiff.reverse import pullback
from weft.ir.dtype import bfloat16, float32
from weft.ir.graph import extract, instantiate, rebuild
from weft.ir.node import GRAD, Node
from weft.ir.primitive import pick_prim, placeholder
from weft.ops.control import call
from weft.ops.define import values


@dataclass
class Case:
    """One application: `function` of nodes to arrays, and the same function of PyTorch tensors.

    smooth: whether finite differences may be compared with its derivatives at these arguments
    order: how often it is differentiated; batch: whether it is batched; label: sets apart cases of one composite
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    torch: Callable[..., Any] | None = None
    smooth: bool = True
    order: int = 2
    batch: bool = True
    label: str = ""
    narrow: bool = True
    tol: float = 1e-6

    @property
    def id(self) -> str:
        return self.name + (f"-{self.label}" if self.label else "")


def spread(*shape: int, low: float = -2.0, high: float = 2.0, seed: int = 0) -> np.ndarray:
    """Float64 numbers without ties, away from 0 and other round numbers."""
    return values(shape, low, high, seed) + 0.00137


def integers(*shape: int, high: int, seed: int = 0) -> np.ndarray:
    """Integers from 0 to high - 1."""
    return np.random.default_rng(seed).integers(0, high, shape)


def functional(name: str, *args: Any, **attrs: Any) -> Callable[..., Any]:
    """The function of this name in `torch.nn.functional`; `args` follow the tensors."""

    def function(*tensors: Any) -> Any:
        import torch

        return getattr(torch.nn.functional, name)(*tensors, *args, **attrs)

    return function


def _outs(out: Any) -> tuple[Any, ...]:
    return tuple(out) if isinstance(out, (tuple, list)) else (out,)


def _weights(shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.standard_normal(s) for s in shapes]


def gradients(function: Callable[..., Any], args: Sequence[np.ndarray]) -> tuple[list[Any], list[Any]]:
    """The results, and the gradients of all floating arguments for a fixed weighting of the results."""
    nodes = [node(a, grad=a.dtype.kind == "f") for a in args]
    outs = _outs(function(*nodes))
    moving = [n for n in nodes if n.flags & GRAD]
    weights = [node(w.astype(o.dtype.numpy)) for o, w in zip(outs, _weights([o.shape for o in outs]))]
    live = [(o, w) for o, w in zip(outs, weights) if o.flags & GRAD]
    found = pullback([o for o, _ in live], [w for _, w in live], moving, GRAD)
    results = arrays(*outs, *[f for f in found if f is not None])
    given = iter(results[len(outs) :])
    return results[: len(outs)], [
        np.zeros(m.shape) if f is None else next(given) for f, m in zip(found, moving)
    ]


def _check_against_torch(case: Case) -> None:
    torch = pytest.importorskip("torch")
    args = [np.asarray(a) for a in case.args]
    theirs = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in args]
    want = _outs(case.torch(*theirs))  # type: ignore[misc]
    outs, grads = gradients(case.function, args)
    assert len(want) == len(outs)
    for o, w in zip(outs, want):
        np.testing.assert_allclose(o, w.detach().numpy(), rtol=1e-9, atol=1e-9)
    total = sum(
        (o * torch.tensor(w)).sum()
        for o, w in zip(want, _weights([tuple(o.shape) for o in want]))
        if o.requires_grad
    )
    moving = [t for t in theirs if t.requires_grad]
    if not any(o.requires_grad for o in want):
        return  # integers: positions, classes
    expected = torch.autograd.grad(total, moving, allow_unused=True)
    for g, e, t in zip(grads, expected, moving):
        expected_array = np.zeros(tuple(t.shape)) if e is None else e.numpy()
        np.testing.assert_allclose(g, expected_array, rtol=1e-8, atol=1e-8)


def _check_own_rule(case: Case) -> None:
    """Every composite in the case that states a derivative of its own, against the one derived from its body."""

    def derived(*nodes: Node) -> Any:
        return _inlined(_outs(case.function(*nodes)), nodes)

    outs, grads = gradients(case.function, [np.asarray(a) for a in case.args])
    other_outs, other = gradients(derived, [np.asarray(a) for a in case.args])
    for a, b in zip([*outs, *grads], [*other_outs, *other]):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def _inlined(outs: Sequence[Node], args: Sequence[Node]) -> tuple[Node, ...]:
    """The same computation with every `call` node replaced by its body: derivatives come from the primitives."""

    def expand(nodes: Sequence[Node], inputs: Sequence[Node], given: Sequence[Node]) -> tuple[Node, ...]:
        graph = extract(nodes, inputs)
        several: dict[Node, tuple[Node, ...]] = {}

        def make(old: Node, new: tuple[Node, ...]) -> Node:
            if old.sig.prim is call:
                body = old.attrs["body"]
                found = expand(body.outputs, body.inputs, new)
                marker = rebuild(old, new)
                several[marker] = found
                return marker if type(old.sig.out) is tuple else found[0]
            if old.sig.prim is pick_prim and new[0] in several:
                return several[new[0]][old.attrs["index"]]
            return rebuild(old, new)

        return instantiate(graph, given, make)

    return expand(outs, args, args)


def check_batch(
    function: Callable[..., Any], args: Sequence[Any], *, size: int = 3, tol: float = 1e-12
) -> None:
    """The batching rule against one application after the other, for every set of arguments that carry the axis."""
    rng = np.random.default_rng(1)
    args = [np.asarray(a) for a in args]
    for mask in range(1, 2 ** len(args)):
        carries = [bool(mask >> i & 1) for i in range(len(args))]
        many = [
            np.stack([rng.permutation(a.ravel()).reshape(a.shape) for _ in range(size)]) if c else a
            for a, c in zip(args, carries)
        ]
        plain = [placeholder(node(a).aval) if c else node(a) for a, c in zip(args, carries)]
        outs = _outs(function(*plain))
        mapped = [(p, node(m)) for p, m, c in zip(plain, many, carries) if c]
        pairs = batch_nodes(outs, [p for p, _ in mapped], [m for _, m in mapped], size)
        found = arrays(*[n for n, _ in pairs])
        for j in range(size):
            single = run(lambda *a: _outs(function(*a)), *[m[j] if c else m for m, c in zip(many, carries)])
            for (_, has), f, s in zip(pairs, found, single):
                np.testing.assert_allclose(f[j] if has else f, s, rtol=tol, atol=tol)


def _check_narrow(case: Case) -> None:
    """bfloat16 in, bfloat16 out, near the value in float32."""
    import ml_dtypes

    args = [np.asarray(a) for a in case.args]
    wide = [a.astype(ml_dtypes.bfloat16).astype(np.float32) if a.dtype.kind == "f" else a for a in args]
    narrow = [a.astype(ml_dtypes.bfloat16) if a.dtype.kind == "f" else a for a in args]
    want = _outs(case.function(*[node(a) for a in wide]))
    got = _outs(case.function(*[node(a) for a in narrow]))
    for w, g, wa, ga in zip(want, got, arrays(*want), arrays(*got)):
        if w.dtype is float32:
            assert g.dtype is bfloat16
            scale = max(1.0, float(np.abs(wa).max(initial=0.0)))
            np.testing.assert_allclose(ga.astype(np.float32), wa, rtol=0.03, atol=0.03 * scale)


def composite_tests(cases: Sequence[Case]) -> tuple[Any, ...]:
    """Test functions for a table of cases: values and gradients against PyTorch, derivatives in both modes against
    finite differences, own rules against derived ones, batching, and 16-bit arithmetic."""

    def table(chosen: list[Case]) -> Any:
        return pytest.mark.parametrize("case", chosen, ids=[c.id for c in chosen])

    @table([c for c in cases if c.torch is not None])
    def test_torch(case: Case) -> None:
        _check_against_torch(case)

    @table([c for c in cases if c.smooth])
    def test_derivatives(case: Case) -> None:
        check_derivatives(case.function, case.args, order=case.order, tol=case.tol)

    @table([c for c in cases if c.smooth])
    def test_own_rule(case: Case) -> None:
        _check_own_rule(case)

    @table([c for c in cases if c.batch])
    def test_batching(case: Case) -> None:
        check_batch(case.function, case.args)

    @table([c for c in cases if c.narrow and c.smooth])
    def test_bfloat16(case: Case) -> None:
        _check_narrow(case)

    return test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16


__all__ = ["Case", "composite_tests", "functional", "gradients", "integers", "run", "spread"]
