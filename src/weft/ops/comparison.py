"""Comparison and classification: the result is boolean and carries no gradient."""

from __future__ import annotations

import numpy as np

from ..base.errors import DTypeError
from ..ir.dtype import bool_
from ..ir.node import Node
from .bits import bitwise_and, bitwise_not, bitwise_or, bitwise_xor
from .define import constant, elementwise, pairs, unary


@elementwise("buifc", out="bool", samples=pairs(ties=True, nan=True, integers=True, bools=True, complex=True))
def equal(x, y):
    """x == y. NaN equals nothing, the two zeros equal each other. Complex numbers are equal in both parts."""
    return np.equal(x, y)


@elementwise("buif", out="bool", samples=pairs(ties=True, nan=True, integers=True, bools=True))
def less(x, y):
    """x < y. False where either is NaN; False < True."""
    return np.less(x, y)


@elementwise("buif", out="bool", samples=pairs(ties=True, nan=True, integers=True, bools=True))
def less_equal(x, y):
    """x <= y. False where either is NaN."""
    return np.less_equal(x, y)


def not_equal(x, y):
    """x != y. True where either is NaN."""
    return bitwise_not(equal(x, y))


def greater(x, y):
    """x > y. False where either is NaN."""
    return less(y, x)


def greater_equal(x, y):
    """x >= y. False where either is NaN."""
    return less_equal(y, x)


@elementwise("uifc", out="bool", samples=unary(complex=True, integers=True))
def isnan(x):
    """Whether x is NaN; for a complex number, whether either part is. Integers never are."""
    return np.isnan(x)


@elementwise("uifc", out="bool", samples=unary(complex=True, integers=True))
def isinf(x):
    """Whether x is an infinity; for a complex number, whether either part is. Integers never are."""
    return np.isinf(x)


@elementwise("uifc", out="bool", samples=unary(complex=True, integers=True))
def isfinite(x):
    """Whether x is neither NaN nor infinite; for a complex number, whether both parts are finite."""
    return np.isfinite(x)


@elementwise("f", out="bool", samples=unary())
def signbit(x):
    """Whether the sign bit is set: True for negative numbers, -0, -inf and NaNs of negative sign."""
    return np.signbit(x)


for _prim in (equal, less, less_equal, isnan, isinf, isfinite, signbit):
    _prim.nondifferentiable("the result is boolean")
    _prim.exact = True


# -- logic: what is not boolean counts as True where it differs from zero -------------------------------------


def truth(x: Node) -> Node:
    """x as booleans: True where it differs from zero (a NaN does)."""
    if x.dtype is bool_:
        return x
    return not_equal(x, constant(0 if x.dtype.kind in "ui" else 0.0, x.dtype))


def _logical(x, y):
    if not isinstance(x, Node) or not isinstance(y, Node):
        raise DTypeError("logical operations take nodes; make a constant of a Python value first")
    return truth(x), truth(y)


def logical_and(x, y):
    """Whether both differ from zero."""
    return bitwise_and(*_logical(x, y))


def logical_or(x, y):
    """Whether either differs from zero."""
    return bitwise_or(*_logical(x, y))


def logical_xor(x, y):
    """Whether exactly one differs from zero."""
    return bitwise_xor(*_logical(x, y))


def logical_not(x):
    """Whether x is zero."""
    return bitwise_not(truth(x))
