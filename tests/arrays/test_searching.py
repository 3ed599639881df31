"""Positions, order and sets, against NumPy; results whose number depends on the values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import weft as wf
from weft.base.errors import ArgumentError, DTypeError, ShapeError, TraceError

INTS = hnp.arrays(
    np.int64, hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5), elements=st.integers(-3, 3)
)


@given(a=INTS, data=st.data())
def test_extremes_and_order(a, data):
    x = wf.tensor(a)
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    for ours, theirs in ((wf.argmax, np.argmax), (wf.argmin, np.argmin)):
        np.testing.assert_array_equal(ours(x, axis=axis).numpy(), theirs(a, axis=axis), strict=True)
        np.testing.assert_array_equal(ours(x, keepdims=True).numpy(), theirs(a, keepdims=True), strict=True)
    np.testing.assert_array_equal(wf.sort(x, axis=axis).numpy(), np.sort(a, axis), strict=True)
    np.testing.assert_array_equal(
        wf.argsort(x, axis=axis).numpy(), np.argsort(a, axis, kind="stable"), strict=True
    )
    down = wf.argsort(x, axis=axis, descending=True).numpy()
    np.testing.assert_array_equal(down, np.argsort(-a, axis, kind="stable"), strict=True)
    np.testing.assert_array_equal(
        wf.take_along_axis(x, wf.tensor(down), axis=axis).numpy(),
        wf.sort(x, axis=axis, descending=True).numpy(),
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int32", "int64", "uint64"])
@pytest.mark.parametrize(
    ("shape", "axis", "k"),
    [
        ((3, 1000), 1, 50),
        ((2000, 2), 0, 17),
        ((2, 300, 3), 1, 20),
        ((5, 997), 1, 3),
        ((3, 6007), 1, 3),
        ((2, 1100, 2), 1, 16),
        ((4, 4000), 1, 10),
        ((2, 9001), 1, 4),
    ],
)
@pytest.mark.parametrize("largest", [True, False])
def test_topk_of_long_axes_is_what_a_stable_sort_has_first(dtype, shape, axis, k, largest):
    x = np.round(3 * np.random.default_rng(0).standard_normal(shape), 1)
    if dtype.startswith("float"):
        x = x.astype(dtype)
        x.flat[::7], x.flat[::11], x.flat[::13], x.flat[::17] = np.nan, -np.inf, 0.0, -0.0
    else:
        x = (40 * np.abs(x)).astype(dtype)
        x.flat[::7], x.flat[::11] = np.iinfo(dtype).min, np.iinfo(dtype).max
    # integers count from the other end, as the least of signed ones has no opposite
    key = x if not largest else -x if dtype.startswith("float") else ~x
    want = np.take(np.argsort(key, axis=axis, stable=True), np.arange(k), axis=axis)
    found, places = wf.topk(wf.tensor(x), k, axis=axis, largest=largest)
    np.testing.assert_array_equal(places.numpy(), want)
    np.testing.assert_array_equal(found.numpy(), np.take_along_axis(x, want, axis))


def test_topk():
    values, places = wf.topk(wf.tensor([3.0, 1.0, 4.0, 1.0, 5.0]), 2)
    assert values.tolist() == [5.0, 4.0] and places.tolist() == [4, 2]
    assert wf.topk(wf.tensor([3, 1, 4]), 1, largest=False)[0].tolist() == [1]


@given(st.lists(st.integers(-5, 5), min_size=1), hnp.arrays(np.int64, (2, 3), elements=st.integers(-6, 6)))
def test_searchsorted(edges, x):
    e = np.array(edges)
    for side in ("left", "right"):
        got = wf.searchsorted(wf.tensor(np.sort(e)), wf.tensor(x), side=side)
        np.testing.assert_array_equal(got.numpy(), np.searchsorted(np.sort(e), x, side), strict=True)
        sorter = wf.argsort(wf.tensor(e))
        np.testing.assert_array_equal(
            wf.searchsorted(wf.tensor(e), wf.tensor(x), side=side, sorter=sorter).numpy(), got.numpy()
        )
    assert wf.searchsorted(wf.tensor([1.0, 2.0]), 1.5).item() == 1
    with pytest.raises(ArgumentError, match="side must be one of"):
        wf.searchsorted(wf.tensor([1]), 1, side="middle")


@given(a=INTS, data=st.data())
def test_take(a, data):
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    n = a.shape[axis]
    places = data.draw(hnp.arrays(np.int64, data.draw(st.integers(0, 5)), elements=st.integers(-n, n - 1)))
    np.testing.assert_array_equal(
        wf.take(wf.tensor(a), wf.tensor(places), axis=axis).numpy(), np.take(a, places, axis), strict=True
    )


def test_take_errors():
    x = wf.ones((2, 3))
    assert wf.take(wf.arange(4), [1, -1]).tolist() == [1, 3]
    with pytest.raises(ShapeError, match="needs an axis"):
        wf.take(x, wf.tensor([0]))
    with pytest.raises(DTypeError, match="indices must be integers"):
        wf.take(x, wf.tensor([0.5]), axis=0)
    with pytest.raises(ShapeError, match="indices of 2 dimensions"):
        wf.take_along_axis(x, wf.tensor([0]))
    with pytest.raises(IndexError, match="out of bounds"):
        wf.take(x, wf.tensor([2]), axis=0).numpy()
    got = wf.take_along_axis(x * wf.tensor([1.0, 2.0, 3.0]), wf.tensor([[2]]), axis=1)
    assert got.tolist() == [[3.0], [3.0]], "indices broadcast along the other axes"


class TestAdding:
    """index_add and scatter_add: what take and take_along_axis read, added to."""

    @pytest.mark.parametrize("axis", [0, 1, 2, -1])
    @pytest.mark.parametrize("dtype", ["float32", "int64", "complex64"])
    def test_slices_as_numpy(self, axis, dtype):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(4, 3, 5)).astype(dtype)
        places = np.array([2, 0, -1, 2, 2, 1])
        shape = list(x.shape)
        shape[axis] = 6
        source = rng.normal(size=shape).astype(dtype)
        want = x.copy()
        np.add.at(np.moveaxis(want, axis, 0), places, np.moveaxis(source, axis, 0))
        got = wf.index_add(wf.tensor(x), wf.tensor(places), wf.tensor(source), axis=axis)
        np.testing.assert_array_equal(got.numpy(), want, strict=True)

    @pytest.mark.parametrize("axis", [0, 1, -1])
    def test_elements_as_numpy(self, axis):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(4, 3)).astype(np.float32)
        shape = (6, 3) if axis == 0 else (4, 7)
        places, source = rng.integers(0, x.shape[axis], shape), rng.normal(size=shape).astype(np.float32)
        want, grid = x.copy(), list(np.indices(shape))
        grid[axis] = places
        np.add.at(want, tuple(grid), source)
        got = wf.scatter_add(wf.tensor(x), wf.tensor(places), wf.tensor(source), axis=axis)
        np.testing.assert_array_equal(got.numpy(), want, strict=True)

    def test_gradients_lead_back(self):
        x, source = (wf.tensor(np.ones(s, np.float32), requires_grad=True) for s in ((3, 2), (4, 2)))
        weight = wf.tensor(np.arange(6, dtype=np.float32).reshape(3, 2))
        (wf.index_add(x, [0, 2, 2, 0], source) * weight).sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), weight.numpy())
        np.testing.assert_array_equal(source.grad.numpy(), weight.numpy()[[0, 2, 2, 0]])
        per_row = wf.vmap(lambda row, at: wf.scatter_add(row, at, 1.0))(
            wf.zeros((2, 3)), wf.tensor([[0, 0], [2, 1]])
        )
        assert per_row.tolist() == [[2.0, 0.0, 0.0], [0.0, 1.0, 1.0]]

    def test_sources_are_broadcast_and_promoted(self):
        assert wf.index_add(wf.zeros((3, 2)), [1, 1], 1.0).tolist() == [[0.0, 0.0], [2.0, 2.0], [0.0, 0.0]]
        assert wf.index_add(wf.arange(3), [0], wf.tensor([0.5])).dtype == wf.float32
        assert wf.scatter_add(wf.zeros((2, 2)), [[1]], wf.tensor([[1.0], [2.0]])).tolist() == [[0, 1], [0, 2]]

    def test_errors(self):
        x = wf.zeros((3, 2))
        with pytest.raises(ShapeError, match="takes a vector of indices, got shape"):
            wf.index_add(x, [[0]], wf.ones((1, 2)))
        with pytest.raises(ShapeError, match=r"index_add of a source of shape \(3, 2\).*need \(2, 2\)"):
            wf.index_add(x, [0, 1], wf.ones((3, 2)))
        with pytest.raises(ShapeError, match="needs indices that agree in all other axes"):
            wf.scatter_add(x, wf.tensor([0]), wf.ones((3, 2)))
        with pytest.raises(ShapeError, match="needs indices that agree in all other axes"):
            wf.scatter_add(x, wf.zeros((2, 2), dtype=wf.int64), wf.ones((3, 2)))
        with pytest.raises(DTypeError, match="indices must be integers"):
            wf.index_add(x, wf.tensor([0.5]), wf.ones((1, 2)))
        with pytest.raises(IndexError, match="out of bounds"):
            wf.index_add(x, [3], wf.ones((1, 2))).numpy()


class TestNonzero:
    @given(INTS)
    def test_as_numpy(self, a):
        for got, want in zip(wf.nonzero(wf.tensor(a)), np.nonzero(a), strict=True):
            np.testing.assert_array_equal(got.numpy(), want, strict=True)

    @given(INTS, st.integers(0, 12))
    def test_of_fixed_size(self, a, size):
        got = wf.nonzero(wf.tensor(a), size=size, fill_value=-1)
        for line, want in zip(got, np.nonzero(a), strict=True):
            assert line.tolist() == (want.tolist() + [-1] * size)[:size]

    def test_in_a_trace(self):
        x = wf.tensor([0, 3, 0, 5])
        assert wf.compile(lambda x: wf.nonzero(x, size=3)[0])(x).tolist() == [1, 3, 0]
        with pytest.raises(TraceError, match="size=n"):
            wf.compile(lambda x: wf.nonzero(x)[0])(x)
        with pytest.raises(ShapeError, match="at least one dimension"):
            wf.nonzero(wf.tensor(1))


class TestUnique:
    @given(INTS)
    def test_as_numpy(self, a):
        x = wf.tensor(a)
        values, first, inverse, counts = np.unique(
            a, return_index=True, return_inverse=True, return_counts=True
        )
        got = wf.unique_all(x)
        for name, want in (("values", values), ("indices", first), ("counts", counts)):
            np.testing.assert_array_equal(getattr(got, name).numpy(), want, strict=True)
        np.testing.assert_array_equal(got.inverse_indices.numpy(), inverse.reshape(a.shape), strict=True)
        assert wf.unique_values(x).tolist() == values.tolist()
        assert [v.tolist() for v in wf.unique_counts(x)] == [values.tolist(), counts.tolist()]
        np.testing.assert_array_equal(values[wf.unique_inverse(x).inverse_indices.numpy()], a)

    @given(INTS, st.integers(1, 9))
    def test_of_fixed_size(self, a, size):
        want = np.unique(a).tolist()
        assert (
            wf.unique_values(wf.tensor(a), size=size, fill_value=99).tolist() == (want + [99] * size)[:size]
        )
        assert wf.unique_values(wf.tensor(a), size=size).tolist() == (want + [want[0]] * size)[:size]

    def test_nan_is_distinct_each_time(self):
        got = wf.unique_counts(wf.tensor([np.nan, 1.0, np.nan, -0.0, 0.0]))
        assert got.values.tolist()[:2] == [0.0, 1.0] and got.counts.tolist() == [2, 1, 1, 1]

    @pytest.mark.parametrize(
        "dtype", ["float16", "float32", "float64", "uint8", "int32", "int64", "uint64", "bool"]
    )
    def test_of_many_elements(self, dtype):
        a = 300 * np.random.default_rng(0).standard_normal((7, 10_001))
        a = a.astype(dtype) if dtype.startswith("float") else np.abs(a).astype(dtype)
        if dtype.startswith("float"):
            a.flat[::7], a.flat[::11], a.flat[::13], a.flat[::17] = np.nan, np.inf, 0.0, -0.0
        elif dtype != "bool":
            a.flat[::7], a.flat[::11] = np.iinfo(dtype).min, np.iinfo(dtype).max
        want = np.unique(a, return_index=True, return_inverse=True, return_counts=True, equal_nan=False)
        x = wf.tensor(a)
        got = wf.unique_all(x)
        for g, w in zip(got, want, strict=True):
            np.testing.assert_array_equal(g.numpy(), w.reshape(g.shape), strict=True)
        values, counts = wf.unique_counts(x)
        np.testing.assert_array_equal(values.numpy(), want[0], strict=True)
        np.testing.assert_array_equal(np.signbit(values.numpy()[:500]), np.signbit(want[0][:500]))
        np.testing.assert_array_equal(counts.numpy(), want[3], strict=True)
        np.testing.assert_array_equal(wf.unique_values(x).numpy(), want[0], strict=True)
        np.testing.assert_array_equal(
            wf.unique_inverse(x).inverse_indices.numpy(), got.inverse_indices.numpy()
        )

    def test_in_a_trace(self):
        assert wf.compile(lambda x: wf.unique_values(x, size=2))(wf.tensor([3, 3, 1])).tolist() == [1, 3]
        with pytest.raises(TraceError, match="unique_values"):
            wf.compile(lambda x: wf.unique_counts(x).counts)(wf.tensor([1]))


@pytest.mark.parametrize("size", [0, 3, 300])
@pytest.mark.parametrize("kind", ["int64", "float32", "bool", "complex64"])
def test_isin(size, kind, rng):
    a, b = rng.integers(-20, 20, (4, 30)).astype(kind), rng.integers(-9, 9, size).astype(kind)
    for invert in (False, True):
        got = wf.isin(wf.tensor(a), wf.tensor(b), invert=invert)
        np.testing.assert_array_equal(got.numpy(), np.isin(a, b, invert=invert), strict=True)
    assert wf.isin(wf.tensor([1, 2]), 2).tolist() == [False, True] and wf.isin(2, wf.tensor([1, 2])).item()
    assert wf.isin(wf.tensor([np.nan]), wf.tensor([np.nan])).tolist() == [False]


def test_bincount():
    assert wf.bincount(wf.tensor([0, 2, 2, 3]), length=5).tolist() == [1, 0, 2, 1, 0]
    with pytest.raises(IndexError):
        wf.bincount(wf.tensor([7]), length=5).numpy()
