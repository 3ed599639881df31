"""Matrices with orthonormal columns, as functions of matrices without constraint."""

from __future__ import annotations

from ...base.errors import ShapeError
from ...ir.dtype import int32
from ...ir.node import Aval, Node
from ...ir.shape import show_shape
from ..contraction import matmul
from ..elementwise import abs_, cast, equal, less, trunc, where
from ..indexing import iota_along
from ..linalg import diagonal_only, matrix_transpose, solve, triangle, triangular_solve
from ..movement import broadcast_to, concatenate, full, reshape, slice_axis
from ..reduce import max_, sum_
from .common import as_type, stop_gradient, widened
from .define import composite

_TERMS = 16  # of the series of exp: enough for float64 at a norm of 1/2
_SQUARINGS = 12  # norms up to 2**11


def _eye_like(x: Node) -> Node:
    """The identity, for matrices of the shape of x."""
    on_it = equal(iota_along(x.shape, x.ndim - 2), iota_along(x.shape, x.ndim - 1))
    return where(on_it, full(x.aval, 1), 0)


@composite
def matrix_exp(a):
    """exp(a) = 1 + a + a**2 / 2 + ... of square matrices (..., n, n).

    The series is that of a / 2**s, whose norm is at most 1/2; the result is squared s times. It holds up to 2**11.
    """
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(f"matrix_exp takes square matrices (..., n, n), got {show_shape(a.shape)}")
    x = widened(a)
    eye = _eye_like(x)
    norm = max_(sum_(abs_(stop_gradient(x)), axes=(x.ndim - 1,)), axes=(x.ndim - 2,))
    norm = reshape(norm, shape=(*norm.shape, 1, 1))
    times = full(Aval(norm.shape, int32), 0)
    scale = full(Aval(norm.shape, x.dtype), 1.0)
    for i in range(_SQUARINGS):
        more = less(0.5 * 2.0**i, norm)
        times = times + cast(more, dtype=int32)
        scale = where(more, scale * 0.5, scale)
    small = x * scale
    out = eye
    for k in range(_TERMS, 0, -1):  # Horner: 1 + x (1 + x/2 (1 + x/3 (...)))
        out = eye + matmul(small, out) / k
    for i in range(_SQUARINGS):
        out = where(broadcast_to(less(i, times), out.shape), matmul(out, out), out)
    return as_type(out, a.dtype)


@composite
def skew_matrix(x):
    """The skew-symmetric matrices (..., n, n) whose lower triangles are those of x (..., n, k), k <= n."""
    lower = triangle(x, offset=0, upper=False)
    n, k = x.shape[-2:]
    if n != k:
        rest = full(Aval((*x.shape[:-1], n - k), x.dtype), 0)
        lower = concatenate(lower, rest, axis=x.ndim - 1)
    return lower - matrix_transpose(lower)


@composite
def cayley(a):
    """(1 - a/2)**-1 (1 + a/2): orthogonal for a skew-symmetric matrix."""
    x = widened(a)
    eye = _eye_like(x)
    return as_type(solve(eye - x * 0.5, eye + x * 0.5), a.dtype)


@composite
def householder_columns(x):
    """The first k columns of H_1 H_2 ... H_k for x (..., n, k), times the signs on the diagonal of x.

    H_i = 1 - tau v v^T reflects along the i-th column v of x below the diagonal, with 1 on it; tau = 2 / |v|**2. The
    product is 1 - V T V^T, where the inverse of the triangular T holds V^T V above its diagonal and 1 / tau on it.
    """
    w = widened(x)
    eye = _eye_like(w)
    v = triangle(w, offset=-1, upper=False) + eye  # (..., n, k)
    inner = matmul(matrix_transpose(v), v)  # (..., k, k)
    inverse = triangle(inner, offset=1, upper=True) + _eye_like(inner) * inner * 0.5
    turned = slice_axis(matrix_transpose(v), v.ndim - 1, 0, v.shape[-1])  # V^T of the first k columns
    out = eye - matmul(v, triangular_solve(inverse, turned, lower=False, unit_diagonal=False))
    signs = stop_gradient(trunc(sum_(diagonal_only(w), axes=(w.ndim - 2,))))
    return as_type(out * reshape(signs, shape=(*signs.shape[:-1], 1, signs.shape[-1])), x.dtype)
