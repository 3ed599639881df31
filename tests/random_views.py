"""Chains of views made up at random, of some thousand elements, around what is computed: see `random_graphs`.

Axes are as long as several vectors here, so that kernels read and write across them, in tiles, in squares and past
their ends.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from random_graphs import Program
from random_operations import Make, exact, fitted, number, only, small, smooth
from weft.ir.dtype import DType, float32, float64, int8, int16, uint8
from weft.ir.node import Node
from weft.ops.comparison import less
from weft.ops.complex import imag, make_complex, real
from weft.ops.contraction import dot_general
from weft.ops.movement import broadcast_in_dim, concatenate, flip, pad, permute, reshape, slice_, slice_axis
from weft.ops.reduce import max_
from weft.ops.selection import cast, where

#: Elements of the largest values.
MOST = 40_000

views: dict[str, Make] = {}


def _factors(rng: np.random.Generator, size: int, most: int) -> tuple[int, ...]:
    """Up to `most` numbers, greater than 1 but for the last, whose product is `size`."""
    found: list[int] = []
    while size > 1 and len(found) < most - 1:
        divisors = [d for d in range(2, min(size, 64) + 1) if size % d == 0]
        if not divisors:
            break
        found.append(int(rng.choice(divisors)))
        size //= found[-1]
    return tuple(int(f) for f in rng.permutation([*found, size]))


@only(views)
def turns(x, y, n):
    return permute(x, axes=tuple(int(a) for a in np.random.default_rng(n).permutation(x.ndim)))


@only(views)
def divides(x, y, n):
    """Into other axes."""
    return reshape(x, shape=_factors(np.random.default_rng(n), int(x.size), 1 + n % 5))


@only(views)
def mirrors(x, y, n):
    return flip(x, axes=(n % x.ndim,))


@only(views)
def strides(x, y, n):
    """Along all axes, from a place in the first third on."""
    rng = np.random.default_rng(n)
    start = [int(rng.integers(0, s // 3 + 1)) for s in x.shape]
    step = tuple([int(rng.choice([1, 1, 2, 3])) for _ in x.shape])
    return slice_(x, start=tuple(start), limit=x.shape, stride=step)


@only(views)
def surrounds(x, y, n):
    """With ones before, behind and between."""
    rng = np.random.default_rng(n)
    width = [tuple([int(rng.choice([0, 0, 1, 3])) for _ in x.shape]) for _ in range(2)]
    between = tuple([int(rng.integers(0, 8) == 0) for _ in x.shape])
    return pad(x, number(1, x), low=width[0], high=width[1], interior=between)


@only(views)
def rolls(x, y, n):
    axis, size = n % x.ndim, x.shape[n % x.ndim]
    cut = n // 3 % size
    return concatenate(slice_axis(x, axis, cut, size), slice_axis(x, axis, 0, cut), axis=axis)


@only(views)
def doubles(x, y, n):
    return concatenate(x, fitted(y, x.shape), axis=n % x.ndim)


@only(views)
def spreads(x, y, n):
    """Along a new axis, anywhere."""
    place, count = n % (x.ndim + 1), 2 + n % 3
    axes = tuple([a + (a >= place) for a in range(x.ndim)])
    return broadcast_in_dim(x, shape=(*x.shape[:place], count, *x.shape[place:]), axes=axes)


_OTHERS = [views[name] for name in ("turns", "divides", "mirrors", "strides")]


@only(views)
def moves_others(x, y, n):
    """Numbers of another width, booleans and complex numbers."""
    move = _OTHERS[n // 5 % len(_OTHERS)]
    if n % 5 == 0:
        moved, other = (move(v, y, n) for v in (x, fitted(y, x.shape)))
        return where(move(less(x, fitted(y, x.shape)), y, n), moved, other)
    if n % 5 == 1 and x.dtype in (float32, float64):
        z = move(make_complex(x, fitted(y, x.shape)), y, n)
        return real(z) * 2 + imag(z)
    kind = (int8, int16, uint8)[n % 3]
    part = cast(small(x) + (9 if x.dtype.kind == "f" else 0), dtype=kind)
    return cast(move(part, y, n), dtype=x.dtype)


# -- what is computed -----------------------------------------------------------------------------------------------

_CROSSED = (1, 3, 7, 16, 20, 33)


def crosses(x: Node, y: Node, n: int) -> Node:
    """A product of matrices, or of several, over any axes in any order."""
    rng = np.random.default_rng(n)
    x = permute(x, axes=tuple(int(a) for a in rng.permutation(x.ndim)))
    one, two = sorted(int(c) for c in rng.integers(0, x.ndim + 1, 2))
    batch, rows, summed = (math.prod(x.shape[a:b]) for a, b in ((0, one), (one, two), (two, x.ndim)))
    if batch > 64:
        batch, rows = 1, batch * rows
    columns = _CROSSED[n % len(_CROSSED)]
    a = reshape(x, shape=(batch, rows, summed))
    if n % 2:
        b = fitted(y, (batch, summed, columns))
    else:
        b = permute(fitted(y, (columns, batch, summed)), axes=(1, 0, 2))
    return small(dot_general(small(a), small(b), contract=((2,), (1 if n % 2 else 2,)), batch=((0,), (0,))))


def peaks(x: Node, y: Node, n: int) -> Node:
    axes = tuple(a for a in range(x.ndim) if (n >> a) & 1) or (0,)
    return max_(x, axes=axes) if len(axes) < x.ndim else x


_EXACT = (
    "adds",
    "multiplies",
    "sums",
    "centers",
    "looks_up",
    "repeats",
    "reduces",
    "runs",
    "chooses",
    "sorts",
)
_SMOOTH = ("adds", "multiplies", "sums", "centers", "repeats", "normalizes", "bends", "weighs", "pairs")

exact_views: dict[str, Make] = {**views, **{n: exact[n] for n in _EXACT}, "crosses": crosses, "peaks": peaks}
smooth_views: dict[str, Make] = {**views, **{n: smooth[n] for n in _SMOOTH}, "crosses": crosses}
del smooth_views["moves_others"]


@st.composite
def chains(draw: Any, table: dict[str, Make], most: int, dtypes: tuple[DType, ...]) -> Program:
    """Programs of up to `most` operations, most of them views, of one or two inputs."""
    names = st.one_of(st.sampled_from(sorted(views.keys() & table)), st.sampled_from(sorted(table)))
    step = st.tuples(names, st.sampled_from([0, 0, 0, 1, 2]), st.integers(0, 30), st.integers(0, 9999))
    lengths = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 17, 24, 32, 33, 48, 64, 100, 130])

    def cut(shape: list[int]) -> tuple[int, ...]:
        while math.prod(shape) > MOST // 2:
            shape[shape.index(max(shape))] //= 2
        return tuple(shape)

    shape = st.lists(lengths, min_size=1, max_size=5).map(cut)
    return Program(
        tuple(draw(st.lists(step, min_size=2, max_size=most))),
        tuple(draw(st.lists(shape, min_size=1, max_size=2))),
        draw(st.booleans()),
        draw(st.integers(0, 999)),
        draw(st.sampled_from(dtypes)),
        MOST,
    )
