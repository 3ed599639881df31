"""Metrics of predicted numbers against scikit-learn, over uneven batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.base.errors import DataError
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
