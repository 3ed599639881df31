"""Metrics of classifiers against scikit-learn, over uneven batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.arrays.compile import compile
from weft.arrays.creation import tensor
from weft.base.errors import ArgumentError, DataError, DTypeError, StateError
from weft.metrics import F1, Accuracy, ConfusionMatrix, Mean, Metric, Precision, Recall, metric


def stream(metric, predictions, targets, cuts=()):
    """The figure after feeding the data cut into batches."""
    for p, t in zip(np.split(predictions, cuts), np.split(targets, cuts), strict=True):
        if len(p):
            metric.update(p, t)
    return metric.compute()


@st.composite
def labelled(draw, classes=4):
    n = draw(st.integers(1, 30))
    label = st.integers(0, classes - 1)
    predictions = np.array(draw(st.lists(label, min_size=n, max_size=n)))
    targets = np.array(draw(st.lists(label, min_size=n, max_size=n)))
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=3)))
    return predictions, targets, cuts


@pytest.mark.parametrize("average", ["macro", "micro", "weighted", None])
@given(data=labelled(), classes=st.integers(4, 9), one_hot=st.booleans())
def test_precision_recall_and_f1_equal_sklearn(average, data, classes, one_hot):
    """With scikit-learn's own choice of labels: classes that never occur count in no mean."""
    sklearn = pytest.importorskip("sklearn.metrics")
    predictions, targets, cuts = data
    shown = np.eye(classes, dtype=np.float32)[predictions] if one_hot else predictions
    for kind, name in ((Precision, "precision_score"), (Recall, "recall_score"), (F1, "f1_score")):
        ours = stream(kind(average, classes=classes), shown, targets, cuts)
        options = dict(average=average, zero_division=0.0)
        if average is None:
            options["labels"] = range(classes)
        np.testing.assert_allclose(ours, getattr(sklearn, name)(targets, predictions, **options), atol=1e-12)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@given(
    n=st.integers(1, 20),
    seed=st.integers(0, 999),
    cuts=st.lists(st.integers(0, 20), max_size=3),
    ignored=st.sampled_from([None, 0, 2]),
)
def test_two_classes_and_labels_left_out_equal_sklearn(average, n, seed, cuts, ignored):
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    scores, targets = rng.random(n).astype(np.float32), rng.integers(0, 2 if ignored != 2 else 3, n)
    kept = targets != ignored if ignored is not None else np.ones(n, bool)
    if not kept.any():
        return
    for kind, name in ((Precision, "precision_score"), (Recall, "recall_score"), (F1, "f1_score")):
        ours = stream(kind(average, ignore_index=ignored), scores, targets, sorted(cuts))
        theirs = getattr(sklearn, name)(targets[kept], scores[kept] > 0.5, average=average, zero_division=0.0)
        assert ours == pytest.approx(theirs, abs=1e-12)


@given(data=labelled())
def test_confusion_matrix_equals_sklearn(data):
    sklearn = pytest.importorskip("sklearn.metrics")
    predictions, targets, cuts = data
    ours = stream(ConfusionMatrix(4), predictions, targets, cuts)
    assert np.array_equal(ours, sklearn.confusion_matrix(targets, predictions, labels=range(4)))
    assert ours.dtype == np.int64


@given(data=labelled(classes=5), k=st.integers(1, 6), ties=st.booleans(), seed=st.integers(0, 99))
def test_accuracy_of_scores(data, k, ties, seed):
    _, targets, cuts = data
    scores = np.random.default_rng(seed).normal(size=(len(targets), 5)).astype(np.float32)
    if ties:
        scores = np.round(scores)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    expected = np.mean(np.any(order == targets[:, None], axis=1))
    assert stream(Accuracy(top_k=k), scores, targets, cuts) == pytest.approx(expected)


def test_scores_of_images():
    """Scores (n, classes, height, width) with labels (n, height, width)."""
    scores = np.zeros((2, 3, 2, 2), np.float32)
    scores[:, 1] = 1
    labels = np.ones((2, 2, 2), np.int64)
    labels[0, 0, 0] = 2
    assert stream(Accuracy(), scores, labels) == 7 / 8
    assert stream(ConfusionMatrix(), scores, labels).tolist() == [[0, 0, 0], [0, 7, 0], [0, 1, 0]]


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_binary_probabilities_and_logits(shape):
    p = np.array([0.2, 0.6, 0.5, 0.9], np.float32).reshape(shape)
    y = np.array([0, 1, 1, 0])
    assert stream(Accuracy(), p, y) == 0.5
    assert stream(Accuracy(), p, y.astype(np.float32).reshape(shape)) == 0.5
    assert stream(Accuracy(threshold=0.0), p, y) == 0.5
    assert stream(Accuracy(threshold=0.0), p - 0.5, y) == 0.5
    assert stream(ConfusionMatrix(), p, y).tolist() == [[1, 1], [1, 1]]
    assert stream(Recall(None), p, y).tolist() == [0.5, 0.5]


def test_nan_is_never_right():
    scores = np.array([[np.nan, 1.0], [0.0, np.nan], [1.0, 0.0]], np.float32)
    assert stream(Accuracy(), scores, np.array([0, 0, 0])) == 1 / 3
    with pytest.raises(DataError, match="2 of 3 samples"):
        stream(ConfusionMatrix(), scores, np.array([0, 0, 0]))


def test_labels_of_every_integer_type():
    scores = np.eye(3, dtype=np.float32)
    for dtype in (np.uint8, np.int32, np.int64):
        assert stream(Accuracy(), scores, np.array([0, 1, 1], dtype)) == pytest.approx(2 / 3)


@given(data=labelled(), ignored=st.integers(0, 3))
def test_labels_left_out(data, ignored):
    predictions, targets, cuts = data
    kept = targets != ignored
    scores = np.eye(4, dtype=np.float32)[predictions]
    if not kept.any():
        for m in (Accuracy(ignore_index=ignored), F1(ignore_index=ignored)):
            with pytest.raises(DataError, match="no samples"):
                stream(m, scores, targets, cuts)
        return
    for kind in (Accuracy, lambda **o: Recall(None, **o), ConfusionMatrix):
        ours = stream(kind(ignore_index=ignored), scores, targets, cuts)
        np.testing.assert_array_equal(ours, stream(kind(), scores[kept], targets[kept]))


@pytest.mark.parametrize("label", [-1, 3, 100])
@pytest.mark.parametrize("kind", [Accuracy, lambda: Accuracy(top_k=2), ConfusionMatrix, F1])
def test_labels_out_of_range(kind, label):
    with pytest.raises(DataError, match=r"1 of 3 .*ignore_index="):
        stream(kind(), np.eye(3, dtype=np.float32), np.array([0, label, 1]), [1])


@pytest.mark.parametrize("label", [0.5, 2.0, -1.0, np.nan, np.inf])
def test_binary_labels_are_zero_and_one(label):
    for m in (Accuracy(), ConfusionMatrix()):
        with pytest.raises(DataError, match="1 of 2"):
            stream(m, np.array([0.1, 0.9], np.float32), np.array([label, 1.0], np.float32))


def test_empty_batches_and_single_samples():
    m = Accuracy()
    m.update(np.zeros((0, 3), np.float32), np.zeros(0, int))
    with pytest.raises(DataError, match="no samples"):
        m.compute()
    m.update(np.eye(3, dtype=np.float32)[:1], np.zeros(1, int))
    assert m.compute() == 1.0
    assert stream(F1(), np.eye(2, dtype=np.float32)[:1], np.zeros(1, int)) == 1.0


def test_any_number_of_guesses_by_name():
    assert metric("top3_accuracy").top_k == 3
    with pytest.raises(ArgumentError, match="'top5_accuracy'"):
        metric("top0_accuracy")


def test_state_goes_on():
    m = Accuracy()
    m.update(np.eye(2, dtype=np.float32), np.array([0, 0]))
    saved, other = m.state_dict(), Accuracy()
    other.load_state_dict(saved)
    other.update(np.eye(2, dtype=np.float32), np.array([0, 1]))
    assert other.compute() == 0.75 and m.compute() == 0.5
    other.load_state_dict(Accuracy().state_dict())  # from before the first batch
    with pytest.raises(DataError, match="no samples"):
        other.compute()
    with pytest.raises(StateError, match="another kind"):
        m.load_state_dict({"sums": saved["sums"][:1]})


def test_reset():
    m = Accuracy()
    stream(m, np.eye(2, dtype=np.float32), np.array([1, 0]))
    m.reset()
    with pytest.raises(DataError, match="since it was reset"):
        m.compute()
    assert stream(m, np.eye(2, dtype=np.float32), np.array([0, 1])) == 1.0


def test_updates_look_at_nothing():
    m = Accuracy()
    scores = tensor(np.eye(2, dtype=np.float32)) * 2.0
    m.update(scores, tensor([0, 1]))
    assert scores._cell.node.value is None
    assert m.compute() == 1.0


def test_inside_a_compiled_function():
    """The first call makes the sums; all calls add to them."""
    m = Accuracy()

    @compile
    def step(scores, labels):
        m.update(scores, labels)

    for labels in ([0, 1], [0, 0], [1, 0]):
        step(tensor(np.eye(2, dtype=np.float32)), tensor(labels))
    assert m.compute() == 0.5
    m.reset()
    step(tensor(np.eye(2, dtype=np.float32)), tensor([0, 1]))
    assert m.compute() == 1.0
    assert step.traces == 1


def test_mean_weighs():
    m = Mean("loss")
    m.update(tensor(1.0), 3)
    m.update(2.0, 1)
    assert m.compute() == 1.25


def test_by_name():
    assert isinstance(metric("accuracy"), Accuracy)
    assert metric("top5_accuracy").name == "top5_accuracy"
    assert metric("accuracy", threshold=0.0).threshold == 0.0
    m = F1()
    assert metric(m) is m
    assert isinstance(metric(Recall), Recall)


class Half(Metric):
    pass


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: metric("acuracy"), ArgumentError, "'accuracy'"),
        (lambda: metric(3), ArgumentError, "int"),
        (lambda: Accuracy().compute(), DataError, "seen no data"),
        (lambda: Accuracy(top_k=0), ArgumentError, "at least 1"),
        (lambda: Precision("mean"), ArgumentError, "average must be"),
        (lambda: Accuracy().update(np.zeros((2, 3), "f"), np.zeros(3, int)), DataError, "one shape"),
        (lambda: Accuracy().update(np.zeros((2, 3), "f"), np.zeros(2)), DTypeError, "integer class labels"),
        (lambda: Accuracy().update(np.zeros((2, 3), int), np.zeros(2, int)), DataError, "scores of shape"),
        (lambda: Accuracy(top_k=2).update(np.zeros(2, int), np.zeros(2, int)), DataError, "scores of shape"),
        (lambda: ConfusionMatrix().update(np.zeros(2, int), np.zeros(2, int)), ArgumentError, "classes="),
        (lambda: ConfusionMatrix(4).update(np.zeros((2, 3), "f"), np.zeros(2, int)), DataError, "4 classes"),
        (lambda: stream(ConfusionMatrix(2), np.array([0, 1]), np.array([0, 2])), DataError, "1 of 2 samples"),
        (lambda: Mean().update([1.0, 2.0]), DataError, "one number"),
        (lambda: Half().update(1.0, 1.0), NotImplementedError, "must define batch"),
    ],
)
def test_errors(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_batches_of_another_kind():
    m = ConfusionMatrix()
    m.update(np.zeros((2, 3), np.float32), np.zeros(2, int))
    with pytest.raises(DataError, match=r"\(4, 4\).*\(3, 3\)"):
        m.update(np.zeros((2, 4), np.float32), np.zeros(2, int))
