"""Arithmetic operators on nodes, so that rules and composites read as mathematics. `==` stays identity: use `equal`."""

from __future__ import annotations

from ..ir.node import Node
from .contraction import matmul
from .elementwise import (
    abs_,
    add,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    div,
    greater,
    greater_equal,
    integer_pow,
    less,
    less_equal,
    mul,
    neg,
    pow_,
    sub,
)


def power(x, y):
    """x ** y: a Python integer exponent becomes part of the program, anything else an operand."""
    if isinstance(x, Node) and type(y) is int:
        return integer_pow(x, exponent=y)
    return pow_(x, y)


Node.__add__ = lambda x, y: add(x, y)
Node.__radd__ = lambda x, y: add(y, x)
Node.__sub__ = lambda x, y: sub(x, y)
Node.__rsub__ = lambda x, y: sub(y, x)
Node.__mul__ = lambda x, y: mul(x, y)
Node.__rmul__ = lambda x, y: mul(y, x)
Node.__truediv__ = lambda x, y: div(x, y)
Node.__rtruediv__ = lambda x, y: div(y, x)
Node.__pow__ = power
Node.__rpow__ = lambda x, y: pow_(y, x)
Node.__neg__ = lambda x: neg(x)
Node.__abs__ = lambda x: abs_(x)
Node.__matmul__ = lambda x, y: matmul(x, y)
Node.__lt__ = lambda x, y: less(x, y)
Node.__le__ = lambda x, y: less_equal(x, y)
Node.__gt__ = lambda x, y: greater(x, y)
Node.__ge__ = lambda x, y: greater_equal(x, y)
Node.__and__ = lambda x, y: bitwise_and(x, y)
Node.__or__ = lambda x, y: bitwise_or(x, y)
Node.__xor__ = lambda x, y: bitwise_xor(x, y)
Node.__invert__ = lambda x: bitwise_not(x)
