"""Every function against PyTorch's, to second order; both modes of differentiation; both backends; `vmap`."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from function_cases import CASES, ELSEWHERE, Function, everything, places
from layer_cases import weighted, weighting
from weft import nn

F = nn.functional


def test_every_function_is_in_the_table():
    """A new function needs a row: what follows then holds for it too."""
    assert set(F.__all__) - ELSEWHERE == {c.name for c in CASES}


@pytest.mark.filterwarnings("ignore:.nn.functional.upsample. is deprecated")
@everything
def test_values_and_derivatives_to_second_order_are_those_of_torch(case: Function):
    torch = pytest.importorskip("torch")
    theirs = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in case.inputs]
    ours = [wf.tensor(a, requires_grad=a.dtype.kind == "f") for a in case.inputs]
    with torch.nn.attention.sdpa_kernel(
        torch.nn.attention.SDPBackend.MATH
    ):  # others have no second derivative
        want = case.call(places(torch), torch.tensor, theirs)
    got = case.call(F, wf.tensor, ours)
    for w, g in zip(want, got, strict=True):
        np.testing.assert_allclose(g.numpy(), w.detach().numpy(), rtol=case.tol, atol=1e-10)
    if not any(w.requires_grad for w in want):
        return
    want, got = [w for w in want if w.requires_grad], got[: sum(w.requires_grad for w in want)]
    order = not case.once
    moving, leading = [t for t in theirs if t.requires_grad], [x for x in ours if x.requires_grad]
    first = torch.autograd.grad(
        weighted([w.tanh() for w in want], torch.tensor), moving, create_graph=order, allow_unused=True
    )
    weighted([wf.tanh(g) for g in got], wf.tensor).backward(create_graph=order)
    grads = [x.grad for x in leading]
    for f, g in zip(first, grads, strict=True):
        assert (f is None or not f.detach().numpy().any()) if g is None else True
        if f is not None and g is not None:
            np.testing.assert_allclose(g.numpy(), f.detach().numpy(), rtol=10 * case.tol, atol=case.tol)
    if not order or not any(f is not None and f.requires_grad for f in first):
        return
    for x in leading:
        x.grad = None
    sum((f * f).sum() for f in first if f is not None).backward()
    sum((g * g).sum() for g in grads if g is not None).backward()
    for t, x in zip(moving, leading, strict=True):
        zero = np.zeros(t.shape)
        second, mine = [zero if v.grad is None else v.grad.numpy() for v in (t, x)]
        np.testing.assert_allclose(mine, second, rtol=1e-7, atol=1e-8)


@everything
def test_forward_mode_gives_the_derivatives_of_reverse_mode(case: Function):
    rng = np.random.default_rng(4)
    point = {i: wf.tensor(a) for i, a in enumerate(case.inputs) if a.dtype.kind == "f"}
    if not point:
        return

    def call(moving):
        found = case.call(F, wf.tensor, [moving.get(i, wf.tensor(a)) for i, a in enumerate(case.inputs)])
        return [o for o in found if o.dtype.kind == "f"]

    away = {i: wf.tensor(rng.standard_normal(p.shape)) for i, p in point.items()}
    outs, moved = wf.jvp(call, (point,), (away,))
    weights = [wf.tensor(w) for w in weighting(outs)]
    (back,) = wf.vjp(call, point)[1](weights)
    forward = sum((m * w).sum().item() for m, w in zip(moved, weights, strict=True))
    assert forward == pytest.approx(sum((back[i] * away[i]).sum().item() for i in away), rel=1e-9, abs=1e-12)


@everything
def test_the_compiled_backend_computes_what_the_reference_does(case: Function):
    def compute(backend):
        tensors = [wf.tensor(a, requires_grad=a.dtype.kind == "f") for a in case.inputs]
        with wf.config(backend=backend):
            outs = case.call(F, wf.tensor, tensors)
            live = [o for o in outs if o.requires_grad]
            if live:
                weighted(live, wf.tensor).backward()
            return [x.numpy() for x in [*outs, *[t.grad for t in tensors if t.grad is not None]]]

    for a, b in zip(compute("reference"), compute("cpu"), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-13)


@everything
def test_mapped_over_a_new_axis_it_is_one_call_after_the_other(case: Function):
    rng = np.random.default_rng(5)
    many = [np.stack([rng.permutation(a.ravel()).reshape(a.shape) if a.dtype.kind == "f" else a for _ in range(2)])
            for a in case.inputs]  # fmt: skip
    mapped = wf.vmap(lambda *xs: tuple(case.call(F, wf.tensor, xs)))(*map(wf.tensor, many))
    for i in range(2):
        single = case.call(F, wf.tensor, [wf.tensor(a[i]) for a in many])
        for m, s in zip(mapped, single, strict=True):
            np.testing.assert_allclose(m.numpy()[i], s.numpy(), rtol=1e-9, atol=1e-10)
