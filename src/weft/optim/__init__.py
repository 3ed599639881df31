"""Optimisers, learning-rate schedules and gradient clipping."""

from typing import TYPE_CHECKING

from ..arrays.clip import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from ..base.absent import absence
from . import lr_scheduler
from .adadelta import Adadelta
from .adafactor import Adafactor
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .adamax import Adamax
from .asgd import ASGD
from .by_function import LambdaLR, MultiplicativeLR
from .combined import ChainedScheduler, SequentialLR
from .cycles import SWALR, CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR
from .decays import ConstantLR, CosineAnnealingLR, ExponentialLR, LinearLR, MultiStepLR, PolynomialLR, StepLR
from .group import ParamGroup
from .lbfgs import LBFGS
from .lion import Lion
from .muon import Muon
from .nadam import NAdam
from .optimizer import Optimizer
from .penalty import l1_penalty, l2_penalty
from .plateau import ReduceLROnPlateau
from .radam import RAdam
from .rmsprop import RMSprop
from .rprop import Rprop
from .schedule import Schedule
from .sgd import SGD

_ABSENT = {
    "SparseAdam": "gradients are dense; use Adam",
    "swa_utils": "averages of weights are weft.train.AveragedModel and update_bn, their schedule is optim.SWALR",
}

__all__ = [
    "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Lion", "Muon", "NAdam", "RAdam",
    "RMSprop", "Rprop", "SGD", "Optimizer", "ParamGroup",
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau",
    "SWALR", "Schedule", "SequentialLR", "StepLR", "lr_scheduler",
    "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm", "l1_penalty", "l2_penalty",
]  # fmt: skip

if TYPE_CHECKING:
    """Type checkers know the names."""
else:
    __getattr__ = absence(__name__, __all__, _ABSENT)
