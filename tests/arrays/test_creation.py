"""Tensors from data and from nothing, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft as wf
from weft.base.errors import ArgumentError, DTypeError, ShapeError


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        (1, "int64", ()),
        (1.5, "float32", ()),
        (True, "bool", ()),
        (1j, "complex64", ()),
        ([1, 2.5], "float32", (2,)),
        ([[True], [False]], "bool", (2, 1)),
        ([1, True], "int64", (2,)),
        ([], "float32", (0,)),
        ([[], []], "float32", (2, 0)),
        ((1, (2)), "int64", (2,)),
        (range(3), "int64", (3,)),
        (np.float64(2.0), "float64", ()),
        (np.arange(3, dtype=np.uint8), "uint8", (3,)),
        (np.zeros((2, 2)), "float64", (2, 2)),
        (np.zeros((2, 3)).T[::-1], "float64", (3, 2)),
        (np.zeros(3, ">i4"), "int32", (3,)),
        (b"ab", "uint8", (2,)),
    ],
)
def test_from_data(data, dtype, shape):
    if isinstance(data, bytes):
        data = memoryview(data)
    for make in (wf.tensor, wf.asarray):
        x = make(data)
        assert (x.dtype.name, x.shape) == (dtype, shape)
        np.testing.assert_array_equal(x.numpy(), np.asarray(data))


def test_from_data_with_a_dtype():
    assert wf.tensor([1, 2], dtype=wf.float64).tolist() == [1.0, 2.0]
    assert wf.tensor(np.arange(3), dtype="float16").dtype is wf.float16
    assert wf.asarray([1.5, 0.0], dtype=bool).tolist() == [True, False]
    assert wf.tensor(wf.ones(2), dtype=wf.int8).dtype is wf.int8
    assert wf.asarray([1e300], dtype=wf.float32).tolist() == [np.inf]


def test_asarray_of_a_tensor():
    x = wf.ones(3)
    assert wf.asarray(x) is x and wf.asarray(x, dtype=wf.float32, copy=False) is x
    y = wf.asarray(x, copy=True)
    y += 1
    assert x.tolist() == [1.0] * 3 and wf.asarray(x, dtype=wf.int32).dtype is wf.int32


def test_from_data_with_tensors_inside():
    x = wf.tensor(2.0)
    assert wf.asarray([x, 3.0]).tolist() == [2.0, 3.0]
    assert wf.asarray([wf.ones(2), wf.zeros(2)]).tolist() == [[1.0, 1.0], [0.0, 0.0]]


@pytest.mark.parametrize("bad", ["a", ["a"], [[1], [1, 2]], object(), 2**70, [None], {"a": 1}])
def test_bad_data(bad):
    with pytest.raises((DTypeError, OverflowError), match="cannot make a tensor"):
        wf.tensor(bad)


def test_data_that_does_not_fit_the_dtype():
    with pytest.raises(DTypeError, match="cannot make a tensor of uint8"):
        wf.tensor([300], dtype=wf.uint8)
    with pytest.raises(DTypeError, match="cannot make"):
        wf.tensor([1j], dtype=wf.float32)
    with pytest.raises(DTypeError, match="complex"):
        wf.tensor(np.array([1j]), dtype=wf.float32)


@pytest.mark.parametrize("shape", [(), 3, (2, 3), [2, 0], (np.int64(2),)], ids=str)
def test_filled(shape):
    want = (3,) if shape == 3 else tuple(shape)
    for make, value in ((wf.zeros, 0.0), (wf.ones, 1.0), (wf.empty, 0.0)):
        x = make(shape)
        assert x.shape == want and x.dtype is wf.float32 and np.all(x.numpy() == value)
        assert make(shape, dtype=wf.int8).dtype is wf.int8
    for value, dtype in [(2, "int64"), (2.5, "float32"), (True, "bool"), (1j, "complex64")]:
        x = wf.full(shape, value)
        assert x.dtype.name == dtype and x.shape == want and np.all(x.numpy() == value)
    assert wf.full((2,), wf.tensor(3.0)).tolist() == [3.0, 3.0]


def test_like():
    x = wf.zeros((2, 3), dtype=wf.int16)
    for make, value in (
        (wf.zeros_like, 0),
        (wf.ones_like, 1),
        (wf.empty_like, 0),
        (lambda x, **k: wf.full_like(x, 7, **k), 7),
    ):
        assert make(x).dtype is wf.int16 and make(x).tolist() == [[value] * 3] * 2
        assert make(x, dtype=wf.float64).dtype is wf.float64


def test_bad_shapes_and_fillings():
    for bad in (-1, (2, -3), (2.5,), "ab", None):
        with pytest.raises((ShapeError, TypeError)):
            wf.zeros(bad)
    with pytest.raises(DTypeError, match="1000 does not fit int8"):
        wf.full((2,), 1000, dtype=wf.int8)
    with pytest.raises(DTypeError, match="complex number"):
        wf.full((2,), 1j, dtype=wf.float32)
    with pytest.raises(ShapeError, match="takes one number"):
        wf.full((2,), wf.ones(2))
    with pytest.raises(ArgumentError, match="no device"):
        wf.zeros(2, device="tpu")


@given(
    st.integers(-20, 20),
    st.integers(-20, 20),
    st.integers(-6, 6).filter(bool),
    st.sampled_from(["int64", "int32", "float64"]),
)
def test_arange_of_integers(start, stop, step, dtype):
    got = wf.arange(start, stop, step, dtype=dtype)
    np.testing.assert_array_equal(got.numpy(), np.arange(start, stop, step, dtype=dtype), strict=True)


def test_arange():
    for args in [(5,), (0,), (-3,), (2.5,), (1, 4), (0.0, 1.0, 0.25), (5, 1, -1), (0, 1, 0.1)]:
        got, want = wf.arange(*args), np.arange(*args)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-6)
        assert got.dtype is (wf.int64 if want.dtype == np.int64 else wf.float32)
    big = 2**62
    assert wf.arange(big, big + 3).tolist() == [big, big + 1, big + 2]
    assert wf.arange(2**63, 2**63 + 2, dtype=wf.uint64).tolist() == [2**63, 2**63 + 1]
    assert wf.arange(3, 0, -1, dtype=wf.uint8).tolist() == [3, 2, 1]
    with pytest.raises(ArgumentError, match="must not be 0"):
        wf.arange(0, 5, 0)
    with pytest.raises(DTypeError, match="does not fit"):
        wf.arange(300, dtype=wf.uint8)
    with pytest.raises(DTypeError, match="no booleans"):
        wf.arange(2, dtype=bool)


@given(
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
    st.integers(0, 30),
    st.booleans(),
    st.sampled_from(["float32", "float64"]),
)
def test_linspace(start, stop, num, endpoint, dtype):
    got = wf.linspace(start, stop, num, endpoint=endpoint, dtype=dtype).numpy()
    want = np.linspace(start, stop, num, endpoint=endpoint, dtype=dtype)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9 * max(abs(start), abs(stop), 1), strict=True)
    if num:
        assert got[0] == np.dtype(dtype).type(start)
    if num > 1 and endpoint:
        assert got[-1] == np.dtype(dtype).type(stop)


def test_linspace_corners():
    assert wf.linspace(-1.7e308, 1.7e308, 3, dtype=wf.float64).tolist() == [-1.7e308, 0.0, 1.7e308]
    assert wf.linspace(0, 1j, 3).tolist() == [0j, 0.5j, 1j] and wf.linspace(
        0, 10, 4, dtype=wf.int64
    ).tolist() == [0, 3, 6, 10]
    with pytest.raises(ArgumentError, match="negative number of points"):
        wf.linspace(0, 1, -1)
    with pytest.raises(DTypeError):
        wf.linspace(0, 1j, 3, dtype=wf.float32)


@pytest.mark.parametrize("k", [-5, -1, 0, 1, 2, 5, 2**70, -(2**70)])
def test_diagonals(k):
    a = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(
        wf.eye(3, 4, k=k).numpy(), np.eye(3, 4, k=max(-9, min(k, 9)), dtype=np.float32), strict=True
    )
    for x in (a, a > 3, a + 0.5, a[:, :0], a * 1j):
        np.testing.assert_array_equal(
            wf.tril(wf.tensor(x), k=k).numpy(), np.tril(x, max(-9, min(k, 9))), strict=True
        )
        np.testing.assert_array_equal(
            wf.triu(wf.tensor(x), k=k).numpy(), np.triu(x, max(-9, min(k, 9))), strict=True
        )


def test_triangles_need_matrices():
    with pytest.raises(ShapeError, match="takes matrices"):
        wf.tril(wf.ones(3))
    x = wf.tensor([[np.nan, np.inf], [1.0, np.nan]])
    assert wf.tril(x, k=-1).tolist() == [[0.0, 0.0], [1.0, 0.0]]


@pytest.mark.parametrize("indexing", ["xy", "ij"])
@pytest.mark.parametrize("sizes", [(), (3,), (2, 3), (2, 0, 4), (1, 2, 3, 2)])
def test_meshgrid(indexing, sizes):
    lines = [np.arange(n) * (i + 1) for i, n in enumerate(sizes)]
    got = wf.meshgrid(*[wf.tensor(v) for v in lines], indexing=indexing)
    want = np.meshgrid(*lines, indexing=indexing)
    assert isinstance(got, tuple) and len(got) == len(want)
    for a, b in zip(got, want):
        np.testing.assert_array_equal(a.numpy(), b, strict=True)
    with pytest.raises(ArgumentError, match="indexing must be one of 'xy', 'ij', got 'no'"):
        wf.meshgrid(indexing="no")
