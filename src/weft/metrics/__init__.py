"""Metrics: figures over many batches."""

from .classification import F1, Accuracy, ConfusionMatrix, Precision, Recall
from .perplexity import Perplexity
from .ranking import RocAuc
from .registry import metric
from .regression import MeanAbsoluteError, MeanSquaredError, R2Score, RootMeanSquaredError
from .streaming import Collected, Mean, Metric

__all__ = [
    "Accuracy",
    "Collected",
    "ConfusionMatrix",
    "F1",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Perplexity",
    "Precision",
    "R2Score",
    "Recall",
    "RocAuc",
    "RootMeanSquaredError",
    "metric",
]
