"""Movement primitives against NumPy, what they refuse, and what is derived from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes import check_derivatives, run, same
from weft.base.errors import ArgumentError, DTypeError, ShapeError
from weft.ir.dtype import float32, int32
from weft.ops import movement as m
from weft.ops import rearrange as r

X = np.arange(24.0).reshape(2, 3, 4)


@st.composite
def slices(draw):
    shape = tuple(draw(st.lists(st.integers(0, 6), min_size=1, max_size=3)))
    start = tuple(draw(st.integers(0, n)) for n in shape)
    limit = tuple(draw(st.integers(a, n)) for a, n in zip(start, shape))
    return shape, start, limit, tuple(draw(st.integers(1, 4)) for _ in shape)


@given(slices())
def test_slices_are_numpys_and_their_gradient_fills_the_gaps_with_zeros(case):
    shape, start, limit, stride = case
    x = np.random.default_rng(0).standard_normal(shape)
    key = tuple(slice(*a) for a in zip(start, limit, stride))
    same(run(lambda v: m.slice_(v, start=start, limit=limit, stride=stride), x), x[key])
    check_derivatives(lambda v: m.slice_(v, start=start, limit=limit, stride=stride), [x], order=1)


def test_padding():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    got = run(lambda v, p: m.pad(v, p, low=(1, 0), high=(0, 2), interior=(0, 1)), x, 9.0)
    same(got, np.array([[9.0, 9, 9, 9, 9], [1, 9, 2, 9, 9], [3, 9, 4, 9, 9]]))
    same(run(lambda v, p: m.pad(v, p, low=(1,), high=(1,), interior=(3,)), np.ones(0), 2.0), np.full(2, 2.0))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: m.reshape(x, shape=(5, 5)), ShapeError, "element counts differ"),
        (lambda x: m.permute(x, axes=(0, 0, 1)), ShapeError, "not a permutation"),
        (lambda x: m.broadcast_in_dim(x, shape=(3, 4), axes=(0, 1, 2)), ShapeError, "cannot broadcast"),
        (lambda x: m.slice_(x, start=(0, 0, 3), limit=(2, 3, 5), stride=(1, 1, 1)), ShapeError, "3:5 out of"),
        (lambda x: m.slice_(x, start=(1, 0, 0), limit=(0, 3, 4), stride=(1, 1, 1)), ShapeError, "1:0"),
        (
            lambda x: m.slice_(x, start=(0, 0, 0), limit=(2, 3, 4), stride=(1, 0, 1)),
            ArgumentError,
            "positive",
        ),
        (lambda x: m.slice_(x, start=(0,), limit=(2,), stride=(1,)), ShapeError, "for each axis"),
        (lambda x: m.flip(x, axes=(0, 0)), ShapeError, "axes"),
        (lambda x: m.flip(x, axes=(3,)), ShapeError, "axes"),
        (lambda x: m.concatenate(axis=0), ArgumentError, "at least one"),
        (lambda x: m.concatenate(x, m.flip(x, axes=(0,)), axis=3), ShapeError, "no axis 3"),
        (lambda x: m.concatenate(x, r.moveaxis(x, 0, 2), axis=0), ShapeError, "differ in another axis"),
        (lambda x: m.concatenate(x, x < 1, axis=0), DTypeError, "one dtype"),
        (lambda x: m.pad(x, x, low=(0,) * 3, high=(0,) * 3, interior=(0,) * 3), ShapeError, "padding value"),
        (lambda x: r.squeeze(x, (1,)), ShapeError, "has size 3, not 1"),
        (lambda x: r.split(x, (1, 1), 1), ShapeError, "do not add up"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        run(call, X)


def test_negative_padding_is_refused():
    with pytest.raises(ArgumentError, match="negative"):
        run(lambda v, p: m.pad(v, p, low=(-1,), high=(0,), interior=(0,)), np.ones(3), 0.0)


@pytest.mark.parametrize(
    ("ours", "numpy"),
    [
        (lambda x: m.flip(x, axes=(0, 2)), lambda x: np.flip(x, (0, 2))),
        (lambda x: r.expand_dims(x, (0, 2)), lambda x: np.expand_dims(x, (0, 2))),
        (lambda x: r.squeeze(r.expand_dims(x, (1, 4)), (1, 4)), lambda x: x),
        (lambda x: r.moveaxis(x, 0, 2), lambda x: np.moveaxis(x, 0, 2)),
        (lambda x: r.moveaxis(x, 2, 0), lambda x: np.moveaxis(x, 2, 0)),
        (lambda x: r.moveaxis(x, 1, 1), lambda x: x),
        (lambda x: r.swapaxes(x, 0, 2), lambda x: np.swapaxes(x, 0, 2)),
        (lambda x: r.stack([x, -x], 1), lambda x: np.stack([x, -x], 1)),
        (lambda x: r.stack([x, -x], 3), lambda x: np.stack([x, -x], 3)),
        (lambda x: r.split(x, (1, 3), 2)[1], lambda x: x[:, :, 1:]),
        (lambda x: r.roll(x, 1, 1), lambda x: np.roll(x, 1, 1)),
        (lambda x: r.roll(x, -5, 2), lambda x: np.roll(x, -5, 2)),
        (lambda x: r.roll(x, 8, 2), lambda x: x),
        (lambda x: r.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1, 3))),
        (lambda x: r.tile(x, (2,)), lambda x: np.tile(x, (2,))),
        (lambda x: r.tile(x, (2, 1, 1, 2)), lambda x: np.tile(x, (2, 1, 1, 2))),
        (lambda x: r.repeat(x, 3, 1), lambda x: np.repeat(x, 3, 1)),
        (lambda x: r.repeat(x, 0, 0), lambda x: np.repeat(x, 0, 0)),
        (lambda x: r.tril(x), np.tril),
        (lambda x: r.tril(x, 1), lambda x: np.tril(x, 1)),
        (lambda x: r.triu(x, -1), lambda x: np.triu(x, -1)),
        (lambda x: r.triu(x, 2), lambda x: np.triu(x, 2)),
        (lambda x: r.diagonal(x), lambda x: np.diagonal(x, 0, 1, 2)),
        (lambda x: r.diagonal(x, 2), lambda x: np.diagonal(x, 2, 1, 2)),
        (lambda x: r.diagonal(x, -2), lambda x: np.diagonal(x, -2, 1, 2)),
        (lambda x: r.diagonal(x, 7), lambda x: np.diagonal(x, 7, 1, 2)),
    ],
)
def test_as_numpy(ours, numpy):
    same(run(ours, X), numpy(X))
    check_derivatives(ours, [X])


def test_ranges():
    same(run(lambda: r.arange(4, 1.5, -0.5, float32)), np.float32([1.5, 1.0, 0.5, 0.0]))
    for k in (-1, 0, 2):
        same(run(lambda k=k: r.eye(3, 4, k, int32)), np.eye(3, 4, k, np.int32))
        same(run(lambda k=k: r.tri(3, 4, k)), np.tri(3, 4, k, bool))


def test_broadcast_to_and_its_transpose():
    x = np.arange(3.0).reshape(3, 1)
    same(run(lambda v: m.broadcast_to(v, (2, 3, 4)), x), np.broadcast_to(x, (2, 3, 4)))
    same(run(lambda v: m.sum_to(v, (3, 1)), X.reshape(2, 3, 4)), X.sum((0, 2)).reshape(3, 1))
