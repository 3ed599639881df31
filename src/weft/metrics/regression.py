"""Metrics of predicted numbers."""

from __future__ import annotations

import math

import numpy as np

from ..arrays.dispatch import apply
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, DataError, nearest
from ..ir.dtype import float64, int64
from ..ops.composite.define import composite
from ..ops.elementwise import abs_, cast, equal, less, where
from ..ops.movement import broadcast_in_dim
from ..ops.reduce import sum_
from .streaming import Metric, count, per_sample, reshaped, same_shape


@composite
def error_sums(predictions, targets):
    """Sums over all elements of the error's square and absolute value, in float64; how many targets are not finite."""
    axes = tuple(range(predictions.ndim))
    p, t = cast(predictions, dtype=float64), cast(targets, dtype=float64)
    e = p - t
    return sum_(e * e, axes=axes), sum_(abs_(e), axes=axes), wrong_targets(t)


def wrong_targets(t):
    """The number of targets that are NaN or infinite."""
    wrong = where(less(abs_(t), math.inf), False, True)
    return sum_(cast(wrong, dtype=int64), axes=tuple(range(t.ndim)))


def check_finite(name: str, wrong: np.ndarray) -> None:
    """Raise if there were such targets."""
    if wrong:
        raise DataError(f"{name}: {int(wrong)} targets are NaN or infinite; remove these samples")


class _Errors(Metric):
    def batch(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        predictions, targets = same_shape(self.name, predictions, targets)
        return (*apply(error_sums, predictions, targets), count(predictions.size))


class MeanSquaredError(_Errors):
    """The mean of (prediction - target)^2 over all elements."""

    name = "mse"

    def result(self, *sums: np.ndarray) -> float:
        check_finite(self.name, sums[2])
        return per_sample(sums[0], sums[3], self.name)


class RootMeanSquaredError(MeanSquaredError):
    """The square root of the mean squared error."""

    name = "rmse"

    def result(self, *sums: np.ndarray) -> float:
        return math.sqrt(super().result(*sums))


class MeanAbsoluteError(_Errors):
    """The mean of |prediction - target| over all elements."""

    name = "mae"

    def result(self, *sums: np.ndarray) -> float:
        check_finite(self.name, sums[2])
        return per_sample(sums[1], sums[3], self.name)


@composite
def spread_sums(predictions, targets):
    """Of each column: the sum of squared errors, the targets' mean and sum of squared deviations from it."""
    p, t = cast(predictions, dtype=float64), cast(targets, dtype=float64)
    e, n = p - t, max(t.shape[0], 1)
    mean = sum_(t, axes=(0,)) / float(n)
    from_mean = t - broadcast_in_dim(mean, shape=t.shape, axes=tuple(range(1, t.ndim)))
    return sum_(e * e, axes=(0,)), mean, sum_(from_mean * from_mean, axes=(0,)), wrong_targets(t)


@composite
def merged(errors, mean, spread, wrong, n, more_errors, other_mean, other_spread, more_wrong, more):
    """The same of two parts together (T. F. Chan, G. H. Golub, R. J. LeVeque, 1979): no large sums that cancel."""
    a, b = cast(n, dtype=float64), cast(more, dtype=float64)
    share = b / where(equal(a + b, 0), 1.0, a + b)
    between = other_mean - mean
    return (
        errors + more_errors,
        mean + between * share,
        spread + other_spread + between * between * a * share,
        wrong + more_wrong,
        n + more,
    )


_AVERAGES = ("uniform", "variance_weighted")


class R2Score(Metric):
    """1 - (sum of squared errors) / (sum of squared deviations of the targets from their mean).

    1 is perfect, 0 as good as always predicting the mean. If all targets are equal (or there is one alone) it is 1
    without errors, else 0. Of several outputs (n, k) it is the mean of each one's.

    Args:
        average: "uniform", "variance_weighted" (by the targets' variances), or None: one figure for each output.
    """

    name = "r2"

    def __init__(self, average: str | None = "uniform") -> None:
        super().__init__()
        if average is not None and average not in _AVERAGES:
            raise ArgumentError(
                f"average must be None or one of {_AVERAGES}. {nearest(str(average), _AVERAGES)}"
            )
        self.average = average

    def batch(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        predictions, targets = same_shape(self.name, predictions, targets)
        if predictions.ndim == 0:
            predictions, targets = reshaped(predictions, (1,)), reshaped(targets, (1,))
        return (*apply(spread_sums, predictions, targets), count(int(predictions.shape[0])))

    def merge(self, held: list[Tensor], parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return apply(merged, *held, *parts)

    def result(self, *sums: np.ndarray) -> float | np.ndarray:
        errors, mean, spread, wrong, n = sums
        if not n or not errors.size:
            raise DataError(f"{self.name} has seen no samples since it was reset")
        check_finite(self.name, wrong)
        # Deviations as small as the rounding of the mean are none.
        flat = spread <= n * (8 * np.finfo(np.float64).eps * np.abs(mean)) ** 2
        missed = np.where(errors == 0, 0.0, np.where(np.isnan(errors), np.nan, 1.0))
        share = np.where(flat, missed, errors / np.where(flat, 1.0, spread))
        scores = np.atleast_1d(1 - share).reshape(-1)
        if self.average is None:
            return scores
        weights = np.atleast_1d(np.where(flat, 0.0, spread)).reshape(-1)
        if self.average == "uniform" or not weights.any():
            return float(scores.mean())
        return float(np.average(scores, weights=weights))
