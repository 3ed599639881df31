"""Factorisations of stacks of matrices: QR, eigenvalues, singular values, and the pseudo-inverse.

Host primitives as in `linalg`. Factors are unique up to signs (phases, for complex matrices), and where eigenvalues
or singular values coincide up to rotations. Derivatives hold for the continuous choice that keeps phases still; a
function that depends on the choice has no meaningful derivative. Between vectors of equal values, where no
derivative exists, the rules put 0.
"""

from __future__ import annotations

import numpy as np

from ..base.errors import ArgumentError, GradientError, ShapeError
from ..ir.dtype import complex_dtype, real_dtype
from ..ir.node import Aval, Node
from ..ir.primitive import results
from ..ir.shape import broadcast_shapes, show_shape
from .contraction import matmul
from .define import Sample, primitive, values
from .elementwise import add, div, equal, imag, make_complex, mul, sub, where
from .linalg import (
    adjoint,
    as_column,
    as_complex,
    as_row,
    check_matrix,
    conjugate,
    diagonal_of,
    diagonal_only,
    hermitian_part,
    like,
    real_part,
    solve,
    stacked,
    triangle,
    triangular_solve,
)
from .movement import broadcast_in_dim, slice_axis, zeros
from .reduce import sum_

# -- QR -------------------------------------------------------------------------------------------------------------


def _matrices(*shapes, dtype=np.float64):
    out = []
    for i, shape in enumerate(shapes):
        x = values(shape, seed=i) + 0.5 * values(shape, seed=i + 20) ** 2
        out.append((x + 1j * values(shape, seed=i + 9) if np.dtype(dtype).kind == "c" else x).astype(dtype))
    return out


def _qr_infer(a: Aval, *, complete: bool) -> tuple[Aval, Aval]:
    check_matrix(a)
    *lead, m, n = a.shape
    k = m if complete else min(m, n)  # type: ignore[type-var]
    return Aval((*lead, m, k), a.dtype), Aval((*lead, k, n), a.dtype)


def _qr_samples() -> list[Sample]:
    thin = _matrices((4, 3), (3, 3), (2, 3, 4), (3, 2))
    return [
        *[Sample((x,), {"complete": False}) for x in thin],
        *[Sample((x,), {"complete": False}) for x in _matrices((4, 2), (2, 3), dtype=np.complex128)],
        Sample((thin[2],), {"complete": True}),
        Sample((thin[0].astype(np.float32),), {"complete": False}),
        Sample((np.zeros((0, 3)),), {"complete": False}),
    ]


@stacked
@primitive(_qr_infer, attrs=("complete",), samples=_qr_samples)
def qr(a, *, complete):
    """q with orthonormal columns and r upper triangular, real on its diagonal, such that q @ r = a.

    For a of shape (..., M, N) and K = min(M, N): q is (..., M, K) and r (..., K, N), or with `complete` (..., M, M) and
    (..., M, N). Differentiable where the first K columns of a are independent; with `complete` not if M > N, as
    the further columns of q are arbitrary.
    """
    return tuple(np.linalg.qr(a, mode="complete" if complete else "reduced"))


@qr.jvp
def _(tangents, outs, a, *, complete):
    q, r = outs
    m, n = a.shape[-2:]
    if complete and m > n:
        raise GradientError(
            f"the complete QR factorisation of {m} x {n} matrices has no derivative, because the last {m - n} columns "
            "of Q are arbitrary; use mode='reduced'"
        )
    moved = tangents[0]
    if m < n:  # q comes from the first m columns
        square, first = _columns(r, m), _columns(moved, m)
    else:
        square, first = r, moved
    # first @ square^-1, by solving with the adjoint
    turned = triangular_solve(adjoint(square), adjoint(first), lower=True, unit_diagonal=False)
    ratio = adjoint(turned)
    inner = matmul(adjoint(q), ratio)
    lower = triangle(inner, offset=-1, upper=False)
    spin = lower - adjoint(lower)  # the skew part: dq = q spin + what leaves the span of q
    if a.dtype.kind == "c":
        across = imag(diagonal_only(inner))
        spin = spin + make_complex(zeros(across.aval), across)
    dq = matmul(q, spin - inner) + ratio
    return [dq, matmul(adjoint(q), moved) - matmul(spin, r)]


def _columns(x: Node, count: int) -> Node:
    """The first columns of each matrix."""
    return slice_axis(x, x.ndim - 1, 0, count)


# -- symmetric eigenvalues --------------------------------------------------------------------------------------


def _symmetric(*shapes, dtype=np.float64):
    return [x + x.conj().swapaxes(-1, -2) for x in _matrices(*shapes, dtype=dtype)]


def _eigh_samples() -> list[Sample]:
    return [
        *[Sample((x,)) for x in _symmetric((3, 3), (2, 4, 4))],
        # Phases of complex vectors are arbitrary: finite differences do not follow the same choice.
        Sample((_symmetric((3, 3), dtype=np.complex128)[0],), smooth=False),
        Sample((_symmetric((2, 2), dtype=np.float32)[0],)),
        Sample((np.zeros((0, 0)),)),
    ]


def _eigh_infer(a: Aval) -> tuple[Aval, Aval]:
    check_matrix(a, square=True)
    return Aval(a.shape[:-1], real_dtype(a.dtype)), a


@stacked
@primitive(_eigh_infer, samples=_eigh_samples)
def eigh(a):
    """Eigenvalues w, ascending and real, and orthonormal eigenvectors, the columns of v, of (a + a^H) / 2."""
    return tuple(np.linalg.eigh((a + a.conj().swapaxes(-1, -2)) / 2))


def _reciprocal_gaps(w: Node) -> Node:
    """1 / (w_j - w_i) off the diagonal, 0 where the two are equal."""
    gaps = sub(as_row(w), as_column(w))
    same = equal(gaps, 0.0)
    return where(same, 0.0, div(1.0, where(same, 1.0, gaps)))


@eigh.jvp
def _(tangents, outs, a):
    w, v = outs
    inner = matmul(adjoint(v), matmul(hermitian_part(tangents[0]), v))
    dw = real_part(diagonal_of(inner))
    return [dw, matmul(v, mul(like(_reciprocal_gaps(w), inner), inner))]


@stacked
@primitive(lambda a: _eigh_infer(a)[0], samples=_eigh_samples)
def eigvalsh(a):
    """The eigenvalues, ascending and real, of (a + a^H) / 2."""
    return np.linalg.eigvalsh((a + a.conj().swapaxes(-1, -2)) / 2)


@eigvalsh.jvp
def _(tangents, outs, a):
    v = results(eigh(a))[1]
    return [real_part(diagonal_of(matmul(adjoint(v), matmul(hermitian_part(tangents[0]), v))))]


# -- general eigenvalues ------------------------------------------------------------------------------------------


def _eig_samples(smooth: bool = False) -> list[Sample]:
    return [
        *[Sample((x,), smooth=smooth) for x in _matrices((3, 3), (2, 4, 4))],
        Sample((_matrices((3, 3), dtype=np.complex128)[0],), smooth=smooth),
        Sample((_matrices((2, 2), dtype=np.float32)[0],), smooth=smooth),
        Sample((np.zeros((0, 0)),)),
    ]


def _eig_infer(a: Aval) -> tuple[Aval, Aval]:
    check_matrix(a, square=True)
    kind = complex_dtype(a.dtype)
    return Aval(a.shape[:-1], kind), Aval(a.shape, kind)


@stacked
@primitive(_eig_infer, samples=_eig_samples)
def eig(a):
    """Complex eigenvalues w and eigenvectors, the columns of v, each of length 1: a @ v = v * w."""
    w, v = np.linalg.eig(a)
    return w.astype(np.result_type(a, np.complex64)), v.astype(np.result_type(a, np.complex64))


def _inner_change(v: Node, moved: Node) -> Node:
    """v^-1 da v: its diagonal is the change of the eigenvalues."""
    return solve(v, matmul(as_complex(moved), v))


@eig.jvp
def _(tangents, outs, a):
    w, v = outs
    inner = _inner_change(v, tangents[0])
    change = matmul(v, mul(_reciprocal_gaps(w), inner))
    # Along itself a vector may not grow: it keeps length 1.
    growth = real_part(sum_(mul(change, conjugate(v)), axes=(v.ndim - 2,)))
    return [diagonal_of(inner), change - mul(v, as_row(as_complex(growth)))]


@stacked
@primitive(lambda a: _eig_infer(a)[0], samples=lambda: _eig_samples(smooth=True))
def eigvals(a):
    """The complex eigenvalues of each matrix."""
    return np.linalg.eigvals(a).astype(np.result_type(a, np.complex64))


@eigvals.jvp
def _(tangents, outs, a):
    v = results(eig(a))[1]
    return [diagonal_of(_inner_change(v, tangents[0]))]


# -- singular values ----------------------------------------------------------------------------------------------


def _svd_infer(a: Aval, *, full: bool) -> tuple[Aval, Aval, Aval]:
    check_matrix(a)
    *lead, m, n = a.shape
    k = min(m, n)  # type: ignore[type-var]
    left, right = ((m, m), (n, n)) if full else ((m, k), (k, n))
    return (
        Aval((*lead, *left), a.dtype),
        Aval((*lead, k), real_dtype(a.dtype)),
        Aval((*lead, *right), a.dtype),
    )


def _svd_samples() -> list[Sample]:
    real, cplx = _matrices((3, 3), (2, 4, 3), (2, 4)), _matrices((3, 2), (2, 3), dtype=np.complex128)
    return [
        *[Sample((x,), {"full": False}) for x in real],
        *[Sample((x,), {"full": False}, smooth=False) for x in cplx],  # phases, as in _eigh_samples
        Sample((real[0],), {"full": True}),
        Sample((real[0].astype(np.float32),), {"full": False}),
        Sample((np.zeros((0, 3)),), {"full": False}),
    ]


@stacked
@primitive(_svd_infer, attrs=("full",), samples=_svd_samples)
def svd(a, *, full):
    """u, s and vh with (u * s) @ vh = a: orthonormal columns of u and rows of vh, s real and descending.

    For a of shape (..., M, N) and K = min(M, N): s is (..., K), u (..., M, K) and vh (..., K, N), or with `full`
    (..., M, M) and (..., N, N). Not differentiable with `full` unless M = N, as the further vectors are arbitrary.
    """
    return tuple(np.linalg.svd(a, full_matrices=full))


@svd.jvp
def _(tangents, outs, a, *, full):
    u, s, vh = outs
    m, n = a.shape[-2:]
    if full and m != n:
        raise GradientError(
            f"the full singular value decomposition of {m} x {n} matrices has no derivative, because its further "
            "vectors are arbitrary; use full_matrices=False, or svdvals for the values alone"
        )
    moved, v, uh = tangents[0], adjoint(vh), adjoint(u)
    inner = matmul(uh, matmul(moved, v))
    ds = real_part(diagonal_of(inner))
    row, column = as_row(s), as_column(s)
    gaps = mul(add(row, column), sub(row, column))
    same = equal(gaps, 0.0)
    turn = like(where(same, 0.0, div(1.0, where(same, 1.0, gaps))), inner)
    right = mul(like(row, inner), inner)
    left = mul(like(column, inner), inner)
    empty = equal(s, 0.0)
    inverse = where(empty, 0.0, div(1.0, where(empty, 1.0, s)))
    spin_u = mul(turn, add(right, adjoint(right)))
    spin_v = mul(turn, add(left, adjoint(left)))
    if a.dtype.kind == "c":
        # The phases of u and v turn together; the difference is carried by u.
        skew = mul(sub(inner, adjoint(inner)), 0.5)
        spin_u = add(spin_u, mul(diagonal_only(skew), like(as_row(inverse), inner)))
    du, dv = matmul(u, spin_u), matmul(v, spin_v)
    if m > n:
        du = add(du, mul(_outside(u, matmul(moved, v)), like(as_row(inverse), inner)))
    if n > m:
        dv = add(dv, mul(_outside(v, matmul(adjoint(moved), u)), like(as_row(inverse), inner)))
    return [du, ds, adjoint(dv)]


def _outside(q: Node, x: Node) -> Node:
    """The part of x that is orthogonal to the columns of q."""
    return sub(x, matmul(q, matmul(adjoint(q), x)))


def _svdvals_infer(a: Aval) -> Aval:
    return _svd_infer(a, full=False)[1]


@stacked
@primitive(_svdvals_infer, samples=lambda: [Sample(s.args) for s in _svd_samples()])
def svdvals(a):
    """The singular values of each matrix, in descending order."""
    return np.linalg.svd(a, compute_uv=False)


@svdvals.jvp
def _(tangents, outs, a):
    u, _, vh = results(svd(a, full=False))
    return [real_part(diagonal_of(matmul(adjoint(u), matmul(tangents[0], adjoint(vh)))))]


# -- pseudo-inverse -----------------------------------------------------------------------------------------------


def _pinv_infer(a: Aval, rtol: Aval) -> Aval:
    check_matrix(a)
    if rtol.dtype is not real_dtype(a.dtype):
        raise ArgumentError(f"rtol must be {real_dtype(a.dtype)} for {a.describe()}, got {rtol.describe()}")
    if broadcast_shapes(a.shape[:-2], rtol.shape) != a.shape[:-2]:
        raise ShapeError(
            f"rtol of shape {show_shape(rtol.shape)} does not fit matrices {show_shape(a.shape)}"
        )
    return Aval((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)


def _pinv_samples() -> list[Sample]:
    tol = np.array(1e-6)
    return [
        *[Sample((x, tol), smooth=False) for x in _matrices((4, 3), (2, 3, 4), (3, 3))],
        Sample((_matrices((3, 2), dtype=np.complex128)[0], tol), smooth=False),
        Sample((_matrices((2, 3, 2))[0], np.array([1e-6, 1e-7])), smooth=False),
        Sample((_matrices((3, 2))[0].astype(np.float32), tol.astype(np.float32)), smooth=False),
    ]


@primitive(_pinv_infer, samples=_pinv_samples)
def pinv(a, rtol):
    """The Moore-Penrose inverse; singular values up to rtol * (the largest) count as 0.

    The derivative is that at constant rank; there is none in rtol.
    """
    return np.linalg.pinv(a, rcond=rtol)


@pinv.jvp
def _(tangents, outs, a, rtol):
    """-p da p + p p^H da^H (1 - a p) + (1 - p a) da^H p^H p."""
    (p,), moved = outs, tangents[0]
    if moved is None:
        return [None]
    back, ph = adjoint(moved), adjoint(p)
    first = matmul(matmul(p, moved), p)
    tall = matmul(p, matmul(ph, back))
    wide = matmul(matmul(back, ph), p)
    return [tall - matmul(matmul(tall, a), p) + wide - matmul(p, matmul(a, wide)) - first]


@pinv.batch
def _(size, batched, a, rtol):
    if batched[1]:
        if not batched[0]:
            a = broadcast_in_dim(a, shape=(size, *a.shape), axes=tuple(range(1, a.ndim + 1)))
        rank = a.ndim - 3
        rtol = broadcast_in_dim(
            rtol, shape=(size, *a.shape[1:-2]), axes=(0, *range(rank - rtol.ndim + 2, rank + 1))
        )
    return pinv(a, rtol)
