"""`checkpoint`: the same values and derivatives, with nothing kept but the arguments."""

import numpy as np
import pytest

import weft as wf
from weft.arrays.control import scan
from weft.arrays.custom import checkpoint
from weft.arrays.grad import grad, jvp, value_and_grad
from weft.arrays.jacobian import hessian
from weft.arrays.vmap import vmap
from weft.autodiff.saved import Saved
from weft.base.errors import TraceError
from weft.ir.node import Node
from weft.passes.pipeline import run_passes


def t(rng, *shape, **kw):
    return wf.tensor(rng.standard_normal(shape) * 0.5, dtype="float64", **kw)


def close(a, b):
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-13)


def block(x, w):
    return (wf.tanh(wf.exp(x) * w) * wf.sin(x)).sum()


def test_same_derivatives_in_every_mode(rng):
    x, w, v = t(rng, 3), t(rng, 3), t(rng, 3)
    kept = checkpoint(block)
    close(kept(x, w), block(x, w))
    for a, b in zip(grad(kept, (0, 1))(x, w), grad(block, (0, 1))(x, w)):
        close(a, b)
    close(jvp(lambda x: kept(x, w), (x,), (v,))[1], jvp(lambda x: block(x, w), (x,), (v,))[1])
    close(hessian(kept)(x, w), hessian(block)(x, w))
    many = t(rng, 4, 3)
    close(vmap(grad(kept), (0, None))(many, w), vmap(grad(block), (0, None))(many, w))
    close(
        grad(lambda w: vmap(kept, (0, None))(many, w).sum())(w),
        grad(lambda w: vmap(block, (0, None))(many, w).sum())(w),
    )


def test_closed_over_tensors_get_gradients(rng):
    x, w = t(rng, 3), t(rng, 3, requires_grad=True)
    checkpoint(lambda x: block(x, w))(x).backward()
    first = w.grad.numpy().copy()
    w.grad = None
    block(x, w).backward()
    np.testing.assert_allclose(first, w.grad.numpy(), rtol=1e-12)


def _call(node: Node) -> Node:
    return node.args[0] if node.prim.name == "pick" else node


def test_nothing_is_kept_but_the_arguments(rng):
    x, w = t(rng, 3, requires_grad=True), t(rng, 3, requires_grad=True)
    node = _call(checkpoint(block)(x, w)._node)
    rule = node.attrs["rule"]
    assert isinstance(rule, Saved)
    assert len(node.sig.outs) == 1
    assert all(is_arg for is_arg, _ in rule.reads)


def test_passes_do_not_undo_it(rng):
    traced = wf.compile(grad(lambda x: checkpoint(block)(x, x))).trace(wf.spec((3,), "float64"))
    after = run_passes(traced.graph)
    kept = [n for n in after.nodes if n.prim.name == "call"]
    assert [n.attrs["name"] for n in kept] == ["block.vjp"]
    x = t(rng, 3)
    close(wf.compile(grad(lambda x: checkpoint(block)(x, x)))(x), grad(lambda x: block(x, x))(x))


def test_random_draws_come_out_the_same_the_second_time():
    def noisy(x):
        bits = wf.random.bits((5,))
        return (x * wf.astype(bits, wf.float64)).sum()

    x = wf.ones(5, dtype="float64")
    wf.random.seed(4)
    value, slope = value_and_grad(checkpoint(noisy))(x)
    after = wf.random.bits(())
    wf.random.seed(4)
    want, want_slope = value_and_grad(noisy)(x)
    close(value, want)
    close(slope, want_slope)
    assert after.item() == wf.random.bits(()).item()


def test_seeding_inside_is_heard():
    def f(x):
        wf.manual_seed(7)
        return x + wf.astype(wf.random.bits((3,)), wf.float64)

    x = wf.zeros(3, dtype="float64")
    first, second = checkpoint(f)(x), checkpoint(f)(x)
    np.testing.assert_array_equal(first.numpy(), f(x).numpy())
    np.testing.assert_array_equal(first.numpy(), second.numpy())


def test_inside_scan_and_nested(rng):
    x, h = t(rng, 4, 3), t(rng, 3)
    step = lambda h, x: (wf.tanh(h * x + wf.sin(h)), h.sum())
    inner = checkpoint(step)
    f = lambda step: lambda h: sum(y.sum() for y in scan(step, h, x))
    close(grad(f(inner))(h), grad(f(step))(h))
    outer = checkpoint(lambda h: f(inner)(h))
    close(grad(outer)(h), grad(f(step))(h))
    close(hessian(outer)(h), hessian(f(step))(h))


def test_containers_static_arguments_and_keywords(rng):
    @checkpoint
    def f(p, mode, *, scale):
        out = p["a"] * scale if mode == "up" else p["a"]
        return {"out": out, "mode": mode, "none": None}

    p = {"a": t(rng, 3)}
    out = f(p, "up", scale=3.0)
    assert out["mode"] == "up" and out["none"] is None
    close(out["out"], p["a"] * 3.0)
    assert checkpoint(lambda: "no tensors")() == "no tensors"
    assert f.__name__ == "f"


def test_no_grad_inside_stays_cut(rng):
    x = t(rng, 3)

    @checkpoint
    def f(x):
        with wf.no_grad():
            c = x * x
        return (c * x).sum()

    close(grad(f)(x), x * x)


def test_tensors_it_changes_are_changed_once(rng):
    def run(kept):
        wf.manual_seed(0)
        model = wf.nn.Sequential(wf.nn.Linear(3, 4), wf.nn.BatchNorm1d(4), wf.nn.Dropout(0.5))
        block = checkpoint(model) if kept else model
        x = wf.tensor(np.linspace(-1, 1, 15).reshape(5, 3), dtype="float32")
        for _ in range(2):
            (block(x) ** 2).sum().backward()
        return [b.numpy() for b in model.buffers()] + [p.grad.numpy() for p in model.parameters()]

    for a, b in zip(run(True), run(False)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_change_that_fails_half_way_is_taken_back():
    seen = wf.zeros(2)

    def f(x):
        seen[0] = x[0]
        raise KeyError("stop")

    with pytest.raises(KeyError):
        checkpoint(f)(wf.ones(2))
    assert seen.numpy().tolist() == [0, 0]


def test_changes_inside_vmap_still_raise():
    seen = wf.zeros(2)

    def f(x):
        seen[0] = 1.0
        return x

    checkpoint(f)(wf.ones(2))
    assert seen.numpy().tolist() == [1, 0]
    with pytest.raises(TraceError, match="changed inside vmap"):
        wf.vmap(checkpoint(f))(wf.ones((3, 2)))
