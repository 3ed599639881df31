"""The training loop: `Trainer`, callbacks, history."""

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
