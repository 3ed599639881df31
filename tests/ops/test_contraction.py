"""Contractions: matmul against NumPy, and gradients that need no transposition."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from nodes import arrays, check_derivatives, node, run
from weft.autodiff.reverse import pullback
from weft.base.errors import DTypeError, ShapeError
from weft.ir.node import GRAD
from weft.ops.contraction import dot_general, matmul

SHAPES = [(3, 4), (2, 3, 4), (5, 1, 3, 4), (1, 3, 4)]


@pytest.mark.parametrize("xs, ys", list(product(SHAPES, SHAPES)))
def test_matmul_broadcasts_like_numpy(xs, ys, rng):
    x, y = rng.standard_normal(xs), rng.standard_normal((*ys[:-2], 4, 2))
    np.testing.assert_allclose(run(matmul, x, y), x @ y, atol=1e-13)
    check_derivatives(matmul, [x, y], order=1)


@pytest.mark.parametrize(
    "xs, ys, contract, batch",
    [
        ((5, 3), (3, 4), ((1,), (0,)), ((), ())),  # x @ w
        ((5, 3), (4, 3), ((1,), (1,)), ((), ())),  # x @ w.T
        ((3, 5), (3, 4), ((0,), (0,)), ((), ())),  # x.T @ w
        ((2, 5, 3), (2, 3, 4), ((2,), (1,)), ((0,), (0,))),
        ((2, 5, 3), (4, 3), ((2,), (1,)), ((), ())),  # a linear layer on sequences
    ],
)
def test_gradients_of_the_common_products_are_single_contractions(xs, ys, contract, batch, rng):
    x, y = node(rng.standard_normal(xs), grad=True), node(rng.standard_normal(ys), grad=True)
    out = dot_general(x, y, contract=contract, batch=batch)
    for g, of in zip(pullback([out], [node(np.ones(out.shape))], [x, y], GRAD), (x, y)):
        assert g is not None and g.prim is dot_general and g.shape == of.shape


def test_axes_in_any_order(rng):
    f = lambda x, y: dot_general(x, y, contract=((3, 0), (1, 2)), batch=((2,), (3,)))
    x, y = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((6, 5, 2, 4))
    np.testing.assert_allclose(run(f, x, y), np.einsum("abcd,edac->cbe", x, y), atol=1e-13)
    check_derivatives(f, [x, y], order=1)


def test_the_gradient_of_one_matrix_for_a_stack_is_contracted_at_once(rng):
    a, y = node(rng.standard_normal((3, 4)), grad=True), node(rng.standard_normal((6, 4, 2)))
    out = matmul(a, y)
    (g,) = pullback([out], [node(np.ones((6, 3, 2)))], [a], GRAD)
    np.testing.assert_allclose(arrays(g)[0], np.tile(arrays(y)[0].sum((0, 2)), (3, 1)), rtol=1e-12)


def test_errors():
    with pytest.raises(
        ShapeError, match=r"axis 1 of float64 \(2, 3\) and axis 0 of float64 \(4, 2\).*3 and 4"
    ):
        matmul(node(np.ones((2, 3))), node(np.ones((4, 2))))
    with pytest.raises(DTypeError, match="one dtype"):
        matmul(node(np.ones((2, 3))), node(np.ones((3, 2), np.float32)))
