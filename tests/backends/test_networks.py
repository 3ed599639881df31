"""Rows that are sorted by a network of comparisons, of any length: to the bit what a stable sort makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import weft as wf
from orders import RNG, TYPES, numbers
from orders import check_order as check

#: Around the lengths of vectors, of groups of them, and of runs that are merged.
LENGTHS = [1, 2, 3, 5, 8, 15, 17, 31, 32, 33, 63, 65, 100, 127, 128, 129]


@pytest.mark.parametrize("dtype", TYPES)
def test_all_types(dtype):
    for n in (4, 33, 100):
        check(numbers((3, n), dtype), 1)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_all_lengths(n, dtype):
    check(numbers((3, n), dtype), 1)


@pytest.mark.parametrize("dtype", ["i4", "f4", "f8", "i8"])
@pytest.mark.parametrize("n", [255, 500])
def test_many_rounds(dtype, n):
    check(numbers((5, n), dtype), 1)
    x = RNG.integers(0, 256, (2, n, np.dtype(dtype).itemsize), dtype=np.uint8).view(dtype)[..., 0]
    check(np.where(x == x, x, 1) if x.dtype.kind == "f" else x, 1)


@pytest.mark.parametrize(
    ("shape", "axis"), [((90, 2), 0), ((2, 80, 3), 1), ((0, 5), 1), ((5, 0), 1)], ids=str
)
@pytest.mark.parametrize("dtype", ["f4", "u1", "i8"])
def test_any_axis(shape, axis, dtype):
    check(numbers(shape, dtype), axis)


@pytest.mark.parametrize("x", [np.full(150, 7), np.zeros(150, "f4"), -np.zeros(150), np.full(150, np.nan)])
def test_all_elements_alike(x):
    check(x, 0)


def test_a_network_sorts_all_rows_of_zeros_and_ones():
    """What puts all of them in order does so with everything (D. Knuth, 5.3.4)."""
    for n in (8, 12):
        x = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(np.int32)
        assert np.array_equal(wf.sort(wf.tensor(x)).numpy(), np.sort(x, axis=1))
        assert np.array_equal(wf.argsort(wf.tensor(x)).numpy(), np.argsort(x, axis=1, stable=True))


def test_zeros_and_nan_of_one_row_do_not_change_others():
    x = RNG.standard_normal((4, 50)).astype(np.float32)
    x[1, ::5], x[1, 1::7], x[2, 3] = -0.0, 0.0, np.nan
    check(x, 1)


@given(arrays(np.float32, array_shapes(max_dims=2, max_side=70), elements=st.floats(width=32)), st.booleans())
def test_as_the_reference(x, descending):
    got = [
        wf.sort(wf.tensor(x), descending=descending),
        wf.argsort(wf.tensor(x), descending=descending),
        wf.sort(wf.tensor(x) * 2, axis=0, descending=descending),
    ]
    with wf.config(backend="reference"):
        want = [
            wf.sort(wf.tensor(x), descending=descending).numpy(),
            wf.argsort(wf.tensor(x), descending=descending).numpy(),
            wf.sort(wf.tensor(x) * 2, axis=0, descending=descending).numpy(),
        ]
    for g, w in zip(got, want, strict=True):
        assert np.array_equal(g.numpy(), w, equal_nan=True)
        assert np.array_equal(np.signbit(g.numpy()), np.signbit(w)) or np.isnan(w).any()
