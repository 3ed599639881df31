"""Modules as functions: per-sample gradients, batch statistics as values, nesting, traces."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from composites import spread
from weft import nn
from weft.nn import functional_call

X, Y = spread(5, 1, 6, 6), np.array([0, 1, 2, 1, 0])


def _net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, 3)
    ).double()


def test_per_sample_gradients_are_those_of_single_samples():
    net = _net()
    params = {n: p.detach() for n, p in net.named_parameters()}

    def loss(p, x, y):
        return nn.functional.cross_entropy(functional_call(net, p, {}, x[None]), y[None])

    found = wf.vmap(wf.grad(loss), in_axes=(None, 0, 0))(params, wf.tensor(X), wf.tensor(Y))
    for i in range(len(X)):
        net.zero_grad()
        nn.functional.cross_entropy(net(wf.tensor(X[i : i + 1])), wf.tensor(Y[i : i + 1])).backward()
        for name, p in net.named_parameters():
            np.testing.assert_allclose(
                found[name].numpy()[i], p.grad.numpy(), rtol=1e-9, atol=1e-12, err_msg=name
            )


def test_an_ensemble_is_a_vmap_over_parameters():
    nets = [nn.Linear(3, 2).double() for _ in range(4)]
    stacked = {
        n: wf.stack([dict(m.named_parameters())[n].detach() for m in nets]) for n in ("weight", "bias")
    }
    x = wf.tensor(spread(5, 3))
    out = wf.vmap(lambda p: functional_call(nets[0], p, {}, x))(stacked)
    np.testing.assert_allclose(out.numpy(), np.stack([m(x).numpy() for m in nets]), rtol=1e-12)


def test_statistics_of_a_batch_come_back_as_values():
    net = nn.BatchNorm1d(3).double()
    x = wf.tensor(spread(5, 3))
    before = net.running_mean.numpy().copy()
    params = dict(net.named_parameters())

    def loss(p):
        out, buffers = functional_call(net, p, {}, x, return_buffers=True)
        return (out * out).sum(), buffers

    gradient, buffers = wf.grad(loss, has_aux=True)(params)
    assert np.abs(gradient["weight"].numpy()).sum() > 0
    np.testing.assert_array_equal(net.running_mean.numpy(), before)
    net(x)
    np.testing.assert_allclose(buffers["running_mean"].numpy(), net.running_mean.numpy())
    assert buffers["num_batches_tracked"].item() == 1


def test_statistics_under_vmap_stay_inside():
    net = nn.BatchNorm1d(3).double()
    xs = wf.tensor(spread(4, 5, 3))
    out, buffers = wf.vmap(lambda x: functional_call(net, {}, {}, x, return_buffers=True))(xs)
    assert buffers["running_mean"].shape == (4, 3)
    np.testing.assert_allclose(buffers["running_mean"].numpy(), 0.1 * xs.numpy().mean(1), rtol=1e-9)
    assert not net.running_mean.numpy().any() and out.shape == (4, 5, 3)


def test_hessian_of_a_network():
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    x = wf.tensor(spread(4, 2))
    weight = net[0].weight.detach()
    found = wf.hessian(lambda w: (functional_call(net, {"0.weight": w}, {}, x) ** 2).sum())(weight)
    assert found.shape == (3, 2, 3, 2)
    flat = found.numpy().reshape(6, 6)
    np.testing.assert_allclose(flat, flat.T, atol=1e-10)
    step = 1e-5

    def gradient(w):
        return wf.grad(lambda v: (functional_call(net, {"0.weight": v}, {}, x) ** 2).sum())(w).numpy().ravel()

    bump = np.zeros((3, 2))
    bump[1, 0] = step
    numeric = (gradient(wf.tensor(weight.numpy() + bump)) - gradient(wf.tensor(weight.numpy() - bump))) / (
        2 * step
    )
    np.testing.assert_allclose(flat[:, 2], numeric, rtol=1e-6, atol=1e-8)


def test_compiled_with_parameters_as_arguments():
    net = _net()
    params = {n: p.detach() for n, p in net.named_parameters()}
    x = wf.tensor(X)
    step = wf.compile(lambda p, x: functional_call(net, p, {}, x))
    for _ in range(2):
        np.testing.assert_array_equal(step(params, x).numpy(), net(x).numpy())
    zeros = {n: p * 0 for n, p in params.items()}
    assert not step(zeros, x).numpy().any()


def test_gradients_reach_what_the_given_parameters_are_made_of():
    net = nn.Linear(3, 2).double()
    scale = wf.tensor(2.0, dtype=wf.float64, requires_grad=True)
    x = wf.tensor(spread(4, 3))
    functional_call(net, {"weight": net.weight.detach() * scale}, {}, x).sum().backward()
    assert net.weight.grad is None and net.bias.grad is not None
    np.testing.assert_allclose(scale.grad.item(), (x.numpy() @ net.weight.numpy().T).sum(), rtol=1e-12)


def test_shared_parameters_take_one_value():
    net = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    net["b"].weight = net["a"].weight
    net.forward = lambda x: net["b"](net["a"](x))  # type: ignore[method-assign]
    x = wf.tensor(np.ones((1, 2), np.float32))
    one, two = wf.zeros((2, 2)), wf.ones((2, 2))
    out = functional_call(net, {"a.weight": one}, {}, x)
    np.testing.assert_allclose(out.numpy(), net["b"].bias.numpy()[None], rtol=1e-6)
    with pytest.raises(ValueError, match="different values"):
        functional_call(net, {"a.weight": one, "b.weight": two}, {}, x)
