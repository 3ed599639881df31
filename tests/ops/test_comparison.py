"""Comparisons, classification, logic, bits, rounding."""

import numpy as np
import pytest

from nodes import gradients, run, same
from weft.base.errors import DTypeError
from weft.ir.dtype import float32, int32, int64, uint16
from weft.ops import elementwise as e

inf, nan = np.inf, np.nan
A = np.array([0.0, 1.0, nan, nan, inf, -inf, 2.0])
B = np.array([-0.0, 2.0, nan, 1.0, inf, inf, 1.0])


@pytest.mark.parametrize(
    "name", ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or",
             "logical_xor"]
)  # fmt: skip
def test_two_operands_as_numpy(name):
    for x, y in [
        (A, B),
        (np.arange(-2, 3), np.array([0, -1, 0, 1, 3])),
        (np.uint8([0, 1, 2]), np.uint8([2, 1, 0])),
    ]:
        same(run(getattr(e, name), x, y), getattr(np, name)(x, y))
    x, y = np.array([True, False, True]), np.array([[True], [False]])
    same(run(getattr(e, name), x, y), getattr(np, name)(x, y))


def test_complex_numbers_are_equal_in_both_parts():
    same(run(e.equal, np.array([1 + 1j, 1 + 2j]), np.array([1 + 1j, 1 + 1j])), np.array([True, False]))
    with pytest.raises(DTypeError, match="less: takes"):
        run(e.less, np.ones(2, complex), np.ones(2, complex))


@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite", "logical_not"])
def test_one_operand_as_numpy(name):
    for x in (A, np.array([complex(nan, 0), complex(0, inf), 1j, 0j]), np.arange(-1, 2)):
        same(run(getattr(e, name), x), getattr(np, name)(x))


def test_signbit_sees_negative_zero_and_nan():
    same(run(e.signbit, np.array([0.0, -0.0, -1.0, -inf, -nan])), np.array([False, True, True, True, True]))


@pytest.mark.parametrize(
    ("name", "theirs"), [("floor", "floor"), ("ceil", "ceil"), ("trunc", "trunc"), ("round_", "rint")]
)
def test_rounding(name, theirs):
    x = np.array([-2.5, -1.5, -0.5, -0.2, -0.0, 0.0, 0.2, 0.5, 1.5, 2.5, 1e300, inf, -inf, nan])
    same(run(getattr(e, name), x), getattr(np, theirs)(x))
    np.testing.assert_array_equal(gradients(getattr(e, name), x)[0], np.zeros_like(x))
    same(run(getattr(e, name), np.array([-3, 4])), np.array([-3, 4]))


def test_round_goes_to_the_even_neighbour_and_takes_complex_numbers():
    same(run(e.round_, np.array([0.5, 1.5, 2.5, -0.5])), np.array([0.0, 2.0, 2.0, -0.0]))
    same(run(e.round_, np.array([0.5 + 1.5j])), np.array([0 + 2j]))


def test_bits():
    x, y = np.array([12, -7, 0]), np.array([10, 3, -1])
    same(run(e.bitwise_and, x, y), x & y)
    same(run(e.bitwise_or, x, y), x | y)
    same(run(e.bitwise_xor, x, y), x ^ y)
    same(run(e.bitwise_not, x), ~x)
    same(run(e.bitwise_not, np.array([True, False])), np.array([False, True]))


def test_shifts_by_the_width_and_more():
    same(run(e.shift_left, np.int8([1, 1, 1]), np.int8([6, 7, 8])), np.int8([64, -128, 0]))
    same(run(e.shift_right, np.int8([-128, -1, 64]), np.int8([3, 9, 9])), np.int8([-16, -1, 0]))
    same(run(e.shift_right, np.uint8([128, 255]), np.uint8([7, 8])), np.uint8([1, 0]))


def test_bitcast():
    x = np.array([1.0, -0.0, inf])
    same(run(lambda v: e.bitcast(v, dtype=int64), x), x.view(np.int64))
    same(
        run(lambda v: e.bitcast(v, dtype=uint16), x.astype(np.float16)), x.astype(np.float16).view(np.uint16)
    )
    same(
        run(lambda v: e.bitcast(e.bitcast(v, dtype=int32), dtype=float32), np.float32([1.5])),
        np.float32([1.5]),
    )
    with pytest.raises(DTypeError, match="cannot read the 64 bits"):
        run(lambda v: e.bitcast(v, dtype=int32), x)
