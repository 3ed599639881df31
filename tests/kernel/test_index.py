"""Index expressions agree with NumPy's own arithmetic, and simplify where strides suffice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.kernel.index import (
    Index,
    Var,
    as_index,
    flatten_index,
    quotient,
    remainder,
    reshape_index,
    unflatten_index,
)


def grid(variables):
    axes = np.meshgrid(*[np.arange(v.size) for v in variables], indexing="ij")
    return dict(zip(variables, axes, strict=True))


@st.composite
def expressions(draw):
    variables = [Var(name, draw(st.integers(1, 6))) for name in "ijk"]
    x = Index({v: draw(st.integers(-8, 8)) for v in variables}, draw(st.integers(-20, 20)))
    for _ in range(draw(st.integers(0, 3))):
        by = draw(st.integers(1, 9))
        kind = draw(st.sampled_from(["//", "%", "*", "+"]))
        if kind == "//":
            x = quotient(x, by)
        elif kind == "%":
            x = remainder(x, by)
        elif kind == "*":
            x = x * by
        else:
            x = x + as_index(draw(st.sampled_from(variables))) * by
    return variables, x


@given(expressions(), st.integers(1, 12))
def test_division_agrees_with_numpy_and_bounds_hold(made, by):
    variables, x = made
    values = grid(variables)
    plain = np.broadcast_to(x.evaluate(values), values[variables[0]].shape)
    low, high = x.bounds
    assert low <= plain.min() and plain.max() <= high
    assert np.array_equal(plain // by, np.broadcast_to(quotient(x, by).evaluate(values), plain.shape))
    assert np.array_equal(plain % by, np.broadcast_to(remainder(x, by).evaluate(values), plain.shape))


def test_quotients_of_remainders_are_put_together_again():
    whole = Var("v", 4 * 6 * 10)
    inner = remainder(as_index(whole), 60)
    assert quotient(inner, 10) == remainder(quotient(as_index(whole), 10), 6)
    parts = quotient(as_index(whole), 60), quotient(inner, 10), remainder(as_index(whole), 10)
    assert flatten_index(parts, (4, 6, 10)) == as_index(whole)


@st.composite
def two_shapes(draw):
    factors = draw(st.lists(st.sampled_from([1, 2, 2, 3, 4, 5]), min_size=1, max_size=5))

    def group():
        cuts = sorted(draw(st.lists(st.integers(0, len(factors)), max_size=3)))
        bounds = [0, *cuts, len(factors)]
        return tuple(math.prod(factors[a:b]) for a, b in zip(bounds, bounds[1:], strict=False))

    return group(), group()


@given(two_shapes())
def test_reshape_reads_the_element_that_numpy_reads(shapes):
    source, shape = shapes
    variables = [Var(f"i{k}", n) for k, n in enumerate(shape)]
    x = np.arange(math.prod(source)).reshape(source)
    moved = reshape_index(tuple(as_index(v) for v in variables), source, shape)
    values = grid(variables)
    found = x[tuple(np.broadcast_to(m.evaluate(values), shape) for m in moved)]
    assert np.array_equal(found, x.reshape(shape))


@given(two_shapes())
def test_reshape_there_and_back_cancels(shapes):
    source, shape = shapes
    start = tuple(as_index(Var(f"i{k}", n)) for k, n in enumerate(source))
    there = reshape_index(start, shape, source)
    back = unflatten_index(flatten_index(there, shape), source)
    assert flatten_index(back, source) == flatten_index(start, source)


def test_splitting_an_axis_leaves_plain_strides():
    i, j, k = Var("i", 3), Var("j", 4), Var("k", 5)
    moved = reshape_index((as_index(i), as_index(j), as_index(k)), (12, 5), (3, 4, 5))
    assert moved == (Index({i: 4, j: 1}, 0), as_index(k))


def test_merging_axes_is_a_quotient_and_a_remainder_until_they_meet_again():
    i = Var("i", 12)
    a, b = reshape_index((as_index(i),), (3, 4), (12,))
    assert repr(a) == "(i)//4" and repr(b) == "(i)%4"
    assert flatten_index((a, b), (3, 4)).evaluate({i: np.arange(12)}).tolist() == list(range(12))


def test_stride():
    i, j = Var("i", 8), Var("j", 16)
    x = Index({i: 16, j: 1}, 3)
    assert x.stride(j) == 1 and x.stride(i) == 16 and quotient(x, 5).stride(j) is None
    assert quotient(Index({i: 16, j: 1}, 0), 16).stride(j) == 0


@pytest.mark.parametrize("size", [0, 1])
def test_variables_without_extent(size):
    assert as_index(Var("i", size)) == as_index(0)
