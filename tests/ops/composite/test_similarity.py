"""Similarity, distances, and the losses that compare vectors."""

from __future__ import annotations

import numpy as np
import pytest

from composites import Case, composite_tests, functional, gradients, run, spread
from weft.base.errors import ShapeError
from weft.ops.composite import similarity as s

X, Y, Z = spread(4, 3), spread(4, 3, seed=1) * 0.9 + 0.05, spread(4, 3, seed=2) * 1.1 - 0.03
ROW_SIGNS, SIGNS = np.array([1, -1, -1, 1]), np.where(spread(4, 3, seed=7) > 0, 1, -1)
COUNTS, RATES = np.abs(np.round(spread(4, 3, seed=3) * 3)), spread(4, 3, low=0.2, high=3.0)


def _fixed(composite, *numbers, **attrs):
    """The composite of all arguments, numbers after them."""
    return lambda *x: composite(*x, *numbers, **attrs)


CASES = [
    Case(
        "cosine_similarity",
        _fixed(s.cosine_similarity, 1e-8, axis=1),
        (X, Y),
        functional("cosine_similarity"),
    ),
    Case(
        "cosine_similarity",
        _fixed(s.cosine_similarity, 1e-8, axis=-1),
        (X, Y[0]),
        lambda a, b: functional("cosine_similarity", 1)(a, b[None]),
        label="broadcast",
    ),
    Case(
        "pairwise_distance", _fixed(s.pairwise_distance, None, 1e-6), (X, Y), functional("pairwise_distance")
    ),
    Case(
        "pairwise_distance",
        _fixed(s.pairwise_distance, 3.0, 1e-6),
        (X, Y),
        functional("pairwise_distance", 3.0),
        label="3",
    ),
]
for _r in ("mean", "sum", "none"):
    CASES += [
        Case(
            "margin_ranking_loss",
            _fixed(s.margin_ranking_loss, 0.3, reduction=_r),
            (X, Y, SIGNS),
            functional("margin_ranking_loss", margin=0.3, reduction=_r),
            label=_r,
        ),
        Case(
            "hinge_embedding_loss",
            _fixed(s.hinge_embedding_loss, 0.7, reduction=_r),
            (X, SIGNS),
            functional("hinge_embedding_loss", margin=0.7, reduction=_r),
            label=_r,
        ),
        Case(
            "soft_margin_loss",
            _fixed(s.soft_margin_loss, reduction=_r),
            (X, SIGNS.astype(float)),
            lambda a, b, r=_r: functional("soft_margin_loss", reduction=r)(a, b.detach()) + 0 * b.sum(),
            smooth=False,
            label=_r,
        ),
        Case(
            "cosine_embedding_loss",
            _fixed(s.cosine_embedding_loss, 0.2, reduction=_r),
            (X, Y, ROW_SIGNS),
            functional("cosine_embedding_loss", margin=0.2, reduction=_r),
            label=_r,
        ),
        Case(
            "triplet_margin_loss",
            _fixed(s.triplet_margin_loss, 1.0, None, 1e-6, reduction=_r),
            (X, Y, Z),
            functional("triplet_margin_loss", reduction=_r),
            label=_r,
        ),
        Case(
            "poisson_nll_loss",
            _fixed(s.poisson_nll_loss, 1e-8, reduction=_r),
            (X, COUNTS.astype(int)),
            functional("poisson_nll_loss", reduction=_r),
            label=_r,
        ),
        Case(
            "gaussian_nll_loss",
            _fixed(s.gaussian_nll_loss, 1e-6, reduction=_r),
            (X, Y, RATES),
            functional("gaussian_nll_loss", reduction=_r),
            label=_r,
        ),
    ]
CASES += [
    Case(
        "triplet_margin_loss",
        _fixed(s.triplet_margin_loss, 1.0, 3.0, 1e-6, swap=True),
        (X, Y, Z),
        functional("triplet_margin_loss", p=3.0, swap=True),
        label="swap",
    ),
    Case(
        "poisson_nll_loss",
        _fixed(s.poisson_nll_loss, 1e-8, log_input=False, full=True),
        (RATES, COUNTS),
        functional("poisson_nll_loss", log_input=False, full=True),
        smooth=False,
        label="rates",
    ),
    Case(
        "gaussian_nll_loss",
        _fixed(s.gaussian_nll_loss, 0.5, full=True),
        (X, Y, RATES),
        functional("gaussian_nll_loss", full=True, eps=0.5),
        smooth=False,
        label="full",
    ),
]


ROWS = np.random.default_rng(2).standard_normal((5, 3))
FIRST, SECOND = np.triu_indices(5, 1)


def _pdist(p=None, kind="power"):
    from nodes import node

    return lambda x: s.pdist(x, node(FIRST), node(SECOND), p, kind=kind)


CASES += [
    Case("pdist", _pdist(kind="two"), (ROWS,), functional("pdist", 2.0), label="2"),
    Case("pdist", _pdist(1.0), (ROWS,), functional("pdist", 1.0), label="1"),
    Case("pdist", _pdist(3.5), (ROWS,), functional("pdist", 3.5), label="3.5"),
    Case("pdist", _pdist(kind="largest"), (ROWS,), functional("pdist", float("inf")), label="inf"),
    Case("pdist", _pdist(kind="count"), (np.round(ROWS),), functional("pdist", 0.0), label="0", smooth=False),
]

test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(
    [c for c in CASES if c.name != "soft_margin_loss"]
)


@pytest.mark.parametrize("case", [c for c in CASES if c.name == "soft_margin_loss"], ids=lambda c: c.id)
def test_soft_margin(case):
    torch = pytest.importorskip("torch")
    given = torch.tensor(X, requires_grad=True)
    want = case.torch(given, torch.tensor(case.args[1]))
    (out,), (gradient, _) = gradients(case.function, case.args)
    np.testing.assert_allclose(out, want.detach().numpy(), rtol=1e-12)
    weight = np.random.default_rng(5).standard_normal(tuple(want.shape))
    (want * torch.tensor(weight)).sum().backward()
    np.testing.assert_allclose(gradient, given.grad.numpy(), rtol=1e-9)


def test_the_distance_of_a_point_to_itself_has_a_gradient():
    (out,), found = gradients(_fixed(s.pairwise_distance, None, 0.0), [X, X.copy()])
    assert not out.any() and all(np.isfinite(g).all() for g in found)


def test_targets_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match="element by element"):
        run(_fixed(s.margin_ranking_loss, 0.3), X, Y, ROW_SIGNS)
