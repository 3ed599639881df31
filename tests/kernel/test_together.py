"""What uses a value several times and comes together again is part of the kernel that makes the value."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
import weft.nn.functional as F
from weft.inspect import kernels

ACTIVATIONS = {
    "silu": F.silu,
    "gelu": F.gelu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "twice": lambda x: F.silu(F.leaky_relu(x) + 1),
    "with another": lambda x: x * F.sigmoid(x) + wf.exp(x) * x,
}

rng = np.random.default_rng(0)


def normal(*shape):
    return wf.tensor(rng.normal(size=shape).astype(np.float32))


#: what makes a value, of what
ANCHORS = {
    "a product": (lambda x, w: x @ w, normal(12, 20), normal(20, 40)),
    "a convolution": (lambda x, w: F.conv2d(x, w, padding=1), normal(2, 3, 9, 9), normal(8, 3, 3, 3)),
    "a convolution of many channels": (F.conv2d, normal(1, 32, 8, 8), normal(32, 32, 3, 3)),
    "a depthwise one": (lambda x, w: F.conv2d(x, w, groups=16), normal(2, 16, 9, 9), normal(16, 1, 3, 3)),
    "a pooled one": (lambda x, w: F.conv2d(x, w) * 2, normal(2, 4, 9, 9), normal(6, 4, 2, 2)),
    "a sum": (lambda x, w: wf.sum(x * w, axis=0), normal(300, 33), normal(300, 33)),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("anchor", ANCHORS)
def test_the_bits_are_those_of_a_kernel_of_its_own(anchor, activation):
    make, x, w = ANCHORS[anchor]
    act = ACTIVATIONS[activation]
    end = (lambda y: F.max_pool2d(y, 2)) if anchor == "a pooled one" else (lambda y: y)
    with wf.config(backend="cpu"):
        made = make(x, w).realize()  # in memory, before anything is done with it
        want = end(act(made).realize()).numpy()
        assert wf.compile(lambda x, w: end(act(make(x, w))))(x, w).numpy().tobytes() == want.tobytes()


def counted(f, *args) -> int:
    """How many kernels there are of which the first operation is one."""
    with wf.config(backend="cpu"):
        f = wf.compile(f)
        f(*args)
        return len([r for r in kernels(f).rows if r.operations[0] == "silu"])


def test_it_has_no_kernel_unless_somebody_else_needs_a_part():
    x, w = normal(2, 8, 9, 9), normal(8, 8, 3, 3)
    inner = normal(8, 8, 1, 1)

    def network(x, also=False):
        y = F.conv2d(x, w)
        z = F.conv2d(F.silu(y), inner)
        return (z, y * 2) if also else z

    assert counted(network, x) == 0
    assert counted(lambda x: network(x, True), x) == 1


def test_gradients_go_through():
    x, w = normal(2, 8, 9, 9), normal(8, 8, 3, 3)

    def loss(w):
        return (F.silu(F.conv2d(x, w)) ** 2).sum()

    compiled = wf.compile(wf.grad(loss))(w).numpy()
    assert compiled.tobytes() == wf.grad(loss)(w).numpy().tobytes()
    with wf.config(backend="reference"):
        np.testing.assert_allclose(compiled, wf.grad(loss)(w).numpy(), rtol=2e-4, atol=1e-3)


def test_a_value_used_in_very_many_ways():
    x, w = normal(4, 5), normal(5, 6)

    def f(x, w):
        y = x @ w
        return sum([wf.sin(y + i) * y for i in range(60)], y)

    with wf.config(backend="reference"):
        want = f(x, w).numpy()
    np.testing.assert_allclose(wf.compile(f)(x, w).numpy(), want, rtol=1e-4, atol=1e-4)
