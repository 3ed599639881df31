"""Reductions and running reductions, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import weft as wf
from weft.base.errors import ArgumentError, DTypeError, ShapeError
from weft.ir.dtype import ALL

NAMES = ["sum", "prod", "mean", "var", "std", "max", "min", "all", "any", "count_nonzero"]


@given(
    name=st.sampled_from(NAMES),
    a=hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
        elements=st.floats(-8, 8, width=16),
    ),
    data=st.data(),
)
def test_over_any_axes(name, a, data):
    axes = data.draw(st.none() | st.lists(st.integers(-a.ndim, a.ndim - 1), unique_by=lambda i: i % a.ndim).map(tuple)
                     if a.ndim else st.none())  # fmt: skip
    keepdims = data.draw(st.booleans())
    empty = a.size == 0 and name in ("max", "min", "mean", "var", "std")
    if empty:
        return
    got = getattr(wf, name)(wf.tensor(a), axis=axes, keepdims=keepdims)
    want = np.asarray(getattr(np, name)(a, axis=axes, keepdims=keepdims))
    if name == "count_nonzero" and axes == ():
        want = (a != 0).astype(np.int64)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-9, atol=1e-9, strict=True)


@pytest.mark.parametrize("d", ALL, ids=str)
def test_dtypes_of_sums(d):
    x = wf.ones((2, 3), dtype=d)
    want = {"b": wf.int64, "i": wf.int64, "u": wf.uint64}.get(d.kind, d)
    for f in (
        wf.sum,
        wf.prod,
        lambda x: wf.cumulative_sum(x, axis=0),
        lambda x: wf.cumulative_prod(x, axis=0),
    ):
        assert f(x).dtype is want
    assert wf.sum(x).item() == 6 and wf.prod(x).item() == 1
    assert wf.sum(x, dtype=wf.complex128).dtype is wf.complex128
    assert wf.count_nonzero(x).dtype is wf.int64
    if d.kind in "iu":
        assert wf.mean(x).dtype is wf.float32 and wf.std(x).dtype is wf.float32
        assert wf.sum(x, dtype=d).dtype is d


def test_small_integers_do_not_overflow():
    assert wf.sum(wf.full((300,), 100, dtype=wf.int8)).item() == 30_000
    assert wf.sum(wf.ones(70_000, dtype=wf.float16)).item() == np.inf
    assert wf.mean(wf.full((300,), 200, dtype=wf.uint8)).item() == 200.0


def test_of_nothing():
    x = wf.zeros((0, 3))
    assert wf.sum(x).item() == 0 and wf.prod(x).item() == 1 and wf.all(x).item() and not wf.any(x).item()
    assert (
        np.isnan(wf.mean(x).item())
        and wf.sum(x, axis=0).tolist() == [0, 0, 0]
        and wf.max(x, axis=1).shape == (0,)
    )
    for f in (wf.max, wf.min, wf.argmax):
        with pytest.raises(ShapeError, match="nothing to choose from"):
            f(x)


def test_nan_wins():
    x = wf.tensor([1.0, np.nan, 3.0])
    for f in (wf.max, wf.min, wf.sum, wf.mean):
        assert np.isnan(f(x).item())
    assert wf.argmax(x).item() == 1 and wf.any(wf.tensor([np.nan])).item()


def test_correction():
    x = wf.tensor([1.0, 2.0, 4.0])
    for c in (0, 1, 0.5):
        assert wf.var(x, correction=c).item() == pytest.approx(np.sum((x.numpy() - 7 / 3) ** 2) / (3 - c))
    assert np.isnan(wf.std(wf.tensor([1.0]), correction=1).item())


@given(
    a=hnp.arrays(
        np.int64,
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
        elements=st.integers(-4, 4),
    ),
    data=st.data(),
)
def test_running(a, data):
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    initial = data.draw(st.booleans())
    for ours, theirs in ((wf.cumulative_sum, np.cumulative_sum), (wf.cumulative_prod, np.cumulative_prod)):
        got = ours(wf.tensor(a), axis=axis, include_initial=initial)
        np.testing.assert_array_equal(got.numpy(), theirs(a, axis=axis, include_initial=initial), strict=True)
    n = data.draw(st.integers(0, 3))
    np.testing.assert_array_equal(
        wf.diff(wf.tensor(a), axis=axis, n=n).numpy(),
        np.diff(a, n=min(n, a.shape[axis]), axis=axis),
        strict=True,
    )


def test_differences_with_ends():
    x = wf.tensor([1, 4, 9])
    got = wf.diff(x, prepend=wf.tensor([0]), append=wf.tensor([16, 25]))
    assert got.tolist() == [1, 3, 5, 7, 9]
    assert wf.diff(wf.tensor([True, False, False])).tolist() == [True, False]
    with pytest.raises(DTypeError, match="must be int64 like x"):
        wf.diff(x, prepend=wf.tensor([0.0]))
    with pytest.raises(ArgumentError, match="order -1"):
        wf.diff(x, n=-1)


def test_what_has_no_meaning():
    with pytest.raises(DTypeError, match="mean takes numbers"):
        wf.mean(wf.tensor([True]))
    with pytest.raises(DTypeError, match="no order"):
        wf.max(wf.tensor([1j]))
    with pytest.raises(DTypeError, match="real numbers"):
        wf.var(wf.tensor([1j]))
    with pytest.raises(ShapeError, match="needs an axis"):
        wf.cumulative_sum(wf.ones((2, 2)))
    with pytest.raises(ArgumentError, match="twice"):
        wf.sum(wf.ones((2, 2)), axis=(0, 0))


def test_gradients():
    x = wf.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    (x.mean() + x.var(axis=0).sum() + x.max() + x.prod() + wf.std(x) ** 2).backward()
    torch = pytest.importorskip("torch")
    t = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    (t.mean() + t.var(0, correction=0).sum() + t.max() + t.prod() + t.std(correction=0) ** 2).backward()
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-5)
