"""Shapes and the order of elements, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import weft as wf
from weft.base.errors import ArgumentError, AxisError, DTypeError, ShapeError, TraceError

A = np.arange(24).reshape(2, 3, 4)
X = wf.tensor(A)

CASES = {
    "reshape": (
        lambda p, x: p.reshape(x, (4, 6)),
        lambda p, x: p.reshape(x, (-1, 2, 3)),
        lambda p, x: p.reshape(x, -1),
    ),
    "expand_dims": (lambda p, x: p.expand_dims(x, axis=0), lambda p, x: p.expand_dims(x, (0, -1, 2))),
    "squeeze": (lambda p, x: p.squeeze(x[:1, None], 0), lambda p, x: p.squeeze(x[:, None, :1], (1, 2))),
    "flip": (lambda p, x: p.flip(x), lambda p, x: p.flip(x, axis=1), lambda p, x: p.flip(x, axis=(0, -1))),
    "roll": (
        lambda p, x: p.roll(x, 5),
        lambda p, x: p.roll(x, -1, axis=1),
        lambda p, x: p.roll(x, (1, -6), axis=(0, 2)),
        lambda p, x: p.roll(x, 2, axis=(1, 2)),
        lambda p, x: p.roll(x[:, :0], 1, axis=1),
    ),
    "moveaxis": (lambda p, x: p.moveaxis(x, 0, -1), lambda p, x: p.moveaxis(x, (0, 1), (-1, 0))),
    "tile": (lambda p, x: p.tile(x, (2, 1, 3)), lambda p, x: p.tile(x, (2,)), lambda p, x: p.tile(x, (2, 1, 1, 2)),
             lambda p, x: p.tile(x, (0, 1)), lambda p, x: p.tile(x, ())),
    "repeat": (
        lambda p, x: p.repeat(x, 2),
        lambda p, x: p.repeat(x, 3, axis=1),
        lambda p, x: p.repeat(x, np.array([1, 0, 2]), axis=1),
        lambda p, x: p.repeat(x, 0, axis=0),
        lambda p, x: p.repeat(x, [2], axis=-1),
    ),
    "broadcast_to": (lambda p, x: p.broadcast_to(x[:, :1], (5, 2, 3, 4)), lambda p, x: p.broadcast_to(x[0, 0], (4,))),
    "concat": (
        lambda p, x: p.concat([x, x[:1]]),
        lambda p, x: p.concat((x, x, x[:, :, :0]), axis=-1),
        lambda p, x: p.concat([x, x[0, 0]], axis=None),
    ),
    "stack": (
        lambda p, x: p.stack([x, x]),
        lambda p, x: p.stack((x, x, x), axis=2),
        lambda p, x: p.stack([x], axis=-1),
    ),
    "matrix_transpose": (lambda p, x: p.matrix_transpose(x),),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_as_numpy_does(name):
    for case in CASES[name]:
        np.testing.assert_array_equal(case(wf, X).numpy(), case(np, A), strict=True)


def test_permute_dims():
    np.testing.assert_array_equal(wf.permute_dims(X, (2, 0, 1)).numpy(), A.transpose(2, 0, 1), strict=True)
    np.testing.assert_array_equal(wf.permute_dims(X, (-1, 0, 1)).numpy(), A.transpose(2, 0, 1), strict=True)


def test_unstack_and_split():
    for axis in (0, 1, -1):
        parts = wf.unstack(X, axis=axis)
        assert isinstance(parts, tuple)
        for got, want in zip(parts, np.moveaxis(A, axis, 0), strict=True):
            np.testing.assert_array_equal(got.numpy(), want, strict=True)
    assert wf.unstack(wf.zeros((0, 2))) == ()
    assert [p.shape for p in wf.split(X, 3, axis=2)] == [(2, 3, 3), (2, 3, 1)]
    assert [p.tolist() for p in wf.split(wf.arange(5), [2, 0, 3])] == [[0, 1], [], [2, 3, 4]]
    with pytest.raises(ShapeError, match="do not add up"):
        wf.split(X, [1, 1], axis=2)
    with pytest.raises(ArgumentError, match="at least 1"):
        wf.split(X, 0)


def test_broadcasting_together():
    a, b = wf.broadcast_arrays(wf.zeros((3, 1), dtype=wf.int8), wf.ones(4))
    assert a.shape == b.shape == (3, 4) and a.dtype is wf.int8 and b.dtype is wf.float32
    assert wf.broadcast_shapes((3, 1), (4,), ()) == (3, 4) and wf.broadcast_shapes() == ()
    with pytest.raises(ValueError, match=r"shapes \(3,\), \(4,\) do not broadcast"):
        wf.broadcast_shapes((3,), (4,))


def test_joining_promotes():
    assert wf.concat([wf.ones(1, dtype=wf.int8), wf.ones(1, dtype=wf.uint8)]).dtype is wf.int16
    assert wf.stack([wf.ones(1), wf.ones(1, dtype=wf.float64)]).dtype is wf.float64
    assert wf.stack([wf.tensor(1.0), 2]).tolist() == [1.0, 2.0]


def test_results_never_alias():
    for same in (
        wf.reshape(X, X.shape),
        wf.broadcast_to(X, X.shape),
        wf.roll(X, 0),
        wf.concat([X]),
        wf.flip(X, axis=()),
    ):
        same += 1
        assert X.tolist() == A.tolist()


@given(data=st.data(), shape=hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
def test_reshape_flip_roll_of_any_shape(data, shape):
    a = np.arange(np.prod(shape)).reshape(shape)
    x = wf.tensor(a)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    shift = data.draw(st.integers(-9, 9))
    np.testing.assert_array_equal(wf.flip(x, axis=axis).numpy(), np.flip(a, axis), strict=True)
    np.testing.assert_array_equal(wf.roll(x, shift, axis=axis).numpy(), np.roll(a, shift, axis), strict=True)
    np.testing.assert_array_equal(wf.roll(x, shift).numpy(), np.roll(a, shift), strict=True)
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    np.testing.assert_array_equal(wf.permute_dims(x, order).numpy(), a.transpose(order), strict=True)
    if a.size:
        np.testing.assert_array_equal(
            wf.reshape(x, (shape[-1], -1)).numpy(), a.reshape(shape[-1], -1), strict=True
        )
    counts = data.draw(hnp.arrays(np.int64, (shape[axis],), elements=st.integers(0, 3)))
    np.testing.assert_array_equal(
        wf.repeat(x, wf.tensor(counts), axis=axis).numpy(), a.repeat(counts, axis), strict=True
    )


class TestErrors:
    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: wf.reshape(X, (5, 5)), r"cannot reshape \(2, 3, 4\) to \(5, 5\)"),
            (lambda: wf.reshape(X, (5, -1)), "24 elements do not divide into 5"),
            (lambda: wf.reshape(X, (-1, -1)), "more than one -1"),
            (lambda: wf.reshape(wf.zeros((0, 2)), (0, -1)), "do not divide"),
            (lambda: wf.broadcast_to(X, (2, 3, 5)), "broadcast"),
            (lambda: wf.broadcast_to(X, (4,)), "cannot broadcast"),
            (lambda: wf.squeeze(X, 0), "only axes of size 1"),
            (lambda: wf.concat([X, X[:, :2]]), r"tensor 1 has shape \(2, 2, 4\), the first one \(2, 3, 4\)"),
            (lambda: wf.stack([X, X[0]]), "tensors of one shape"),
            (lambda: wf.concat([wf.tensor(1), wf.tensor(2)]), "use stack"),
            (lambda: wf.repeat(X, [1, 2], axis=1), "repeats has shape"),
            (lambda: wf.matrix_transpose(wf.ones(3)), "two or more dimensions"),
            (lambda: X.expand(4), "cannot expand"),
        ],
    )
    def test_shapes(self, call, message):
        with pytest.raises(ShapeError, match=message):
            call()

    def test_axes(self):
        for call in (
            lambda: wf.flip(X, axis=3),
            lambda: wf.expand_dims(X, axis=5),
            lambda: wf.concat([X], axis=-4),
            lambda: wf.sum(X, axis=7),
            lambda: wf.swapaxes(X, 0, 3),
        ):
            with pytest.raises(AxisError, match="outside a tensor of"):
                call()
            with pytest.raises(IndexError):
                call()
        with pytest.raises(ArgumentError, match="twice"):
            wf.permute_dims(X, (0, 0, 1))

    def test_other_arguments(self):
        with pytest.raises(ArgumentError, match="at least one tensor"):
            wf.concat([])
        with pytest.raises(ArgumentError, match="as many sources"):
            wf.moveaxis(X, (0, 1), 2)
        with pytest.raises(ArgumentError, match="one shift for each axis"):
            wf.roll(X, (1, 2), axis=0)
        with pytest.raises(ArgumentError, match="not be negative"):
            wf.repeat(X, -1)
        for many in (2**63, [2**62, 2**62]):
            with pytest.raises(ShapeError, match="more elements than can be numbered"):
                wf.repeat(wf.ones(2), many)
        with pytest.raises(DTypeError, match="repeats must be integers"):
            wf.repeat(X, wf.tensor([1.0]))

    def test_repeats_may_be_unsigned(self):
        got = wf.repeat(wf.arange(3), wf.tensor([1, 0, 2], dtype=wf.uint64))
        assert got.tolist() == [0, 2, 2]

    def test_a_traced_number_of_repeats(self):
        with pytest.raises(TraceError, match="Repeat by a Python integer"):
            wf.compile(lambda x, n: wf.repeat(x, n))(wf.ones(2), wf.tensor([1, 2]))


class TestOpenDimension:
    """The same functions where a size is only known by name."""

    @pytest.mark.parametrize(
        "f",
        [
            lambda p, x: p.reshape(x, (-1,)),
            lambda p, x: p.reshape(x, (-1, 2, 2)),
            lambda p, x: p.concat([x, x[:2]]),
            lambda p, x: p.stack([x, x], axis=1),
            lambda p, x: p.flip(x),
            lambda p, x: p.roll(x, -2, axis=0),
            lambda p, x: p.roll(x, 3, axis=1),
            lambda p, x: p.tile(x, (2, 1)),
            lambda p, x: p.repeat(x, 2, axis=0),
            lambda p, x: p.expand_dims(x, axis=0),
            lambda p, x: p.mean(x, axis=0),
            lambda p, x: p.argmax(x),
            lambda p, x: p.diff(x, axis=0),
            lambda p, x: p.cumulative_sum(x, axis=0, include_initial=True),
            lambda p, x: p.sort(x, axis=0),
            lambda p, x: p.tril(x),
            lambda p, x: p.einsum("ni,nj->ij", x, x),
        ],
    )
    def test_any_size(self, f):
        traced = wf.compile(lambda x: f(wf, x)).trace(wf.spec((wf.Dim("n"), 4)))
        for n in (3, 5):
            a = np.random.default_rng(n).standard_normal((n, 4)).astype(np.float32)
            np.testing.assert_allclose(traced(wf.tensor(a)).numpy(), f(np, a), rtol=1e-5, atol=1e-6)

    def test_what_needs_the_size(self):
        for f in (wf.unstack, lambda x: wf.roll(x, 1, axis=0), lambda x: wf.split(x, 2), wf.nonzero):
            with pytest.raises((ShapeError, TraceError), match=r"open|data"):
                wf.compile(f).trace(wf.spec((wf.Dim("n"), 4)))
