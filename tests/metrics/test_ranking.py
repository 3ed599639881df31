"""The area under the ROC curve against scikit-learn, over uneven batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.errors import ArgumentError, DataError
from weft.metrics import RocAuc, metric

seeds = st.integers(0, 2**32 - 1)
cuts = st.lists(st.integers(0, 40), max_size=3)


def stream(m, predictions, targets, cuts=()):
    for p, t in zip(np.split(predictions, sorted(cuts)), np.split(targets, sorted(cuts)), strict=True):
        m.update(p, t)  # empty batches too
    return m.compute()


def oracle(*args, **kwargs):
    return pytest.importorskip("sklearn.metrics").roc_auc_score(*args, **kwargs)


def labels(rng, n, classes):
    """Every class at least once."""
    return rng.permutation(np.r_[np.arange(classes), rng.integers(0, classes, max(n - classes, 0))])


@given(n=st.integers(2, 40), seed=seeds, cuts=cuts, levels=st.integers(1, 10), column=st.booleans())
def test_of_two_classes(n, seed, cuts, levels, column):
    """With many ties."""
    rng = np.random.default_rng(seed)
    y = labels(rng, n, 2)
    scores = rng.integers(0, levels, len(y)).astype(np.float32)
    shown = scores[:, None] if column else scores
    assert stream(RocAuc(), shown, y, cuts) == pytest.approx(oracle(y, scores), abs=1e-12)
    wide = np.stack([1 - scores, scores], 1)
    assert stream(RocAuc(), wide, y, cuts) == pytest.approx(oracle(y, scores), abs=1e-12)


@given(
    n=st.integers(3, 40),
    seed=seeds,
    cuts=cuts,
    average=st.sampled_from(["macro", "weighted", None]),
    multi_class=st.sampled_from(["ovr", "ovo"]),
    logits=st.booleans(),
)
def test_of_several_classes(n, seed, cuts, average, multi_class, logits):
    rng = np.random.default_rng(seed)
    y = labels(rng, n, 3)
    scores = rng.normal(size=(len(y), 3))
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    if average is None and multi_class == "ovo":
        with pytest.raises(ArgumentError, match="needs an average"):
            RocAuc(average, multi_class=multi_class)
        return
    m = RocAuc(average, multi_class=multi_class, logits=logits)
    found = stream(m, (scores if logits else p).astype(np.float64), y, cuts)
    np.testing.assert_allclose(found, oracle(y, p, average=average, multi_class=multi_class), atol=1e-12)


@given(n=st.integers(2, 30), seed=seeds, cuts=cuts, average=st.sampled_from(["macro", "weighted", None]))
def test_of_several_questions(n, seed, cuts, average):
    rng = np.random.default_rng(seed)
    y = np.stack([labels(rng, n, 2) for _ in range(3)], 1)
    scores = rng.normal(size=y.shape).astype(np.float32)
    np.testing.assert_allclose(
        stream(RocAuc(average), scores, y, cuts), oracle(y, scores, average=average), atol=1e-12
    )


def test_images_and_labels_left_out():
    scores = np.zeros((1, 3, 2, 3), np.float32)
    scores[0, 1, 0] = scores[0, 2, 1] = 2
    y = np.array([[[1, 1, 0], [2, 2, -100]]])
    flat = scores[0].reshape(3, 6).T[:5]
    p = np.exp(flat) / np.exp(flat).sum(1, keepdims=True)
    expected = oracle(y.reshape(-1)[:5], p, average=None, multi_class="ovr")
    np.testing.assert_allclose(stream(RocAuc(None, ignore_index=-100), scores, y), expected)


def test_saturated_logits_keep_their_order():
    """Probabilities would round to 1."""
    scores = np.array([[0, 60], [0, 50], [0, 40], [0, 30]], np.float32)
    assert stream(RocAuc(), scores, np.array([1, 1, 0, 0])) == 1.0


def test_nan_has_no_order():
    assert np.isnan(stream(RocAuc(), np.array([np.nan, 1.0]), np.array([0, 1])))


def test_by_name_and_state():
    m = metric("roc_auc", logits=True)
    m.update([0.1, 0.9], [0, 1])
    other = RocAuc()
    other.load_state_dict(m.state_dict())
    other.update([0.5], [1])
    assert other.compute() == 1.0
    other.reset()
    with pytest.raises(DataError, match="seen no data"):
        other.compute()


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: RocAuc("mean"), ArgumentError, "average must be"),
        (lambda: RocAuc(multi_class="all"), ArgumentError, "multi_class"),
        (lambda: stream(RocAuc(), np.ones(3), np.ones(3, int)), DataError, "no sample has not the label 1"),
        (lambda: stream(RocAuc(), np.ones(3), np.zeros(3, int)), DataError, "no sample has the label 1"),
        (lambda: stream(RocAuc(), np.ones(1), np.zeros(1, int)), DataError, "no sample has the label 1"),
        (lambda: stream(RocAuc(), np.ones((3, 3)), np.arange(3) % 2), DataError, "no sample has the label 2"),
        (lambda: stream(RocAuc(), np.ones((3, 3)), np.arange(3) + 1), DataError, "1 of 3 targets.*such as 3"),
        (lambda: stream(RocAuc(), np.ones(3), np.array([0.0, 1.0, np.nan])), DataError, "such as nan"),
        (lambda: stream(RocAuc(), np.ones(3), np.array([0, 1])), DataError, "do not belong together"),
        (lambda: stream(RocAuc(), np.ones(2, int), np.array([0, 1])), DataError, "takes scores"),
        (lambda: stream(RocAuc(), np.ones(0), np.ones(0, int)), DataError, "no samples"),
        (lambda: stream(RocAuc(ignore_index=0), np.ones(2), np.zeros(2, int)), DataError, "left out"),
    ],
)
def test_errors(make, error, says):
    with pytest.raises(error, match=says):
        make()
