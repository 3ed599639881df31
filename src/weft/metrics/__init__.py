"""Metrics: figures over many batches."""

from .classification import F1, Accuracy, ConfusionMatrix, Precision, Recall
from .registry import metric
from .regression import MeanAbsoluteError, MeanSquaredError, R2Score, RootMeanSquaredError
from .streaming import Mean, Metric

__all__ = [
    "Accuracy",
    "ConfusionMatrix",
    "F1",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "metric",
]
