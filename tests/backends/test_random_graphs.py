"""Graphs made up at random, with their gradients: compiled against the reference.

In the exact ones every number is an integer small enough for the order of additions not to matter, so the results are
equal to the last bit, and choices (a maximum, an order, a comparison) fall alike. In the smooth ones there is nothing
to choose, and results agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from weft.autodiff.reverse import pullback
from weft.backends.cpu.backend import CpuBackend
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import float32, float64, int64
from weft.ir.graph import trace_graph
from weft.ir.node import GRAD, Aval, Node
from weft.ir.shape import size_of
from weft.ops.arithmetic import abs_, clip, maximum, minimum
from weft.ops.comparison import equal, less
from weft.ops.contraction import dot_general
from weft.ops.conv import conv
from weft.ops.cumulative import cummax, cumprod, cumsum, linear_recurrence
from weft.ops.define import constant
from weft.ops.dynamic import dynamic_slice, dynamic_update_slice
from weft.ops.gather import gather, iota, scatter, scatter_add
from weft.ops.linalg import triangle
from weft.ops.movement import (
    broadcast_in_dim,
    broadcast_to,
    concatenate,
    flip,
    full,
    pad,
    permute,
    reshape,
    slice_axis,
)
from weft.ops.reduce import argmax, max_, sum_
from weft.ops.selection import cast, where
from weft.ops.sorting import argsort, searchsorted, sort
from weft.ops.transcendental import cos, exp, sqrt, tanh
from weft.ops.window import windows
from weft.runtime.buffer import Buffer

Make = Callable[[Node, Node, int], Node]
SHAPES = [(4, 6), (3, 5, 2), (17,), (2, 1, 3, 3), (1, 7), (33,), (2, 40)]
exact: dict[str, Make] = {}
smooth: dict[str, Make] = {}


def both(make: Make) -> Make:
    exact[make.__name__] = smooth[make.__name__] = make
    return make


def only(table: dict[str, Make]) -> Callable[[Make], Make]:
    def declare(make: Make) -> Make:
        table[make.__name__] = make
        return make

    return declare


def small(x: Node) -> Node:
    """Cut off, so that what follows stays small."""
    return clip(x, constant(-9.0, x.dtype), constant(9.0, x.dtype))


def fitted(y: Node, shape: tuple[int, ...]) -> Node:
    """The elements of y, cut off or filled up with zeros, in another shape."""
    if y.shape == shape:
        return y
    flat, want = reshape(y, shape=(int(y.size),)), int(size_of(shape))
    if y.size < want:
        flat = pad(flat, constant(0.0, y.dtype), low=(0,), high=(want - y.size,), interior=(0,))
    elif y.size > want:
        flat = slice_axis(flat, 0, 0, want)
    return reshape(flat, shape=shape)


def positions(y: Node, count: int, size: int) -> Node:
    """Integers in range(-size, size) made of the elements of y."""
    flat = cast(fitted(y, (count,)), dtype=int64)
    from weft.ops.arithmetic import remainder

    return remainder(flat, constant(2 * size, int64)) - size


# -- operations: two operands and a number that varies them ------------------------------------------------------


@both
def adds(x, y, n):
    return small(x + fitted(y, x.shape)) if n % 2 else x - fitted(y, x.shape) * float(n % 3)


@both
def multiplies(x, y, n):
    return small(x * fitted(y, x.shape))


@both
def permutes(x, y, n):
    axes = np.random.default_rng(n).permutation(x.ndim)
    return permute(x, axes=tuple(int(a) for a in axes))


@both
def flips(x, y, n):
    return flip(x, axes=tuple(a for a in range(x.ndim) if (n >> a) & 1))


@both
def reshapes(x, y, n):
    divisors = [d for d in range(1, int(x.size) + 1) if x.size % d == 0]
    d = divisors[n % len(divisors)]
    return reshape(x, shape=(d, x.size // d))


@both
def slices(x, y, n):
    axis = n % x.ndim
    size = x.shape[axis]
    return slice_axis(x, axis, n % size, size, 1 + n % 2)


@both
def pads(x, y, n):
    axis = n % x.ndim
    width = [[int(a == axis) * (n // k % 2) for a in range(x.ndim)] for k in (1, 2, 4)]
    return pad(x, constant(1.0, x.dtype), low=tuple(width[0]), high=tuple(width[1]), interior=tuple(width[2]))


@both
def joins(x, y, n):
    return concatenate(x, fitted(y, x.shape), x, axis=n % x.ndim)


@both
def sums(x, y, n):
    axes = tuple(a for a in range(x.ndim) if (n >> a) & 1)
    return small(sum_(x, axes=axes)) if len(axes) < x.ndim else x


@both
def centers(x, y, n):
    total = sum_(x, axes=(x.ndim - 1,))
    return small(x * 3.0 - broadcast_in_dim(total, shape=x.shape, axes=tuple(range(x.ndim - 1))))


@both
def contracts(x, y, n):
    rows = reshape(x, shape=(x.shape[0], x.size // x.shape[0]))
    other = fitted(y, (rows.shape[1], 1 + n % 20)) if n % 2 else fitted(y, (1 + n % 20, rows.shape[1]))
    return small(dot_general(rows, other, contract=((1,), (0 if n % 2 else 1,)), batch=((), ())))


@both
def convolves(x, y, n):
    images = fitted(x, (1 + n % 3, 1 + n % 2, 5, 4))
    weights = fitted(y, (3, 1 + n % 2, 2, 3))
    stride, edge = (1, 1 + n % 2), ((n % 2, 1), (1, 0))
    attrs = {"input_dilation": (1, 1), "kernel_dilation": (1, 1), "feature_groups": 1, "batch_groups": 1}
    return small(conv(images, weights, stride=stride, padding=edge, **attrs))


@both
def runs(x, y, n):
    return small(cumsum(x, axis=n % x.ndim, reverse=n % 2 == 1, exclusive=n % 3 == 1))


@both
def windowed(x, y, n):
    wide = pad(
        x, constant(0.0, x.dtype), low=(0,) * x.ndim, high=(*[0] * (x.ndim - 1), 2), interior=(0,) * x.ndim
    )
    return small(sum_(windows(wide, kernel=(2,), stride=(1 + n % 2,), dilation=(1 + n % 2,)), axes=(x.ndim,)))


@both
def halves(x, y, n):
    return triangle(x, offset=n % 3 - 1, upper=n % 2 == 1) if x.ndim > 1 else x


@both
def slices_at(x, y, n):
    axis = n % x.ndim
    start = constant(x.shape[axis] // 2, int64)
    return dynamic_slice(x, start, axes=(axis,), sizes=(x.shape[axis] - x.shape[axis] // 2,))


@both
def overwrites(x, y, n):
    axis = n % x.ndim
    part = slice_axis(fitted(y, x.shape), axis, 0, 1)
    return dynamic_update_slice(x, part, constant(n % x.shape[axis], int64), axes=(axis,))


@both
def repeats(x, y, n):
    return broadcast_to(slice_axis(x, n % x.ndim, 0, 1), x.shape)


@only(exact)
def chooses(x, y, n):
    other = fitted(y, x.shape)
    return [
        maximum,
        minimum,
        lambda a, b: where(less(a, b), a + 1.0, b),
        lambda a, b: where(equal(a, b), a, -b),
    ][n % 4](x, other)


@only(exact)
def best(x, y, n):
    axis = n % x.ndim
    if x.ndim == 1:
        return x
    found = max_(x, axes=(axis,)) if n % 2 else cast(argmax(x, axis=axis), dtype=x.dtype)
    return small(abs_(found) + full(found.aval, 1.0))


@only(exact)
def sorts(x, y, n):
    axis = n % x.ndim
    if n % 3 == 0:
        return small(cast(argsort(x, axis=axis, descending=n % 2 == 1), dtype=x.dtype))
    return sort(x, axis=axis, descending=n % 2 == 1)


@only(exact)
def searches(x, y, n):
    edges = sort(fitted(y, (1 + n % 12,)), axis=0, descending=False)
    return small(cast(searchsorted(edges, x, side="left" if n % 2 else "right"), dtype=x.dtype))


@only(exact)
def climbs(x, y, n):
    return cummax(x, axis=n % x.ndim, reverse=n % 2 == 1)


@only(exact)
def looks_up(x, y, n):
    axis = n % x.ndim
    return gather(x, positions(y, 1 + n % 9, x.shape[axis]), axes=(axis,))


@only(exact)
def spreads(x, y, n):
    axis, count = n % x.ndim, 1 + n % 9
    rest = [s for a, s in enumerate(x.shape) if a != axis]
    where_, values = positions(y, count, x.shape[axis]), fitted(y, (count, *rest))
    return small((scatter_add if n % 2 else scatter)(x, values, where_, axes=(axis,)))


@only(exact)
def counts(x, y, n):
    return small(x + reshape(cast(iota(size=int(x.size), dtype=int64), dtype=x.dtype), shape=x.shape))


@only(smooth)
def bends(x, y, n):
    return [tanh, cos, lambda v: exp(tanh(v)), lambda v: 1.0 / (v * v + 1.0), lambda v: sqrt(v * v + 0.5)][
        n % 5
    ](x)


@only(smooth)
def weighs(x, y, n):
    scores = exp(tanh(x) * 3.0)
    total = sum_(scores, axes=(x.ndim - 1,))
    return scores / broadcast_in_dim(total, shape=x.shape, axes=tuple(range(x.ndim - 1)))


@only(smooth)
def recurs(x, y, n):
    return linear_recurrence(tanh(x), fitted(y, x.shape), axis=n % x.ndim, reverse=n % 2 == 1)


@only(smooth)
def compounds(x, y, n):
    return cumprod(tanh(x), axis=n % x.ndim, reverse=n % 2 == 1)


# -- programs ----------------------------------------------------------------------------------------------------


def build(steps: list[Any], table: dict[str, Make], gradient: bool) -> Callable[..., Any]:
    def function(*inputs: Node) -> list[Node]:
        pool = list(inputs)
        for name, i, j, n in steps:
            x, y = pool[-1 - i % len(pool)], pool[j % len(pool)]
            made = table[name](x if x.ndim else fitted(x, (3,)), y, n)
            if 0 < made.size <= 600 and made.ndim <= 5:
                pool.append(made)
        outs = [p for p in pool[-2:] if p not in inputs]
        if not gradient or not outs:
            return outs or [pool[-1] + 1.0]
        pulled = pullback(outs, [full(o.aval, 1.0) for o in outs], list(inputs), GRAD)
        return [*outs, *[g for g in pulled if g is not None]]

    return function


@st.composite
def programs(draw: Any, table: dict[str, Make], most: int) -> Any:
    step = st.tuples(
        st.sampled_from(sorted(table)), st.integers(0, 3), st.integers(0, 30), st.integers(0, 40)
    )
    steps = draw(st.lists(step, min_size=min(5, most), max_size=most))
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=2, max_size=3))
    return steps, shapes, draw(st.booleans()), draw(st.integers(0, 999))


def check(program: Any, table: dict[str, Make], dtype: Any) -> None:
    steps, shapes, gradient, seed = program
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-5, 6, s).astype(dtype.numpy) for s in shapes]
    graph = trace_graph(build(steps, table, gradient), [Aval(s, dtype) for s in shapes])
    largest = [0.0]

    def observe(_: int, values: Any) -> None:
        largest.extend(float(np.abs(v).max()) for v in values if v.size and v.dtype.kind == "f")

    with np.errstate(all="ignore"):
        want = Interpreter(graph).evaluate(arrays, observe)
    assume(max(largest) < (2.0**22 if dtype is float32 else 2.0**50))
    got = [b.array for b in CpuBackend().compile(graph).run([Buffer(a) for a in arrays])]
    for w, g in zip(want, got, strict=True):
        assert w.shape == g.shape and w.dtype == g.dtype
        if table is exact:
            np.testing.assert_array_equal(g, w)
        else:
            np.testing.assert_allclose(g, w, rtol=1e-7, atol=1e-9 * max(largest))


QUICK = settings(max_examples=12, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=1000, suppress_health_check=list(HealthCheck))


# The rows beyond the looked-up ones are padding: their positions would lie behind the end of the array of positions.
PADDED = [("adds", 0, 0, 0), ("adds", 0, 0, 0), ("looks_up", 0, 0, 1), ("adds", 1, 4, 0), ("adds", 0, 0, 0)]


@QUICK
@example(program=(PADDED, [(4, 6), (3, 5, 2)], True, 0), dtype=float32)
@given(program=programs(exact, 15), dtype=st.sampled_from([float32, float64]))
def test_exact_graphs(program, dtype):
    check(program, exact, dtype)


@QUICK
@given(program=programs(smooth, 15))
def test_smooth_graphs(program):
    check(program, smooth, float64)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@LONG
@given(program=programs(exact, 40), dtype=st.sampled_from([float32, float64]))
def test_many_exact_graphs(program, dtype):
    check(program, exact, dtype)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@LONG
@given(program=programs(smooth, 40))
def test_many_smooth_graphs(program):
    check(program, smooth, float64)
