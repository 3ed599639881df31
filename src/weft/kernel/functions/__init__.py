"""Elementary functions as polynomials over an `Algebra`, for float32 and float64.

Each follows the same plan: special numbers are put out of the way, the argument is reduced to a short interval, a
polynomial is evaluated there, the reduction is undone, and what special numbers give is chosen at the end. There are no
branches: all lanes of a vector do all of it.

Accuracy over the whole range is measured by `benchmarks/accuracy.py` and stated, function by function, in
docs/accuracy.md; the bounds that tests enforce are 2 ulp in float32 and 4 ulp in float64. Polynomials are minimax ones,
made by `tools/minimax.py` with Remez's exchange and rounded to double; the errors beside the tables are those of the
exact polynomial, relative to the function where nothing else is said. Half an ulp is 6e-8 in float32 and 1.1e-16 in
float64, so nearly all of the error is that of rounding on the way.

A NaN gives NaN, unless a docstring says otherwise. A name that ends in 32 or 64 is for that many bits alone.

J.-M. Muller, Elementary Functions: Algorithms and Implementation (2016), has all the methods that are named here.
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
