"""Discrete Fourier transforms: the array API's `fft` extension."""

from .arrays.fft import *  # noqa: F403
from .arrays.fft import __all__  # noqa: F401
