"""Data types: names, kinds, and the laws of promotion."""

import copy
import itertools
import pickle

import ml_dtypes
import numpy as np
import pytest

from weft.base.errors import DTypeError
from weft.ir import dtype as d
from weft.ir.dtype import ALL, dtype, promote, weak_dtype

PAIRS = list(itertools.combinations_with_replacement(ALL, 2))


def promoted(a, b):
    """The promoted type, or None where there is none."""
    try:
        return promote(a, b)
    except DTypeError:
        return None


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (bool, d.bool_), (int, d.int64), (float, d.float32), (complex, d.complex64), ("float16", d.float16),
        (np.float32, d.float32), (np.dtype("int8"), d.int8), ("<u2", d.uint16), (ml_dtypes.bfloat16, d.bfloat16),
        (d.float64, d.float64), ("bfloat16", d.bfloat16),
    ],
)  # fmt: skip
def test_what_names_a_type(spec, expected):
    assert dtype(spec) is expected


@pytest.mark.parametrize("spec", [None, "flaot32", str, np.dtype("U3"), object, 3, "M8[s]", [1]])
def test_what_names_none(spec):
    with pytest.raises(DTypeError, match="is not a data type"):
        dtype(spec)


def test_unknown_names_offer_the_nearest():
    with pytest.raises(DTypeError, match="Did you mean 'float32'"):
        dtype("flaot32")


@pytest.mark.parametrize("a", ALL, ids=str)
def test_types_are_unique(a):
    assert pickle.loads(pickle.dumps(a)) is a
    assert copy.deepcopy(a) is a and copy.copy(a) is a
    assert dtype(a.name) is a and dtype(a.numpy) is a
    assert repr(a) == f"weft.{a.name}" and str(a) == a.name
    assert a.itemsize == a.numpy.itemsize
    assert a != None  # noqa: E711  (comparison with anything is defined)


@pytest.mark.parametrize(("a", "b"), PAIRS, ids=lambda p: str(p))
def test_promotion_is_symmetric_and_holds_both(a, b):
    out = promoted(a, b)
    assert promoted(b, a) is out
    if out is None:
        assert {a.kind, b.kind} == {"u", "i"}
        return
    assert promoted(out, a) is out and promoted(out, b) is out
    assert d.KINDS.index(out.kind) >= max(d.KINDS.index(a.kind), d.KINDS.index(b.kind))


def test_promotion_is_associative_inside_a_kind():
    for kind in d.KINDS:
        same = [t for t in ALL if t.kind == kind]
        for a, b, c in itertools.product(same, repeat=3):
            assert promote(promote(a, b), c) is promote(a, promote(b, c))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (d.int64, d.float32, d.float32), (d.bool_, d.uint8, d.uint8), (d.uint8, d.int8, d.int16),
        (d.uint32, d.int32, d.int64), (d.uint8, d.int64, d.int64), (d.bfloat16, d.float16, d.float32),
        (d.bfloat16, d.float32, d.float32), (d.float64, d.complex64, d.complex128), (d.int64, d.complex64, d.complex64),
        (d.float16, d.float32, d.float32), (d.float32, d.complex64, d.complex64),
    ],
)  # fmt: skip
def test_some_promotions(a, b, expected):
    assert promote(a, b) is expected


def test_unsigned_64_with_signed_has_no_common_type():
    with pytest.raises(DTypeError, match="cast one of them with astype"):
        promote(d.uint64, d.int8)


@pytest.mark.parametrize(
    ("value", "beside", "expected"),
    [
        (True, None, d.bool_), (1, None, d.int64), (1.0, None, d.float32), (1j, None, d.complex64),
        (1, d.float16, d.float16), (1, d.uint8, d.uint8), (1, d.bool_, d.int64), (1.0, d.int64, d.float32),
        (1.0, d.bfloat16, d.bfloat16), (1.0, d.float64, d.float64), (1.0, d.complex128, d.complex128),
        (1j, d.float32, d.complex64), (1j, d.float64, d.complex128), (1j, d.int8, d.complex64), (True, d.int8, d.int8),
    ],
)  # fmt: skip
def test_python_numbers_are_weak(value, beside, expected):
    assert weak_dtype(value, beside) is expected


def test_parts_of_complex_types():
    assert d.real_dtype(d.complex64) is d.float32 and d.real_dtype(d.float16) is d.float16
    assert d.complex_dtype(d.float64) is d.complex128 and d.complex_dtype(d.float32) is d.complex64
    assert d.bfloat16.storage_only and d.float16.storage_only and not d.float32.storage_only
    assert [t.name for t in ALL if t.inexact] == [
        "bfloat16", "float16", "float32", "float64", "complex64", "complex128",
    ]  # fmt: skip
