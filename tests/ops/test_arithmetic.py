"""Special values and derivatives at kinks of the arithmetic primitives, as their docstrings state them."""

import numpy as np
import pytest

from nodes import check_derivatives, gradients, run, same
from weft.base.config import config
from weft.base.errors import ArgumentError, DTypeError, ShapeError
from weft.ops import elementwise as e
from weft.ops.operators import power

inf, nan = np.inf, np.nan
tiny = 5e-324

#: (function, arguments, result), by the array API standard; the sign of a zero counts.
SPECIAL = [
    *[(e.pow_, (x, y), z) for x, y, z in [
        (nan, 0.0, 1.0), (nan, -0.0, 1.0), (inf, 0.0, 1.0), (0.0, 0.0, 1.0), (-0.0, 0.0, 1.0),
        (1.0, nan, 1.0), (nan, 1.0, nan), (2.0, nan, nan), (0.0, nan, nan),
        (2.0, inf, inf), (-2.0, inf, inf), (2.0, -inf, 0.0), (-2.0, -inf, 0.0),
        (1.0, inf, 1.0), (-1.0, inf, 1.0), (1.0, -inf, 1.0), (-1.0, -inf, 1.0),
        (0.5, inf, 0.0), (-0.5, inf, 0.0), (0.5, -inf, inf), (-0.5, -inf, inf),
        (inf, 0.5, inf), (inf, -0.5, 0.0), (inf, inf, inf), (inf, -inf, 0.0),
        (-inf, 3.0, -inf), (-inf, 2.0, inf), (-inf, 0.5, inf), (-inf, -3.0, -0.0), (-inf, -2.0, 0.0),
        (0.0, 2.0, 0.0), (0.0, 0.5, 0.0), (0.0, -1.0, inf), (0.0, -0.5, inf),
        (-0.0, 3.0, -0.0), (-0.0, 2.0, 0.0), (-0.0, 0.5, 0.0), (-0.0, -3.0, -inf), (-0.0, -2.0, inf),
        (-2.0, 0.5, nan), (-2.0, 3.0, -8.0), (-2.0, -1.0, -0.5),
    ]],
    *[(e.floor_divide, (x, y), z) for x, y, z in [
        (nan, 1.0, nan), (1.0, nan, nan), (inf, inf, nan), (-inf, inf, nan), (0.0, 0.0, nan), (0.0, -0.0, nan),
        (0.0, 1.0, 0.0), (-0.0, 1.0, -0.0), (0.0, -1.0, -0.0), (-0.0, -1.0, 0.0),
        (1.0, 0.0, inf), (1.0, -0.0, -inf), (-1.0, 0.0, -inf), (-1.0, -0.0, inf),
        (inf, 2.0, inf), (inf, -2.0, -inf), (-inf, 2.0, -inf), (-inf, -2.0, inf), (inf, 0.0, inf),
        (3.0, inf, 0.0), (3.0, -inf, -0.0), (-3.0, inf, -0.0), (-3.0, -inf, 0.0),
        (7.0, 2.0, 3.0), (-7.0, 2.0, -4.0), (7.0, -2.0, -4.0), (-7.0, -2.0, 3.0),
    ]],
    *[(e.remainder, (x, y), z) for x, y, z in [
        (nan, 1.0, nan), (1.0, nan, nan), (inf, inf, nan), (0.0, 0.0, nan), (1.0, 0.0, nan), (-1.0, -0.0, nan),
        (0.0, 1.0, 0.0), (-0.0, 1.0, 0.0), (0.0, -1.0, -0.0), (-0.0, -1.0, -0.0), (inf, 2.0, nan), (-inf, 2.0, nan),
        (3.0, inf, 3.0), (3.0, -inf, -inf), (-3.0, inf, inf), (-3.0, -inf, -3.0),
        (7.0, 3.0, 1.0), (-7.0, 3.0, 2.0), (7.0, -3.0, -2.0), (-7.0, -3.0, -1.0), (6.0, -3.0, -0.0),
    ]],
    *[(e.maximum, (x, y), z) for x, y, z in [(nan, 1.0, nan), (1.0, nan, nan), (-inf, inf, inf), (2.0, 3.0, 3.0)]],
    *[(e.minimum, (x, y), z) for x, y, z in [(nan, 1.0, nan), (1.0, nan, nan), (-inf, inf, -inf), (2.0, 3.0, 2.0)]],
    *[(e.clip, xs, z) for xs, z in [
        ((5.0, 0.0, 1.0), 1.0), ((-5.0, 0.0, 1.0), 0.0), ((0.5, 0.0, 1.0), 0.5), ((0.5, 2.0, 1.0), 1.0),
        ((nan, 0.0, 1.0), nan), ((0.5, nan, 1.0), nan), ((0.5, 0.0, nan), nan), ((inf, -inf, inf), inf),
    ]],
    *[(e.copysign, (x, y), z) for x, y, z in [
        (2.0, -0.0, -2.0), (-2.0, 0.0, 2.0), (0.0, -1.0, -0.0), (inf, -1.0, -inf), (nan, -1.0, nan), (3.0, -nan, -3.0),
    ]],
    *[(e.nextafter, (x, y), z) for x, y, z in [
        (0.0, 1.0, tiny), (0.0, -1.0, -tiny), (tiny, 0.0, 0.0), (1.0, 2.0, 1 + 2.0**-52),
        (inf, 0.0, 1.7976931348623157e308),
        (0.0, -0.0, -0.0), (nan, 1.0, nan), (1.0, nan, nan), (1.7976931348623157e308, inf, inf),
    ]],
    *[(e.abs_, (x,), z) for x, z in [(-0.0, 0.0), (-inf, inf), (nan, nan), (-2.0, 2.0)]],
    *[(e.sign, (x,), z) for x, z in [(-0.0, 0.0), (0.0, 0.0), (-inf, -1.0), (inf, 1.0), (nan, nan), (-tiny, -1.0)]],
    *[(e.div, (x, y), z) for x, y, z in [
        (1.0, 0.0, inf), (1.0, -0.0, -inf), (0.0, 0.0, nan), (inf, inf, nan), (1.0, -inf, -0.0), (nan, 1.0, nan),
    ]],
]  # fmt: skip


def test_the_number_next_to_a_zero_toward_the_other_is_the_other_in_every_type():
    for dtype in (np.float16, np.float32, np.float64):
        zeros = np.array([0.0, -0.0], dtype)
        same(e.nextafter.evaluate(zeros, zeros[::-1]), zeros[::-1])


@pytest.mark.parametrize(
    ("function", "args", "want"), [pytest.param(*c, id=f"{c[0].name}{c[1]}") for c in SPECIAL]
)
def test_special_values(function, args, want):
    same(run(function, *args), np.float64(want))


INTEGERS = [
    (e.floor_divide, (-7, 2), -4),
    (e.floor_divide, (7, 0), 0),
    (e.remainder, (-7, 3), 2),
    (e.remainder, (7, -3), -2),
    (e.remainder, (7, 0), 0),
    (e.pow_, (3, 4), 81),
    (e.pow_, (2, -1), 0),
    (e.pow_, (-1, -3), -1),
    (e.pow_, (-1, -2), 1),
    (e.pow_, (1, -9), 1),
    (e.pow_, (0, -1), 0),
    (e.pow_, (0, 0), 1),
    (e.pow_, (2, 64), 0),
    (e.abs_, (-(2**63),), -(2**63)),
    (e.neg, (5,), -5),
    (e.maximum, (-1, 2), 2),
    (e.clip, (9, 0, 5), 5),
]


@pytest.mark.parametrize(
    ("function", "args", "want"), [pytest.param(*c, id=f"{c[0].name}{c[1]}") for c in INTEGERS]
)
def test_integers(function, args, want):
    same(run(function, *[np.int64(a) for a in args]), np.int64(want))


def test_unsigned_integers_wrap():
    same(run(e.sub, np.uint8([1]), np.uint8([3])), np.uint8([254]))
    same(run(e.neg, np.uint16([1])), np.uint16([65535]))
    same(run(e.mul, np.uint8([200]), np.uint8([2])), np.uint8([144]))


#: (function, arguments, the derivative in each): what the docstrings say of ties, zeros and kinks.
KINKS = [
    (e.abs_, [0.0], [0.0]),
    (e.abs_, [-0.0], [0.0]),
    (e.abs_, [-2.0], [-1.0]),
    (e.abs_, [0j], [0j]),
    (e.sign, [0.0], [0.0]),
    (e.sign, [3.0], [0.0]),
    (e.sign, [0j], [0j]),
    (e.maximum, [1.0, 1.0], [0.5, 0.5]),
    (e.maximum, [2.0, 1.0], [1.0, 0.0]),
    (e.maximum, [nan, 1.0], [0.0, 0.0]),
    (e.maximum, [inf, inf], [0.5, 0.5]),
    (e.minimum, [1.0, 1.0], [0.5, 0.5]),
    (e.minimum, [2.0, 1.0], [0.0, 1.0]),
    (e.minimum, [1.0, nan], [0.0, 0.0]),
    (e.clip, [0.5, 0.0, 1.0], [1.0, 0.0, 0.0]),
    (e.clip, [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]),
    (e.clip, [1.0, 0.0, 1.0], [1.0, 0.0, 0.0]),
    (e.clip, [-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]),
    (e.clip, [2.0, 0.0, 1.0], [0.0, 0.0, 1.0]),
    (e.clip, [2.0, 3.0, 1.0], [0.0, 0.0, 1.0]),
    (e.clip, [0.0, 3.0, 1.0], [0.0, 0.0, 1.0]),
    (e.clip, [nan, 3.0, 1.0], [0.0, 0.0, 0.0]),
    (e.clip, [0.0, nan, 1.0], [0.0, 0.0, 0.0]),
    (e.copysign, [0.0, -1.0], [0.0, 0.0]),
    (e.copysign, [2.0, -1.0], [-1.0, 0.0]),
    (e.copysign, [-2.0, -0.0], [1.0, 0.0]),
    (e.remainder, [7.0, 3.0], [1.0, -2.0]),
    (e.remainder, [-7.0, 3.0], [1.0, 3.0]),
    (e.floor_divide, [7.0, 3.0], [0.0, 0.0]),
    (e.pow_, [0.0, 0.0], [0.0, 0.0]),
    (e.pow_, [0.0, 1.0], [1.0, 0.0]),
    (e.pow_, [0.0, 2.0], [0.0, 0.0]),
    (e.pow_, [0.0, 0.5], [inf, 0.0]),
    (e.pow_, [-2.0, 3.0], [12.0, nan]),
    (e.pow_, [-2.0, 0.0], [0.0, nan]),
    (e.pow_, [3.0, 0.0], [0.0, np.log(3.0)]),
    (e.div, [0.0, 2.0], [0.5, -0.0]),
]


@pytest.mark.parametrize(
    ("function", "args", "want"), [pytest.param(*c, id=f"{c[0].name}{c[1]}") for c in KINKS]
)
def test_derivatives_at_kinks(function, args, want):
    with config(backend="reference"):  # where logarithms are NumPy's
        found = gradients(function, *map(np.array, args))
    for got, w in zip(found, want, strict=True):
        np.testing.assert_array_equal(got, w)


@pytest.mark.parametrize("n", [-3, -2, -1, 0, 1, 2, 3, 10, 33])
def test_integer_powers(n):
    x = np.array([-1.7, -0.4, 0.3, 2.2])
    np.testing.assert_allclose(run(lambda v: e.integer_pow(v, exponent=n), x), x**n, rtol=1e-14)
    np.testing.assert_allclose(run(lambda v: power(v, n), x), x**n, rtol=1e-14)
    if n >= 0:
        np.testing.assert_array_equal(
            gradients(lambda v: power(v, n), np.zeros(()))[0], {0: 0.0, 1: 1.0}.get(n, 0.0)
        )
        i = np.arange(-3, 4)
        np.testing.assert_array_equal(run(lambda v: power(v, n), i), i**n)


def test_second_derivative_of_pow_where_both_are_zero_or_the_exponent_is():
    x, y = np.array([2.0, 3.0, 0.0]), np.array([0.0, 1.0, 2.0])

    def slope(a, b):
        from weft.autodiff.reverse import pullback
        from weft.ir.node import GRAD

        out = e.pow_(a, b)
        return pullback([out], [e.exp(out * 0)], [a], GRAD)[0]

    # d/dx of y x**(y - 1) is y (y - 1) x**(y - 2); d/dy is x**(y - 1) (1 + y log x).
    in_x, in_y = gradients(slope, x, y)
    np.testing.assert_allclose(in_x, [0.0, 0.0, 2.0], atol=1e-15)
    np.testing.assert_allclose(in_y[:2], [0.5, 1 + np.log(3.0)], rtol=1e-14)


def test_complex_abs_and_sign_are_differentiable_over_the_reals():
    z = np.array([1 + 2j, -0.5 + 0.1j, -3j, 2 + 0j])
    check_derivatives(e.abs_, [z])
    check_derivatives(e.sign, [z])
    np.testing.assert_allclose(gradients(e.abs_, z)[0], z / np.abs(z), rtol=1e-14)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda x, i, b: e.div(i, i), DTypeError),
        (lambda x, i, b: e.add(b, b), DTypeError),
        (lambda x, i, b: e.add(x, i), DTypeError),
        (lambda x, i, b: e.integer_pow(i, exponent=-1), ArgumentError),
        (lambda x, i, b: e.integer_pow(x, exponent=0.5), ArgumentError),
        (lambda x, i, b: e.maximum(e.make_complex(x, x), e.make_complex(x, x)), DTypeError),
    ],
)
def test_errors(call, error):
    x, i, b = np.ones((2, 3)), np.ones((2, 3), np.int64), np.ones((2, 3), bool)
    with pytest.raises(error):
        run(call, x, i, b)


def test_shapes_that_do_not_broadcast_are_named():
    with pytest.raises(ShapeError, match=r"add: shapes \(2, 3\), \(4,\) do not broadcast"):
        run(e.add, np.ones((2, 3)), np.ones(4))


class TestAgainstTorch:
    """Values and gradients, ties and zeros included, where the conventions are the same."""

    @pytest.mark.parametrize(
        "name", ["maximum", "minimum", "remainder", "floor_divide", "copysign", "pow", "div"]
    )
    def test_binary(self, name, rng):
        torch = pytest.importorskip("torch")
        ours = {"pow": e.pow_}.get(name) or getattr(e, name)
        x, y = rng.integers(-3, 4, (40,)) / 2, rng.integers(1, 5, (40,)) / 2
        if name == "pow":
            x = np.abs(x)
        a, b = [torch.tensor(v, requires_grad=True) for v in (x, y)]
        out = getattr(torch, name)(a, b)
        np.testing.assert_allclose(run(ours, x, y), out.detach().numpy(), rtol=1e-14)
        if name == "floor_divide":
            return
        out.sum().backward()
        for got, want in zip(gradients(ours, x, y), (a.grad, b.grad), strict=True):
            np.testing.assert_allclose(got, want.numpy(), rtol=1e-13, atol=1e-15)

    @pytest.mark.parametrize("name", ["abs", "sign", "square", "reciprocal"])
    def test_unary(self, name):
        torch = pytest.importorskip("torch")
        ours = {"abs": e.abs_}.get(name) or getattr(e, name)
        x = np.array([-2.0, -0.5, 0.5, 3.0] + ([0.0] if name != "reciprocal" else []))
        a = torch.tensor(x, requires_grad=True)
        out = getattr(torch, name)(a)
        out.sum().backward()
        np.testing.assert_allclose(run(ours, x), out.detach().numpy(), rtol=1e-15)
        np.testing.assert_allclose(gradients(ours, x)[0], a.grad.numpy(), rtol=1e-15)
