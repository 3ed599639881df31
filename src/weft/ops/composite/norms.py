"""Norms of vectors and the cross product."""

from __future__ import annotations

from ...ir.dtype import float32
from .. import elementwise as e
from ..movement import concatenate, slice_axis, zeros
from ..reduce import max_, min_, sum_
from .define import composite


@composite
def vector_norm(x, p=None, *, axes, kind):
    """The norm of the vectors along `axes`: with kind "2", "1", "inf", "-inf", "0" (how many are not 0), or "p" for
    sum(|x|**p)**(1/p) with a number p.

    At 0, where the Euclidean norm and the p-norms have no derivative, theirs is 0, and so is that of each single
    element that is 0. The elements that share the maximum or minimum share the gradient.
    """
    if x.dtype.storage_only:  # a square may overflow where the norm does not
        wide = e.cast(x, dtype=float32)
        out = _norm(wide, None if p is None else e.cast(p, dtype=float32), axes, kind)
        return e.cast(out, dtype=x.dtype)
    return _norm(x, p, axes, kind)


def _norm(x, p, axes, kind):
    if kind == "2":
        return _euclidean(x, axes)
    size = e.abs_(x)
    if kind == "1":
        return sum_(size, axes=axes)
    if kind == "inf":
        return max_(size, axes=axes)
    if kind == "-inf":
        return min_(size, axes=axes)
    empty = e.equal(size, 0)
    if kind == "0":
        return sum_(e.cast(e.logical_not(empty), dtype=size.dtype), axes=axes)
    of_zero = e.where(e.less(zeros(p.aval), p), 0.0, float("inf"), dtype=size.dtype)
    powers = e.where(empty, of_zero, e.pow_(e.where(empty, 1, size), p))
    total = sum_(powers, axes=axes)
    nothing = e.equal(total, 0)
    return e.where(nothing, e.pow_(zeros(p.aval), 1 / p), e.pow_(e.where(nothing, 1, total), 1 / p))


def _euclidean(x, axes):
    if x.dtype.kind == "c":
        squares = e.square(e.real(x)) + e.square(e.imag(x))
    else:
        squares = e.square(x)
    total = sum_(squares, axes=axes)
    nothing = e.equal(total, 0)
    # Taken of 1 where the norm is 0, so that no derivative of the root at 0 enters.
    return e.where(nothing, 0, e.sqrt(e.where(nothing, 1, total)))


@composite
def cross(x, y, *, axis):
    """The cross products of the vectors of length 3 along `axis` (counted from the end); other axes broadcast."""

    def part(v, i):
        return slice_axis(v, v.ndim + axis, i, i + 1)

    a, b = [part(x, i) for i in range(3)], [part(y, i) for i in range(3)]
    turns = [(1, 2), (2, 0), (0, 1)]
    parts = [a[i] * b[j] - a[j] * b[i] for i, j in turns]
    return concatenate(*parts, axis=parts[0].ndim + axis)
