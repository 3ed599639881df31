"""The transforms of Winograd's minimal filtering, along one axis, as expressions.

Four numbers d and three taps g give two results, F(2, 3), or four numbers and two taps give three, F(3, 2), by four
products: those of `of_patch(d)` with `of_kernel(g)`, or with `of_pair(g)`. `of_products`, or `to_taps`, makes the
results of them. As matrices, Y = A' [(G g) * (B' d)] with * element by element:

    F(2, 3)   B' =  1  0 -1  0     G =  1    0    0     A' = 1  1  1  0     y0 = d0 g0 + d1 g1 + d2 g2
                    0  1  1  0         1/2  1/2  1/2         0  1 -1 -1     y1 = d1 g0 + d2 g1 + d3 g2
                    0 -1  1  0         1/2 -1/2  1/2
                    0  1  0 -1          0    0    1

    F(3, 2)   B' the same          G =  1    0          A' = 1  1  1  0     yi = di g0 + d(i+1) g1
                                       1/2  1/2              0  1 -1  0
                                       1/2 -1/2              0  1  1 -1
                                        0    1

They are Toom and Cook's product of two polynomials, of two and of three coefficients, turned around. That finds the
product, of degree 3, from its values at 0, 1, -1 and infinity. G has the values of a polynomial with the taps as its
coefficients, over the differences of its point to the others, (1 - 0)(1 + 1) = 2 at 1; A' those of the other
polynomial; the rows of B' are the products of x less each other point, x (x + 1) = x + x**2 at 1. The signs of the
first and the last point are moved from one matrix to another so that no number is negated by itself.

Rounding: with |d| <= 1 and |g| <= 1 the terms that add up to a result come to 8 where those of the sum as it is written
come to 3, F(2, 3), and to 6 where they come to 2, F(3, 2). So bounds of the error are 8/3 and 3 times as large for each
axis, 7 and 9 times for two. Halving is exact. Larger tiles, which need 2 and -2 as points, have factors up to 8.

S. Winograd, Arithmetic complexity of computations (1980), chapter 5; A. Toom (1963) and S. Cook (1966) on products.
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
    """B' d: d0 - d2, d1 + d2, d2 - d1, d1 - d3"""
    return [_sub(d[0], d[2]), _add(d[1], d[2]), _sub(d[2], d[1]), _sub(d[1], d[3])]


def of_kernel(g: Line) -> list[Expr]:
    """G g of three taps: g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2"""
    ends = _add(g[0], g[2])
    return [g[0], _half(_add(ends, g[1])), _half(_sub(ends, g[1])), g[2]]


def of_products(m: Line) -> list[Expr]:
    """A' m, two results of three taps: m0 + m1 + m2, m1 - m2 - m3"""
    return [_add(_add(m[0], m[1]), m[2]), _sub(_sub(m[1], m[2]), m[3])]


def of_pair(g: Line) -> list[Expr]:
    """G g of two taps: g0, (g0 + g1) / 2, (g0 - g1) / 2, g1"""
    return [g[0], _half(_add(g[0], g[1])), _half(_sub(g[0], g[1])), g[1]]


def to_taps(m: Line) -> list[Expr]:
    """A' m, three results of two taps: m0 + m1 + m2, m1 - m2, m1 + m2 - m3"""
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
