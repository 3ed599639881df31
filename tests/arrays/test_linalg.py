"""The linalg namespace against NumPy: values, shapes, dtypes, named results; norms and their gradients."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import weft as wf
from weft.arrays import linalg
from weft.base.errors import ArgumentError, DTypeError, NumericError, ShapeError


def data(shape, rng, kind="f"):
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if kind == "c" else x


def definite(shape, rng, kind="f"):
    x = data(shape, rng, kind)
    return x @ x.conj().swapaxes(-1, -2) + np.eye(shape[-1])


KINDS = pytest.mark.parametrize("kind", ["f", "c"])
SQUARES = pytest.mark.parametrize("shape", [(3, 3), (2, 2, 2), (1, 1), (0, 0), (2, 0, 4, 4)])
SHAPES = pytest.mark.parametrize("shape", [(3, 4), (2, 4, 3), (3, 3), (0, 3), (2, 1, 0)])


# -- systems, inverses, determinants --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "inv",
        "det",
        "slogdet",
        "cholesky",
        "qr",
        "svd",
        "eigh",
        "eigvalsh",
        "pinv",
        "matrix_rank",
        "matrix_norm",
    ],
)
def test_what_recurs_is_the_same(name, rng):
    function, found = getattr(linalg, name), []
    x = wf.asarray(definite((4, 4), rng))
    for grad in (False, False, True, True):
        x.requires_grad = grad
        found.append(function(x * 1.0))
    first, *others = [[t.numpy() for t in (f if isinstance(f, tuple) else (f,))] for f in found]
    for f, values in zip(found[1:], others, strict=True):
        assert type(f) is type(found[0])
        for value, want in zip(values, first, strict=True):
            np.testing.assert_array_equal(value, want)
    differentiable = [t.requires_grad for t in (found[3] if isinstance(found[3], tuple) else (found[3],))]
    assert differentiable == [
        t.requires_grad for t in (found[2] if isinstance(found[2], tuple) else (found[2],))
    ]


def test_results_that_are_held_while_others_are_computed(rng):
    """Steps that Python computes find their operands and results wherever they are in each run."""
    f = wf.compile(lambda a, b: (linalg.solve(a + 1.0, b), linalg.inv(a) * 2.0))
    given = [(definite((5, 5), rng), data((5, 2), rng)) for _ in range(6)]
    held = [f(wf.asarray(a), wf.asarray(b)) for a, b in given]
    with ThreadPoolExecutor(3) as pool:
        held += pool.map(lambda pair: f(*map(wf.asarray, pair)), given * 5)
    for (a, b), (x, y) in zip(given * 6, held, strict=True):
        np.testing.assert_allclose(x.numpy(), np.linalg.solve(a + 1.0, b), rtol=1e-8)
        np.testing.assert_allclose(y.numpy(), 2.0 * np.linalg.inv(a), rtol=1e-8)


@KINDS
@SQUARES
@pytest.mark.parametrize("name", ["inv", "det", "eigvalsh", "slogdet", "cholesky"])
def test_functions_of_square_matrices(name, shape, kind, rng):
    x = definite(shape, rng, kind)
    got, want = getattr(linalg, name)(wf.asarray(x)), getattr(np.linalg, name)(x)
    for g, w in zip(got, want) if isinstance(got, tuple) else [(got, want)]:
        assert g.shape == w.shape
        assert str(g.dtype) == str(w.dtype)
        np.testing.assert_allclose(g.numpy(), w, atol=1e-10)


@KINDS
@pytest.mark.parametrize(
    "a, b",
    [
        ((3, 3), (3,)),
        ((3, 3), (3, 2)),
        ((2, 3, 3), (3, 1)),
        ((3, 3), (2, 3, 2)),
        ((2, 1, 3, 3), (4, 3, 2)),
        ((2, 3, 3), (3,)),
    ],
)
def test_solve(a, b, kind, rng):
    x, y = definite(a, rng, kind), data(b, rng, kind)
    got = linalg.solve(wf.asarray(x), wf.asarray(y)).numpy()
    right = y[:, None] if y.ndim == 1 else y
    want = np.linalg.solve(
        x, np.broadcast_to(right, (*np.broadcast_shapes(a[:-2], right.shape[:-2]), *right.shape[-2:]))
    )
    np.testing.assert_allclose(got, want[..., 0] if y.ndim == 1 else want, atol=1e-10)
    lower = linalg.solve_triangular(wf.asarray(x), wf.asarray(y)).numpy()
    rest = np.tril(x) @ (lower[..., None] if y.ndim == 1 else lower) - right
    np.testing.assert_allclose(rest, 0 * rest, atol=1e-10)
    upper = linalg.solve_triangular(wf.asarray(x), wf.asarray(y), upper=True, unit_diagonal=True).numpy()
    rest = (np.triu(x, 1) + np.eye(a[-1])) @ (upper[..., None] if y.ndim == 1 else upper) - right
    np.testing.assert_allclose(rest, 0 * rest, atol=1e-8)


@pytest.mark.parametrize("n", [1, 100, 101, 257])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("unit", [False, True])
def test_triangles_of_any_size(n, dtype, upper, unit, rng):
    """In blocks where they are large. The other triangle, here of NaN, is not read."""
    a = data((2, n, n), rng, "c" if dtype == "complex64" else "f") / n
    a += 2.0 * np.eye(n)
    b = data((2, n, 3), rng)
    triangle = np.triu(a) if upper else np.tril(a)
    if unit:
        np.einsum("...ii->...i", triangle)[...] = 1.0
    want = np.linalg.solve(triangle, b)
    other = np.tri(n, k=-1, dtype=bool)
    given = np.where(other if upper else other.T, np.nan, a)
    got = linalg.solve_triangular(
        wf.asarray(given.astype(dtype)), wf.asarray(b.astype(dtype)), upper=upper, unit_diagonal=unit
    )
    assert str(got.dtype) == dtype
    np.testing.assert_allclose(got.numpy(), want, atol=1e-13 if dtype == "float64" else 1e-5)


def test_mixed_dtypes_are_promoted():
    a, b = wf.asarray([[2.0, 0.0], [0.0, 4.0]]), wf.asarray([2, 2])
    out = linalg.solve(a, b)
    assert str(out.dtype) == "float32" and out.numpy().tolist() == [1, 0.5]
    assert str(linalg.det(wf.asarray([[1, 2], [3, 4]])).dtype) == "float32"
    assert str(linalg.inv(wf.eye(2, dtype="complex64")).dtype) == "complex64"


@KINDS
@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 5])
def test_matrix_power(n, kind, rng):
    x = definite((2, 3, 3), rng, kind) / 4
    np.testing.assert_allclose(
        linalg.matrix_power(wf.asarray(x), n).numpy(), np.linalg.matrix_power(x, n), rtol=1e-8
    )


@KINDS
@SHAPES
def test_pinv_and_rank(shape, kind, rng):
    x = data(shape, rng, kind)
    if x.size:
        x[..., -1, :] = x[..., 0, :]
    np.testing.assert_allclose(linalg.pinv(wf.asarray(x)).numpy(), np.linalg.pinv(x, rcond=1e-12), atol=1e-9)
    got = linalg.matrix_rank(wf.asarray(x))
    assert str(got.dtype) == "int64"
    np.testing.assert_array_equal(got.numpy(), np.linalg.matrix_rank(x))


def test_tolerances():
    x = np.stack([np.diag([1.0, 1e-3]), np.diag([10.0, 1e-3])])
    t = wf.asarray(x)
    assert linalg.matrix_rank(t, rtol=1e-2).numpy().tolist() == [1, 1]
    assert linalg.matrix_rank(t, rtol=wf.asarray([1e-4, 1e-2], dtype="float64")).numpy().tolist() == [2, 1]
    p = linalg.pinv(t, rtol=wf.asarray([1e-4, 1e-2], dtype="float64")).numpy()
    np.testing.assert_allclose(p[:, 1, 1], [1000, 0])
    assert linalg.matrix_rank(wf.ones((3, 3))).item() == 1  # float32's own precision


# -- factorisations -----------------------------------------------------------------------------------------------


@KINDS
@SHAPES
def test_qr_and_svd(shape, kind, rng):
    x = data(shape, rng, kind)
    m, n = shape[-2:]
    k = min(m, n)
    for mode, width in (("reduced", k), ("complete", m)):
        q, r = linalg.qr(wf.asarray(x), mode=mode)
        assert q.shape == (*shape[:-2], m, width) and r.shape == (*shape[:-2], width, n)
        np.testing.assert_allclose((q @ r).numpy(), x, atol=1e-12)
        np.testing.assert_allclose(np.tril(r.numpy(), -1), 0)
    for full in (False, True):
        found = linalg.svd(wf.asarray(x), full_matrices=full)
        u, s, vh = (v.numpy() for v in found)
        assert u.shape[-1] == (m if full else k) and vh.shape[-2] == (n if full else k)
        np.testing.assert_allclose((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], x, atol=1e-12)
    assert found._fields == ("U", "S", "Vh") and found.S.dtype == wf.float64
    np.testing.assert_allclose(linalg.svdvals(wf.asarray(x)).numpy(), s, atol=1e-12)


@KINDS
@SQUARES
def test_eigenvalues(shape, kind, rng):
    x = definite(shape, rng, kind)
    w, v = linalg.eigh(wf.asarray(x))
    np.testing.assert_allclose((v * wf.expand_dims(w, axis=-2)).numpy(), x @ v.numpy(), atol=1e-10)
    x = data(shape, rng, kind)
    found = linalg.eig(wf.asarray(x))
    assert found._fields == ("eigenvalues", "eigenvectors") and found.eigenvalues.dtype == wf.complex128
    values, vectors = (t.numpy() for t in found)
    np.testing.assert_allclose(vectors * values[..., None, :], x @ vectors, atol=1e-10)
    np.testing.assert_allclose(
        np.sort_complex(linalg.eigvals(wf.asarray(x)).numpy()), np.sort_complex(values), atol=1e-10
    )


@KINDS
def test_cholesky_upper(kind, rng):
    x = definite((2, 3, 3), rng, kind)
    u = linalg.cholesky(wf.asarray(x), upper=True).numpy()
    np.testing.assert_allclose(u.conj().swapaxes(-1, -2) @ u, x, atol=1e-12)
    np.testing.assert_allclose(np.tril(u, -1), 0)


# -- norms ----------------------------------------------------------------------------------------------------------

ORDERS = [2, 1, 0, np.inf, -np.inf, 3, 2.5, 0.5, -1, -2, -0.5]


@KINDS
@pytest.mark.parametrize("order", ORDERS)
def test_vector_norm(order, kind, rng):
    x = data((3, 4, 2), rng, kind)
    for axis in (None, 1, (0, 2), -1):
        got = linalg.vector_norm(wf.asarray(x), axis=axis, ord=order, keepdims=True)
        want = np.linalg.vector_norm(x, axis=axis, ord=order, keepdims=True)
        assert got.shape == want.shape and got.dtype == wf.float64
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-12)
    assert linalg.vector_norm(wf.asarray(x), ord=order).shape == ()


@pytest.mark.parametrize("order", ORDERS)
def test_vector_norm_with_zeros(order):
    x = np.array([[0.0, 3.0, -4.0], [0.0, 0.0, 0.0]])
    with np.errstate(divide="ignore"):
        want = np.linalg.vector_norm(x, axis=1, ord=order)
    np.testing.assert_allclose(linalg.vector_norm(wf.asarray(x), axis=1, ord=order).numpy(), want)
    gradient = wf.grad(lambda x: wf.sum(linalg.vector_norm(x, axis=1, ord=order)))(wf.asarray(x)).numpy()
    assert np.isfinite(gradient).all()
    if order in (2, 3, 1, 2.5):
        assert not gradient[1].any() and gradient[0, 0] == 0


@KINDS
@pytest.mark.parametrize("order", [2, 1, np.inf, -np.inf, 3, -1])
def test_gradient_of_vector_norm_agrees_with_torch(order, kind, rng):
    torch = pytest.importorskip("torch")
    x = data((3, 4), rng, kind)
    given = torch.tensor(x, requires_grad=True)
    (want,) = torch.autograd.grad(torch.linalg.vector_norm(given, dim=1, ord=order).square().sum(), given)
    f = lambda x: wf.sum(linalg.vector_norm(x, axis=1, ord=order) ** 2)
    np.testing.assert_allclose(wf.grad(f)(wf.asarray(x)).numpy(), want.numpy(), rtol=1e-9)


def test_a_norm_of_half_precision_does_not_overflow():
    assert linalg.vector_norm(wf.asarray([300.0, 400.0], dtype="float16")).item() == 500


def test_second_derivative_of_the_norm_at_zero_is_zero():
    f = lambda x: linalg.vector_norm(x)
    assert not wf.hessian(f)(wf.zeros(3)).numpy().any()


@KINDS
@pytest.mark.parametrize("order", ["fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf])
def test_matrix_norm(order, kind, rng):
    x = data((2, 3, 4), rng, kind)
    for keep in (False, True):
        got = linalg.matrix_norm(wf.asarray(x), ord=order, keepdims=keep)
        want = np.linalg.matrix_norm(x, ord=order, keepdims=keep)
        assert got.shape == want.shape
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-12)


# -- diagonals and products ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, -1, 3, -2, 7, -7])
def test_diagonal_and_trace(offset, rng):
    for shape in ((3, 4), (2, 4, 3), (1, 1), (2, 0, 3)):
        x = rng.standard_normal(shape)
        np.testing.assert_array_equal(
            linalg.diagonal(wf.asarray(x), offset=offset).numpy(), np.linalg.diagonal(x, offset=offset)
        )
        np.testing.assert_allclose(
            linalg.trace(wf.asarray(x), offset=offset).numpy(), np.linalg.trace(x, offset=offset), rtol=1e-14
        )


def test_the_dtype_of_trace():
    kinds = {
        "int8": "int64",
        "uint16": "uint64",
        "float32": "float32",
        "complex64": "complex64",
        "uint64": "uint64",
    }
    for given, want in kinds.items():
        assert str(linalg.trace(wf.eye(2, dtype=given)).dtype) == want
    assert linalg.trace(wf.full((2, 2), 100, dtype="int8")).item() == 200
    assert str(linalg.trace(wf.eye(2), dtype="float64").dtype) == "float64"
    assert linalg.diagonal(wf.asarray([[True, False], [False, False]])).numpy().tolist() == [True, False]


@KINDS
@pytest.mark.parametrize(
    "a, b, axis", [((3,), (3,), -1), ((2, 3), (3,), -1), ((3, 4), (3, 1), -2), ((2, 1, 3), (4, 3), -1)]
)
def test_cross(a, b, axis, kind, rng):
    x, y = data(a, rng, kind), data(b, rng, kind)
    got = linalg.cross(wf.asarray(x), wf.asarray(y), axis=axis)
    np.testing.assert_allclose(got.numpy(), np.cross(x, y, axis=axis), atol=1e-14)
    assert linalg.cross(wf.asarray([1, 0, 0]), wf.asarray([0, 1, 0])).numpy().tolist() == [0, 0, 1]


def test_products_are_those_of_the_main_namespace():
    for name in ("matmul", "matrix_transpose", "outer", "tensordot", "vecdot"):
        assert callable(getattr(linalg, name))
    assert linalg.outer(wf.asarray([1, 2]), wf.asarray([3, 4])).numpy().tolist() == [[3, 4], [6, 8]]


# -- through the transformations --------------------------------------------------------------------------------


def test_inside_vmap_grad_and_compile(rng):
    x = definite((4, 3, 3), rng)
    f = lambda a: linalg.slogdet(a).logabsdet + linalg.svdvals(a)[0]
    g = wf.compile(wf.vmap(wf.grad(f)))
    want = np.stack([wf.grad(f)(wf.asarray(a)).numpy() for a in x])
    np.testing.assert_allclose(g(wf.asarray(x)).numpy(), want, atol=1e-12)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: linalg.inv(wf.zeros((2, 2))).numpy(), NumericError, "inv.*Singular"),
        (lambda: linalg.cholesky(wf.zeros((2, 2))).numpy(), NumericError, "cholesky"),
        (lambda: linalg.solve(wf.zeros((2, 2)), wf.ones(2)).numpy(), NumericError, "solve"),
        (lambda: linalg.inv(wf.zeros((2, 3))), ShapeError, r"inv.*\(2, 3\)"),
        (lambda: linalg.solve(wf.eye(3), wf.ones(2)), ShapeError, r"\(\.\.\., 3, K\).*\(2,\)"),
        (lambda: linalg.qr(wf.eye(3), mode="raw"), ArgumentError, "'reduced', 'complete'"),
        (lambda: linalg.matrix_norm(wf.eye(3), ord=3), ArgumentError, "'fro'"),
        (lambda: linalg.vector_norm(wf.ones(3), ord="two"), ArgumentError, "'two'"),
        (lambda: linalg.matrix_power(wf.eye(3), 0.5), ArgumentError, "integer"),
        (lambda: linalg.cross(wf.ones(2), wf.ones(2)), ShapeError, "length 3"),
        (lambda: linalg.trace(wf.ones(2)), ShapeError, r"\(2,\)"),
        (lambda: linalg.trace(wf.ones((2, 2), dtype="bool")), DTypeError, "bool"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
