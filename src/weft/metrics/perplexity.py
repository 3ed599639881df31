"""Perplexity: how many equally likely choices a language model is as unsure as."""

from __future__ import annotations

import math

import numpy as np

from ..arrays.dispatch import apply
from ..arrays.tensor import Tensor
from ..base.errors import DataError
from ..ir.dtype import float64, int64
from ..ops.composite.define import composite
from ..ops.composite.softmax import log_softmax
from ..ops.elementwise import cast, equal, where
from ..ops.movement import broadcast_in_dim, broadcast_to
from ..ops.reduce import sum_
from .labels import check_scores, check_targets, checked_ignored, classes_along, in_range
from .streaming import Metric


@composite
def surprise(scores, targets, *, ignore):
    """(sum of -log p of the targets, number of targets, how many of them are no class)."""
    logs = log_softmax(scores, axis=1)
    spread = broadcast_in_dim(targets, shape=scores.shape, axes=(0, *range(2, scores.ndim)))
    numbers = broadcast_to(classes_along(scores.shape[1], scores, 1), scores.shape)
    own = sum_(where(equal(numbers, spread), logs, 0), axes=(1,))
    kept = where(equal(targets, ignore), False, True) if ignore is not None else equal(targets, targets)
    axes = tuple(range(targets.ndim))
    wrong = where(kept, where(in_range(targets, scores.shape[1]), False, True), False)
    return (
        sum_(cast(where(kept, -own, 0), dtype=float64), axes=axes),
        sum_(cast(kept, dtype=int64), axes=axes),
        sum_(cast(wrong, dtype=int64), axes=axes),
    )


class Perplexity(Metric):
    """exp of the mean of -log p(target), over all targets of all batches.

    Predictions are logits or log-probabilities (n, classes, ...), targets labels (n, ...), as for `CrossEntropyLoss`;
    targets equal to `ignore_index` (padding) are left out.

    >>> perplexity = Perplexity()
    >>> perplexity.update([[0.0, 0.0, 0.0, 0.0]], [2])
    >>> round(perplexity.compute(), 6)
    4.0
    """

    name = "perplexity"

    def __init__(self, *, ignore_index: int | None = -100) -> None:
        super().__init__()
        self.ignore_index = checked_ignored(ignore_index)

    def batch(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        check_scores(self.name, predictions, targets)
        return apply(surprise, predictions, check_targets(self.name, targets), ignore=self.ignore_index)

    def result(self, surprises: np.ndarray, samples: np.ndarray, invalid: np.ndarray) -> float:
        if invalid:
            raise DataError(
                f"{self.name}: {int(invalid)} of {int(samples)} targets are no class that the predictions have scores "
                "for. Correct them, or name a label to leave out: ignore_index="
            )
        if not samples:
            raise DataError(f"{self.name} has seen no samples since it was reset")
        mean = float(surprises / samples)
        return math.exp(mean) if mean < 709 else math.inf if mean == mean else math.nan
