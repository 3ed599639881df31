"""Running sums, products, extremes, and the linear recurrence."""

import numpy as np
import pytest

from nodes import check_derivatives, gradients, run, same
from weft.base.errors import DTypeError, ShapeError
from weft.ops import cumulative as c

inf, nan = np.inf, np.nan
BACKWARDS = {False: lambda v: v, True: lambda v: v[::-1]}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("function", "ufunc"),
    [(c.cumsum, np.add), (c.cumprod, np.multiply), (c.cummax, np.maximum), (c.cummin, np.minimum)],
)
def test_inclusive(function, ufunc, reverse, rng):
    x, turn = rng.standard_normal((5, 3)), BACKWARDS[reverse]
    got = run(lambda v: function(v, axis=0, reverse=reverse), x)
    np.testing.assert_allclose(got, turn(ufunc.accumulate(turn(x), axis=0)), rtol=1e-15)


@pytest.mark.parametrize(("function", "first"), [(c.cumsum, 0.0), (c.cumprod, 1.0)])
def test_exclusive(function, first):
    x = np.array([2.0, 3.0, 4.0])
    start = {0.0: [0.0, 2.0, 5.0], 1.0: [1.0, 2.0, 6.0]}[first]
    end = {0.0: [7.0, 4.0, 0.0], 1.0: [12.0, 4.0, 1.0]}[first]
    same(run(lambda v: function(v, axis=0, exclusive=True), x), np.array(start))
    same(run(lambda v: function(v, axis=0, exclusive=True, reverse=True), x), np.array(end))
    for n in (0, 1):
        same(run(lambda v: function(v, axis=0, exclusive=True), x[:n]), np.full(n, first))


def test_a_nan_stays():
    x = np.array([1.0, nan, 3.0])
    for f in (c.cumsum, c.cumprod, c.cummax, c.cummin):
        same(run(lambda v, f=f: f(v, axis=0), x), np.array([1.0, nan, nan]))


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_running_products_differentiate_through_zeros(reverse, exclusive):
    x = np.array([[2.0, 0.0, -1.5, 0.0, 3.0], [0.0, 1.0, 2.0, 3.0, 0.5]])

    def f(v):
        return c.cumprod(v, axis=1, reverse=reverse, exclusive=exclusive)

    check_derivatives(f, [x])
    check_derivatives(f, [x + 1j * x[:, ::-1]])


def test_running_products_agree_with_torch():
    torch = pytest.importorskip("torch")
    x = np.array([2.0, 0.0, -1.5, 0.0, 3.0])
    a = torch.tensor(x, requires_grad=True)
    torch.cumprod(a, 0).sum().backward()
    np.testing.assert_allclose(gradients(lambda v: c.cumprod(v, axis=0), x)[0], a.grad.numpy(), rtol=1e-14)


def test_running_extremes_give_the_gradient_to_the_latest_of_equals():
    x = np.array([1.0, 3.0, 3.0, 2.0, 3.0])
    same(gradients(lambda v: c.cummax(v, axis=0), x)[0], np.array([1.0, 1.0, 2.0, 0.0, 1.0]))
    same(gradients(lambda v: c.cummin(v, axis=0), -x)[0], np.array([1.0, 1.0, 2.0, 0.0, 1.0]))
    # From the end, the latest met is the foremost: positions 1, 1, 2, 4, 4.
    same(gradients(lambda v: c.cummax(v, axis=0, reverse=True), x)[0], np.array([0.0, 2.0, 1.0, 0.0, 2.0]))
    same(gradients(lambda v: c.cummax(v, axis=0), np.array([1.0, nan, 0.0]))[0], np.array([1.0, 2.0, 0.0]))
    torch = pytest.importorskip("torch")
    a = torch.tensor(x, requires_grad=True)
    torch.cummax(a, 0).values.sum().backward()
    np.testing.assert_array_equal(gradients(lambda v: c.cummax(v, axis=0), x)[0], a.grad.numpy())


def test_linear_recurrence_is_its_definition(rng):
    a, b = rng.standard_normal((2, 4, 3))
    h, want = np.zeros(3), []
    for j in range(4):
        h = a[j] * h + b[j]
        want.append(h)
    got = run(lambda p, q: c.linear_recurrence(p, q, axis=0, reverse=False), a, b)
    np.testing.assert_allclose(got, want, rtol=1e-15)
    turned = run(lambda p, q: c.linear_recurrence(p, q, axis=0, reverse=True), a[::-1], b[::-1])
    same(turned, got[::-1])


def test_shifted():
    x = np.array([[1.0, 2.0, 3.0]])
    same(run(lambda v: c.shifted(v, 1), x), np.array([[0.0, 1.0, 2.0]]))
    same(run(lambda v: c.shifted(v, 1, True), x), np.array([[2.0, 3.0, 0.0]]))
    same(run(lambda v: c.shifted(v, 1), x[:, :0]), x[:, :0])


def test_errors():
    with pytest.raises(ShapeError, match="no axis 2"):
        run(lambda v: c.cumsum(v, axis=2), np.ones((2, 2)))
    with pytest.raises(DTypeError, match="cast"):
        run(lambda v: c.cumsum(v, axis=0), np.ones(2, bool))
    with pytest.raises(DTypeError, match="no order"):
        run(lambda v: c.cummax(v, axis=0), np.ones(2, complex))
    with pytest.raises(ShapeError, match="one type"):
        run(lambda p, q: c.linear_recurrence(p, q, axis=0, reverse=False), np.ones(2), np.ones(3))
