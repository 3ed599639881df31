"""Metrics of classifiers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays.dispatch import apply
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, DataError, nearest
from .labels import (
    check_scores,
    check_targets,
    checked_ignored,
    checked_threshold,
    confusion,
    equal_labels,
    hardened,
    is_scores,
    right_answers,
    to_labels,
)
from .streaming import Metric, per_sample


class Accuracy(Metric):
    """The share of predictions that are right.

    Predictions may be scores (n, classes, ...) with labels (n, ...), where the highest score must be the label's
    (with `top_k`: be among the k highest); or labels; or floats of the targets' shape or (n, 1), which count as 1
    above `threshold`, else as 0 (use threshold=0 for logits). Samples with the target `ignore_index` are left out.
    With `probabilities`, targets of the scores' shape are probabilities of classes, one-hot for example, of which the
    likeliest counts; without, each element is a yes-or-no question.
    """

    def __init__(
        self,
        *,
        top_k: int = 1,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        probabilities: bool = False,
    ) -> None:
        super().__init__()
        if not hasattr(top_k, "__index__") or top_k < 1:
            raise ArgumentError(f"top_k must be at least 1, got {top_k}")
        self.top_k = int(top_k)
        self.threshold = checked_threshold(threshold)
        self.ignore_index = checked_ignored(ignore_index)
        self.probabilities = probabilities
        self.name = "accuracy" if top_k == 1 else f"top{top_k}_accuracy"

    def batch(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        if self.probabilities:
            targets = hardened(predictions, targets)
        if self.top_k > 1 or is_scores(predictions, targets):
            check_scores(self.name, predictions, targets)
            wanted = check_targets(self.name, targets)
            return apply(right_answers, predictions, wanted, k=self.top_k, ignore=self.ignore_index)
        found, wanted, _ = to_labels(self.name, predictions, targets, self.threshold, 2)
        return apply(equal_labels, found, wanted, ignore=self.ignore_index)

    def result(self, hits: np.ndarray, samples: np.ndarray, invalid: np.ndarray) -> float:
        if invalid:
            raise DataError(
                f"{self.name}: {int(invalid)} of {int(samples)} targets are no class: below 0, or beyond the classes "
                "that the predictions have scores for. Correct them, or name a label to leave out: ignore_index="
            )
        return per_sample(hits, samples, self.name)


class ConfusionMatrix(Metric):
    """How often each class (row) was taken for each class (column): an integer array (classes, classes).

    Predictions as for `Accuracy`. `classes` need only be given where predictions are labels. Samples with the target
    `ignore_index` are left out; `probabilities` as for `Accuracy`.
    """

    name = "confusion_matrix"

    def __init__(
        self,
        classes: int | None = None,
        *,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        probabilities: bool = False,
    ) -> None:
        super().__init__()
        if classes is not None and (not hasattr(classes, "__index__") or classes < 1):
            raise ArgumentError(f"classes must be a positive integer or None, got {classes!r}")
        self.classes = classes
        self.threshold = checked_threshold(threshold)
        self.ignore_index = checked_ignored(ignore_index)
        self.probabilities = probabilities

    def batch(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        if self.probabilities:
            targets = hardened(predictions, targets)
        found, wanted, n = to_labels(type(self).__name__, predictions, targets, self.threshold, self.classes)
        return apply(confusion, found, wanted, classes=n, ignore=self.ignore_index)

    def matrix(self, counts: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """The counts, checked to hold every sample."""
        if not samples:
            raise DataError(f"{self.name} has seen no samples since it was reset")
        lost = int(samples - counts.sum())
        if lost:
            raise DataError(
                f"{self.name}: {lost} of {int(samples)} samples have a label outside 0 to {len(counts) - 1}, "
                "or a prediction that is NaN. Correct them, or name a label to leave out: ignore_index="
            )
        return counts

    def result(self, counts: np.ndarray, samples: np.ndarray) -> Any:
        return self.matrix(counts, samples)


_AVERAGES = ("macro", "micro", "weighted")


class _PerClass(ConfusionMatrix):
    """A score of each class, from the confusion matrix, and its averages. 0/0 is 0."""

    def __init__(
        self,
        average: str | None = "macro",
        *,
        classes: int | None = None,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        probabilities: bool = False,
    ) -> None:
        super().__init__(classes, threshold=threshold, ignore_index=ignore_index, probabilities=probabilities)
        if average is not None and average not in _AVERAGES:
            raise ArgumentError(
                f"average must be None or one of {_AVERAGES}. {nearest(str(average), _AVERAGES)}"
            )
        self.average = average

    def score(self, right: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
        """From the numbers of samples of a class that are found, that are predicted, and that there are."""
        raise NotImplementedError

    def result(self, counts: np.ndarray, samples: np.ndarray) -> Any:
        matrix = self.matrix(counts, samples).astype(np.float64)
        right, predicted, actual = np.diag(matrix), matrix.sum(0), matrix.sum(1)
        if self.average == "micro":
            return float(self.score(right.sum(), predicted.sum(), actual.sum()))
        scores = self.score(right, predicted, actual)
        if self.average is None:
            return scores
        if self.average == "weighted":
            return float(scores @ actual / actual.sum())
        return float(scores[predicted + actual > 0].mean())


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros_like(np.asarray(b, dtype=np.float64)), where=np.asarray(b) != 0)


class Precision(_PerClass):
    """Of what was taken for a class, the share that is of it.

    average: "macro" (the mean over the classes that there are, among targets or predictions), "weighted" (by the
    number of samples), "micro" (of all samples together), or None: one figure for each class, 0 where there are none.
    """

    name = "precision"

    def score(self, right: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
        return _ratio(right, predicted)


class Recall(_PerClass):
    """Of what is of a class, the share that was taken for it. Averages as for `Precision`."""

    name = "recall"

    def score(self, right: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
        return _ratio(right, actual)


class F1(_PerClass):
    """The harmonic mean of precision and recall. Averages as for `Precision`."""

    name = "f1"

    def score(self, right: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
        return _ratio(2 * right, predicted + actual)
