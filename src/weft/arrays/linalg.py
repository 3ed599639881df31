"""Linear algebra, as the `linalg` extension of the Python array API standard.

All functions take stacks of matrices (..., M, N) and work on each. Integers become floats of the default type.
Factorisations and systems run in LAPACK; a matrix that is singular, or not positive definite where it must be, raises
`NumericError` when the result is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any, NamedTuple

import numpy as np

from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..ir.dtype import DEFAULT_FLOAT, DEFAULT_INT, DType, promote, real_dtype, uint64
from ..ir.dtype import dtype as as_dtype
from ..ir.node import Aval, Node
from ..ir.primitive import results
from ..ir.shape import broadcast_shapes, normalize_axes, show_shape
from ..ops import factorization, linalg
from ..ops.composite.norms import cross as cross_composite
from ..ops.composite.norms import vector_norm as norm_composite
from ..ops.contraction import matmul as node_matmul
from ..ops.elementwise import abs_, cast, less
from ..ops.movement import broadcast_to, full, reshape, slice_, slice_axis
from ..ops.reduce import max_, min_, sum_
from . import dispatch
from .products import matmul, matrix_transpose, outer, tensordot, vecdot
from .remembered import remembered
from .tensor import Tensor


class EigResult(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class EighResult(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    Q: Tensor
    R: Tensor


class SlogdetResult(NamedTuple):
    sign: Tensor
    logabsdet: Tensor


class SVDResult(NamedTuple):
    U: Tensor
    S: Tensor
    Vh: Tensor


def _floating(*operands: Any) -> tuple[Node, ...]:
    """The operands as nodes of one floating or complex dtype."""
    nodes = dispatch.promoted(*operands)
    if nodes[0].dtype.inexact:
        return nodes
    return tuple([cast(n, dtype=DEFAULT_FLOAT) for n in nodes])


def _tensors(node: Node) -> list[Tensor]:
    return [Tensor(n) for n in results(node)]


# -- systems and inverses ---------------------------------------------------------------------------------------


@remembered
def solve(x1: Any, x2: Any, /) -> Tensor:
    """The solution X of x1 @ X = x2.

    Args:
        x1: (..., M, M), regular.
        x2: (..., M, K), or (M,) for one right side.

    Returns:
        (..., M, K), or (..., M) for one right side; leading axes are broadcast.

    Raises:
        NumericError: x1 is singular (when the result is looked at).

    >>> weft.linalg.solve(weft.asarray([[2.0, 0.0], [0.0, 4.0]]), weft.asarray([2.0, 2.0]))
    tensor([1. , 0.5], dtype=float32)
    """
    return _solved("solve", x1, x2, linalg.solve)


@remembered
def solve_triangular(x1: Any, x2: Any, /, *, upper: bool = False, unit_diagonal: bool = False) -> Tensor:
    """As `solve`, where only the lower (or `upper`) triangle of x1 counts; its diagonal is 1 with `unit_diagonal`."""

    def triangular(a: Node, b: Node) -> Node:
        return linalg.triangular_solve(a, b, lower=not upper, unit_diagonal=bool(unit_diagonal))

    return _solved("solve_triangular", x1, x2, triangular)


def _solved(name: str, x1: Any, x2: Any, function: Any) -> Tensor:
    a, b = _floating(x1, x2)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(f"{name} takes square matrices (..., M, M), got shape {show_shape(a.shape)}")
    vector = b.ndim == 1
    if b.ndim == 0 or b.shape[-1 if vector else -2] != a.shape[-1]:
        raise ShapeError(
            f"{name} of {show_shape(a.shape)} takes right sides (..., {a.shape[-1]}, K) or ({a.shape[-1]},), got "
            f"{show_shape(b.shape)}"
        )
    if vector:
        b = linalg.as_column(b)
    lead = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (broadcast_to(x, (*lead, *x.shape[-2:])) for x in (a, b))
    out = function(a, b)
    return Tensor(reshape(out, shape=out.shape[:-1]) if vector else out)


@remembered
def inv(x: Any, /) -> Tensor:
    """The inverses of square matrices (..., M, M). To solve systems `solve` is quicker and more accurate.

    Raises:
        NumericError: a matrix is singular (when the result is looked at).
    """
    return Tensor(linalg.inv(*_floating(x)))


@remembered
def pinv(x: Any, /, *, rtol: Any = None) -> Tensor:
    """The Moore-Penrose pseudo-inverses (..., N, M) of matrices (..., M, N).

    Args:
        rtol: singular values up to rtol times the largest count as 0. A number, or a tensor (...), one for each
            matrix. None: max(M, N) times the precision of the dtype.

    Derivatives are those at constant rank.
    """
    (node,) = _floating(x)
    linalg.check_matrix(node.aval)
    return Tensor(factorization.pinv(node, _tolerance(node, rtol)))


def _tolerance(x: Node, rtol: Any) -> Node:
    real = real_dtype(x.dtype)
    if rtol is None:
        precise = real if not real.storage_only else as_dtype("float32")
        rtol = max(index(n) for n in x.shape[-2:]) * float(np.finfo(precise.numpy).eps)
    if isinstance(rtol, Tensor):
        return cast(rtol._node, dtype=real)
    return dispatch.node_of(float(rtol), real)


@remembered
def matrix_power(x: Any, n: int, /) -> Tensor:
    """x @ x @ ... @ x, n factors of square matrices; the inverse of that for negative n, the identity for 0."""
    (node,) = _floating(x)
    linalg.check_matrix(node.aval, square=True)
    try:
        count = n.__index__()
    except AttributeError:
        raise ArgumentError(f"matrix_power takes an integer exponent, got {n!r}") from None
    if count < 0:
        node, count = linalg.inv(node), -count
    out: Node | None = None
    while count:
        if count & 1:
            out = node if out is None else node_matmul(out, node)
        count >>= 1
        if count:
            node = node_matmul(node, node)
    if out is None:
        out = linalg.diagonal_matrix(full(Aval(node.shape[:-1], node.dtype), 1))
    return Tensor(out)


# -- determinants and factorisations ------------------------------------------------------------------------------


@remembered
def det(x: Any, /) -> Tensor:
    """The determinants (...) of square matrices (..., M, M). The gradient is defined for singular ones too."""
    return Tensor(linalg.det(*_floating(x)))


@remembered
def slogdet(x: Any, /) -> SlogdetResult:
    """Sign and logarithm of the absolute value of the determinants: det(x) = sign * exp(logabsdet).

    Of a singular matrix the sign is 0 and the logarithm -inf.
    """
    return SlogdetResult(*_tensors(linalg.slogdet(*_floating(x))))


@remembered
def cholesky(x: Any, /, *, upper: bool = False) -> Tensor:
    """The triangular factors of Hermitian positive definite matrices: x = L @ L^H, or x = U^H @ U if `upper`.

    Only the Hermitian part (x + x^H) / 2 counts.

    Raises:
        NumericError: a matrix is not positive definite (when the result is looked at).
    """
    out = linalg.cholesky(*_floating(x))
    return Tensor(linalg.adjoint(out) if upper else out)


@remembered
def qr(x: Any, /, *, mode: str = "reduced") -> QRResult:
    """Q with orthonormal columns and R upper triangular, with x = Q @ R, for matrices (..., M, N).

    Args:
        mode: "reduced" gives Q (..., M, K) and R (..., K, N) with K = min(M, N); "complete" gives (..., M, M) and
            (..., M, N), and has no derivative where M > N.
    """
    dispatch.check_choice("mode", mode, ("reduced", "complete"))
    return QRResult(*_tensors(factorization.qr(*_floating(x), complete=mode == "complete")))


@remembered
def eigh(x: Any, /) -> EighResult:
    """Eigenvalues, ascending, and orthonormal eigenvectors (columns) of Hermitian matrices.

    Only the Hermitian part (x + x^H) / 2 counts. Vectors are unique up to sign or phase; functions that depend on
    the choice, or on the vectors of one eigenvalue that occurs twice, have no meaningful derivative.
    """
    return EighResult(*_tensors(factorization.eigh(*_floating(x))))


@remembered
def eigvalsh(x: Any, /) -> Tensor:
    """The eigenvalues (..., M), ascending, of Hermitian matrices; only (x + x^H) / 2 counts."""
    return Tensor(factorization.eigvalsh(*_floating(x)))


@remembered
def eig(x: Any, /) -> EigResult:
    """Complex eigenvalues, in no particular order, and eigenvectors of length 1 (columns) of square matrices."""
    return EigResult(*_tensors(factorization.eig(*_floating(x))))


@remembered
def eigvals(x: Any, /) -> Tensor:
    """The complex eigenvalues (..., M) of square matrices, in no particular order."""
    return Tensor(factorization.eigvals(*_floating(x)))


@remembered
def svd(x: Any, /, *, full_matrices: bool = True) -> SVDResult:
    """U, S and Vh with x = U[..., :K] @ diag(S) @ Vh[..., :K, :] and K = min(M, N); S is real and descending.

    Args:
        full_matrices: True gives U (..., M, M) and Vh (..., N, N), which has no derivative unless M = N. False
            gives U (..., M, K) and Vh (..., K, N).
    """
    return SVDResult(*_tensors(factorization.svd(*_floating(x), full=bool(full_matrices))))


@remembered
def svdvals(x: Any, /) -> Tensor:
    """The singular values (..., K) of matrices, descending."""
    return Tensor(factorization.svdvals(*_floating(x)))


@remembered
def matrix_rank(x: Any, /, *, rtol: Any = None) -> Tensor:
    """How many singular values of each matrix are larger than rtol times the largest; int64 (...).

    rtol is a number, a tensor (...) or None for max(M, N) times the precision of the dtype.
    """
    (node,) = _floating(x)
    linalg.check_matrix(node.aval)
    tolerance = _tolerance(node, rtol)
    s = factorization.svdvals(node)
    if s.shape[-1] == 0:
        return Tensor(full(Aval(s.shape[:-1], DEFAULT_INT), 0))
    if tolerance.ndim:
        tolerance = linalg.as_column(tolerance)
    counted = less(tolerance * slice_axis(s, s.ndim - 1, 0, 1), s)
    return Tensor(sum_(cast(counted, dtype=DEFAULT_INT), axes=(counted.ndim - 1,)))


# -- norms ----------------------------------------------------------------------------------------------------------


@remembered
def vector_norm(
    x: Any, /, *, axis: int | Sequence[int] | None = None, keepdims: bool = False, ord: float = 2
) -> Tensor:
    """The norm of vectors: sum(|x|**ord)**(1/ord) along `axis` (one, several, or None for all elements).

    Args:
        ord: 2 (Euclidean), 1, inf (largest), -inf (smallest absolute value), 0 (how many are not 0), or any number.

    The gradient is 0 where the norm is 0, and 0 for elements that are 0.
    """
    (node,) = _floating(x)
    axes = normalize_axes(tuple(axis) if isinstance(axis, Sequence) else axis, node.ndim)
    out = _norm(node, axes, ord)
    return _kept(out, node, axes) if keepdims else out


def _norm(x: Node, axes: tuple[int, ...], order: float) -> Tensor:
    if isinstance(order, bool) or not isinstance(order, (int, float)) or math.isnan(order):
        raise ArgumentError(f"the order of a vector norm is a number, inf or -inf, got {order!r}")
    known = {2: "2", 1: "1", 0: "0", math.inf: "inf", -math.inf: "-inf"}
    kind = known.get(order, "p")
    p = dispatch.node_of(float(order), real_dtype(x.dtype)) if kind == "p" else None
    return Tensor(
        dispatch.apply_nodes(norm_composite, (x, p), norm_composite.attrs({"axes": axes, "kind": kind}))
    )


def _kept(out: Tensor, x: Node, axes: tuple[int, ...]) -> Tensor:
    shape = tuple([1 if i in axes else n for i, n in enumerate(x.shape)])
    return Tensor(reshape(out._node, shape=shape))


@remembered
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: float | str | None = "fro") -> Tensor:
    """The norm of each matrix.

    Args:
        ord: "fro" (Frobenius), "nuc" (sum of singular values), 2 and -2 (largest and smallest singular value),
            1 and -1 (largest and smallest column sum of absolute values), inf and -inf (the same of rows).
    """
    (node,) = _floating(x)
    linalg.check_matrix(node.aval)
    last = (node.ndim - 2, node.ndim - 1)
    if ord is None or ord == "fro":
        out = _norm(node, last, 2)
    else:
        out = Tensor(_matrix_norm(node, ord))
    return _kept(out, node, last) if keepdims else out


def _matrix_norm(x: Node, order: Any) -> Node:
    if order in ("nuc", 2, -2):
        s = factorization.svdvals(x)
        if order == "nuc":
            return sum_(s, axes=(s.ndim - 1,))
        if s.shape[-1] == 0:
            raise ShapeError(f"a matrix of shape {show_shape(x.shape)} has no singular values")
        at = 0 if order == 2 else s.shape[-1] - 1
        return reshape(slice_axis(s, s.ndim - 1, at, at + 1), shape=s.shape[:-1])
    if order not in (1, -1, math.inf, -math.inf):
        raise ArgumentError(f"ord must be 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, got {order!r}")
    along = x.ndim - 2 if abs(order) == 1 else x.ndim - 1
    sums = sum_(abs_(x), axes=(along,))
    return (max_ if order > 0 else min_)(sums, axes=(sums.ndim - 1,))


# -- diagonals and products -------------------------------------------------------------------------------------


@remembered
def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """The diagonals of matrices (..., M, N): entries (i, i + offset), in a new last axis."""
    return Tensor(_diagonal(dispatch.node_of(x), offset))


def _diagonal(x: Node, offset: int) -> Node:
    if x.ndim < 2:
        raise ShapeError(f"matrices (..., M, N) expected, got shape {show_shape(x.shape)}")
    *lead, m, n = x.shape
    first = offset if offset >= 0 else -offset * n
    length = max(0, min(m - max(-offset, 0), n - max(offset, 0)))
    if length == 0:
        return full(Aval((*lead, 0), x.dtype), 0)
    # In row-major order neighbours on the diagonal are n + 1 apart.
    flat = reshape(x, shape=(*lead, m * n))
    start, limit, stride = [0] * len(lead), list(lead), [1] * len(lead)
    return slice_(
        flat,
        start=(*start, first),
        limit=(*limit, first + (length - 1) * (n + 1) + 1),
        stride=(*stride, n + 1),
    )


@remembered
def trace(x: Tensor, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sums along the diagonals of matrices, in `dtype`. None: that of x; int64 or uint64 for narrower integers."""
    node = dispatch.node_of(x)
    if node.dtype.kind == "b":
        raise DTypeError(f"trace takes numbers, got {node.aval.describe()}")
    want = _accumulator(node.dtype) if dtype is None else as_dtype(dtype)
    line = _diagonal(node, offset)
    if line.dtype is not want:
        line = cast(line, dtype=want)
    return Tensor(sum_(line, axes=(line.ndim - 1,)))


def _accumulator(dtype: DType) -> DType:
    if dtype.kind == "u":
        return uint64
    return promote(dtype, DEFAULT_INT) if dtype.kind == "i" else dtype


@remembered
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The cross products of vectors of length 3 along `axis`, counted from the end; other axes broadcast."""
    a, b = dispatch.promoted(x1, x2)
    if a.dtype.kind == "b":
        raise DTypeError(f"cross takes numbers, got {a.aval.describe()}")
    rank = min(a.ndim, b.ndim)
    if not -rank <= axis < 0:
        if not (a.ndim == b.ndim and 0 <= axis < rank):
            raise ShapeError(
                f"axis {axis} of cross must be between -{rank} and -1 for shapes {show_shape(a.shape)} and "
                f"{show_shape(b.shape)}"
            )
        axis -= rank
    if a.shape[axis] != 3 or b.shape[axis] != 3:
        raise ShapeError(
            f"cross takes vectors of length 3 along axis {axis}, got {show_shape(a.shape)} and {show_shape(b.shape)}"
        )
    broadcast_shapes(a.shape, b.shape)
    return Tensor(dispatch.apply_nodes(cross_composite, (a, b), cross_composite.attrs({"axis": axis})))


__all__ = [
    "cholesky", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "matmul", "matrix_norm",
    "matrix_power", "matrix_rank", "matrix_transpose", "outer", "pinv", "qr", "slogdet", "solve",
    "solve_triangular", "svd", "svdvals", "tensordot", "trace", "vecdot", "vector_norm",
]  # fmt: skip
