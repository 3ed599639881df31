"""Reductions: special values, nothing to reduce, ties, zeros, open dimensions."""

import numpy as np
import pytest

from nodes import check_derivatives, gradients, run, same
from weft.base.errors import DTypeError, ShapeError
from weft.ops import reduce as r
from weft.ops.statistics import mean, var

inf, nan = np.inf, np.nan


def over(function, *axes):
    return lambda x: function(x, axes=axes)


@pytest.mark.parametrize(
    ("function", "numpy"),
    [
        (r.sum_, np.sum),
        (r.prod, np.prod),
        (r.max_, np.max),
        (r.min_, np.min),
        (r.any_, np.any),
        (r.all_, np.all),
    ],
)
@pytest.mark.parametrize("axes", [(), (0,), (2,), (0, 2), (0, 1, 2)])
def test_as_numpy(function, numpy, axes, rng):
    x = rng.standard_normal((2, 3, 4))
    if numpy in (np.any, np.all):
        x = x > 0
    np.testing.assert_allclose(run(over(function, *axes), x), numpy(x, axis=axes), rtol=1e-15)


def test_nothing_to_reduce():
    x = np.ones((2, 0))
    same(run(over(r.sum_, 1), x), np.zeros(2))
    same(run(over(r.prod, 1), x), np.ones(2))
    same(run(over(r.any_, 1), x > 0), np.zeros(2, bool))
    same(run(over(r.all_, 1), x > 0), np.ones(2, bool))
    for f in (r.max_, r.min_):
        with pytest.raises(ShapeError, match="empty"):
            run(over(f, 1), x)
        same(run(over(f, 0), x), np.ones(0))
    for f in (r.argmax, r.argmin):
        with pytest.raises(ShapeError, match="empty"):
            run(lambda v, f=f: f(v, axis=1), x)


def test_16_bit_sums_do_not_stop_growing():
    x = np.ones(5000, np.float16)
    same(run(over(r.sum_, 0), x), np.float16(5000))


def test_integers_wrap_and_booleans_are_refused():
    same(run(over(r.sum_, 0), np.uint8([200, 100])), np.uint8(44))
    for f in (r.sum_, r.prod):
        with pytest.raises(DTypeError, match="cast to an integer"):
            run(over(f, 0), np.ones(2, bool))
    for f in (r.max_, r.min_, r.argmax):
        with pytest.raises(DTypeError, match="no order"):
            run(lambda x, f=f: f(x, axes=(0,)) if f is not r.argmax else f(x, axis=0), np.ones(2, complex))
    with pytest.raises(DTypeError, match="takes booleans"):
        run(over(r.any_, 0), np.ones(2))


@pytest.mark.parametrize("axes", [(0, 0), (2,), (-1,)])
def test_axes_that_are_not_there(axes):
    for f in (r.sum_, r.max_, r.prod):
        with pytest.raises(ShapeError, match="axes"):
            run(over(f, *axes), np.ones((2, 3)))


def test_extremes_share_the_gradient_among_ties_and_give_a_nan_none():
    x = np.array([[1.0, 3.0, 3.0], [-inf, -inf, -inf], [nan, 1.0, 2.0], [0.0, -0.0, -1.0]])
    same(run(over(r.max_, 1), x), np.array([3.0, -inf, nan, np.max([0.0, -0.0, -1.0])]))
    third = 1 / 3
    want = np.array([[0, 0.5, 0.5], [third] * 3, [0, 0, 0], [0.5, 0.5, 0]])
    np.testing.assert_allclose(gradients(over(r.max_, 1), x)[0], want, rtol=1e-15)
    np.testing.assert_allclose(gradients(over(r.min_, 1), -x)[0], want, rtol=1e-15)


def test_extremes_agree_with_torch_at_ties(rng):
    torch = pytest.importorskip("torch")
    x = rng.integers(-2, 3, (6, 7)).astype(float)
    a = torch.tensor(x, requires_grad=True)
    torch.amax(a, 1).sum().backward()
    np.testing.assert_allclose(gradients(over(r.max_, 1), x)[0], a.grad.numpy(), rtol=1e-15)


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_the_derivative_of_a_product_with_zeros(zeros):
    x = np.array([[1.5, -2.0, 0.5, 3.0], [2.0, 1.0, -1.0, 0.25]])
    x[0, :zeros] = 0.0
    want = np.array([[np.prod(np.delete(row, j)) for j in range(4)] for row in x])
    np.testing.assert_allclose(gradients(over(r.prod, 1), x)[0], want, rtol=1e-14)
    check_derivatives(over(r.prod, 1), [x])
    check_derivatives(over(r.prod, 0, 1), [x])
    check_derivatives(over(r.prod, 1), [x + 1j * x[::-1]])


def test_argmax_takes_the_first_and_the_first_nan():
    x = np.array([[1.0, 3.0, 3.0], [2.0, nan, nan], [inf, inf, 0.0], [0.0, -0.0, 0.0]])
    same(run(lambda v: r.argmax(v, axis=1), x), np.array([1, 1, 0, 0]))
    same(run(lambda v: r.argmin(v, axis=1), -x), np.array([1, 1, 0, 0]))
    same(run(lambda v: r.argmax(v, axis=0), np.array([[False, True], [True, True]])), np.array([1, 0]))


class TestStatistics:
    def test_mean_and_variance_as_numpy(self, rng):
        x = rng.standard_normal((3, 4, 5))
        for axes in [(0,), (1, 2), (0, 1, 2)]:
            np.testing.assert_allclose(run(lambda v, a=axes: mean(v, a), x), x.mean(axes), rtol=1e-13)
            for ddof in (0, 1, 0.5):
                got = run(lambda v, a=axes, d=ddof: var(v, a, d), x)
                np.testing.assert_allclose(got, x.var(axes, ddof=ddof), rtol=1e-13)
        check_derivatives(lambda v: var(v, (0, 2), 1), [x])

    def test_of_nothing_they_are_nan(self):
        same(run(lambda v: mean(v, (0,)), np.ones((0, 2))), np.full(2, nan))
        same(run(lambda v: var(v, (0,)), np.ones((0, 2))), np.full(2, nan))
        same(run(lambda v: var(v, (0,), 1), np.ones((1, 2))), np.full(2, nan))
