"""Data types: conversion, limits, kinds, comparison with anything."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import weft as wf
from weft.base.errors import ArgumentError, DTypeError
from weft.ir.dtype import ALL


@pytest.mark.parametrize("d", ALL, ids=str)
def test_dtypes_compare_with_anything(d):
    for other in (None, "float32", 1, 1.0, object(), [], np.float32, np.dtype("float32"), float, wf.ones(2)):
        assert ((d == other) is False and (other == d) is False) or isinstance(other, wf.Tensor)
        assert (d != other) is True or isinstance(other, wf.Tensor)
    assert d == d and d in {d} and [x for x in ALL if x == d] == [d]
    assert pickle.loads(pickle.dumps(d)) is d and copy.deepcopy(d) is d and copy.copy(d) is d
    assert repr(d) == f"weft.{d.name}" and getattr(wf, d.name) is d


@pytest.mark.parametrize("d", ALL, ids=str)
@pytest.mark.parametrize("to", ALL, ids=str)
def test_astype(d, to):
    x = wf.tensor([0, 1, 2, 100], dtype=d)
    if d.kind == "c" and to.kind not in "cb":
        with pytest.raises(DTypeError, match=r"take real\(x\)"):
            wf.astype(x, to)
        return
    got = wf.astype(x, to)
    assert got.dtype is to
    np.testing.assert_array_equal(got.numpy(), x.numpy().astype(to.numpy))


def test_astype_copies_unless_told_not_to():
    x = wf.ones(3)
    assert wf.astype(x, wf.float32, copy=False) is x and x.astype("float32", copy=False) is x
    y = wf.astype(x, wf.float32)
    y += 1
    assert x.tolist() == [1.0, 1.0, 1.0]
    assert wf.tensor([1.9, -1.9]).astype(int).tolist() == [1, -1]
    assert x.to(wf.float64).dtype is wf.float64 and x.to("cpu") is x and x.to(y) is x
    assert [getattr(x, m)().dtype.name for m in ("double", "half", "bfloat16", "int", "long", "bool")] == [
        "float64", "float16", "bfloat16", "int32", "int64", "bool",
    ]  # fmt: skip
    with pytest.raises(ArgumentError, match="no device 'cuda'"):
        x.to("cuda")


def test_finfo():
    for d in (wf.float16, wf.float32, wf.float64):
        want = np.finfo(d.numpy)
        got = wf.finfo(d)
        assert (got.bits, got.eps, got.max, got.min, got.smallest_normal) == (
            want.bits, want.eps, want.max, want.min, want.smallest_normal,
        )  # fmt: skip
        assert type(got.eps) is float and got.dtype is d
    assert wf.finfo(wf.complex64).dtype is wf.float32 and wf.finfo(wf.tensor(1.0)).bits == 32
    assert wf.finfo(wf.bfloat16).eps == 2**-7
    with pytest.raises(DTypeError, match="use iinfo"):
        wf.finfo(wf.int32)


def test_iinfo():
    for d in (wf.int8, wf.uint16, wf.int64, wf.uint64):
        want = np.iinfo(d.numpy)
        got = wf.iinfo(d)
        assert (got.bits, got.max, got.min, got.dtype) == (want.bits, want.max, want.min, d)
    with pytest.raises(DTypeError, match="use finfo"):
        wf.iinfo(wf.float32)


def test_kinds():
    table = {
        "bool": "b", "signed integer": "i", "unsigned integer": "u", "integral": "iu", "real floating": "f",
        "complex floating": "c", "numeric": "iufc",
    }  # fmt: skip
    for kind, letters in table.items():
        for d in ALL:
            assert wf.isdtype(d, kind) is (d.kind in letters)
    assert wf.isdtype(wf.int8, ("bool", wf.int8)) and not wf.isdtype(wf.int8, (wf.int16, "real floating"))
    with pytest.raises(ArgumentError, match="Did you mean 'integral'"):
        wf.isdtype(wf.int8, "integer")


def test_can_cast():
    assert wf.can_cast(wf.int8, wf.int16) and not wf.can_cast(wf.int16, wf.int8)
    assert wf.can_cast(wf.tensor(1.0), wf.float64) and not wf.can_cast(wf.uint64, wf.int64)
    assert wf.can_cast(wf.int64, wf.float32) and not wf.can_cast(wf.float32, wf.int64)


def test_names_and_foreign_types():
    assert wf.zeros(1, dtype="int16").dtype is wf.int16 is wf.zeros(1, dtype=np.int16).dtype
    assert [wf.zeros(1, dtype=t).dtype.name for t in (bool, int, float, complex)] == [
        "bool", "int64", "float32", "complex64",
    ]  # fmt: skip
    with pytest.raises(DTypeError, match=r"'float23' is not a data type\. Did you mean 'float32'"):
        wf.zeros(1, dtype="float23")
    with pytest.raises(DTypeError):
        wf.zeros(1, dtype=np.dtype("U3"))


def test_result_type():
    assert wf.result_type(wf.int32, 1) is wf.int32 and wf.result_type(wf.int32, 1.0) is wf.float32
    assert wf.result_type(wf.tensor([1.0]), wf.float64, 1j) is wf.complex128
    assert wf.result_type(1, 2.0) is wf.float32 and wf.result_type(True) is wf.bool
    with pytest.raises(ArgumentError):
        wf.result_type()
    with pytest.raises(DTypeError):
        wf.result_type("nonsense")
