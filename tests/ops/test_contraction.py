"""Contractions against NumPy, what they refuse, and gradients that need no transposition."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from nodes import arrays, check_derivatives, node, run, same
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
    with pytest.raises(ShapeError, match="two or more dimensions"):
        matmul(node(np.ones(3)), node(np.ones((3, 2))))


CASES = [
    ("ij,jk->ik", (2, 3), (3, 4), ((1,), (0,)), ((), ())),
    ("ij,kj->ik", (2, 3), (4, 3), ((1,), (1,)), ((), ())),
    ("ji,jk->ik", (3, 2), (3, 4), ((0,), (0,)), ((), ())),
    ("i,i->", (3,), (3,), ((0,), (0,)), ((), ())),
    ("i,j->ij", (3,), (2,), ((), ()), ((), ())),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5), ((2,), (1,)), ((0,), (0,))),
    ("ijb,bjk->bik", (3, 4, 2), (2, 4, 5), ((1,), (1,)), ((2,), (0,))),
    ("abij,abkj->abik", (2, 3, 4, 5), (2, 3, 2, 5), ((3,), (3,)), ((0, 1), (0, 1))),
    ("ijkl,lkm->ijm", (2, 3, 4, 5), (5, 4, 2), ((2, 3), (1, 0)), ((), ())),
    ("bi,bi->b", (2, 3), (2, 3), ((1,), (1,)), ((0,), (0,))),
    ("b,b->b", (3,), (3,), ((), ()), ((0,), (0,))),
]


@pytest.mark.parametrize(("formula", "xs", "ys", "contract", "batch"), CASES)
def test_is_einsum(formula, xs, ys, contract, batch, rng):
    for kind in (np.float64, np.complex128, np.int64):
        x, y = [
            (rng.standard_normal(s) * 4 + (1j if kind is np.complex128 else 0)).astype(kind) for s in (xs, ys)
        ]
        got = run(lambda a, b: dot_general(a, b, contract=contract, batch=batch), x, y)
        np.testing.assert_allclose(got, np.einsum(formula, x, y), rtol=1e-13, atol=1e-13)
        if kind is not np.int64:
            check_derivatives(lambda a, b: dot_general(a, b, contract=contract, batch=batch), [x, y])


def test_special_values():
    plain = {"contract": ((1,), (0,)), "batch": ((), ())}
    same(run(lambda a, b: dot_general(a, b, **plain), np.ones((2, 0)), np.ones((0, 3))), np.zeros((2, 3)))
    x, y = np.array([[np.inf, 1.0], [np.nan, 1.0], [1.0, 1.0]]), np.array([[0.0], [1.0]])
    same(run(lambda a, b: dot_general(a, b, **plain), x, y), np.array([[np.nan], [np.nan], [1.0]]))
    same(run(lambda a, b: dot_general(a, b, **plain), np.int8([[100]]), np.int8([[2]])), np.int8([[-56]]))


def test_16_bit_products_are_summed_in_single_precision():
    x = np.ones((1, 5000), np.float16)
    got = run(lambda a, b: dot_general(a, b, contract=((1,), (1,)), batch=((), ())), x, x)
    same(got, np.float16([[5000]]))


@pytest.mark.parametrize(
    ("x", "y", "contract", "batch", "error", "words"),
    [
        (np.ones((2, 3)), np.ones((4, 2)), ((1,), (0,)), ((), ()), ShapeError, "sizes 3 and 4"),
        (np.ones((2, 3)), np.ones((3, 2)), ((1,), (0, 1)), ((), ()), ShapeError, "as many contracted axes"),
        (np.ones((2, 3)), np.ones((3, 2)), ((2,), (0,)), ((), ()), ShapeError, "not distinct axes"),
        (np.ones((2, 3)), np.ones((2, 3)), ((0,), (0,)), ((0,), (0,)), ShapeError, "not distinct axes"),
        (np.ones((2, 3)), np.ones((3, 2), int), ((1,), (0,)), ((), ()), DTypeError, "one dtype"),
        (np.ones((2, 3)) > 0, np.ones((3, 2)) > 0, ((1,), (0,)), ((), ()), DTypeError, "cast to an integer"),
    ],
)
def test_errors_of_dot_general(x, y, contract, batch, error, words):
    with pytest.raises(error, match=words):
        run(lambda a, b: dot_general(a, b, contract=contract, batch=batch), x, y)
