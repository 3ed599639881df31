"""The transformations against those of PyTorch, on functions written alike in both."""

import numpy as np
import pytest

import weft as wf

torch = pytest.importorskip("torch")

# PyTorch builds its own forward-mode tables with a function that it deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")

RNG = np.random.default_rng(0)
X, W, B, V = (RNG.standard_normal(s) * 0.5 for s in [(5, 3), (3, 4), (4,), (3,)])


def ours(a):
    return wf.tensor(a, dtype="float64")


def theirs(a):
    return torch.tensor(a, dtype=torch.float64)


def same(a, b):
    np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-11)


def layer(lib):
    """A small network with a scalar result, over either library."""

    def f(x, w, b):
        h = lib.tanh(x @ w + b)
        return (lib.sin(h) * h).sum() + lib.log(lib.exp(h).sum(-1)).sum()

    return f


def vector(lib):
    def f(x, w, b):
        return lib.tanh(x @ w + b) * lib.exp(x.sum())

    return f


@pytest.mark.parametrize("argument", [0, 1, 2])
def test_gradients_and_hessians(argument):
    a, b = (ours(X[0]), ours(W), ours(B)), (theirs(X[0]), theirs(W), theirs(B))
    same(wf.grad(layer(wf), argument)(*a), torch.func.grad(layer(torch), argument)(*b))
    same(wf.hessian(layer(wf), argument)(*a), torch.func.hessian(layer(torch), argument)(*b))


@pytest.mark.parametrize("mode", ["jacfwd", "jacrev"])
@pytest.mark.parametrize("argument", [0, 1])
def test_jacobians(mode, argument):
    a, b = (ours(X[0]), ours(W), ours(B)), (theirs(X[0]), theirs(W), theirs(B))
    same(getattr(wf, mode)(vector(wf), argument)(*a), getattr(torch.func, mode)(vector(torch), argument)(*b))


def test_jvp_and_vjp():
    f, g = (lambda x: vector(wf)(x, ours(W), ours(B))), (lambda x: vector(torch)(x, theirs(W), theirs(B)))
    for p, q in zip(wf.jvp(f, (ours(X[0]),), (ours(V),)), torch.func.jvp(g, (theirs(X[0]),), (theirs(V),))):
        same(p, q)
    (_, pull), (_, pull_t) = wf.vjp(f, ours(X[0])), torch.func.vjp(g, theirs(X[0]))
    same(pull(ours(B))[0], pull_t(theirs(B))[0])


def test_per_sample_gradients_and_batched_hessians():
    for transform in ("grad", "hessian"):
        f, g = (getattr(m, transform) for m in (wf, torch.func))
        mine = wf.vmap(f(layer(wf), 0), (0, None, None))(ours(X), ours(W), ours(B))
        same(mine, torch.func.vmap(g(layer(torch), 0), (0, None, None))(theirs(X), theirs(W), theirs(B)))


@pytest.mark.parametrize("axes", [(0, 0), (1, -1), ((0, None), 1)])
def test_axes_of_vmap(axes):
    in_axes, out_axes = axes
    f = lambda x, y=None: x * 2.0
    a = wf.vmap(f, in_axes, out_axes)
    args = (X, W) if isinstance(in_axes, tuple) else (X,)
    same(a(*map(ours, args)), torch.func.vmap(f, in_axes, out_axes)(*map(theirs, args)))


def test_backward_with_retained_graph_and_second_order():
    w, v = ours(W), theirs(W)
    w.requires_grad_()
    v.requires_grad_()
    loss, other = layer(wf)(ours(X), w, ours(B)), layer(torch)(theirs(X), v, theirs(B))
    loss.backward(create_graph=True)
    (slope,) = torch.autograd.grad(other, v, create_graph=True)
    same(w.grad.detach(), slope)
    (second,) = wf.gradients((w.grad * w.grad).sum(), w)
    (second_t,) = torch.autograd.grad((slope * slope).sum(), v)
    same(second, second_t)


def test_checkpoint():
    from torch.utils.checkpoint import checkpoint

    x, y = ours(X), theirs(X)
    x.requires_grad_()
    y.requires_grad_()
    wf.checkpoint(layer(wf))(x, ours(W), ours(B)).backward()
    checkpoint(layer(torch), y, theirs(W), theirs(B), use_reentrant=False).backward()
    same(x.grad, y.grad)
