"""The training loop: `Trainer`, callbacks, history."""

from .averaging import (
    AveragedModel,
    get_ema_avg_fn,
    get_swa_avg_fn,
    update_bn,
)
from .callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LearningRateSchedule,
    ModelCheckpoint,
    Monitor,
    TerminateOnNaN,
)
from .history import History
from .trainer import Trainer

__all__ = [
    "AveragedModel",
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "History",
    "LearningRateSchedule",
    "ModelCheckpoint",
    "Monitor",
    "TerminateOnNaN",
    "Trainer",
    "get_ema_avg_fn",
    "get_swa_avg_fn",
    "update_bn",
]
