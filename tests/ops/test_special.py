"""The error function and the gamma function's family: precision, special values, derivatives."""

import math

import numpy as np
import pytest

from nodes import gradients, run, same
from weft.base.config import config
from weft.base.errors import ArgumentError
from weft.ops import elementwise as e

inf, nan = np.inf, np.nan
X = np.array([0.0, -0.0, inf, -inf, nan])

SPECIAL = [
    (e.erf, X, [0.0, -0.0, 1.0, -1.0, nan]),
    (e.erfc, X, [1.0, 1.0, 0.0, 2.0, nan]),
    (e.erfinv, [0.0, -0.0, 1.0, -1.0, 1.5, -2.0, nan, inf], [0.0, -0.0, inf, -inf, nan, nan, nan, nan]),
    (e.lgamma, [*X, 1.0, 2.0, -1.0, -7.0], [inf, inf, inf, inf, nan, 0.0, 0.0, inf, inf]),
    (e.digamma, [*X, -1.0, -7.0], [-inf, inf, inf, nan, nan, nan, nan]),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("function", "x", "want"), [pytest.param(*c, id=c[0].name) for c in SPECIAL])
def test_special_values(function, x, want, dtype):
    same(run(function, np.array(x, dtype)), np.array(want, dtype))


def units(got, want):
    """The largest error in units of the last place."""
    return np.max(np.abs(got - want) / np.spacing(np.abs(want)))


def test_erf_against_the_standard_library():
    x = np.concatenate([np.linspace(-6.5, 6.5, 2001), np.logspace(-300, 1, 200), -np.logspace(-20, 1, 100)])
    assert units(run(e.erf, x), np.array([math.erf(v) for v in x])) <= 2
    x = np.concatenate([np.linspace(-6, 26, 2001), np.logspace(-300, 1, 200)])
    assert units(run(e.erfc, x), np.array([math.erfc(v) for v in x])) <= 6


def test_erf_in_single_precision_is_rounded_once():
    x = np.linspace(-4, 4, 1001, dtype=np.float32)
    want = np.array([math.erf(float(v)) for v in x]).astype(np.float32)
    with config(backend="reference"):
        assert np.mean(run(e.erf, x) == want) > 0.999


def test_erfinv_undoes_erf():
    x = np.concatenate(
        [np.linspace(-0.999, 0.999, 501), 1 - np.logspace(-15, -1, 50), np.logspace(-300, -1, 50)]
    )
    y = run(e.erfinv, x)
    np.testing.assert_allclose([math.erf(v) for v in y], x, rtol=1e-15)
    scipy = pytest.importorskip("scipy.special")
    np.testing.assert_allclose(y, scipy.erfinv(x), rtol=1e-14)


def test_lgamma_against_the_standard_library():
    x = np.concatenate(
        [np.linspace(0.01, 30, 2001), np.logspace(-300, 300, 300), -np.linspace(0.013, 20.1, 500)]
    )
    np.testing.assert_allclose(run(e.lgamma, x), [math.lgamma(v) for v in x], rtol=4e-15, atol=1e-13)


def test_lgamma_is_precise_beside_its_zeros():
    x = np.concatenate([1 + np.logspace(-14, -4, 60), 1 - np.logspace(-14, -4, 60)])
    h = x - 1
    series = [-0.5772156649015329, math.pi**2 / 12, -1.2020569031595942 / 3, math.pi**4 / 360]
    at_one = sum(c * h**k for k, c in enumerate(series, 1))
    np.testing.assert_allclose(run(e.lgamma, x), at_one, rtol=5e-15)
    x, h = x + 1, (x + 1) - 2
    at_two = sum(c * h**k for k, c in enumerate(series, 1)) + np.log1p(h)
    np.testing.assert_allclose(run(e.lgamma, x), at_two, rtol=5e-15)


def test_digamma_and_polygamma_against_scipy():
    scipy = pytest.importorskip("scipy.special")
    x = np.concatenate([np.linspace(0.05, 30, 501), -np.linspace(0.013, 9.1, 200)])
    np.testing.assert_allclose(run(e.digamma, x), scipy.digamma(x), rtol=1e-12, atol=1e-13)
    x = np.linspace(0.05, 30, 501)
    for n in (1, 2, 3):
        np.testing.assert_allclose(
            run(lambda v, n=n: e.polygamma(v, order=n), x), scipy.polygamma(n, x), rtol=1e-12
        )


def test_polygamma_of_negative_numbers_obeys_its_recurrence():
    x = -np.linspace(0.1, 6.3, 60)
    for n in (1, 2, 3, 4):
        here, next_ = [run(lambda v, n=n: e.polygamma(v, order=n), v) for v in (x, x + 1)]
        step = (-1) ** n * math.factorial(n) / x ** (n + 1)
        np.testing.assert_allclose(next_, here + step, rtol=1e-9)


@pytest.mark.parametrize("order", [2, 10, 20, 50])
def test_even_orders_of_polygamma_are_even_about_one_half(order):
    """Their reflection adds a derivative of cot that is 0 there, however large the next ones are."""
    x = np.arange(6) + 0.5
    for polygamma in (e.polygamma.evaluate, lambda v, order: run(lambda n: e.polygamma(n, order=order), v)):
        np.testing.assert_allclose(polygamma(1 - x, order=order), polygamma(x, order=order), rtol=1e-13)


def test_the_order_of_polygamma_is_checked():
    for order in (0, -1, 1.5, 51):
        with pytest.raises(ArgumentError, match="order"):
            run(lambda v, n=order: e.polygamma(v, order=n), np.ones(2))


def test_derivatives_at_the_ends():
    np.testing.assert_array_equal(gradients(e.erf, np.array([inf, -inf]))[0], [0, 0])
    np.testing.assert_allclose(gradients(e.erf, np.array(0.0))[0], 2 / math.sqrt(math.pi))
    np.testing.assert_array_equal(gradients(e.erfinv, np.array([1.0, -1.0]))[0], [inf, inf])


@pytest.mark.parametrize("name", ["erf", "erfc", "erfinv", "lgamma", "digamma"])
def test_values_and_gradients_are_torchs(name):
    torch = pytest.importorskip("torch")
    x = np.linspace(-0.95, 0.95, 40) if name == "erfinv" else np.linspace(0.1, 5, 40)
    a = torch.tensor(x, requires_grad=True)
    out = getattr(torch, name)(a)
    out.sum().backward()
    np.testing.assert_allclose(run(getattr(e, name), x), out.detach().numpy(), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(gradients(getattr(e, name), x)[0], a.grad.numpy(), rtol=1e-8, atol=1e-13)
