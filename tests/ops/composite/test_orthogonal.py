"""Exponentials of matrices and orthogonal matrices, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from composites import Case, composite_tests, run, spread
from weft.base.errors import ShapeError
from weft.ops.composite import orthogonal as c

SQUARE, TALL, STACK = spread(4, 4), spread(5, 3), spread(2, 3, 3)


def _torch(name):
    def call(x):
        import torch

        n, k = x.shape[-2:]
        if name == "matrix_exp":
            return torch.matrix_exp(x)
        if name == "skew":
            low = torch.nn.functional.pad(x.tril(), (0, n - k))
            return low - low.mT
        if name == "cayley":
            eye = torch.eye(n, dtype=x.dtype)
            return torch.linalg.solve(eye - x / 2, eye + x / 2)
        below = x.tril(-1)
        q = torch.linalg.householder_product(below, 2 / (1 + (below * below).sum(-2)))
        return q * x.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)

    return call


CASES = [
    Case("matrix_exp", c.matrix_exp, (SQUARE,), _torch("matrix_exp"), tol=1e-5),
    Case("matrix_exp", c.matrix_exp, (STACK,), _torch("matrix_exp"), label="stack", tol=1e-5),
    Case("matrix_exp", c.matrix_exp, (SQUARE * 0,), _torch("matrix_exp"), label="zero"),
    Case("skew_matrix", c.skew_matrix, (SQUARE,), _torch("skew")),
    Case("skew_matrix", c.skew_matrix, (TALL,), _torch("skew"), label="tall"),
    Case("cayley", c.cayley, (0.3 * SQUARE,), _torch("cayley")),
    Case("householder_columns", c.householder_columns, (SQUARE + np.eye(4),), _torch("householder")),
    Case("householder_columns", c.householder_columns, (TALL + 1,), _torch("householder"), label="tall"),
    Case("householder_columns", c.householder_columns, (STACK,), _torch("householder"), label="stack"),
]

test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(CASES)


@pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize(("dtype", "unit"), [("float64", 2e-14), ("float32", 1e-6)])
def test_the_exponential_of_a_skew_matrix_is_orthogonal_whatever_its_size(size, dtype, unit):
    tol = unit * max(size, 1)  # rounding errors of angles grow with the angles
    a = np.random.default_rng(0).standard_normal((6, 6))
    a = (size * (a - a.T)).astype(dtype)
    q = run(c.matrix_exp, a)
    assert q.dtype == dtype
    np.testing.assert_allclose(q.T @ q, np.eye(6), atol=tol)
    values, vectors = np.linalg.eig(a.astype("float64"))
    exact = (vectors * np.exp(values)) @ np.linalg.inv(vectors)
    if size <= 30:
        np.testing.assert_allclose(q, exact.real, atol=10 * tol)


def test_matrices_that_are_not_square_are_refused():
    with pytest.raises(ShapeError, match="square"):
        run(c.matrix_exp, TALL)
