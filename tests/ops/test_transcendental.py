"""Special values, precision and derivatives at the ends of domains of exponentials, logarithms and their kin."""

import math

import numpy as np
import pytest

from nodes import check_derivatives, gradients, run, same
from weft.ops import elementwise as e

inf, nan, pi = np.inf, np.nan, np.pi

#: (function, arguments, result) to the last place or nearly so; the sign of a zero counts.
SPECIAL = [
    (e.sqrt, [0.0, -0.0, inf, -1.0, nan, 4.0], [0.0, -0.0, inf, nan, nan, 2.0]),
    (e.rsqrt, [0.0, -0.0, inf, -1.0, nan, 4.0], [inf, -inf, 0.0, nan, nan, 0.5]),
    (e.exp, [0.0, -0.0, inf, -inf, nan, 1000.0, -1000.0], [1.0, 1.0, inf, 0.0, nan, inf, 0.0]),
    (e.exp2, [0.0, -0.0, inf, -inf, nan, 10.0, -3.0], [1.0, 1.0, inf, 0.0, nan, 1024.0, 0.125]),
    (e.expm1, [0.0, -0.0, inf, -inf, nan, 1e-20], [0.0, -0.0, inf, -1.0, nan, 1e-20]),
    (e.log, [1.0, 0.0, -0.0, inf, -1.0, nan], [0.0, -inf, -inf, inf, nan, nan]),
    (e.log2, [1.0, 8.0, 0.0, inf, -1.0, nan], [0.0, 3.0, -inf, inf, nan, nan]),
    (e.log10, [1.0, 1000.0, 0.0, inf, -1.0, nan], [0.0, 3.0, -inf, inf, nan, nan]),
    (e.log1p, [0.0, -0.0, -1.0, -2.0, inf, nan, 1e-20], [0.0, -0.0, -inf, nan, inf, nan, 1e-20]),
    (e.sin, [0.0, -0.0, inf, -inf, nan], [0.0, -0.0, nan, nan, nan]),
    (e.cos, [0.0, -0.0, inf, -inf, nan], [1.0, 1.0, nan, nan, nan]),
    (e.tan, [0.0, -0.0, inf, -inf, nan], [0.0, -0.0, nan, nan, nan]),
    (e.asin, [0.0, -0.0, 1.0, -1.0, 1.5, -1.5, nan], [0.0, -0.0, pi / 2, -pi / 2, nan, nan, nan]),
    (e.acos, [1.0, 0.0, -1.0, 1.5, -1.5, nan], [0.0, pi / 2, pi, nan, nan, nan]),
    (e.atan, [0.0, -0.0, inf, -inf, nan], [0.0, -0.0, pi / 2, -pi / 2, nan]),
    (e.sinh, [0.0, -0.0, inf, -inf, nan], [0.0, -0.0, inf, -inf, nan]),
    (e.cosh, [0.0, -0.0, inf, -inf, nan], [1.0, 1.0, inf, inf, nan]),
    (e.tanh, [0.0, -0.0, inf, -inf, nan], [0.0, -0.0, 1.0, -1.0, nan]),
    (e.asinh, [0.0, -0.0, inf, -inf, nan], [0.0, -0.0, inf, -inf, nan]),
    (e.acosh, [1.0, 0.5, -inf, inf, nan], [0.0, nan, nan, inf, nan]),
    (e.atanh, [0.0, -0.0, 1.0, -1.0, 1.5, nan], [0.0, -0.0, inf, -inf, nan, nan]),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("function", "x", "want"), [pytest.param(*c, id=c[0].name) for c in SPECIAL])
def test_special_values(function, x, want, dtype):
    got, want = run(function, np.array(x, dtype)), np.array(want, dtype)
    np.testing.assert_allclose(got, want, rtol=4 * np.finfo(dtype).eps)
    number = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(want[number]))


@pytest.mark.parametrize(
    ("y", "x", "want"),
    [
        (0.0, 1.0, 0.0), (-0.0, 1.0, -0.0), (0.0, 0.0, 0.0), (-0.0, 0.0, -0.0), (0.0, -0.0, pi), (-0.0, -0.0, -pi),
        (0.0, -1.0, pi), (-0.0, -1.0, -pi), (1.0, 0.0, pi / 2), (1.0, -0.0, pi / 2), (-1.0, 0.0, -pi / 2),
        (1.0, inf, 0.0), (-1.0, inf, -0.0), (1.0, -inf, pi), (-1.0, -inf, -pi), (inf, 1.0, pi / 2),
        (-inf, 1.0, -pi / 2), (inf, inf, pi / 4), (inf, -inf, 3 * pi / 4), (-inf, inf, -pi / 4),
        (-inf, -inf, -3 * pi / 4), (nan, 1.0, nan), (1.0, nan, nan),
    ],
)  # fmt: skip
def test_atan2(y, x, want):
    same(run(e.atan2, y, x), np.float64(want))


@pytest.mark.parametrize(
    ("x", "y", "want"),
    [
        (inf, nan, inf),
        (nan, -inf, inf),
        (nan, 1.0, nan),
        (3.0, 4.0, 5.0),
        (0.0, -0.0, 0.0),
        (3e200, 4e200, 5e200),
    ],
)
def test_hypot(x, y, want):
    np.testing.assert_allclose(run(e.hypot, x, y), want, rtol=1e-15)


@pytest.mark.parametrize(
    ("x", "y", "want", "slopes"),
    [
        (0.0, 0.0, math.log(2.0), (0.5, 0.5)),
        (-inf, -inf, -inf, (0.5, 0.5)),
        (inf, inf, inf, (0.5, 0.5)),
        (inf, -inf, inf, (1.0, 0.0)),
        (1.0, -inf, 1.0, (1.0, 0.0)),
        (-inf, 1.0, 1.0, (0.0, 1.0)),
        (2.0, inf, inf, (0.0, 1.0)),
        (1000.0, 0.0, 1000.0, (1.0, 0.0)),
        (nan, 1.0, nan, (nan, nan)),
    ],
)
def test_logaddexp(x, y, want, slopes):
    same(run(e.logaddexp, x, y), np.float64(want))
    np.testing.assert_allclose(gradients(e.logaddexp, x, y), slopes, rtol=1e-15)


def test_logaddexp_has_a_second_derivative_where_both_are_equal():
    check_derivatives(e.logaddexp, [np.array([1.0, -2.0]), np.array([1.0, -2.0])])


#: (function, x, derivative): what the docstrings say of the ends.
ENDS = [
    (e.sqrt, 0.0, inf),
    (e.sqrt, -0.0, -inf),
    (e.sqrt, inf, 0.0),
    (e.rsqrt, 0.0, -inf),
    (e.rsqrt, inf, -0.0),
    (e.exp, -inf, 0.0),
    (e.exp, inf, inf),
    (e.expm1, 0.0, 1.0),
    (e.log, 0.0, inf),
    (e.log2, 0.0, inf),
    (e.log10, 0.0, inf),
    (e.log1p, -1.0, inf),
    (e.asin, 1.0, inf),
    (e.asin, -1.0, inf),
    (e.acos, 1.0, -inf),
    (e.acos, -1.0, -inf),
    (e.acosh, 1.0, inf),
    (e.atanh, 1.0, inf),
    (e.tanh, inf, 0.0),
    (e.tanh, -inf, 0.0),
    (e.atan, inf, 0.0),
    (e.asinh, inf, 0.0),
    (e.tan, 0.0, 1.0),
]


@pytest.mark.parametrize(
    ("function", "x", "want"), [pytest.param(*c, id=f"{c[0].name}({c[1]})") for c in ENDS]
)
def test_derivatives_at_the_ends(function, x, want):
    np.testing.assert_array_equal(gradients(function, np.array(x))[0], want)


def test_angles_have_no_gradient_at_the_origin():
    np.testing.assert_array_equal(gradients(e.atan2, 0.0, 0.0), [0.0, 0.0])
    np.testing.assert_array_equal(gradients(e.hypot, 0.0, -0.0), [0.0, 0.0])
    np.testing.assert_array_equal(gradients(e.angle, np.zeros((), complex))[0], 0)
    # Far out the squares overflow; the derivatives do not.
    np.testing.assert_allclose(gradients(e.atan2, 3e200, 4e200), [4 / 25e200, -3 / 25e200], rtol=1e-14)


def test_angle_of_real_and_complex_numbers():
    same(run(e.angle, np.array([2.0, -2.0, 0.0, nan])), np.array([0.0, pi, 0.0, nan]))
    z = np.array([1 + 1j, -1 + 0j, -1 - 1j, 2j])
    np.testing.assert_allclose(run(e.angle, z), np.angle(z), rtol=1e-15)
    check_derivatives(e.angle, [z[[0, 2, 3]]])  # not on the branch cut


def test_powers_of_two_are_exact():
    n = np.arange(-149, 128).astype(np.float32)
    powers = np.ldexp(np.float32(1), n.astype(np.int32))
    same(run(e.exp2, n), powers)
    same(run(e.log2, powers), n)
    n = np.arange(-1074, 1024).astype(np.float64)
    powers = np.ldexp(1.0, n.astype(np.int32))
    same(run(e.exp2, n), powers)
    same(run(e.log2, powers), n)


UNARY = ["sqrt", "rsqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos",
         "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [(n, k) for n in UNARY for k in "fdFD" if np.dtype(k).kind in getattr(e, n).kinds],
)
def test_values_and_gradients_are_torchs(name, kind, rng):
    torch = pytest.importorskip("torch")
    ours = getattr(e, name)
    low, high = {"acosh": (1.1, 3.0), "asin": (-0.9, 0.9), "acos": (-0.9, 0.9), "atanh": (-0.9, 0.9)}.get(
        name, (0.1, 2.0)
    )
    x = rng.uniform(low, high, 50).astype(kind)
    if x.dtype.kind == "c":
        x = (x + 1j * rng.uniform(0.1, 1, 50)).astype(kind)
    a = torch.tensor(x, requires_grad=True)
    out = getattr(torch, name)(a)
    # The gradient of the sum of real parts.
    (out.real if x.dtype.kind == "c" else out).sum().backward()
    tolerance = 1e-12 if x.dtype in (np.float64, np.complex128) else 2e-5
    np.testing.assert_allclose(run(ours, x), out.detach().numpy(), rtol=tolerance)
    np.testing.assert_allclose(gradients(ours, x)[0], a.grad.numpy(), rtol=10 * tolerance, atol=tolerance)
