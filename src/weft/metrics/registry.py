"""Metrics by name, as `Trainer(metrics=["accuracy"])` takes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..base.errors import ArgumentError, nearest
from .classification import F1, Accuracy, ConfusionMatrix, Precision, Recall
from .perplexity import Perplexity
from .ranking import RocAuc
from .regression import MeanAbsoluteError, MeanSquaredError, R2Score, RootMeanSquaredError
from .streaming import Metric

BY_NAME: dict[str, Callable[..., Metric]] = {
    "accuracy": Accuracy,
    "top5_accuracy": lambda **options: Accuracy(top_k=5, **options),  # and any other number
    "precision": Precision,
    "recall": Recall,
    "f1": F1,
    "confusion_matrix": ConfusionMatrix,
    "roc_auc": RocAuc,
    "perplexity": Perplexity,
    "mse": MeanSquaredError,
    "rmse": RootMeanSquaredError,
    "mae": MeanAbsoluteError,
    "r2": R2Score,
}


def metric(spec: Any, **options: Any) -> Metric:
    """A metric for a name, or the metric itself. `options` go to the metric that a name stands for."""
    if isinstance(spec, Metric):
        return spec
    if isinstance(spec, type) and issubclass(spec, Metric):
        return spec()
    if not isinstance(spec, str):
        raise ArgumentError(f"a metric is given by its name or as a Metric, got {type(spec).__name__}")
    top = re.fullmatch(r"top([1-9]\d*)_accuracy", spec)
    if top is not None:
        return Accuracy(top_k=int(top[1]), **options)
    if spec not in BY_NAME:
        raise ArgumentError(f"there is no metric {spec!r}. {nearest(spec, BY_NAME)}")
    return BY_NAME[spec](**options)
