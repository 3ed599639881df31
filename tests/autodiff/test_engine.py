"""The engine under unusual conditions: deep graphs, values looked at half-way, several threads, repeated steps."""

import threading

import numpy as np
import pytest

import weft as wf
from weft.autodiff.saved import Saved
from weft.ir.graph import toposort
from weft.runtime.executor import programs


def t(*values, **kw):
    return wf.tensor(list(values), dtype="float64", **kw)


@pytest.mark.parametrize("transform", ["grad", "jvp", "vmap", "backward"])
def test_deep_graphs(transform):
    def f(x):
        for _ in range(3000):
            x = x * 1.0001
        return x.sum()

    factor = 1.0001**3000
    x = t(1.0, 2.0)
    if transform == "grad":
        found = wf.grad(f)(x).numpy()
    elif transform == "jvp":
        found = np.full(2, wf.jvp(f, (x,), (t(1.0, 0.0),))[1].item())
    elif transform == "vmap":
        found = wf.vmap(f)(wf.ones((2, 1), dtype="float64")).numpy()
    else:
        x.requires_grad_()
        f(x).backward()
        found = x.grad.numpy()
    np.testing.assert_allclose(found, np.full(2, factor), rtol=1e-9)


def test_looking_at_values_half_way_changes_nothing():
    seen = []

    def f(x, look):
        y = wf.sin(x) * x
        if look:
            seen.append(y.numpy())
        z = wf.nn.functional.softmax(y, dim=0) * y
        if look:
            seen.append(z.sum().item())
        return (z * z).sum()

    x, v = t(0.3, -0.7, 1.1), t(1.0, 2.0, 3.0)
    for transform in (
        lambda f: wf.grad(f)(x),
        lambda f: wf.hessian(f)(x),
        lambda f: wf.jvp(wf.grad(f), (x,), (v,))[1],
        lambda f: wf.grad(lambda x: (wf.grad(f)(x) * v).sum())(x),
    ):
        plain, looked = (transform(lambda x, k=k: f(x, k)).numpy() for k in (False, True))
        np.testing.assert_array_equal(plain, looked)
    assert len(seen) > 4


def test_a_flush_between_forward_and_backward_runs_nothing_twice():
    x = t(0.1, 0.2, 0.3, requires_grad=True)
    y = wf.nn.functional.gelu(wf.exp(x))
    loss = (y * y).sum()
    loss.item()
    loss.backward()
    pending = [
        n
        for n in toposort([x.grad._node], lambda n: () if n.value is not None else n.args)
        if n.value is None
    ]
    assert not {n.prim.name for n in pending} & {"exp"}
    assert not any(isinstance(n.attrs.get("rule"), Saved) for n in pending)


def test_the_second_step_finds_the_programs_of_the_first():
    w = t(0.5, -0.5, requires_grad=True)
    xs = t(1.0, 2.0, 3.0)

    def step():
        last, ys = wf.scan(lambda h, x: (wf.tanh(h * w + x), h), wf.zeros(2, dtype="float64"), xs)
        out = wf.cond(last.sum() > 0, lambda: last.sum(), lambda: ys.sum())
        loss = wf.checkpoint(lambda o: wf.sin(o) * o)(out) + wf.vmap(lambda x: x * w.sum())(xs).sum()
        w.grad = None
        loss.backward()
        return w.grad.numpy(), loss.item()

    step()
    step()
    before = programs.misses
    step()
    assert programs.misses == before


def test_threads_do_not_disturb_each_other():
    failures = []

    def work(k):
        try:
            x = t(0.1 * k, 0.2)
            for _ in range(5):
                f = lambda x: wf.scan(lambda c, r: (wf.sin(c + r), None), wf.zeros((), dtype="float64"), x)[0]
                slope = wf.vmap(wf.grad(f))(wf.stack([x, x]))
                single = wf.grad(f)(x)
                np.testing.assert_allclose(slope.numpy(), np.stack([single.numpy()] * 2))
                y = x.detach().requires_grad_()
                f(y).backward()
                np.testing.assert_allclose(y.grad.numpy(), single.numpy())
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_an_error_inside_leaves_no_trace_open():
    from weft.base.state import state

    before = state.active, state.tracing, state.ambient, state.grad, list(state.traces)

    def fail(*_):
        raise KeyError("stop")

    x = t(1.0)
    for run in (
        lambda: wf.vmap(fail)(x),
        lambda: wf.grad(fail)(x),
        lambda: wf.jvp(fail, (x,), (x,)),
        lambda: wf.scan(fail, x, x),
        lambda: wf.cond(wf.tensor(True), fail, fail),
        lambda: wf.while_loop(fail, fail, x),
        lambda: wf.checkpoint(fail)(x),
        lambda: wf.jacfwd(fail)(x),
    ):
        with pytest.raises(KeyError):
            run()
        assert (state.active, state.tracing, state.ambient, state.grad, list(state.traces)) == before


def test_complex_gradients_through_loops_and_branches():
    z = wf.tensor([0.3 + 0.2j, -0.1 + 0.4j], dtype="complex128")

    def f(z, loop):
        step = lambda c, x: (c * x + 0.5, c)
        if loop:
            last, ys = wf.scan(step, wf.tensor(1 + 0j, dtype="complex128"), z)
            out = wf.cond(wf.tensor(True), lambda a: a * a, lambda a: a, last) + ys.sum()
        else:
            c = wf.tensor(1 + 0j, dtype="complex128")
            seen = []
            for i in range(2):
                c, y = step(c, z[i])
                seen.append(y)
            out = c * c + seen[0] + seen[1]
        return wf.real(out * wf.conj(out))

    np.testing.assert_allclose(
        wf.grad(lambda z: f(z, True))(z).numpy(), wf.grad(lambda z: f(z, False))(z).numpy()
    )


def test_sixteen_bit_carries():
    x = wf.tensor([0.5, 0.25], dtype="bfloat16")
    f = lambda x: wf.scan(lambda c, r: (c * r + 1.0, c), wf.tensor(1.0, dtype="bfloat16"), x)[0]
    assert f(x).dtype is wf.bfloat16
    slope = wf.grad(f)(x)
    assert slope.dtype is wf.bfloat16
    np.testing.assert_allclose(slope.numpy().astype(float), [0.25, 1.5])


def test_named_dimensions_through_a_scan():
    n = wf.Dim("steps")
    f = wf.compile(lambda x: wf.scan(lambda c, r: (c + r, c * r), wf.zeros(3), x)[1].sum())
    traced = f.trace(wf.spec((n, 3)))
    for steps in (0, 1, 4):
        x = wf.ones((steps, 3))
        np.testing.assert_allclose(traced(x).numpy(), f.function(x).numpy())
