"""Metrics of predicted numbers against scikit-learn, over uneven batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.base.errors import ArgumentError, DataError
from weft.metrics import MeanAbsoluteError, MeanSquaredError, R2Score, RootMeanSquaredError

KINDS = [
    (MeanSquaredError, "mean_squared_error"),
    (RootMeanSquaredError, "root_mean_squared_error"),
    (MeanAbsoluteError, "mean_absolute_error"),
    (R2Score, "r2_score"),
]


@pytest.mark.parametrize(("kind", "name"), KINDS)
@given(n=st.integers(2, 30), cut=st.integers(1, 29), seed=st.integers(0, 999))
def test_equals_sklearn(kind, name, n, cut, seed):
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    targets = rng.normal(3, 2, n).astype(np.float32)
    predictions = targets + rng.normal(0, 0.5, n).astype(np.float32)
    ours = kind()
    for part in (slice(0, cut), slice(cut, n)):
        if len(targets[part]):
            ours.update(predictions[part], targets[part])
    theirs = getattr(sklearn, name)(targets.astype(np.float64), predictions.astype(np.float64))
    assert ours.compute() == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@given(
    n=st.integers(2, 30),
    cut=st.integers(0, 30),
    outputs=st.integers(1, 3),
    centre=st.sampled_from([0.0, 1e6, -1e9]),
    average=st.sampled_from(["uniform", "variance_weighted", None]),
    seed=st.integers(0, 999),
)
def test_r2_of_several_outputs_far_from_zero(n, cut, outputs, centre, average, seed):
    """Deviations a billion times smaller than the numbers; empty batches too."""
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    targets = centre + rng.normal(0, [1.0, 2.0, 3.0][:outputs], (n, outputs))
    predictions = targets + rng.normal(0, 0.5, targets.shape)
    m = R2Score(average)
    for part in (slice(0, cut), slice(cut, n)):
        m.update(predictions[part], targets[part])
    average = {"uniform": "uniform_average", None: "raw_values"}.get(average, average)
    theirs = sklearn.r2_score(targets, predictions, multioutput=average)
    np.testing.assert_allclose(m.compute(), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind, _ in KINDS])
def test_targets_that_are_no_numbers(kind):
    m = kind()
    m.update(np.zeros(3), np.array([1.0, np.nan, -np.inf]))
    m.update(np.zeros(1), np.ones(1))
    with pytest.raises(DataError, match="2 targets are NaN or infinite; remove these samples"):
        m.compute()
    m.reset()
    m.update(np.array([np.nan, 1.0]), np.zeros(2))  # a model that diverged
    assert np.isnan(m.compute())
    m.reset()
    m.update(np.zeros(0), np.zeros(0))
    with pytest.raises(DataError, match="no samples"):
        m.compute()


def test_one_sample():
    for kind, expected in ((MeanSquaredError, 4.0), (MeanAbsoluteError, 2.0), (R2Score, 0.0)):
        m = kind()
        m.update(np.array([1.0]), np.array([3.0]))
        assert m.compute() == expected
        m.update(3.0, 3.0)  # a number by itself


def test_averages_by_name():
    with pytest.raises(ArgumentError, match="'uniform'"):
        R2Score("uniformly")


def test_columns_and_vectors_are_the_same():
    m = MeanSquaredError()
    m.update(np.array([[1.0], [2.0]]), np.array([1.0, 4.0]))
    assert m.compute() == 2.0


def test_constant_targets():
    m = R2Score()
    m.update(np.array([2.0, 2.0]), np.array([2.0, 2.0]))
    assert m.compute() == 1.0
    m.reset()
    m.update(np.array([2.0, 3.0]), np.array([2.0, 2.0]))
    assert m.compute() == 0.0


def test_shapes_must_fit():
    with pytest.raises(DataError, match=r"\(2, 3\).*\(2,\)"):
        MeanSquaredError().update(np.zeros((2, 3)), np.zeros(2))
