"""Connectionist temporal classification: against PyTorch, against all alignments, and where there is none."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import weft as wf
from composites import Case, composite_tests, gradients, integers, run, spread
from weft.base.errors import ArgumentError, DTypeError, IndexingError, ShapeError
from weft.ops.composite import ctc as c
from weft.ops.composite.softmax import log_softmax

T, N, C, S = 6, 3, 4, 3
X = spread(T, N, C)
TARGETS = integers(N, S, high=C - 1) + 1
TARGETS[1] = [2, 2, 1]  # a repetition needs a blank between
LENGTHS, X_LENGTHS = np.array([2, 3, 0]), np.array([5, 6, 4])


def _loss(**attrs):
    """From scores: PyTorch's gradient is only right for those."""
    return lambda x, *rest: c.ctc_loss(log_softmax(x, axis=2), *rest, **attrs)


def _torch(**attrs):
    def call(x, targets, x_lengths, lengths):
        import torch

        return torch.nn.functional.ctc_loss(x.log_softmax(2), targets, x_lengths, lengths, **attrs)

    return call


ARGS = (X, TARGETS, X_LENGTHS, LENGTHS)
CASES = [
    *[
        Case("ctc_loss", _loss(reduction=r), ARGS, _torch(reduction=r), label=r, batch=r == "none", tol=1e-5)
        for r in ("none", "sum", "mean")
    ],
    Case("ctc_loss", _loss(blank=3), (X, TARGETS - 1, *ARGS[2:]), _torch(blank=3), batch=False, label="last"),
    Case("ctc_loss", _loss(), (X[:, :1], TARGETS[:1, :0], X_LENGTHS[:1], LENGTHS[2:]), _torch(), batch=False,
         label="no targets"),
    Case("ctc_loss", _loss(reduction="none"), (X[:, :0], TARGETS[:0], X_LENGTHS[:0], LENGTHS[:0]), batch=False,
         label="no inputs"),
    Case("log_sum", lambda *x: c.log_sum(*x), (X[0], X[1], X[2]), lambda *x: _logsumexp(*x)),
]  # fmt: skip


def _logsumexp(*x):
    import torch

    return torch.logsumexp(torch.stack(x), 0)


test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(CASES)


def test_it_is_the_sum_over_all_alignments():
    def collapsed(path):
        kept = [p for i, p in enumerate(path) if i == 0 or path[i - 1] != p]
        return [p for p in kept if p]

    logs = X[:4, 0] - np.log(np.exp(X[:4, 0]).sum(-1, keepdims=True))
    for target in ([1, 2], [3, 3], [], [1, 2, 3, 1]):
        paths = [p for p in product(range(C), repeat=4) if collapsed(p) == target]
        want = -np.log(sum(np.exp(sum(logs[t, k] for t, k in enumerate(p))) for p in paths))
        loss = wf.nn.functional.ctc_loss(logs, np.array(target, np.int64), 4, len(target), reduction="sum")
        assert loss.item() == pytest.approx(want, rel=1e-12)


def test_without_an_alignment_the_loss_is_infinite_and_the_gradient_zero():
    args = (X[:1, 1:2], TARGETS[1:2], np.array([1]), np.array([3]))
    (out,), (gradient,) = gradients(_loss(reduction="sum"), args)
    assert np.isposinf(out) and not gradient.any()
    (out,), (gradient,) = gradients(_loss(zero_infinity=True), args)
    assert out == 0 and not gradient.any()


def test_very_improbable_targets_keep_their_gradients():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((300, 1, 5)) * 30
    targets = np.random.default_rng(1).integers(1, 5, (1, 120))
    args = (targets, np.array([300]), np.array([120]))
    given = torch.tensor(x, requires_grad=True)
    want = _torch(reduction="sum")(given, *map(torch.tensor, args))
    ours = wf.tensor(x, requires_grad=True)
    logs = wf.nn.functional.log_softmax(ours, 2)
    loss = wf.nn.functional.ctc_loss(logs, args[0], args[1], args[2], reduction="sum")
    want.backward(), loss.backward()
    assert loss.item() == pytest.approx(want.item(), rel=1e-12) and want.item() > 1000
    np.testing.assert_allclose(ours.grad.numpy(), given.grad.numpy(), atol=1e-9)


@pytest.mark.parametrize("form", ["one list", "lists of lengths", "one input"])
def test_forms_of_the_arguments(form):
    logs = wf.nn.functional.log_softmax(wf.tensor(X), 2)
    want = run(_loss(reduction="none"), *ARGS)
    ctc = lambda *a: wf.nn.functional.ctc_loss(*a, reduction="none").numpy()
    if form == "one list":
        flat = np.concatenate([t[:n] for t, n in zip(TARGETS, LENGTHS)])
        np.testing.assert_allclose(ctc(logs, flat, X_LENGTHS, LENGTHS), want)
    elif form == "lists of lengths":
        np.testing.assert_allclose(ctc(logs, TARGETS, [5, 6, 4], (2, 3, 0)), want)
    else:
        np.testing.assert_allclose(ctc(logs[:, 0], TARGETS[0], 5, 2), want[0])


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({0: X[0]}, ShapeError, "takes log-probabilities"),
        ({1: TARGETS[:2]}, ShapeError, r"\(2, 3\)"),
        ({1: TARGETS * 1.0}, DTypeError, "targets must be integers"),
        ({1: TARGETS + 9}, IndexingError, "class 1[0-9] is out of bounds: the valid ones are 0 to 3"),
        (
            {2: X_LENGTHS + 9},
            IndexingError,
            "bounded: length 1[0-9] is out of bounds: the valid ones are 0 to 6",
        ),
        ({3: LENGTHS - 9}, IndexingError, "out"),
        ({3: LENGTHS + 9}, IndexingError, "out"),
        ({0: X.astype(int)}, DTypeError, "floating"),
        ({"blank": 4}, ArgumentError, "blank must be one of the 4 classes"),
    ],
)
def test_bad_input_is_named(change, error, says):
    args = [change.get(i, a) for i, a in enumerate(ARGS)]
    attrs = {"blank": change["blank"]} if "blank" in change else {}
    with pytest.raises(error, match=says):
        run(lambda *a: c.ctc_loss(*a, **attrs), *args)


def test_the_layer_and_impossible_steps():
    layer, logs = wf.nn.CTCLoss(blank=0, zero_infinity=True), np.eye(4)[[[1], [0], [1], [2]]]
    assert repr(layer) == "CTCLoss()"
    with np.errstate(divide="ignore"):
        given = wf.tensor(np.log(logs), requires_grad=True)
    with wf.config(debug_nan=True):
        loss = layer(given, np.array([[1, 1, 2]]), [4], [3])
        loss.backward()
    assert loss.item() == 0.0 and given.grad.numpy().sum() == pytest.approx(-4 / 3)
