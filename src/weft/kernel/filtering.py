"""The transforms of Winograd's minimal filtering, along one axis, as expressions.

Four numbers d and three taps g give two results, F(2, 3), or four numbers and two taps give three, F(3, 2), by four
products: those of `of_patch(d)` with `of_kernel(g)`, or with `of_pair(g)`. `of_products`, or `to_taps`, makes the
results of them.

S. Winograd, Arithmetic complexity of computations (1980), chapter 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from .loops import Apply, Expr, literal

Line = Sequence[Expr]


def both_ways(transform: Callable[[Line], list[Expr]], rows: Sequence[Line]) -> list[Expr]:
    """A transform along both axes of a square: the elements of the result row by row."""
    columns = [transform(column) for column in zip(*rows, strict=True)]
    return [x for row in zip(*columns, strict=True) for x in transform(row)]


def of_patch(d: Line) -> list[Expr]:
    """d0 - d2, d1 + d2, d2 - d1, d1 - d3"""
    return [_sub(d[0], d[2]), _add(d[1], d[2]), _sub(d[2], d[1]), _sub(d[1], d[3])]


def of_kernel(g: Line) -> list[Expr]:
    """g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2"""
    ends = _add(g[0], g[2])
    return [g[0], _half(_add(ends, g[1])), _half(_sub(ends, g[1])), g[2]]


def of_products(m: Line) -> list[Expr]:
    """m0 + m1 + m2, m1 - m2 - m3: two results of three taps"""
    return [_add(_add(m[0], m[1]), m[2]), _sub(_sub(m[1], m[2]), m[3])]


def of_pair(g: Line) -> list[Expr]:
    """g0, (g0 + g1) / 2, (g0 - g1) / 2, g1"""
    return [g[0], _half(_add(g[0], g[1])), _half(_sub(g[0], g[1])), g[1]]


def to_taps(m: Line) -> list[Expr]:
    """m0 + m1 + m2, m1 - m2, m1 + m2 - m3: three results of two taps"""
    both = _add(m[1], m[2])
    return [_add(m[0], both), _sub(m[1], m[2]), _sub(both, m[3])]


def greatest(values: Line) -> Expr:
    """The greatest of several numbers, or NaN."""
    return reduce(lambda x, y: Apply("maximum", (x, y), x.dtype), values)


def _add(x: Expr, y: Expr) -> Expr:
    return Apply("add", (x, y), x.dtype)


def _sub(x: Expr, y: Expr) -> Expr:
    return Apply("sub", (x, y), x.dtype)


def _half(x: Expr) -> Expr:
    return Apply("mul", (x, literal(0.5, x.dtype)), x.dtype)
