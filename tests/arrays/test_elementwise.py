"""Elementwise functions and operators: values, dtypes and shapes against NumPy; promotion; what cannot be done."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import weft as wf
from weft.base.errors import DTypeError, ShapeError
from weft.ir.dtype import ALL, DType

X = np.array([[-2.5, -1.0, -0.0], [0.0, 0.5, 3.0]])
UNIT = np.array([[-1.0, -0.5, -0.0], [0.0, 0.3, 1.0]])
POSITIVE = np.array([[0.1, 1.0, 2.0], [3.5, 100.0, 1e-3]])
INTS = np.array([[-7, -1, 0], [1, 2, 5]])
BOOLS = np.array([[True, False, True]])

UNARY = {
    "abs": X, "acos": UNIT, "acosh": POSITIVE + 1, "asin": UNIT, "asinh": X, "atan": X, "atanh": UNIT / 2,
    "ceil": X, "cos": X, "cosh": X, "exp": X, "exp2": X, "expm1": X, "floor": X, "isfinite": X, "isinf": X,
    "isnan": X, "log": POSITIVE, "log10": POSITIVE, "log1p": POSITIVE, "log2": POSITIVE, "negative": X,
    "positive": X, "reciprocal": POSITIVE, "round": X, "sign": X, "signbit": X, "sin": X, "sinh": X,
    "sqrt": POSITIVE, "square": X, "tan": X, "tanh": X, "trunc": X, "angle": X,
}  # fmt: skip
BINARY = {
    "add": X, "atan2": X, "copysign": X, "divide": POSITIVE, "equal": X, "floor_divide": POSITIVE, "greater": X,
    "greater_equal": X, "hypot": X, "less": X, "less_equal": X, "logaddexp": X, "maximum": X, "minimum": X,
    "multiply": X, "nextafter": X, "not_equal": X, "remainder": POSITIVE, "subtract": X,
}  # fmt: skip
INTEGER = {
    "bitwise_and": INTS, "bitwise_or": INTS, "bitwise_xor": INTS, "bitwise_left_shift": abs(INTS),
    "bitwise_right_shift": abs(INTS), "floor_divide": abs(INTS) + 1, "remainder": abs(INTS) + 1,
    "add": INTS, "subtract": INTS, "multiply": INTS, "maximum": INTS, "less": INTS, "equal": INTS,
}  # fmt: skip


def check(got, want, dtype=None):
    assert got.dtype is wf.float32 if dtype is None and want.dtype == np.float32 else True
    np.testing.assert_allclose(got.numpy(), want, rtol=2e-6, atol=1e-7, strict=True)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, kind):
    x = UNARY[name].astype(kind)
    check(getattr(wf, name)(wf.tensor(x)), getattr(np, name)(x))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", BINARY)
def test_binary(name, kind):
    x, y = X.astype(kind), BINARY[name].astype(kind)
    for a, b in [(x, y), (x, y[:1]), (x[:, :1], y[0]), (x[0, 0], y), (x[:0], y[:1])]:
        a = np.asarray(a)
        check(getattr(wf, name)(wf.tensor(a), wf.tensor(b)), getattr(np, name)(a, b))


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.int64])
@pytest.mark.parametrize("name", INTEGER)
def test_integers(name, kind):
    x, y = INTS.astype(kind), INTEGER[name].astype(kind)
    got, want = getattr(wf, name)(wf.tensor(x), wf.tensor(y)), getattr(np, name)(x, y)
    np.testing.assert_array_equal(got.numpy(), want, strict=True)


@pytest.mark.parametrize("name", ["exp", "sqrt", "sin", "reciprocal", "tanh", "log1p", "acosh"])
def test_functions_of_floats_take_integers_as_float32(name):
    x = np.array([1, 2, 3])
    got = getattr(wf, name)(wf.tensor(x))
    assert got.dtype is wf.float32
    np.testing.assert_allclose(got.numpy(), getattr(np, name)(x.astype(np.float32)), rtol=1e-6)


@pytest.mark.parametrize("name", ["divide", "atan2", "hypot", "logaddexp", "copysign"])
def test_so_do_those_of_two_arguments(name):
    x, y = np.array([1, 2, 3]), np.array([2, 2, 5])
    got = getattr(wf, name)(wf.tensor(x), wf.tensor(y))
    assert got.dtype is wf.float32
    np.testing.assert_allclose(got.numpy(), getattr(np, name)(x, y), rtol=1e-6)
    assert (wf.tensor(x) / 2).dtype is wf.float32 and (1 / wf.tensor(x)).dtype is wf.float32


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
def test_logic_of_anything(name):
    for x, y in [(BOOLS, ~BOOLS), (INTS, INTS > 0), (X, X[0])]:
        got = getattr(wf, name)(wf.tensor(x), wf.tensor(y))
        np.testing.assert_array_equal(got.numpy(), getattr(np, name)(x, y), strict=True)
    np.testing.assert_array_equal(wf.logical_not(wf.tensor(X)).numpy(), X == 0)
    assert wf.logical_and(wf.tensor(True), False).item() is False


OPERATORS = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("op", OPERATORS + COMPARISONS, ids=lambda o: o.__name__)
def test_operators_with_tensors_and_numbers(op):
    x, y = POSITIVE.astype(np.float32), (POSITIVE[::-1] + 0.5).astype(np.float32)
    a, b = wf.tensor(x), wf.tensor(y)
    with np.errstate(all="ignore"):
        for number in (2, 2.5, -1, 1000, True):
            plain = np.float32(number)
            check(op(a, number), op(x, plain))
            check(op(number, a), op(plain, x))
        check(op(a, b), op(x, y))
        check(op(a, y), op(x, y))  # a NumPy array on the right
        check(op(x, b), op(x, y))  # and on the left
        check(op(a, np.float32(2)), op(x, np.float32(2)))


@pytest.mark.parametrize("op", [operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift])
def test_operators_on_bits(op):
    x, y = abs(INTS), INTS % 5
    check(op(wf.tensor(x), wf.tensor(y)), op(x, y))
    check(op(wf.tensor(x), 2), op(x, 2))
    check(op(2, wf.tensor(y)), op(2, y))
    np.testing.assert_array_equal((~wf.tensor(BOOLS)).numpy(), ~BOOLS)
    np.testing.assert_array_equal((wf.tensor(BOOLS) & True).numpy(), BOOLS)


INPLACE = ["+", "-", "*", "/", "//", "%", "**", "&", "|", "^", "<<", ">>"]


@pytest.mark.parametrize("symbol", INPLACE)
def test_in_place(symbol):
    dtype = np.int64 if symbol in ["&", "|", "^", "<<", ">>"] else np.float64
    x, y = np.array([5, 3, 8], dtype), np.array([1, 2, 3], dtype)
    names = {"a": wf.tensor(x), "b": wf.tensor(y), "x": x.copy(), "y": y}
    names["same"] = names["a"]
    exec(f"a {symbol}= b\nx {symbol}= y\na {symbol}= 1\nx {symbol}= 1", names)
    np.testing.assert_array_equal(names["a"].numpy(), names["x"], strict=True)
    assert names["same"] is names["a"]


def test_in_place_keeps_the_type():
    x = wf.tensor([1, 2, 3])
    with pytest.raises(DTypeError, match=r"float32 \(3,\) and does not fit in place of int64 \(3,\)"):
        x += 0.5
    with pytest.raises(DTypeError, match=r"\(2, 3\)"):
        x += wf.ones((2, 3), dtype=wf.int64)
    assert x.tolist() == [1, 2, 3]


class TestPromotion:
    """The table of the standard, written out; what it leaves open is Weft's own choice."""

    FLOATS = ["float32", "float64"]
    SIGNED = ["int8", "int16", "int32", "int64"]
    UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]

    @staticmethod
    def result(a, b):
        x, y = wf.ones(2, dtype=a), wf.ones(2, dtype=b)
        assert wf.result_type(x, y) is wf.result_type(getattr(wf, b), getattr(wf, a))
        assert (x * y).dtype is wf.result_type(x, y) if "bool" not in (a, b) else True
        return wf.result_type(x, y).name

    @pytest.mark.parametrize("kind", ["FLOATS", "SIGNED", "UNSIGNED"])
    def test_within_a_kind_the_wider_one(self, kind):
        names = getattr(self, kind)
        for i, a in enumerate(names):
            for j, b in enumerate(names):
                assert self.result(a, b) == names[max(i, j)]

    def test_signed_with_unsigned(self):
        wide = {"uint8": 16, "uint16": 32, "uint32": 64}
        for u, bits in wide.items():
            for s in self.SIGNED:
                assert self.result(u, s) == f"int{max(bits, int(s[3:]))}"
        with pytest.raises(DTypeError, match="uint64 and int64 have no common integer type"):
            wf.ones(1, dtype="uint64") + wf.ones(1, dtype="int64")

    def test_floats_and_complex(self):
        assert self.result("complex64", "float32") == "complex64"
        assert self.result("complex64", "float64") == "complex128"
        assert self.result("complex128", "complex64") == "complex128"

    def test_integers_give_way_to_floats(self):
        for i in [*self.SIGNED, *self.UNSIGNED, "bool"]:
            for f in ["float16", "bfloat16", "float32", "float64", "complex64"]:
                assert self.result(i, f) == f
        assert self.result("float16", "bfloat16") == "float32"

    @pytest.mark.parametrize("d", [d for d in ALL if d.kind != "b"], ids=str)
    def test_numbers_take_the_type_beside_them(self, d: DType):
        x = wf.ones(2, dtype=d)
        assert (x + 1).dtype is (1 + x).dtype is d
        assert (x * True).dtype is d
        floating = d if d.inexact else wf.float32
        assert (x * 2.0).dtype is (2.0 * x).dtype is floating
        assert (x * np.float64(2.0)).dtype is floating, "NumPy's float64 scalar is a Python float"
        assert (x * 1j).dtype.kind == "c"
        assert (x * 1j).dtype.bits == (
            128 if d.bits in (64, 128) and d.inexact and d is not wf.complex64 else 64
        )

    def test_a_number_must_fit(self):
        x = wf.ones(2, dtype=wf.uint8)
        for bad in (256, -1, 2**70):
            with pytest.raises(DTypeError, match=f"the number {bad} does not fit uint8"):
                x + bad
        x + 255
        with pytest.raises(DTypeError):
            wf.less(wf.ones(2, dtype=wf.int8), 200)

    @given(st.sampled_from(ALL), st.sampled_from(ALL), st.sampled_from(ALL))
    def test_symmetric_and_associative_within_kinds(self, a, b, c):
        def both(x, y):
            try:
                return wf.result_type(x, y)
            except DTypeError:
                return None

        assert both(a, b) is both(b, a)
        if a.kind == b.kind == c.kind and both(a, b) and both(b, c):
            assert both(both(a, b), c) is both(a, both(b, c))


@given(
    hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3, min_side=0),
    st.randoms(use_true_random=False),
)
def test_broadcasting(shapes, rng):
    a, b, c = [
        np.array([rng.randrange(-9, 9) for _ in range(int(np.prod(s)))]).reshape(s)
        for s in shapes.input_shapes
    ]
    np.testing.assert_array_equal((wf.tensor(a) + wf.tensor(b)).numpy(), a + b, strict=True)
    np.testing.assert_array_equal(
        wf.where(wf.tensor(a > 0), wf.tensor(b), wf.tensor(c)).numpy(), np.where(a > 0, b, c), strict=True
    )


def test_clip():
    x = wf.tensor(X)
    for low, high in [(-1, 1), (None, 0.25), (-0.5, None), (None, None), (np.array([-1.0, 0.0, 1.0]), 2)]:
        np.testing.assert_array_equal(wf.clip(x, low, high).numpy(), np.clip(X, low, high), strict=True)
    assert wf.clip(wf.tensor([1.0, 5.0]), wf.tensor(2, dtype=wf.float64), 3).dtype is wf.float32
    assert x.clip(max=0).max().item() == 0


def test_powers():
    x = wf.tensor([2.0, 3.0])
    assert (x**2).tolist() == [4.0, 9.0] and (x**-1).tolist() == pytest.approx([0.5, 1 / 3])
    assert (x**0.5).tolist() == pytest.approx([2**0.5, 3**0.5]) and (2**x).tolist() == [4.0, 8.0]
    assert (wf.tensor([2, 3]) ** 3).tolist() == [8, 27] and (x**100).dtype is wf.float32


def test_parts_of_complex_numbers():
    z = wf.tensor([1 + 2j, -3j])
    assert (
        z.real.tolist() == [1.0, 0.0]
        and z.imag.tolist() == [2.0, -3.0]
        and z.conj().imag.tolist() == [-2.0, 3.0]
    )
    x = wf.tensor([1.0])
    assert wf.real(x).tolist() == [1.0] and wf.imag(x).tolist() == [0.0] and wf.conj(x).dtype is wf.float32


def test_complex_special_values():
    z = wf.expm1(wf.tensor([complex(np.inf, 0), complex(-np.inf, np.inf), complex(np.nan, 0), 1e-9 + 0j]))
    assert repr(z.numpy()[0]) == repr(np.complex64(complex(np.inf, 0)))
    assert z.numpy()[1] == -1 and z.numpy()[2].imag == 0 and z.numpy()[3] == np.complex64(1e-9)
    u = wf.expm1(wf.tensor([complex(-0.0, 0.0), complex(0.0, -0.0)])).numpy()
    assert not np.signbit(u.real).any() and np.signbit(u.imag).tolist() == [False, True]
    w = wf.tanh(wf.tensor([complex(np.inf, 2.5), complex(-np.inf, -2.5)])).numpy()
    assert w.tolist() == [1, -1] and not np.signbit(w.imag[0]) and np.signbit(w.imag[1])


class TestErrors:
    def test_shapes_and_dtypes_are_checked_at_once(self):
        with pytest.raises(ShapeError, match=r"shapes \(2,\), \(3,\) do not broadcast"):
            wf.ones(2) + wf.ones(3)
        with pytest.raises(DTypeError, match=r"takes .* operands, got float32"):
            wf.ones(2) & wf.ones(2)
        with pytest.raises(DTypeError):
            wf.ones(2, dtype=wf.bool) + wf.ones(2, dtype=wf.bool)
        with pytest.raises(DTypeError):
            wf.less(wf.tensor([1j]), wf.tensor([2j]))
        with pytest.raises(DTypeError, match="condition of where must be boolean"):
            wf.where(wf.ones(2), 1.0, 0.0)

    def test_foreign_operands(self):
        for other in ("a", None, [1.0], object()):
            with pytest.raises(TypeError):
                wf.ones(2) + other
            with pytest.raises(TypeError):
                other - wf.ones(2)
            assert (wf.ones(2) == other) is False and (wf.ones(2) != other) is True
        with pytest.raises(
            DTypeError, match="add takes tensors and numbers, got Tensor, str; make tensors with"
        ):
            wf.add(wf.ones(2), "a")

    def test_a_tensor_has_no_single_truth(self):
        with pytest.raises(ValueError, match=r"shape \(2,\) is ambiguous; use all\(\) or any\(\)"):
            bool(wf.ones(2) == wf.ones(2))


class TestWeakScalars:
    """Python floats that are arguments of a traced function behave as they do outside it."""

    CASES = [
        lambda x, a: x * a,
        lambda x, a: a / x,
        lambda x, a: x - a * 0.5,
        lambda x, a: x * (1 - a) ** 2,
        lambda x, a: x * 2**a,
        lambda x, a: x + (-a) + abs(-a) + (+a),
        lambda x, a: x * wf.exp(a),
        lambda x, a: wf.where(x > a, x, a),
        lambda x, a: wf.clip(x, a - 1, a + 1),
        lambda x, a: wf.where(wf.asarray(a > 0.1), x, 0.0),
        lambda x, a: wf.maximum(x, a),
        lambda x, a: x * (a * 1j),
    ]

    @pytest.mark.parametrize("f", CASES)
    @pytest.mark.parametrize("d", [wf.float32, wf.float64, wf.bfloat16, wf.int64], ids=str)
    def test_as_outside(self, f, d):
        x = wf.tensor([1, 2, 3], dtype=d)
        want, got = f(x, 0.3), wf.compile(f)(x, 0.3)
        assert got.dtype is want.dtype
        np.testing.assert_array_equal(got.numpy(), want.numpy())

    def test_one_program_for_all_values(self):
        f = wf.compile(lambda x, a: x * (a * 0.5))
        assert [f(wf.ones(1), 0.1 * i).item() for i in range(3)] == pytest.approx(
            [0, 0.05, 0.1]
        ) and f.traces == 1
