"""The greatest and the least of rows: NaN wherever one is, infinities, and the bits that other ways give."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("size", [1, 5, 16, 63, 64, 65, 200, 1003])
def test_a_nan_anywhere_is_the_result(name, dtype, size):
    rng = np.random.default_rng(size)
    x = rng.normal(size=(size + 2, size)).astype(np.float32)
    for k in range(size):
        x[k, k] = np.nan
    x[size, size // 2] = np.inf
    x[size + 1] = -np.inf
    t = wf.tensor(x).astype(dtype)
    got = getattr(wf, name)(t, axis=1).astype("float64").numpy()
    want = getattr(np, name)(t.astype("float64").numpy(), axis=1)
    np.testing.assert_array_equal(got, want)
    assert np.isnan(got[:size]).all() and not np.isnan(got[size:]).any()


@pytest.mark.parametrize("size", [64, 100, 300])
def test_of_two_zeros_the_sign_is_always_that_of_the_same(size):
    """However wide the kernel around it is."""
    x = np.zeros((3, size), np.float32)
    x[0, ::2] = x[1, 1::2] = -0.0
    x[2] = -0.0
    t = wf.tensor(x)
    alone = wf.max(t, axis=1).numpy()
    both = wf.compile(lambda v: (wf.max(v, axis=1), wf.nn.functional.softmax(v, 1)))(t)[0].numpy()
    assert alone.tobytes() == both.tobytes() and np.signbit(alone[2])


@pytest.mark.parametrize("size", [3, 16, 100])
def test_places_are_compared_with_any_number(size):
    """Also where 32 bits do for the place, and not for the number."""
    wanted = [0, 1, size - 1, size, -1, 2**31, 2**32, 2**32 + 1, -(2**32) + 1, 2**63 - 1, -(2**63)]
    c = np.array(wanted, np.int64)
    f = wf.compile(lambda v: (wf.arange(size)[None, :] == v[:, None]).astype("float32") * 2.0)
    for _ in range(20):  # generic code, and special code
        got = f(wf.tensor(c)).numpy()
    np.testing.assert_array_equal(got, (np.arange(size) == c[:, None]) * np.float32(2))
