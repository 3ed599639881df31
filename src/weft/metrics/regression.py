"""Metrics of predicted numbers."""

from __future__ import annotations

import math

import numpy as np

from ..arrays import dispatch
from ..arrays.tensor import Tensor
from ..ir.dtype import float64
from ..ops.composite.define import composite
from ..ops.elementwise import abs_, cast
from ..ops.reduce import sum_
from .streaming import Metric, count, per_sample, same_shape


@composite
def error_sums(predictions, targets):
    """Sums over all elements of the error's square and absolute value, of the target and of its square, in float64."""
    axes = tuple(range(predictions.ndim))
    p, t = cast(predictions, dtype=float64), cast(targets, dtype=float64)
    e = p - t
    return tuple([sum_(x, axes=axes) for x in (e * e, abs_(e), t, t * t)])


class _Errors(Metric):
    def batch(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        predictions, targets = same_shape(self.name, predictions, targets)
        return (*dispatch.apply(error_sums, predictions, targets), count(predictions.size))


class MeanSquaredError(_Errors):
    """The mean of (prediction - target)^2 over all elements."""

    name = "mse"

    def result(self, *sums: np.ndarray) -> float:
        return per_sample(sums[0], sums[4], self.name)


class RootMeanSquaredError(_Errors):
    """The square root of the mean squared error."""

    name = "rmse"

    def result(self, *sums: np.ndarray) -> float:
        return math.sqrt(per_sample(sums[0], sums[4], self.name))


class MeanAbsoluteError(_Errors):
    """The mean of |prediction - target| over all elements."""

    name = "mae"

    def result(self, *sums: np.ndarray) -> float:
        return per_sample(sums[1], sums[4], self.name)


class R2Score(_Errors):
    """1 - (sum of squared errors) / (sum of squared deviations of the targets from their mean).

    1 is perfect, 0 as good as always predicting the mean. If all targets are equal it is 1 without errors, else 0.
    """

    name = "r2"

    def result(self, *sums: np.ndarray) -> float:
        squared, _, t, tt, n = [float(s) for s in sums]
        per_sample(sums[3], sums[4], self.name)  # raises if there are no samples
        spread = tt - t * t / n
        if spread <= 1e-12 * max(tt, 1e-300):
            return 1.0 if squared == 0 else 0.0
        return 1 - squared / spread
