"""Optimisers, learning-rate schedules and gradient clipping."""

from .adadelta import (
    Adadelta,
)
from .adagrad import (
    Adagrad,
)
from .adam import (
    Adam,
    AdamW,
)
from .adamax import (
    Adamax,
)
from .clip import (
    clip_grad_norm_,
    clip_grad_value_,
)
from .group import (
    ParamGroup,
)
from .lbfgs import (
    LBFGS,
)
from .lion import (
    Lion,
)
from .muon import (
    Muon,
)
from .nadam import (
    NAdam,
)
from .optimizer import (
    Optimizer,
)
from .radam import (
    RAdam,
)
from .rmsprop import (
    RMSprop,
)
from .rprop import (
    Rprop,
)
from .schedule import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    Schedule,
    SequentialLR,
    StepLR,
)
from .sgd import (
    SGD,
)

__all__ = [
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LBFGS",
    "LambdaLR",
    "LinearLR",
    "Lion",
    "MultiStepLR",
    "Muon",
    "NAdam",
    "Optimizer",
    "ParamGroup",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGD",
    "Schedule",
    "SequentialLR",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
]
