"""Metrics of rankings: how well scores order the samples, whatever the threshold."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from ..arrays.dispatch import apply
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, DataError, nearest
from ..ops.composite.define import composite
from ..ops.composite.softmax import log_softmax
from ..ops.movement import permute, reshape
from .labels import check_targets, checked_ignored, hardened, is_scores
from .streaming import Collected, same_shape

_AVERAGES = ("macro", "weighted")
_MULTI_CLASS = ("ovr", "ovo")


@composite
def class_columns(scores, *, logits):
    """Scores (n, classes, ...) as (samples, classes), of logits their logarithmic probabilities."""
    if logits:
        scores = log_softmax(scores, axis=1)
    last = permute(scores, axes=(0, *range(2, scores.ndim), 1))
    return reshape(last, shape=(scores.size // scores.shape[1], scores.shape[1]))


class RocAuc(Collected):
    """The area under the ROC curve: how likely a sample of the class has a higher score than one that is not of it.

    Equal scores count one half. 0.5 is chance, 1 a perfect order. NaN if a score is NaN.

    Predictions may be scores of the class 1, (n,) or (n, 1), with labels 0 and 1 (probabilities or logits alike);
    scores of several classes (n, classes, ...) with labels (n, ...); or scores (n, k) of k yes-or-no questions with
    labels (n, k).

    Args:
        average: over classes (or questions): "macro", their mean; "weighted", by the number of samples; None: one
            figure for each.
        multi_class: for three classes and more: "ovr", each against all others; or "ovo", each against each other one.
        logits: scores of several classes are logits, whose probabilities are compared and not they themselves.
        ignore_index: samples with this target are left out.
        probabilities: targets of the scores' shape are probabilities of classes, one-hot for example, and not answers
            to questions.

    It needs all scores at once: they are kept until `compute`, which takes the memory of the predictions.

    >>> auc = RocAuc()
    >>> auc.update([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    >>> auc.compute()
    0.75
    """

    name = "roc_auc"

    def __init__(
        self,
        average: str | None = "macro",
        *,
        multi_class: str = "ovr",
        logits: bool = False,
        ignore_index: int | None = None,
        probabilities: bool = False,
    ) -> None:
        super().__init__()
        if average is not None and average not in _AVERAGES:
            raise ArgumentError(
                f"average must be None or one of {_AVERAGES}. {nearest(str(average), _AVERAGES)}"
            )
        if multi_class not in _MULTI_CLASS:
            raise ArgumentError(f'multi_class must be "ovr" or "ovo", got {multi_class!r}')
        if average is None and multi_class == "ovo":
            raise ArgumentError('multi_class="ovo" compares pairs of classes: it needs an average')
        self.average = average
        self.multi_class = multi_class
        self.logits = logits
        self.ignore_index = checked_ignored(ignore_index)
        self.probabilities = probabilities

    def batch(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        if predictions.dtype.kind != "f":
            raise DataError(f"{self.name} takes scores, got predictions of {predictions.dtype}")
        if self.probabilities:
            targets = hardened(predictions, targets)
        if is_scores(predictions, targets):
            scores = apply(class_columns, predictions, logits=self.logits)
            return scores, check_targets(self.name, targets).reshape(-1)
        scores, labels = same_shape(self.name, predictions, targets)
        if scores.ndim == 0:
            scores, labels = scores.reshape(1), labels.reshape(1)
        return scores, labels

    def result(self, *columns: np.ndarray) -> float | np.ndarray:
        scores, targets = columns
        if self.ignore_index is not None and targets.ndim == 1:
            kept = targets != self.ignore_index
            scores, targets = scores[kept], targets[kept]
            if not len(targets):
                raise DataError(f"{self.name} has seen no samples but such as are left out")
        if scores.ndim == targets.ndim == 1:
            self._check(targets, 2)
            return self._area(scores, targets == 1, "1")
        if targets.ndim > 1:
            columns = (scores.reshape(len(scores), -1), targets.reshape(len(targets), -1))
            self._check(columns[1], 2)
            sides = [(c, t == 1) for c, t in zip(columns[0].T, columns[1].T, strict=True)]
            return self._averaged(sides)
        self._check(targets, scores.shape[1])
        if scores.shape[1] == 2:  # probabilities or logits: the order by the difference is that of either
            with np.errstate(invalid="ignore"):  # of infinities: NaN
                order = scores[:, 1].astype(np.float64) - scores[:, 0]
            return self._area(order, targets == 1, "1")
        if self.multi_class == "ovr":
            return self._averaged([(scores[:, i], targets == i) for i in range(scores.shape[1])])
        return self._pairwise(scores, targets)

    def _check(self, targets: np.ndarray, classes: int) -> None:
        wrong = ~np.isin(targets, np.arange(classes))
        if wrong.any():
            raise DataError(
                f"{self.name}: {int(wrong.sum())} of {targets.size} targets are no label from 0 to {classes - 1}, such "
                f"as {targets[wrong][0]}. Correct them, or name a label to leave out: ignore_index="
            )

    def _area(self, scores: np.ndarray, positive: np.ndarray, label: str) -> float:
        if positive.all() or not positive.any():
            which = "has" if not positive.any() else "has not"
            raise DataError(
                f"{self.name}: no sample {which} the label {label}, so that there is nothing to compare; measure it on "
                "data with both"
            )
        return area_under_curve(scores, positive)

    def _averaged(self, sides: Sequence[tuple[np.ndarray, np.ndarray]]) -> float | np.ndarray:
        if not sides:
            raise DataError(f"{self.name} has seen no scores since it was reset")
        areas = np.array([self._area(c, p, str(i)) for i, (c, p) in enumerate(sides)])
        if self.average is None:
            return areas
        counts = np.array([p.sum() for _, p in sides]) if self.average == "weighted" else None
        return float(np.average(areas, weights=counts))

    def _pairwise(self, scores: np.ndarray, targets: np.ndarray) -> float:
        areas, counts = [], []
        for i, j in itertools.combinations(range(scores.shape[1]), 2):
            either = (targets == i) | (targets == j)
            first = targets[either] == i
            forth = self._area(scores[either, i], first, str(i))
            back = self._area(scores[either, j], ~first, str(j))
            areas.append((forth + back) / 2)
            counts.append(either.sum())
        return float(np.average(areas, weights=counts if self.average == "weighted" else None))


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float:
    """The share of pairs (positive, negative) that the scores order rightly, equal ones counted half."""
    if np.isnan(scores).any():
        return float("nan")
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]]  # where a run of equal scores begins
    run = np.cumsum(first) - 1
    starts = np.flatnonzero(first)
    ends = np.r_[starts[1:], len(ordered)]
    ranks = ((starts + ends + 1) / 2)[run]  # the mean of the ranks, from 1, in a run
    n = int(positive.sum())
    above = ranks[positive[order]].sum() - n * (n + 1) / 2
    return float(above / (n * (len(scores) - n)))
