"""What is done with modules and their parameters, beside computing."""

from typing import TYPE_CHECKING

from ...arrays.clip import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from ...base.absent import absence
from ..absent import TOOLS
from . import parametrizations, parametrize, rnn
from .fusion import (
    fuse_conv_bn_eval,
    fuse_conv_bn_weights,
    fuse_linear_bn_eval,
    fuse_linear_bn_weights,
)
from .parametrizations import spectral_norm, weight_norm
from .vector import parameters_to_vector, vector_to_parameters

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "rnn",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]

if TYPE_CHECKING:
    """Type checkers know the names."""
else:
    __getattr__ = absence(__name__, __all__, TOOLS)
