"""Elementary functions as polynomials over an `Algebra`, for float32 and float64.

Accuracy over the whole range is measured by `benchmarks/accuracy.py` and stated in the documentation; the bounds that
tests enforce are 2 ulp in float32 and 4 ulp in float64. The coefficients come from `tools/minimax.py`.
"""

# ruff: noqa: F401  (a family's import declares its functions)

from . import (
    division,
    error,
    exponential,
    gamma,
    hyperbolic,
    inverse,
    logarithm,
    neighbour,
    power,
    trigonometric,
)
from .define import Function, functions
from .exponential import ENDS, NORMAL, exp_unless
from .gamma import polygamma

__all__ = ["ENDS", "NORMAL", "Function", "exp_unless", "functions", "polygamma"]
