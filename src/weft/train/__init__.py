"""The training loop: `Trainer`, callbacks, history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .averaging import (
    AveragedModel,
    WeightAveraging,
    get_ema_avg_fn,
    get_swa_avg_fn,
    update_bn,
)
from .callbacks import (
    Callback,
    EarlyStopping,
    GradientClipping,
    LambdaCallback,
    Monitor,
    TerminateOnNaN,
)
from .checkpoint import ModelCheckpoint
from .csv_log import CSVLogger
from .estimators import made
from .history import History
from .progress import ProgressBar
from .rates import LearningRateSchedule
from .tensorboard import TensorBoard
from .trainer import Trainer

__all__ = [
    "AveragedModel",
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "GradientClipping",
    "History",
    "LambdaCallback",
    "LearningRateSchedule",
    "ModelCheckpoint",
    "Monitor",
    "ProgressBar",
    "TensorBoard",
    "TerminateOnNaN",
    "Trainer",
    "WeightAveraging",
    "get_ema_avg_fn",
    "get_swa_avg_fn",
    "update_bn",
]

if TYPE_CHECKING:
    from .estimators import Classifier as WeftClassifier  # noqa: F401
    from .estimators import Regressor as WeftRegressor  # noqa: F401


# Not in __all__: they stand on base classes of scikit-learn, which is an extra and slow to import.
_LATER = ("WeftClassifier", "WeftRegressor")


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'weft.train' has no attribute {name!r}")
    globals()[name] = found = made(name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
