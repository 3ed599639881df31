"""Activations, softmax and its relatives."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from composites import Case, composite_tests, functional, gradients, spread
from weft.base.errors import ArgumentError
from weft.ops.composite import activations as a
from weft.ops.composite import softmax as s
from weft.ops.elementwise import log

X = spread(3, 4, low=-4, high=4)
#: Kinks, both infinities and NaN: values are compared there, derivatives where they are finite.
EDGES = np.array([0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 0.5, -0.5, 60.0, -60.0, 800.0, -800.0])


def _both(name, function, torch, **more) -> list[Case]:
    return [
        Case(name, function, (X,), torch, **more),
        Case(name, function, (EDGES,), torch, smooth=False, label="edges"),
        Case(name, function, (X[:0],), torch, label="empty"),
    ]


CASES: list[Case] = [
    *_both("relu", a.relu, functional("relu")),
    *_both("relu6", a.relu6, functional("relu6")),
    *_both("hardtanh", lambda x: a.hardtanh(x, -1.0, 0.5), functional("hardtanh", -1.0, 0.5)),
    *_both("leaky_relu", lambda x: a.leaky_relu(x, 0.1), functional("leaky_relu", 0.1)),
    *_both("elu", lambda x: a.elu(x, 1.3), functional("elu", 1.3)),
    *_both("celu", lambda x: a.celu(x, 2.0), functional("celu", 2.0)),
    *_both("selu", a.selu, functional("selu")),
    *_both("sigmoid", a.sigmoid, functional("sigmoid")),
    *_both("log_sigmoid", a.log_sigmoid, functional("logsigmoid")),
    *_both("silu", a.silu, functional("silu")),
    *_both("softplus", lambda x: a.softplus(x, 1.5, 20.0), functional("softplus", 1.5, 20.0)),
    *_both("mish", a.mish, functional("mish")),
    *_both("gelu", a.gelu, functional("gelu")),
    *_both("gelu", lambda x: a.gelu(x, approximate="tanh"), functional("gelu", approximate="tanh")),
    *_both("hardsigmoid", a.hardsigmoid, functional("hardsigmoid")),
    *_both("hardswish", a.hardswish, functional("hardswish")),
    *_both("softsign", a.softsign, functional("softsign")),
    *_both("tanhshrink", a.tanhshrink, functional("tanhshrink")),
    *_both("softshrink", lambda x: a.softshrink(x, 0.5), functional("softshrink", 0.5)),
    *_both("hardshrink", lambda x: a.hardshrink(x, 0.5), functional("hardshrink", 0.5)),
    *_both("threshold", lambda x: a.threshold(x, 0.5, 0.1), functional("threshold", 0.5, 0.1)),
    Case("prelu", a.prelu, (X, np.array([0.3])), functional("prelu")),
    Case("glu", lambda x: a.glu(x, axis=1), (X,), functional("glu", 1)),
    Case("glu", lambda x: a.glu(x, axis=0), (spread(4, 2, 3),), functional("glu", 0), label="axis"),
]


def _lse(axes, keepdims=False):
    def call(x):
        import torch

        return torch.logsumexp(x, axes, keepdims)

    return call


ROWS = np.array([[1.0, 2.0, 3.0], [-np.inf, 0.0, 1.0], [1e4, -1e4, 0.0], [900.0, 901.0, 899.0]])
INFINITE = np.array([[np.inf, 0.0, 1.0], [np.inf, np.inf, 0.0], [1.0, -np.inf, 2.0]])

for _name, _composite in (("softmax", s.softmax), ("log_softmax", s.log_softmax)):
    for _axis in (0, 1):
        CASES.append(
            Case(
                _name,
                lambda x, c=_composite, i=_axis: c(x, axis=i),
                (X,),
                functional(_name, _axis),
                label=f"axis{_axis}",
            )
        )
    CASES += [
        Case(
            _name,
            lambda x, c=_composite: c(x, axis=1),
            (ROWS,),
            functional(_name, 1),
            smooth=False,
            label="large",
        ),
        Case(_name, lambda x, c=_composite: c(x, axis=1), (X[:0],), functional(_name, 1), label="no rows"),
        Case(
            _name, lambda x, c=_composite: c(x, axis=1), (X[:, :0],), functional(_name, 1), label="no columns"
        ),
    ]
CASES += [
    Case("logsumexp", lambda x: s.logsumexp(x, axes=(1,)), (X,), _lse(1)),
    Case(
        "logsumexp",
        lambda x: s.logsumexp(x, axes=(0, 1), keepdims=True),
        (X,),
        _lse((0, 1), True),
        label="all",
    ),
    Case(
        "logsumexp", lambda x: s.logsumexp(x, axes=(1,)), (INFINITE,), _lse(1), smooth=False, label="infinite"
    ),
    Case(
        "logsumexp", lambda x: s.logsumexp(x, axes=(1,)), (X[:, :0],), _lse(1), smooth=False, label="nothing"
    ),
]


def _log_sums(x):
    top, total = s.exp_sums(x, axis=1)
    return top + log(total)


CASES += [
    Case("exp_sums", _log_sums, (X,), _lse(1, True)),
    Case("exp_sums", _log_sums, (ROWS,), _lse(1, True), smooth=False, label="far apart"),
]


def test_logsumexp_of_nothing_has_gradient_zero():
    (out,), (gradient,) = gradients(lambda x: s.logsumexp(x, axes=(0,)), [np.full(3, -np.inf)])
    assert out == -np.inf and not gradient.any()


test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(CASES)


def test_random_slopes_lie_between_their_bounds():
    f, x = wf.nn.functional, wf.tensor(-np.ones(2000))
    drawn = -f.rrelu(x, 0.25, 0.5, training=True, generator=wf.Generator(0)).numpy()
    assert drawn.min() >= 0.25 and drawn.max() < 0.5 and abs(drawn.mean() - 0.375) < 0.01
    assert f.rrelu(x, 0.25, 0.5).numpy()[0] == -0.375
    with pytest.raises(ArgumentError, match="larger than upper"):
        f.rrelu(x, 1.0, 0.5)


def test_gumbel_samples_follow_the_softmax_and_have_its_gradient():
    f, logits = wf.nn.functional, np.log([[0.1, 0.2, 0.7]] * 3000)
    x = wf.tensor(logits, requires_grad=True)
    hard = f.gumbel_softmax(x, tau=0.5, hard=True, generator=wf.Generator(0))
    soft = f.gumbel_softmax(x, tau=0.5, generator=wf.Generator(0))
    np.testing.assert_allclose(hard.numpy().sum(1), 1)
    np.testing.assert_array_equal(hard.numpy().argmax(1), soft.numpy().argmax(1))
    np.testing.assert_allclose(hard.numpy().mean(0), [0.1, 0.2, 0.7], atol=0.03)
    gradients = []
    for sample in (hard, soft):
        x.grad = None
        (sample * wf.tensor([1.0, 2.0, 3.0], dtype="float64")).sum().backward()
        gradients.append(x.grad.numpy())
    np.testing.assert_allclose(gradients[0], gradients[1])
    with pytest.raises(ArgumentError, match="tau"):
        f.gumbel_softmax(x, 0.0)
