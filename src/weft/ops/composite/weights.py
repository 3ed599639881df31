"""Weights that are computed from other parameters: by direction and length, or divided by their spectral norm."""

from __future__ import annotations

from ...ir.node import Node
from ...ir.shape import size_of
from ..contraction import dot_general
from ..elementwise import maximum, sqrt
from ..movement import reshape
from ..rearrange import moveaxis
from ..reduce import sum_
from .common import as_type, floating, keep, stop_gradient, widened
from .define import composite


@composite
def weight_norm(g, v, *, axis):
    """g v / |v|, with a norm of its own for each slice along `axis` (None: one for the whole)."""
    floating("weight_norm", g=g, v=v)
    w = widened(v)
    axes = tuple([a for a in range(v.ndim) if a != axis])
    norm = sqrt(keep(sum_(w * w, axes=axes), w, axes)) if axes else sqrt(w * w)
    scale = widened(g) if axis is not None else reshape(widened(g), shape=(1,) * v.ndim)
    return as_type(w * (scale / norm), v.dtype)


def _matrix(w: Node, axis: int) -> Node:
    """w as a matrix whose rows are the slices along `axis`."""
    front = w if axis == 0 else moveaxis(w, axis, 0)
    return reshape(front, shape=(front.shape[0], size_of(front.shape[1:])))


def _unit(x: Node, eps: Node) -> Node:
    return x / maximum(sqrt(sum_(x * x, axes=(0,))), eps)


def _dot(a: Node, b: Node, contract: tuple[int, int]) -> Node:
    return dot_general(a, b, contract=((contract[0],), (contract[1],)), batch=((), ()))


@composite
def power_iteration(w, u, v, eps, *, axis, steps):
    """Largest singular vectors (u, v) of w as a matrix of slices along `axis`, `steps` steps nearer, no gradient."""
    matrix = stop_gradient(_matrix(widened(w), axis))
    u, v, eps = (stop_gradient(as_type(x, matrix.dtype)) for x in (u, v, eps))
    for _ in range(steps):
        u = _unit(_dot(matrix, v, (1, 0)), eps)
        v = _unit(_dot(matrix, u, (0, 0)), eps)
    return as_type(u, w.dtype), as_type(v, w.dtype)


@composite
def spectral_norm(w, u, v, *, axis):
    """w / (u^T w v): divided by its largest singular value, as a matrix of slices along `axis`. u, v are constants."""
    floating("spectral_norm", weight=w)
    x = widened(w)
    u, v = (stop_gradient(as_type(s, x.dtype)) for s in (u, v))
    sigma = _dot(u, _dot(_matrix(x, axis), v, (1, 0)), (0, 0))
    return as_type(x / sigma, w.dtype)
