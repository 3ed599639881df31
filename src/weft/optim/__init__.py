"""Optimisers, learning-rate schedules and gradient clipping."""

from ..arrays.clip import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from . import lr_scheduler
from .adadelta import (
    Adadelta,
)
from .adafactor import (
    Adafactor,
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
from .asgd import (
    ASGD,
)
from .cycles import (
    SWALR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    OneCycleLR,
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
from .penalty import (
    l1_penalty,
    l2_penalty,
)
from .plateau import (
    ReduceLROnPlateau,
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
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    Schedule,
    SequentialLR,
    StepLR,
)
from .sgd import (
    SGD,
)

__all__ = [
    "ASGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LBFGS",
    "LambdaLR",
    "LinearLR",
    "Lion",
    "MultiStepLR",
    "MultiplicativeLR",
    "Muon",
    "NAdam",
    "OneCycleLR",
    "Optimizer",
    "ParamGroup",
    "PolynomialLR",
    "RAdam",
    "RMSprop",
    "ReduceLROnPlateau",
    "Rprop",
    "SGD",
    "SWALR",
    "Schedule",
    "SequentialLR",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "l1_penalty",
    "lr_scheduler",
    "l2_penalty",
]
