"""Linear algebra on stacks of matrices: systems, determinants and the triangular helpers they are written with.

These are host primitives: they run in LAPACK through NumPy, over all matrices (..., M, N) of a stack. A matrix that
has no inverse, or is not positive definite where it must be, raises `NumericError` when the value is computed.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..ir.dtype import real_dtype
from ..ir.node import Aval, Node
from ..ir.primitive import results
from ..ir.shape import show_shape
from .contraction import matmul
from .define import Sample, primitive, values
from .elementwise import add, conj, imag, make_complex, mul, neg, real
from .movement import broadcast_in_dim, permute, reshape, zeros
from .reduce import sum_

# -- checks and small things ------------------------------------------------------------------------------------


def check_matrix(x: Aval, *, square: bool = False) -> None:
    """Raise unless `x` is a stack of (square) matrices of floating or complex numbers."""
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        kind = "square matrices (..., M, M)" if square else "matrices (..., M, N)"
        raise ShapeError(f"{kind} expected, got shape {show_shape(x.shape)}")
    if not x.dtype.inexact:
        raise DTypeError(f"a floating or complex matrix expected, got {x.describe()}")


def matrix_transpose(x: Node) -> Node:
    """The last two axes exchanged."""
    n = x.ndim
    return permute(x, axes=(*range(n - 2), n - 1, n - 2))


def adjoint(x: Node) -> Node:
    """The conjugate transpose."""
    x = matrix_transpose(x)
    return conj(x) if x.dtype.kind == "c" else x


def conjugate(x: Node) -> Node:
    """The complex conjugate; a real node itself."""
    return conj(x) if x.dtype.kind == "c" else x


def real_part(x: Node) -> Node:
    """The real part; a real node itself."""
    return real(x) if x.dtype.kind == "c" else x


def as_complex(x: Node) -> Node:
    """A real node as the real part of a complex one."""
    return x if x.dtype.kind == "c" else make_complex(x, zeros(x.aval))


def like(x: Node, other: Node) -> Node:
    """A real `x` made complex where `other` is."""
    return as_complex(x) if other.dtype.kind == "c" else x


def as_column(x: Node) -> Node:
    """(..., N) to (..., N, 1)."""
    return reshape(x, shape=(*x.shape, 1))


def as_row(x: Node) -> Node:
    """(..., N) to (..., 1, N)."""
    return reshape(x, shape=(*x.shape[:-1], 1, x.shape[-1]))


def stacked(prim):
    """The batching rule of a primitive of one stack of matrices: a stack with one more axis."""

    @prim.batch
    def _(size, batched, x, **attrs):
        return results(prim(x, **attrs))

    return prim


# -- triangles and diagonals ------------------------------------------------------------------------------------


def _triangle_infer(x: Aval, *, offset: int, upper: bool) -> Aval:
    if x.ndim < 2:
        raise ShapeError(f"matrices (..., M, N) expected, got shape {show_shape(x.shape)}")
    if not isinstance(offset, int):
        raise ArgumentError(f"offset must be an integer, got {offset!r}")
    return x


def _triangle_samples() -> list[Sample]:
    return [
        Sample((values((3, 4)),), {"offset": 0, "upper": False}),
        Sample((values((2, 4, 3)),), {"offset": -1, "upper": False}),
        Sample((values((2, 3, 3)),), {"offset": 1, "upper": True}),
        Sample((np.arange(12).reshape(3, 4),), {"offset": -5, "upper": True}, smooth=False),
        Sample((values((3, 3)) > 0,), {"offset": 0, "upper": True}, smooth=False),
        Sample((values((0, 3)),), {"offset": 0, "upper": True}),
    ]


@primitive(_triangle_infer, attrs=("offset", "upper"), samples=_triangle_samples)
def triangle(x, *, offset, upper):
    """One side of each matrix, the rest 0: entries (i, j) with j - i >= offset if `upper`, else j - i <= offset."""
    return np.triu(x, offset) if upper else np.tril(x, offset)


triangle.computes = False


@triangle.transpose()
def _(ct, index, x, *, offset, upper):
    return triangle(ct, offset=offset, upper=upper)


stacked(triangle)


def diagonal_only(x: Node) -> Node:
    """Each matrix with everything off its diagonal 0."""
    return triangle(triangle(x, offset=0, upper=True), offset=0, upper=False)


def diagonal_of(x: Node) -> Node:
    """The diagonals of square matrices: (..., M, M) to (..., M)."""
    return sum_(diagonal_only(x), axes=(x.ndim - 1,))


def diagonal_matrix(x: Node) -> Node:
    """Matrices with the given diagonals: (..., M) to (..., M, M)."""
    n = x.shape[-1]
    spread = broadcast_in_dim(x, shape=(*x.shape[:-1], n, n), axes=(*range(x.ndim - 1), x.ndim))
    return diagonal_only(spread)


def trace_of(x: Node) -> Node:
    """The sum of the diagonal of square matrices."""
    return sum_(diagonal_only(x), axes=(x.ndim - 2, x.ndim - 1))


# -- systems ------------------------------------------------------------------------------------------------------


def _solve_infer(a: Aval, b: Aval, **_) -> Aval:
    check_matrix(a, square=True)
    if a.dtype is not b.dtype:
        raise DTypeError(f"operands of one dtype expected, got {a.describe()} and {b.describe()}")
    if b.ndim != a.ndim or b.shape[:-1] != a.shape[:-1]:
        raise ShapeError(
            f"a system of shape {show_shape(a.shape)} takes right sides of shape "
            f"{show_shape((*a.shape[:-1], 'K'))}, got {show_shape(b.shape)}"  # type: ignore[arg-type]
        )
    return b


def _well(shape, seed=0, dtype=np.float64):
    """Well-conditioned matrices: random ones with a strong diagonal."""
    x = values(shape, seed=seed)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * values(shape, seed=seed + 7)
    return (x + 4 * np.eye(shape[-2], shape[-1])).astype(dtype)


def _solve_samples(**attrs) -> list[Sample]:
    return [
        Sample((_well((3, 3)), values((3, 2), seed=1)), attrs),
        Sample((_well((2, 3, 3)), values((2, 3, 1), seed=1)), attrs),
        Sample((_well((3, 3), dtype=np.complex128), values((3, 2)) + 1j * values((3, 2), seed=1)), attrs),
        Sample((_well((2, 2), dtype=np.float32), values((2, 3)).astype(np.float32)), attrs),
        Sample((_well((0, 0)), values((0, 2))), attrs),
    ]


@primitive(_solve_infer, samples=_solve_samples)
def solve(a, b):
    """The x with a @ x = b, for a of shape (..., M, M) and b of shape (..., M, K)."""
    return np.linalg.solve(a, b)


@solve.vjp
def _(cts, outs, a, b):
    back = solve(adjoint(a), cts[0])
    return neg(matmul(back, adjoint(outs[0]))), back


def _triangular_samples() -> list[Sample]:
    return [
        *_solve_samples(lower=True, unit_diagonal=False),
        *_solve_samples(lower=False, unit_diagonal=False)[:2],
        *_solve_samples(lower=True, unit_diagonal=True)[1:3],
    ]


@primitive(_solve_infer, attrs=("lower", "unit_diagonal"), samples=_triangular_samples)
def triangular_solve(a, b, *, lower, unit_diagonal):
    """The x with t @ x = b, where t is the lower or upper triangle of a (..., M, M) and b is (..., M, K).

    The other triangle of a is not read; with `unit_diagonal` its diagonal is not either, but taken to be 1.
    """
    # In the precision that `np.linalg.solve` has, rounded once; block by block, with little memory beside the result.
    x = b.astype(np.result_type(b.dtype, np.float64))
    n = a.shape[-1]
    count = -(-n // _BLOCK)
    edges = [n * i // count for i in range(count + 1)] if n else []
    blocks = list(pairwise(edges))
    for start, stop in blocks if lower else reversed(blocks):
        known = slice(0, start) if lower else slice(stop, n)
        right = x[..., start:stop, :]
        if known.start < known.stop:
            right -= np.matmul(a[..., start:stop, known].astype(x.dtype), x[..., known, :])
        right[...] = _eliminated(a[..., start:stop, start:stop], right, lower, unit_diagonal)
    return x.astype(b.dtype)


#: Rows of a triangle, at most, that are eliminated as those of any matrix.
_BLOCK = 100


def _eliminated(a, b, lower, unit_diagonal):
    """The same for a small triangle."""
    t = np.tril(a) if lower else np.triu(a)
    if unit_diagonal:
        np.einsum("...ii->...i", t)[...] = 1
    if not lower:
        return np.linalg.solve(t, b)
    # Turned upside down a lower triangle is an upper one, whose elimination needs no row exchanges.
    return np.linalg.solve(t[..., ::-1, ::-1], b[..., ::-1, :])[..., ::-1, :]


@triangular_solve.vjp
def _(cts, outs, a, b, *, lower, unit_diagonal):
    back = triangular_solve(adjoint(a), cts[0], lower=not lower, unit_diagonal=unit_diagonal)
    full = neg(matmul(back, adjoint(outs[0])))
    offset = 0 if not unit_diagonal else (-1 if lower else 1)
    return triangle(full, offset=offset, upper=not lower), back


def _pair_batch(prim):
    @prim.batch
    def _(size, batched, a, b, **attrs):
        def spread(x):
            return broadcast_in_dim(x, shape=(size, *x.shape), axes=tuple(range(1, x.ndim + 1)))

        return prim(a if batched[0] else spread(a), b if batched[1] else spread(b), **attrs)


_pair_batch(solve)
_pair_batch(triangular_solve)


# -- inverse and determinants -------------------------------------------------------------------------------------


def _square_infer(a: Aval) -> Aval:
    check_matrix(a, square=True)
    return a


def _square_samples() -> list[Sample]:
    return [
        Sample((_well((3, 3)),)),
        Sample((_well((2, 4, 4)),)),
        Sample((_well((3, 3), dtype=np.complex128),)),
        Sample((_well((2, 2), dtype=np.float32),)),
        Sample((_well((0, 0)),)),
    ]


@stacked
@primitive(_square_infer, samples=_square_samples)
def inv(a):
    """The inverse of each matrix."""
    return np.linalg.inv(a)


@inv.vjp
def _(cts, outs, a):
    turned = adjoint(outs[0])
    return (neg(matmul(matmul(turned, cts[0]), turned)),)


def _det_infer(a: Aval) -> Aval:
    check_matrix(a, square=True)
    return Aval(a.shape[:-2], a.dtype)


@stacked
@primitive(_det_infer, samples=_square_samples)
def det(a):
    """The determinant of each matrix. Its gradient, the cofactors, exists for singular matrices too."""
    return np.linalg.det(a)


@det.jvp
def _(tangents, outs, a):
    return [sum_(mul(cofactors(a), tangents[0]), axes=(a.ndim - 2, a.ndim - 1))]


@stacked
@primitive(_square_infer, samples=_square_samples)
def cofactors(a):
    """The matrix of cofactors, the derivative of det: det(a) * inv(a)^T, continued to singular matrices.

    Its own derivative needs the inverse, so second derivatives of `det` exist for regular matrices only.
    """
    if a.shape[-1] == 0:
        return a
    u, s, vh = np.linalg.svd(a)
    others = np.stack([np.prod(np.delete(s, i, axis=-1), axis=-1) for i in range(s.shape[-1])], axis=-1)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    return sign[..., None, None] * ((u.conj() * others[..., None, :]) @ vh.conj())


@cofactors.jvp
def _(tangents, outs, a):
    turned = matrix_transpose(inv(a))
    slope = sum_(mul(outs[0], tangents[0]), axes=(a.ndim - 2, a.ndim - 1))
    slope = reshape(slope, shape=(*slope.shape, 1, 1))
    return [slope * turned - matmul(matmul(turned, matrix_transpose(tangents[0])), outs[0])]


def _slogdet_infer(a: Aval) -> tuple[Aval, Aval]:
    check_matrix(a, square=True)
    return Aval(a.shape[:-2], a.dtype), Aval(a.shape[:-2], real_dtype(a.dtype))


@stacked
@primitive(_slogdet_infer, samples=_square_samples)
def slogdet(a):
    """Sign and logarithm of the absolute value of each determinant: det = sign * exp(log). Singular: 0 and -inf."""
    return tuple(np.linalg.slogdet(a))


@slogdet.jvp
def _(tangents, outs, a):
    moved = trace_of(solve(a, tangents[0]))
    sign, _ = outs
    if a.dtype.kind != "c":
        return [None, moved]
    turn = imag(moved)
    return [mul(sign, make_complex(zeros(turn.aval), turn)), real(moved)]


# -- Cholesky -----------------------------------------------------------------------------------------------------


def _definite_samples() -> list[Sample]:
    def definite(x):
        return x @ x.conj().swapaxes(-1, -2) + np.eye(x.shape[-1]).astype(x.dtype)

    return [
        Sample((definite(values((3, 3))),)),
        Sample((definite(values((2, 3, 3))),)),
        Sample((definite(values((3, 3)) + 1j * values((3, 3), seed=1)),)),
        Sample((definite(values((2, 2)).astype(np.float32)),)),
        Sample((values((0, 0)),)),
    ]


@stacked
@primitive(_square_infer, samples=_definite_samples)
def cholesky(a):
    """The lower triangular l with l @ l^H = (a + a^H) / 2, for each Hermitian positive definite a.

    Reading the Hermitian part of a makes the derivative well defined: the gradient is Hermitian.
    """
    return np.linalg.cholesky((a + a.conj().swapaxes(-1, -2)) / 2)


@cholesky.jvp
def _(tangents, outs, a):
    """dl = l phi(l^-1 da l^-H), where phi takes the lower triangle with half of the diagonal."""
    (factor,) = outs
    moved = hermitian_part(tangents[0])
    inner = triangular_solve(factor, moved, lower=True, unit_diagonal=False)
    inner = triangular_solve(factor, adjoint(inner), lower=True, unit_diagonal=False)
    lower = triangle(inner, offset=0, upper=False) - mul(diagonal_only(inner), 0.5)
    return [matmul(factor, lower)]


def hermitian_part(x: Node) -> Node:
    """(x + x^H) / 2."""
    return mul(add(x, adjoint(x)), 0.5)
