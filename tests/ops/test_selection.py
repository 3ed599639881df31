"""where, cast, stop_gradient and the complex parts."""

import numpy as np
import pytest

from nodes import check_derivatives, gradients, run, same
from weft.base.errors import DTypeError
from weft.ir.dtype import bfloat16, bool_, complex64, float16, float32, int8, int64, uint8
from weft.ops import elementwise as e

inf, nan = np.inf, np.nan


def test_where_keeps_nan_of_the_other_side_out_of_value_and_gradient():
    condition, x = np.array([True, False]), np.array([1.0, nan])
    same(run(lambda c, v: e.where(c, v, 0.0), condition, x), np.array([1.0, 0.0]))
    same(gradients(lambda c, v: e.where(c, v, 0.0), condition, x)[0], np.array([1.0, 0.0]))


def test_where_cannot_undo_an_infinite_derivative_behind_it_but_a_mended_operand_can():
    x = np.array([4.0, 0.0])
    spoiled = gradients(lambda v: e.where(v > 0, e.sqrt(v), 0.0), x)[0]
    mended = gradients(lambda v: e.where(v > 0, e.sqrt(e.where(v > 0, v, 1.0)), 0.0), x)[0]
    same(spoiled, np.array([0.25, nan]))
    same(mended, np.array([0.25, 0.0]))


def test_where_errors():
    with pytest.raises(DTypeError, match="condition must be boolean"):
        run(e.where, np.ones(2), np.ones(2), np.ones(2))
    with pytest.raises(DTypeError, match="one dtype"):
        run(e.where, np.ones(2) > 0, np.ones(2), np.ones(2, int))


CASTS = [
    ([1.9, -1.9, nan, inf, -inf, 300.0], int8, [1, -1, 0, 127, -128, 127]),
    ([1.9, -1.9, nan, inf, -inf, 300.0], uint8, [1, 0, 0, 255, 0, 255]),
    ([2.0**63, -(2.0**63), 2.0**62, 1e300], int64, [2**63 - 1, -(2**63), 2**62, 2**63 - 1]),
    ([0.0, -0.0, nan, 0.1], bool_, [False, False, True, True]),
    ([True, False], float32, [1.0, 0.0]),
    ([300, -1], uint8, [44, 255]),
    ([1.0, 2.0], complex64, [1, 2]),
    ([0j, 1j], bool_, [False, True]),
    ([65519.0, 65520.0, 1e-8, nan], float16, [65504.0, inf, 0.0, nan]),
]


@pytest.mark.parametrize(("x", "to", "want"), CASTS)
def test_cast(x, to, want):
    same(run(lambda v: e.cast(v, dtype=to), np.array(x)), np.array(want, to.numpy))


def test_casting_to_bfloat16_rounds_once():
    # Just above the middle of two neighbours: by way of float32 the excess would be lost.
    x = np.array(
        [1 + 2**-8 + 2**-40, 1 + 2**-8, 1 + 3 * 2**-8 - 2**-40, -1 - 2**-8 - 2**-40, 1e-45, 3.5e38, inf, nan]
    )
    got = run(lambda v: e.cast(v, dtype=bfloat16), x).astype(np.float64)
    want = [1 + 2**-7, 1.0, 1 + 2**-7, -1 - 2**-7, 0.0, inf, inf, nan]
    np.testing.assert_array_equal(got, want)
    i = np.array([16777217 + 2**16, 2**24 + 2**16 + 1])
    got = run(lambda v: e.cast(v, dtype=bfloat16), i).astype(np.float64)
    np.testing.assert_array_equal(got, [2**24 + 2**17] * 2)


def test_gradients_through_casts():
    x = np.array([1.5, -2.0])
    for to in (float32, complex64):
        (g,) = gradients(lambda v, to=to: e.cast(v, dtype=to), x)
        same(g, np.ones(2))
    same(gradients(lambda v: e.cast(e.cast(v, dtype=int64), dtype=float32), x)[0], np.zeros(2))
    with pytest.raises(DTypeError, match="real"):
        run(lambda v: e.cast(v, dtype=float32), np.ones(2, complex))


def test_stop_gradient_is_a_constant_to_differentiation():
    x = np.array([3.0, -2.0])
    same(run(e.stop_gradient, x), x)
    same(gradients(lambda v: v * e.stop_gradient(v), x)[0], x)


def test_complex_parts():
    z, x = np.array([1 + 2j, -3 - 0.5j]), np.array([0.5, 2.0])
    same(run(e.real, z), z.real)
    same(run(e.imag, z), z.imag)
    same(run(e.conj, z), z.conj())
    same(run(e.make_complex, x, -x), x - 1j * x)
    for f in (e.real, e.imag, e.conj, lambda v: e.conj(v) * v, lambda v: e.real(v) * e.imag(v)):
        check_derivatives(f, [z])
    check_derivatives(lambda a, b: e.exp(e.make_complex(a, b)), [x, x + 1])


def test_complex_keeps_infinities_in_their_part():
    got = run(e.make_complex, np.array([inf, 0.0]), np.array([0.0, inf]))
    same(got.real, np.array([inf, 0.0]))
    same(got.imag, np.array([0.0, inf]))
