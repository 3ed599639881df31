"""What is done with modules and their parameters, beside computing."""

from . import parametrizations, parametrize, rnn
from .parametrizations import spectral_norm, weight_norm
from .vector import parameters_to_vector, vector_to_parameters

__all__ = [
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "rnn",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]
