"""Losses: every reduction, weights, smoothing, ignored classes, probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from composites import Case, composite_tests, functional, gradients, integers, run, spread
from weft.base.errors import DTypeError, IndexingError, ShapeError
from weft.ops.composite import losses as l

X, Y = spread(4, 3), spread(4, 3, seed=1) * 0.9 + 0.05
P, Q = spread(4, 3, low=0.1, high=0.9), spread(4, 3, low=0.1, high=0.9, seed=2)
CLASS_WEIGHTS = np.array([0.5, 1.0, 2.0])
TARGET = integers(4, high=3)
IMAGES, LABELS = spread(2, 3, 2, 2), integers(2, 2, 2, high=3)
IGNORED = np.array([0, -100, 2, 1])


def _plain(name, *numbers, **attrs):
    composite = getattr(l, name)
    return lambda x, y: composite(x, y, *numbers, **attrs)


def _class_torch(name, weight=None, **attrs):
    def call(x, target):
        import torch

        w = None if weight is None else torch.tensor(weight)
        return getattr(torch.nn.functional, name)(x, target, weight=w, **attrs)

    return call


def _class(composite, weight=None, smoothing=None, **attrs):
    def call(x, target):
        from nodes import node

        w = None if weight is None else node(weight)
        extra = () if composite is l.nll_loss else (smoothing,)
        return composite(x, target, w, *extra, **attrs)

    return call


def _torch_kl(reduction):
    def call(x, y):
        loss = functional("kl_div", reduction="none")(x, y)  # its "mean" warns
        return loss if reduction == "none" else getattr(loss, reduction)()

    return call


def _given(composite, target):
    """The loss as a function of the input alone."""

    def call(x):
        from nodes import node
        from weft.ir.node import Node

        if isinstance(x, Node):
            return composite(x, node(target))
        import torch

        return composite(x, torch.tensor(target))

    return call


CERTAIN = np.array([0.0, 1.0, 1.0, 0.3])
SPARSE = np.where(P > 0.5, P, 0.0)

CASES: list[Case] = []
for _r in ("mean", "sum", "none"):
    CASES += [
        Case(
            "mse_loss",
            _plain("mse_loss", reduction=_r),
            (X, Y),
            functional("mse_loss", reduction=_r),
            label=_r,
        ),
        Case(
            "l1_loss", _plain("l1_loss", reduction=_r), (X, Y), functional("l1_loss", reduction=_r), label=_r
        ),
        Case(
            "huber_loss",
            _plain("huber_loss", 0.7, reduction=_r),
            (X, Y),
            functional("huber_loss", reduction=_r, delta=0.7),
            label=_r,
        ),
        Case(
            "smooth_l1_loss",
            _plain("smooth_l1_loss", 0.7, reduction=_r),
            (X, Y),
            functional("smooth_l1_loss", reduction=_r, beta=0.7),
            label=_r,
        ),
        Case(
            "binary_cross_entropy",
            _plain("binary_cross_entropy", None, reduction=_r),
            (P, Q),
            functional("binary_cross_entropy", reduction=_r),
            label=_r,
        ),
        Case(
            "bce_with_logits",
            _plain("binary_cross_entropy_with_logits", None, None, reduction=_r),
            (X, Q),
            functional("binary_cross_entropy_with_logits", reduction=_r),
            label=_r,
        ),
        Case("kl_div", _plain("kl_div", reduction=_r), (X, P), _torch_kl(_r), label=_r),
        Case(
            "cross_entropy",
            _class(l.cross_entropy, reduction=_r),
            (X, TARGET),
            _class_torch("cross_entropy", reduction=_r),
            label=_r,
        ),
        Case(
            "cross_entropy",
            _class(l.cross_entropy, CLASS_WEIGHTS, 0.1, reduction=_r),
            (IMAGES, LABELS),
            _class_torch("cross_entropy", CLASS_WEIGHTS, label_smoothing=0.1, reduction=_r),
            label=f"all-{_r}",
        ),
        Case(
            "cross_entropy",
            _class(l.cross_entropy, CLASS_WEIGHTS, 0.1, reduction=_r),
            (X, IGNORED),
            _class_torch("cross_entropy", CLASS_WEIGHTS, label_smoothing=0.1, reduction=_r),
            batch=False,
            label=f"ignored-{_r}",
        ),
        Case(
            "cross_entropy",
            _class(l.cross_entropy_probabilities, CLASS_WEIGHTS, 0.1, reduction=_r),
            (X, P),
            _class_torch("cross_entropy", CLASS_WEIGHTS, label_smoothing=0.1, reduction=_r),
            label=f"probabilities-{_r}",
        ),
        Case(
            "nll_loss",
            _class(l.nll_loss, CLASS_WEIGHTS, ignore_index=1, reduction=_r),
            (X, TARGET),
            _class_torch("nll_loss", CLASS_WEIGHTS, ignore_index=1, reduction=_r),
            label=_r,
        ),
    ]
CASES += [
    Case(
        "mse_loss",
        _plain("mse_loss"),
        (X[:0], Y[:0]),
        functional("mse_loss"),
        smooth=False,
        batch=False,
        label="empty",
    ),
    Case(
        "smooth_l1_loss",
        _plain("smooth_l1_loss", 0.0),
        (X, Y),
        functional("smooth_l1_loss", beta=0.0),
        label="l1",
    ),
    Case(
        "binary_cross_entropy",
        _given(_plain("binary_cross_entropy", None), CERTAIN),
        (np.array([0.0, 1.0, 0.0, 1.0]),),
        _given(functional("binary_cross_entropy"), CERTAIN),
        smooth=False,
        label="certain",
    ),
    Case(
        "bce_with_logits",
        _plain("binary_cross_entropy_with_logits", None, None),
        (np.array([800.0, -800.0, 0.0]), np.array([0.0, 1.0, 0.5])),
        functional("binary_cross_entropy_with_logits"),
        smooth=False,
        label="large",
    ),
    Case(
        "bce_with_logits",
        lambda x, y, w, p: l.binary_cross_entropy_with_logits(x, y, w, p),
        (X, Q, P, CLASS_WEIGHTS),
        lambda x, y, w, p: (
            functional("binary_cross_entropy_with_logits", weight=w.detach(), pos_weight=p.detach())(x, y)
            + 0 * (w.sum() + p.sum())
        ),
        smooth=False,
        label="weights",
    ),
    Case(
        "kl_div",
        _plain("kl_div", reduction="batchmean", log_target=True),
        (X, Y),
        functional("kl_div", reduction="batchmean", log_target=True),
        label="log",
    ),
    Case(
        "kl_div",
        _given(_plain("kl_div", reduction="sum"), SPARSE),
        (X,),
        _given(functional("kl_div", reduction="sum"), SPARSE),
        smooth=False,
        label="zeros",
    ),
    Case(
        "cross_entropy",
        _class(l.cross_entropy),
        (X[0], np.array(2)),
        _class_torch("cross_entropy"),
        label="one",
    ),
    Case(
        "cross_entropy",
        _class(l.cross_entropy),
        (X * 500, TARGET),
        _class_torch("cross_entropy"),
        smooth=False,
        label="large",
    ),
]


def _values_only(case: Case) -> bool:
    return case.label == "weights"


for _r in ("mean", "sum", "none"):
    for _name, _numbers, _options in (
        ("mse_loss", (), {}),
        ("l1_loss", (), {}),
        ("huber_loss", (0.7,), {"delta": 0.7}),
    ):
        CASES.append(
            Case(
                _name,
                lambda x, y, w, n=_name, a=_numbers, r=_r: getattr(l, n)(x, y, *a, w, reduction=r),
                (X, Y, P),
                lambda x, y, w, n=_name, o=_options, r=_r: functional(n, reduction=r, weight=w, **o)(x, y),
                label=f"weighted-{_r}",
            )
        )

test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(
    [c for c in CASES if not _values_only(c)]
)


def test_weights_of_binary_cross_entropy():
    case = next(c for c in CASES if _values_only(c))
    torch = pytest.importorskip("torch")
    want = case.torch(*[torch.tensor(a) for a in case.args])
    np.testing.assert_allclose(run(case.function, *case.args), want.numpy(), rtol=1e-12)


def test_a_batch_of_ignored_samples_is_nan_with_gradient_zero_as_a_sum():
    target = np.full(4, -100)
    assert np.isnan(run(_class(l.cross_entropy), X, target))
    (out,), (gradient,) = gradients(lambda x: _class(l.cross_entropy, reduction="sum")(x, _node(target)), [X])
    assert out == 0 and not gradient.any()


def _node(array):
    from nodes import node

    return node(array)


@pytest.mark.parametrize("bad", [3, -1, 100])
@pytest.mark.parametrize("composite", [l.cross_entropy, l.nll_loss], ids=["cross_entropy", "nll_loss"])
def test_a_class_that_does_not_exist_is_an_index_error(composite, bad):
    with pytest.raises(IndexingError, match="out of bounds"):
        run(_class(composite), X, np.array([0, 1, bad, 2]))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: run(_plain("mse_loss"), X[:, :1], X[:, 0]), ShapeError, r"\(4, 1\).*\(4,\).*Reshape"),
        (lambda: run(_plain("mse_loss"), TARGET, TARGET), DTypeError, "floating input"),
        (lambda: run(_class(l.cross_entropy), X, TARGET[:3]), ShapeError, r"class indices of shape \(4,\)"),
        (lambda: run(_class(l.cross_entropy), X, TARGET[:, None]), ShapeError, r"squeeze\(-1\)"),
        (lambda: run(_class(l.cross_entropy), X, TARGET > 1), DTypeError, "must be integers"),
        (
            lambda: run(_class(l.cross_entropy, CLASS_WEIGHTS[:2]), X, TARGET),
            ShapeError,
            "each of the 3 classes",
        ),
        (lambda: run(_class(l.cross_entropy), np.array(1.0), TARGET), ShapeError, "single number"),
    ],
)
def test_what_does_not_fit_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
