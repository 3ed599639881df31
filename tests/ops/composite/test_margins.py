"""Margins between the scores of classes, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from composites import Case, composite_tests, functional, integers, run, spread
from weft.base.errors import DTypeError, ShapeError
from weft.ops.composite import margins as m

X, CLASSES, WEIGHT = spread(4, 5), integers(4, high=5), spread(5, low=0.2, high=2.0, seed=1)
LISTS = np.array([[3, 0, -1, 1, 2], [-1, 0, 1, 2, 3], [4, -1, -1, -1, 0], [0, 1, 2, 3, 4]])
LABELS = (spread(4, 5, seed=3) > 0).astype(np.int64)


def _multi(weighted=False, **attrs):
    return lambda x, t, *w: m.multi_margin_loss(x, t, 0.7, w[0] if w else None, **attrs)


CASES = []
for _r in ("mean", "sum", "none"):
    CASES += [
        Case(
            "multi_margin_loss", _multi(reduction=_r), (X, CLASSES),
            functional("multi_margin_loss", margin=0.7, reduction=_r), label=_r,
        ),
        Case(
            "multilabel_margin_loss", lambda x, t, r=_r: m.multilabel_margin_loss(x, t, reduction=r), (X, LISTS),
            functional("multilabel_margin_loss", reduction=_r), label=_r, batch=False,
        ),
        Case(
            "multilabel_soft_margin_loss",
            lambda x, t, r=_r: m.multilabel_soft_margin_loss(x, t, None, reduction=r), (X, LABELS),
            functional("multilabel_soft_margin_loss", reduction=_r), label=_r,
        ),
    ]  # fmt: skip
CASES += [
    Case(
        "multi_margin_loss", _multi(squared=True), (X, CLASSES, WEIGHT),
        lambda x, t, w: functional("multi_margin_loss", 2, 0.7, w.detach())(x, t), label="squared",
        smooth=False,
    ),
    Case(
        "multi_margin_loss", _multi(), (X[0], CLASSES[0]), functional("multi_margin_loss", margin=0.7), label="one",
        batch=False,
    ),
    Case(
        "multilabel_margin_loss", lambda x, t: m.multilabel_margin_loss(x, t), (X[0], LISTS[0]),
        functional("multilabel_margin_loss"), label="one", batch=False,
    ),
    Case(
        "multilabel_soft_margin_loss", lambda x, t, w: m.multilabel_soft_margin_loss(x, t, w), (X, LABELS, WEIGHT),
        functional("multilabel_soft_margin_loss"), label="weighted", batch=False,
    ),
]  # fmt: skip
#: Weights get a gradient here, and none in PyTorch.
PLAIN = [c for c in CASES if c.label != "squared"]

test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(PLAIN)


def test_squares_and_weights():
    torch = pytest.importorskip("torch")
    case = next(c for c in CASES if c.label == "squared")
    want = case.torch(*map(torch.tensor, case.args))
    np.testing.assert_allclose(run(case.function, *case.args), want.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: run(_multi(), X, CLASSES[:2]), ShapeError, "takes scores"),
        (lambda: run(_multi(), X, CLASSES * 1.0), DTypeError, "must be integers"),
        (lambda: run(m.multilabel_margin_loss, X, CLASSES), ShapeError, "takes scores"),
        (
            lambda: run(lambda x, t: m.multilabel_soft_margin_loss(x, t, None), X, LABELS[0]),
            ShapeError,
            "element by",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()
