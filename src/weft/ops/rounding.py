"""Rounding to whole numbers. Piecewise constant: the derivative is 0 everywhere, at the steps too."""

from __future__ import annotations

import numpy as np

from .define import elementwise, unary

_SAMPLES = unary(-2.9, 2.8, integers=True)


@elementwise("uif", samples=_SAMPLES)
def floor(x):
    """The largest whole number that is not above x; infinities, NaN and -0 stay. The derivative is 0."""
    return x if x.dtype.kind in "ui" else np.floor(x)


@elementwise("uif", samples=_SAMPLES)
def ceil(x):
    """The smallest whole number that is not below x; infinities, NaN and -0 stay. The derivative is 0."""
    return x if x.dtype.kind in "ui" else np.ceil(x)


@elementwise("uif", samples=_SAMPLES)
def trunc(x):
    """x without its fractional part; infinities, NaN and -0 stay. The derivative is 0."""
    return x if x.dtype.kind in "ui" else np.trunc(x)


@elementwise("uifc", samples=unary(-2.9, 2.8, integers=True, complex=True))
def round_(x):
    """The nearest whole number, of two equally near ones the even one; complex parts each for itself.

    Infinities, NaN and -0 stay. The derivative is 0.
    """
    return x if x.dtype.kind in "ui" else np.rint(x)


for _prim in (floor, ceil, trunc, round_):
    _prim.partials(lambda out, x: (None,))
    _prim.exact = True
