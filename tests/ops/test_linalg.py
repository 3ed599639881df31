"""Linear algebra: the rules of every primitive on its samples, PyTorch's gradients, singular input."""

from __future__ import annotations

import numpy as np
import pytest

from nodes import arrays, check_derivatives, node, run
from weft.autodiff.reverse import pullback
from weft.base.errors import DTypeError, GradientError, NumericError, ShapeError
from weft.ir.node import GRAD, Node
from weft.ir.primitive import results
from weft.ops import factorization as f
from weft.ops import linalg as la
from weft.ops.reduce import sum_


def outputs(prim, **attrs):
    return lambda *args: results(prim(*args, **attrs))


# -- functions of the factors that do not depend on the choice of phases ----------------------------------------


def of_svd(a):
    u, s, vh = results(f.svd(a, full=False))
    squares = la.matmul(u * la.like(la.as_row(s * s), u), vh)
    return squares, la.matmul(u * la.like(la.as_row(s), u), la.adjoint(u))


def of_eigh(a):
    w, v = results(f.eigh(a))
    return la.matmul(v * la.like(la.as_row(w * w * w), v), la.adjoint(v))


def of_eig(a):
    w, v = results(f.eig(a))
    lengths = sum_(v * la.conjugate(v), axes=(v.ndim - 2,))
    return la.matmul(v * la.as_row(w * w * w), la.inv(v)), la.matmul(v, la.adjoint(v)), lengths


def of_pinv(a):
    return f.pinv(a, node(np.array(1e-9)))


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 3), (2, 3)])
@pytest.mark.parametrize("function", [of_svd, of_pinv, of_eigh, of_eig])
@pytest.mark.parametrize("complex", [False, True], ids=["real", "complex"])
def test_derivatives_of_what_does_not_depend_on_phases(function, shape, complex, rng):
    if function in (of_eigh, of_eig):
        shape = (*shape[:-1], shape[-2])
    a = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if complex else 0)
    check_derivatives(function, [a], tol=1e-5)


# -- PyTorch --------------------------------------------------------------------------------------------------


def definite(x):
    return x @ x.conj().swapaxes(-1, -2) + np.eye(x.shape[-1])


def _cases():
    import weft.ops.elementwise as e

    square = lambda x: la.matmul(x, la.adjoint(x))
    return {
        "solve": (lambda a, b: la.solve(a, b), lambda t, a, b: t.linalg.solve(a, b), [(2, 3, 3), (2, 3, 2)]),
        "inv": (la.inv, lambda t, a: t.linalg.inv(a), [(2, 3, 3)]),
        "det": (la.det, lambda t, a: t.linalg.det(a), [(2, 3, 3)]),
        "logdet": (
            lambda a: outputs(la.slogdet)(a)[1],
            lambda t, a: t.linalg.slogdet(a)[1],
            [(2, 3, 3)],
        ),
        "cholesky": (lambda a: la.cholesky(square(a)), lambda t, a: t.linalg.cholesky(a @ a.mH), [(2, 3, 3)]),
        "pinv": (
            lambda a: f.pinv(a, node(np.array(1e-12))),
            lambda t, a: t.linalg.pinv(a, rtol=1e-12),
            [(2, 4, 3)],
        ),
        "eigvalsh": (lambda a: f.eigvalsh(square(a)), lambda t, a: t.linalg.eigvalsh(a @ a.mH), [(2, 3, 3)]),
        "eigvals": (f.eigvals, lambda t, a: t.linalg.eigvals(a), [(3, 3)]),
        "svdvals": (f.svdvals, lambda t, a: t.linalg.svdvals(a), [(2, 3, 4)]),
        "qr": (
            lambda a: outputs(f.qr, complete=False)(a)[1],
            lambda t, a: t.linalg.qr(a)[1],
            [(2, 4, 3)],
        ),
        "triangular": (
            lambda a, b: la.triangular_solve(a, b, lower=False, unit_diagonal=False),
            lambda t, a, b: t.linalg.solve_triangular(a.triu(), b, upper=True),
            [(2, 3, 3), (2, 3, 2)],
        ),
        "exp": (lambda a: e.exp(la.det(a)), lambda t, a: t.exp(t.linalg.det(a)), [(3, 3)]),
    }


@pytest.mark.parametrize("complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("name", list(_cases()))
def test_agrees_with_torch(name, complex, rng):
    torch = pytest.importorskip("torch")
    ours, theirs, shapes = _cases()[name]
    data = [rng.standard_normal(s) + (1j * rng.standard_normal(s) if complex else 0) for s in shapes]
    given = [torch.tensor(x, requires_grad=True) for x in data]
    want = theirs(torch, *given)
    weight = rng.standard_normal(tuple(want.shape))
    if want.is_complex():
        weight = weight + 1j * rng.standard_normal(weight.shape)
    loss = (want * torch.tensor(weight).conj()).sum().real
    expected = torch.autograd.grad(loss, given)
    nodes = [node(x, grad=True) for x in data]
    out = ours(*nodes)
    assert isinstance(out, Node)
    found = pullback([out], [node(weight.astype(arrays(out)[0].dtype))], nodes, GRAD)
    np.testing.assert_allclose(arrays(out)[0], want.detach().numpy(), rtol=1e-9, atol=1e-9)
    for got, exact in zip(found, expected):
        np.testing.assert_allclose(arrays(got)[0], exact.numpy(), rtol=1e-7, atol=1e-7)


# -- particular values ----------------------------------------------------------------------------------------


def test_the_gradient_of_det_at_singular_matrices():
    for a in (np.array([[1.0, 2.0], [2.0, 4.0]]), np.zeros((2, 2)), np.diag([0.0, 2.0])):
        x = node(a, grad=True)
        (g,) = pullback([la.det(x)], [node(1.0)], [x], GRAD)
        (found,) = arrays(g)
        np.testing.assert_allclose(found, [[a[1, 1], -a[1, 0]], [-a[0, 1], a[0, 0]]], atol=1e-12)


def test_slogdet_of_a_singular_matrix():
    sign, log = run(outputs(la.slogdet), np.ones((2, 2)))
    assert sign == 0 and log == -np.inf


def test_equal_singular_and_eigenvalues_give_finite_gradients():
    for prim in (f.svdvals, f.eigvalsh):
        x = node(np.eye(3), grad=True)
        (g,) = pullback([sum_(prim(x), axes=(0,))], [node(1.0)], [x], GRAD)
        np.testing.assert_allclose(arrays(g)[0], np.eye(3), atol=1e-12)
    x = node(np.eye(3), grad=True)
    _, v = outputs(f.eigh)(x)
    (g,) = pullback([v], [node(np.ones((3, 3)))], [x], GRAD)
    assert np.isfinite(arrays(g)[0]).all()


def test_pinv_of_a_rank_deficient_matrix_differentiates_at_constant_rank(rng):
    # a = b c with b 4 x 2 and c 2 x 3 keeps rank 2, whatever b and c are.
    b, c = rng.standard_normal((4, 2)), rng.standard_normal((2, 3))
    check_derivatives(lambda b, c: f.pinv(la.matmul(b, c), node(np.array(1e-9))), [b, c], tol=1e-5)


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("unit", [False, True])
def test_triangular_solve_reads_one_triangle(lower, unit, rng):
    a, b = rng.standard_normal((3, 3)) + 3 * np.eye(3), rng.standard_normal((3, 2))
    clean = np.tril(a, -unit) if lower else np.triu(a, unit)
    spoilt = np.where(clean != 0, a, np.nan)
    got = run(lambda a, b: la.triangular_solve(a, b, lower=lower, unit_diagonal=unit), spoilt, b)
    np.testing.assert_allclose((clean + unit * np.eye(3)) @ got, b, atol=1e-12)


@pytest.mark.parametrize(
    "call, title",
    [
        (lambda: run(la.inv, np.zeros((2, 2))), "inv"),
        (lambda: run(la.solve, np.ones((2, 2)), np.ones((2, 1))), "solve"),
        (lambda: run(la.cholesky, -np.eye(2)), "cholesky"),
        (lambda: run(outputs(f.svd, full=False), np.full((2, 2), np.nan)), "svd"),
    ],
)
def test_singular_input_names_the_operation(call, title):
    with pytest.raises(NumericError, match=title):
        call()


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: la.inv(node(np.zeros((2, 3)))), ShapeError, r"inv.*square.*\(2, 3\)"),
        (lambda: la.det(node(np.zeros(3))), ShapeError, r"det.*\(3,\)"),
        (lambda: la.inv(node(np.zeros((2, 2), int))), DTypeError, "floating or complex"),
        (lambda: la.solve(node(np.eye(3)), node(np.zeros((2, 1)))), ShapeError, r"\(3, K\).*\(2, 1\)"),
        (lambda: la.solve(node(np.eye(3)), node(np.zeros((3, 1), np.float32))), DTypeError, "one dtype"),
        (lambda: f.qr(node(np.zeros(3)), complete=False), ShapeError, r"\(\.\.\., M, N\)"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("prim, attrs", [(f.qr, {"complete": True}), (f.svd, {"full": True})])
def test_arbitrary_factors_have_no_derivative(prim, attrs):
    x = node(np.arange(6.0).reshape(3, 2), grad=True)
    outs = results(prim(x, **attrs))
    with pytest.raises(GradientError, match=r"3 x 2.*(reduced|full_matrices=False)"):
        pullback([outs[0]], [node(np.ones(outs[0].shape))], [x], GRAD)


def test_factors_can_be_looked_at_one_by_one():
    x = node(np.diag([1.0, 2.0]), grad=True)
    w, v = outputs(f.eigh)(x)
    assert arrays(w)[0].tolist() == [1, 2]
    np.testing.assert_allclose(np.abs(arrays(v)[0]), np.eye(2))


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize(
    ("shape", "columns", "dtype"),
    [
        ((257,), 1, np.float32),
        ((2, 130), 7, np.float64),
        ((101,), 0, np.float32),
        ((3, 140), 2, np.complex64),
        ((100,), 5, np.float32),
    ],
)
def test_large_triangles_are_solved_in_parts(shape, columns, dtype, unit, lower):
    rng = np.random.default_rng(3)
    *lead, n = shape
    a = (rng.normal(size=(*lead, n, n)) / n).astype(dtype)
    a[..., range(n), range(n)] += 2
    b = rng.normal(size=(*lead, n, columns)).astype(dtype)
    t = np.tril(a, -unit) if lower else np.triu(a, unit)
    t = t + unit * np.eye(n)
    (a if lower else np.swapaxes(a, -1, -2))[..., 0, 1:] = np.nan  # the other triangle, which is not read
    x = la.triangular_solve.evaluate(a, b, lower=lower, unit_diagonal=unit)
    assert x.dtype == dtype and x.shape == b.shape
    exact = np.float64 if dtype is np.float64 else np.float32
    np.testing.assert_allclose(t @ x, b, rtol=0, atol=50 * np.finfo(exact).eps)


def test_a_large_triangle_that_is_singular_is_an_error():
    a = np.eye(150)
    a[20, 20] = 0
    with pytest.raises(np.linalg.LinAlgError):
        la.triangular_solve.evaluate(a, np.ones((150, 1)), lower=True, unit_diagonal=False)
