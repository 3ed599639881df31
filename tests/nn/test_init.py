"""Initial values: their distributions, and that they repeat by seed."""

from __future__ import annotations

import math

import numpy as np
import pytest

import weft as wf
from weft import nn
from weft.base.errors import ArgumentError, ShapeError

init = nn.init


def _blank(*shape: int) -> nn.Parameter:
    return nn.Parameter(wf.zeros(shape))


#: name, call, mean, standard deviation, bound (None where there is none) for a tensor of shape (40, 30, 5)
SPREADS = [
    ("uniform", lambda t: init.uniform_(t, -1.0, 3.0), 1.0, 4 / math.sqrt(12), 3.0),
    ("normal", lambda t: init.normal_(t, 2.0, 0.5), 2.0, 0.5, None),
    ("trunc_normal", lambda t: init.trunc_normal_(t, 0.0, 1.0, -1.0, 1.0), 0.0, 0.5396, 1.0),
    ("xavier_uniform", init.xavier_uniform_, 0.0, math.sqrt(2 / 350), math.sqrt(6 / 350)),
    ("xavier_normal", lambda t: init.xavier_normal_(t, gain=2.0), 0.0, 2 * math.sqrt(2 / 350), None),
    ("kaiming_uniform", init.kaiming_uniform_, 0.0, math.sqrt(2 / 150), math.sqrt(6 / 150)),
    (
        "kaiming_normal",
        lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"),
        0.0,
        0.1,
        None,
    ),
]


@pytest.mark.parametrize(
    ("fill", "mean", "std", "bound"), [s[1:] for s in SPREADS], ids=[s[0] for s in SPREADS]
)
def test_the_distribution_is_the_one_stated(fill, mean, std, bound):
    wf.manual_seed(0)
    p = _blank(40, 30, 5)
    assert fill(p) is p and p.requires_grad
    values = p.numpy()
    assert abs(values.mean() - mean) < 0.05 * std and abs(values.std() / std - 1) < 0.03
    if bound is not None:
        assert values.max() <= bound and values.max() > 0.98 * bound
    wf.manual_seed(0)
    np.testing.assert_array_equal(fill(_blank(40, 30, 5)).numpy(), values)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (3, 2, 4)])
def test_orthogonal_rows_or_columns(shape):
    m = init.orthogonal_(_blank(*shape), gain=2.0).numpy().reshape(shape[0], -1)
    gram = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-5)


def test_constants():
    assert (init.ones_(_blank(2, 2)).numpy() == 1).all() and (
        init.constant_(_blank(3), 0.5).numpy() == 0.5
    ).all()
    np.testing.assert_array_equal(init.eye_(_blank(2, 3)).numpy(), np.eye(2, 3))
    np.testing.assert_array_equal(init.copy_(_blank(2), [1.0, 2.0]).numpy(), [1.0, 2.0])


def test_gains_are_those_of_torch():
    torch = pytest.importorskip("torch")
    for name, param in (
        ("linear", None),
        ("tanh", None),
        ("relu", None),
        ("leaky_relu", 0.3),
        ("selu", None),
    ):
        assert init.calculate_gain(name, param) == pytest.approx(torch.nn.init.calculate_gain(name, param))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: init.xavier_uniform_(_blank(3)), ShapeError, "two or more axes"),
        (lambda: init.eye_(_blank(3)), ShapeError, "matrix"),
        (lambda: init.calculate_gain("relo"), ArgumentError, "Did you mean 'relu'"),
        (lambda: init.kaiming_normal_(_blank(2, 2), mode="in"), ArgumentError, "fan_in"),
        (lambda: init.normal_(_blank(2), std=-1.0), ArgumentError, "negative"),
        (lambda: init.trunc_normal_(_blank(2), a=1.0, b=0.0), ArgumentError, "a < b"),
        (lambda: init.copy_(_blank(2), [1.0]), ShapeError, "cannot take"),
    ],
)
def test_what_makes_no_sense_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(("shape", "groups"), [((4, 2, 3), 1), ((4, 2, 3, 4), 2), ((2, 3, 1, 2, 3), 1)])
def test_dirac_is_that_of_torch(shape, groups):
    torch = pytest.importorskip("torch")
    want = torch.nn.init.dirac_(torch.empty(shape), groups).numpy()
    np.testing.assert_array_equal(nn.init.dirac_(wf.zeros(shape), groups).numpy(), want)


def test_sparse_columns():
    x = nn.init.sparse_(wf.zeros((10, 4)), 0.25, std=2.0).numpy()
    assert ((x == 0).sum(0) == 3).all() and 0.5 < x[x != 0].std() < 4
    with pytest.raises(ArgumentError, match="between 0 and 1"):
        nn.init.sparse_(wf.zeros((2, 2)), 1.5)
    with pytest.raises(ArgumentError, match="do not divide into 3 groups"):
        nn.init.dirac_(wf.zeros((4, 2, 3)), 3)
