"""Normalisation, in training and in evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from composites import Case, composite_tests, functional, run, spread
from weft.base.errors import ArgumentError, ShapeError
from weft.ops.composite import normalization as n
from weft.ops.composite import weights
from weft.ops.define import constant

X2, X4 = spread(5, 3), spread(2, 3, 2, 4)
W, B = spread(3, low=0.5, high=1.5, seed=1), spread(3, seed=2)
MEAN, VAR = spread(3, seed=3), spread(3, low=0.5, high=2.0, seed=4)


def _train(x, w, b):
    return n.batch_norm_train(x, w, b, None, None, None, 1e-5)[0]


def _torch_train(x, w, b):
    import torch

    return torch.nn.functional.batch_norm(x, None, None, w, b, True, 0.1, 1e-5)


def _eval(x, w, b, mean, var):
    return n.batch_norm(x, w, b, mean, var, 1e-5)


def _torch_eval(x, w, b, mean, var):
    import torch

    return torch.nn.functional.batch_norm(x, mean.detach(), var.detach(), w, b, False, 0.1, 1e-5)


def _standardize(x):
    return n.standardize(x, constant(0.1, x.dtype), axes=(0, 2, 3))


def _standardized(x):
    mean = x.mean((0, 2, 3), keepdim=True)
    var = x.var((0, 2, 3), keepdim=True, correction=0)
    return (x - mean) / (var + 0.1) ** 0.5, mean, var


def _layer(shape):
    def call(x, *rest):
        import torch

        return torch.nn.functional.layer_norm(x, shape, *rest, eps=1e-3)

    return call


def _fixed(x, w, b):
    return _eval(x, w, b, *_constants())


def _constants():
    from nodes import node

    return node(MEAN), node(VAR)


def _torch_fixed(x, w, b):
    import torch

    return _torch_eval(x, w, b, torch.tensor(MEAN), torch.tensor(VAR))


U, V = spread(3, seed=7), spread(16, seed=8)


def _torch_weight_norm(v, g, axis):
    import torch

    return torch._weight_norm(v, g, axis)


def _torch_vectors(w, u, v):
    import torch

    left, _, right = torch.linalg.svd(w.detach().movedim(1, 0).reshape(3, -1))
    sign = torch.sign(left[:, 0] @ (w.detach().movedim(1, 0).reshape(3, -1) @ v.detach()))
    return sign * left[:, 0], sign * right[0]


CASES = [
    Case("standardize", _standardize, (X4,), _standardized),
    Case("batch_norm_train", _train, (X4, W, B), _torch_train),
    Case("batch_norm_train", _train, (X2, W, B), _torch_train, label="flat"),
    Case("batch_norm", _fixed, (X4, W, B), _torch_fixed),
    Case("layer_norm", lambda x, w, b: n.layer_norm(x, w, b, 1e-3, shape=(3,)), (X2, W, B), _layer((3,))),
    Case(
        "layer_norm",
        lambda x: n.layer_norm(x, None, None, 1e-3, shape=(2, 4)),
        (X4,),
        _layer((2, 4)),
        label="plain",
    ),
    Case(
        "layer_norm",
        lambda x, w, b: n.layer_norm(x, w, b, 1e-3, shape=(3,)),
        (X2[:0], W, B),
        _layer((3,)),
        label="no rows",
    ),
    Case(
        "rms_norm",
        lambda x, w: n.rms_norm(x, w, 1e-3, shape=(3,)),
        (X2, W),
        lambda x, w: functional("rms_norm", (3,), weight=w, eps=1e-3)(x),
    ),
    Case(
        "group_norm",
        lambda x, w, b: n.group_norm(x, w, b, 1e-3, groups=2),
        (spread(2, 4, 3), spread(4), spread(4, seed=1)),
        lambda x, w, b: functional("group_norm", 2, w, b, 1e-3)(x),
    ),
    Case("l2_normalize", lambda x: n.l2_normalize(x, 1e-12, axis=1), (X2,), functional("normalize")),
    Case(
        "instance_norm",
        lambda x, w, b: n.instance_norm(x, w, b, 1e-3),
        (X4, W, B),
        lambda x, w, b: functional("instance_norm", eps=1e-3)(x, None, None, w, b),
    ),
    Case(
        "instance_norm_train",
        lambda x, w, b: n.instance_norm_train(x, w, b, *_constants(), 0.1, 1e-3)[0],
        (X4, W, B),
        lambda x, w, b: functional("instance_norm", eps=1e-3)(x, None, None, w, b),
        narrow=False,
    ),
    Case(
        "local_response_norm",
        lambda x: n.local_response_norm(x, 0.5, 0.75, 1.0, size=2),
        (X4,),
        functional("local_response_norm", 2, 0.5),
        batch=False,
    ),
    Case(
        "weight_norm",
        lambda g, v: weights.weight_norm(g, v, axis=1),
        (spread(1, 3, 1, 1, low=0.5, seed=2), X4),
        lambda g, v: _torch_weight_norm(v, g, 1),
    ),
    Case(
        "weight_norm",
        lambda g, v: weights.weight_norm(g, v, axis=None),
        (np.asarray(1.5), X4),
        label="whole",
        torch=lambda g, v: g * v / (v * v).sum().sqrt(),
        batch=False,
    ),
    Case(
        "spectral_norm",
        lambda w, u, v: weights.spectral_norm(w, u, v, axis=1),
        (X4, U, V),
        lambda w, u, v: w / (u.detach() @ w.movedim(1, 0).reshape(3, -1) @ v.detach()),
        smooth=False,
    ),
    Case(
        "power_iteration",
        lambda w, u, v: weights.power_iteration(w, u, v, 1e-12, axis=1, steps=120),
        (X4, U, V),
        _torch_vectors,
        smooth=False,
        batch=False,
    ),
]

test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(CASES)


@pytest.mark.parametrize("x", [X2, X4, X2[:2]], ids=["flat", "images", "two rows"])
def test_running_statistics_move_as_in_torch(x):
    torch = pytest.importorskip("torch")
    mean, var = torch.tensor(MEAN), torch.tensor(VAR)
    want = torch.nn.functional.batch_norm(
        torch.tensor(x), mean, var, torch.tensor(W), torch.tensor(B), True, 0.3, 1e-5
    )
    y, new_mean, new_var = run(lambda *a: n.batch_norm_train(*a, 0.3, 1e-5), x, W, B, MEAN, VAR)
    np.testing.assert_allclose(y, want.numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(new_mean, mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(new_var, var.numpy(), rtol=1e-12)


def test_the_zero_vector_normalises_to_zero_with_a_finite_gradient():
    from composites import gradients

    (out,), (gradient,) = gradients(lambda x: n.l2_normalize(x, 1e-3, axis=1), [np.zeros((1, 2))])
    assert not out.any() and np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: run(_train, X2[:1], W, B), ArgumentError, "drop_last=True"),
        (lambda: run(_train, spread(4, 5), W, B), ShapeError, "5 channels, but weight has shape"),
        (lambda: run(_train, spread(3), W, B), ShapeError, r"\(batch, channels, ...\)"),
        (
            lambda: run(lambda x, w: n.layer_norm(x, w, None, 1e-3, shape=(4,)), X2, W),
            ShapeError,
            r"end in \(4,\)",
        ),
        (
            lambda: run(lambda x: n.group_norm(x, None, None, 1e-3, groups=2), X2),
            ShapeError,
            "divide into 2 groups",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
