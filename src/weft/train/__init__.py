"""The training loop: `Trainer`, callbacks, history."""

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
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "History",
    "LearningRateSchedule",
    "ModelCheckpoint",
    "Monitor",
    "TerminateOnNaN",
    "Trainer",
]
