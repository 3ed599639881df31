"""Arithmetic operators on nodes, so that rules and composites read as mathematics. `==` stays identity: use `equal`."""

from __future__ import annotations

from ..ir.node import Node
from .contraction import matmul
from .elementwise import add, div, mul, neg, sub

Node.__add__ = lambda x, y: add(x, y)
Node.__radd__ = lambda x, y: add(y, x)
Node.__sub__ = lambda x, y: sub(x, y)
Node.__rsub__ = lambda x, y: sub(y, x)
Node.__mul__ = lambda x, y: mul(x, y)
Node.__rmul__ = lambda x, y: mul(y, x)
Node.__truediv__ = lambda x, y: div(x, y)
Node.__rtruediv__ = lambda x, y: div(y, x)
Node.__neg__ = lambda x: neg(x)
Node.__matmul__ = lambda x, y: matmul(x, y)
