"""The operations that graphs made up at random consist of: each takes two operands and a number that varies it.

Those of `exact` keep every number an integer small enough for the order of additions not to matter, so that results
are equal to the last bit, and choices (a maximum, an order, a comparison) fall alike. In `smooth` there is nothing to
choose, and results agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from weft.ir.dtype import (
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from weft.ir.graph import trace_graph
from weft.ir.node import Node
from weft.ir.primitive import pick
from weft.ir.shape import size_of
from weft.ops.arithmetic import abs_, clip, copysign, floor_divide, maximum, minimum, remainder, sign
from weft.ops.bits import bitwise_and, bitwise_or, bitwise_xor, shift_left, shift_right
from weft.ops.comparison import equal, less, less_equal
from weft.ops.complex import conj, imag, make_complex, real
from weft.ops.composite.pooling import max_pool
from weft.ops.contraction import dot_general
from weft.ops.control import cond
from weft.ops.conv import conv
from weft.ops.cumulative import cummax, cummin, cumsum
from weft.ops.define import constant
from weft.ops.dynamic import dynamic_slice, dynamic_update_slice
from weft.ops.gather import gather, iota, scatter, scatter_add
from weft.ops.indexing import put_along_axis, take_along_axis
from weft.ops.linalg import triangle
from weft.ops.loops import scan, while_loop
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
from weft.ops.random import random_bits
from weft.ops.reduce import all_, any_, argmax, argmin, max_, min_, prod, sum_
from weft.ops.rounding import ceil, floor, round_, trunc
from weft.ops.selection import cast, stop_gradient, where
from weft.ops.sorting import argsort, searchsorted, sort, top_k
from weft.ops.window import windows

Make = Callable[[Node, Node, int], Node]
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
    return clip(x, number(0 if x.dtype.kind == "u" else -9, x), number(9, x))


def number(value: int, x: Node) -> Node:
    """A constant of the type of x."""
    return constant(float(value) if x.dtype.kind == "f" else value, x.dtype)


def fitted(y: Node, shape: tuple[int, ...]) -> Node:
    """The elements of y, cut off or filled up with zeros, in another shape."""
    if y.shape == shape:
        return y
    flat, want = reshape(y, shape=(int(y.size),)), int(size_of(shape))
    if y.size < want:
        flat = pad(flat, number(0, y), low=(0,), high=(want - y.size,), interior=(0,))
    elif y.size > want:
        flat = slice_axis(flat, 0, 0, want)
    return reshape(flat, shape=shape)


def positions(y: Node, count: int, size: int) -> Node:
    """Integers in range(-size, size) made of the elements of y."""
    flat = cast(fitted(y, (count,)), dtype=int64)
    return remainder(flat, constant(2 * size, int64)) - size


# -- operations: two operands and a number that varies them ------------------------------------------------------


@both
def adds(x, y, n):
    return small(x + fitted(y, x.shape)) if n % 2 else x - fitted(y, x.shape) * (n % 3)


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
    return pad(x, number(1, x), low=tuple(width[0]), high=tuple(width[1]), interior=tuple(width[2]))


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
    return small(x * 3 - broadcast_in_dim(total, shape=x.shape, axes=tuple(range(x.ndim - 1))))


@both
def contracts(x, y, n):
    rows = reshape(x, shape=(x.shape[0], x.size // x.shape[0]))
    other = fitted(y, (rows.shape[1], 1 + n % 20)) if n % 2 else fitted(y, (1 + n % 20, rows.shape[1]))
    return small(dot_general(rows, other, contract=((1,), (0 if n % 2 else 1,)), batch=((), ())))


@both
def convolves(x, y, n):
    """Along one to three axes, in groups, with steps and gaps."""
    rank, groups = 1 + n % 3, (1, 1, 2, 3)[n // 3 % 4]
    size = (7, 4, 3)[:rank]
    images = fitted(x, (1 + n % 2, 2 * groups, *size))
    weights = fitted(y, (groups * (1 + n // 2 % 2), 2, *(3, 2, 2)[:rank]))
    found = conv(
        images,
        weights,
        stride=(1 + n // 4 % 2,) * rank,
        padding=((n % 2, 1),) * rank,
        input_dilation=(1 + n // 8 % 2,) * rank,
        kernel_dilation=(1 + n // 5 % 2,) * rank,
        feature_groups=groups,
        batch_groups=1,
    )
    return small(found)


@both
def multiplies_batches(x, y, n):
    k = 1 + n % 7
    return small(
        dot_general(
            fitted(x, (2, 3, k)), fitted(y, (2, 1 + n % 18, k)), contract=((2,), (2,)), batch=((0,), (0,))
        )
    )


@both
def scans(x, y, n):
    """A loop over the rows: its last state, or what it leaves behind."""
    rows = reshape(x, shape=(x.shape[0], x.size // x.shape[0]))
    start = fitted(y, rows.shape[1:])
    body = trace_graph(lambda h, r: (small(h + r), h * r), [start.aval] * 2)
    loop = scan(
        start, rows, body=body, consts=0, carries=1, length=rows.shape[0], reverse=n % 2 == 1, rule=None
    )
    return pick(loop, n // 2 % 2)


@both
def runs(x, y, n):
    return small(cumsum(x, axis=n % x.ndim, reverse=n % 2 == 1, exclusive=n % 3 == 1))


@both
def windowed(x, y, n):
    wide = pad(x, number(0, x), low=(0,) * x.ndim, high=(*[0] * (x.ndim - 1), 2), interior=(0,) * x.ndim)
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
        lambda a, b: where(less(a, b), a + 1, b),
        lambda a, b: where(equal(a, b), a, -b),
    ][n % 4](x, other)


@only(exact)
def best(x, y, n):
    axis = n % x.ndim
    if x.ndim == 1:
        return x
    found = max_(x, axes=(axis,)) if n % 2 else cast(argmax(x, axis=axis), dtype=x.dtype)
    return small(abs_(found) + full(found.aval, 1))


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


@only(exact)
def converts(x, y, n):
    """There and back through another type."""
    through = _TYPES[n % len(_TYPES)]
    x = small(x)
    return cast(cast(abs_(x) if through.kind in "ub" else x, dtype=through), dtype=x.dtype)


_TYPES = (
    bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, bfloat16, float32, float64,
)  # fmt: skip


@only(exact)
def calculates(x, y, n):
    """On integers."""
    kind = (int8, int32, int64, int16)[n // 7 % 4]
    i, j = cast(small(x), dtype=kind), cast(small(fitted(y, x.shape)), dtype=kind)
    found = (bitwise_and, bitwise_or, bitwise_xor, floor_divide, remainder, shift_left, shift_right)[n % 7](
        i, abs_(j) if n % 7 > 4 else j
    )
    return cast(small(found), dtype=x.dtype)


@only(exact)
def turns(x, y, n):
    """Complex products."""
    wide = small(x if x.dtype in (float32, float64) else cast(x, dtype=float32))
    other = cast(small(fitted(y, x.shape)), dtype=wide.dtype)
    z = make_complex(wide, other)
    found = z * (conj(z) if n % 3 else make_complex(other, wide))
    return small(cast((real if n % 2 else imag)(found) + real(z), dtype=x.dtype))


@only(exact)
def ranks(x, y, n):
    axis = n % x.ndim
    order = argsort(x, axis=axis, descending=n % 2 == 1)
    if n % 3 == 0:
        return put_along_axis(x, fitted(y, x.shape), order, axis)
    return take_along_axis(x, order, axis)


@only(exact)
def tops(x, y, n):
    axis = n % x.ndim
    found = top_k(x, 1 + n % x.shape[axis], axis, largest=n % 2 == 1)
    return found[0] if n % 3 else small(cast(found[1], dtype=x.dtype))


@only(exact)
def pools(x, y, n):
    images = fitted(x, (1 + n % 2, 2, 6, 5))
    return max_pool(
        images,
        kernel=(2, 1 + n % 3),
        stride=(1 + n % 2, 2),
        padding=(n // 2 % 2, 0),
        dilation=(1, 1),
        ceil_mode=n % 5 == 0,
    )


@only(exact)
def branches(x, y, n):
    """Which way is known only at run time."""
    index = reshape(positions(y, 1, 3), shape=())
    ways = [
        trace_graph(f, [x.aval] * 2)
        for f in (lambda a, b: small(a + b), lambda a, b: flip(a, axes=(0,)), lambda a, b: a - b)
    ]
    return cond(index, x, fitted(y, x.shape), branches=tuple(ways), rule=None)


@only(exact)
def repeats_until(x, y, n):
    """A loop without a reverse mode: what it starts from is cut off."""
    total = sum_(abs_(small(fitted(y, (5,)))), axes=(0,))
    carry = [stop_gradient(small(x)), stop_gradient(cast(total, dtype=float32))]
    avals = [c.aval for c in carry]
    more = trace_graph(lambda a, t: less(t, constant(20.0, float32)), avals)
    step = trace_graph(lambda a, t: (small(a + flip(a, axes=(0,))), t * 2.0 + 7.0), avals)
    return pick(while_loop(*carry, cond=more, body=step, cond_consts=0, body_consts=0), 0)


@only(exact)
def draws(x, y, n):
    state = cast(abs_(small(fitted(y, (2,)))), dtype=uint64)
    bits = random_bits(state, shape=x.shape, bits=32 + 32 * (n % 2))
    return small(x + cast(shift_right(bits, constant(28 + 32 * (n % 2), bits.dtype)), dtype=x.dtype) - 8)


@only(exact)
def reduces(x, y, n):
    axes = tuple(a for a in range(x.ndim) if (n >> a) & 1) or (0,)
    other = fitted(y, x.shape)
    if n % 5 == 0:
        return min_(x, axes=axes)
    if n % 5 == 1:
        return prod(sign(x), axes=axes)
    if n % 5 == 2:
        return cast(any_(less(x, other), axes=axes), dtype=x.dtype)
    if n % 5 == 3:
        return cast(all_(less_equal(x, other), axes=axes), dtype=x.dtype)
    return small(cast(argmin(x, axis=axes[0]), dtype=x.dtype))


@only(exact)
def sinks(x, y, n):
    return cummin(x, axis=n % x.ndim, reverse=n % 2 == 1)


@only(exact)
def rounds(x, y, n):
    if x.dtype.kind != "f":
        return x
    return [floor, ceil, round_, trunc, lambda v: copysign(v, fitted(y, x.shape))][n % 5](small(x) * 0.5)


@only(exact)
def looks_up_pairs(x, y, n):
    """Along two axes at once, from places or to them."""
    if x.ndim < 2:
        return looks_up(x, y, n)
    count = 1 + n % 20
    at = [positions(y, count, x.shape[0]), positions(x, count, x.shape[1])]
    if n % 3 == 0:
        return gather(x, *at, axes=(0, 1))
    values = fitted(y, (count, *x.shape[2:]))
    return small((scatter_add if n % 3 == 1 else scatter)(x, values, *at, axes=(0, 1)))


@only(exact)
def moves_along(x, y, n):
    """A window whose place is computed."""
    axis = n % x.ndim
    size = 1 + n % x.shape[axis]
    start = reshape(abs_(positions(y, 1, x.shape[axis] - size + 1)), shape=())
    start = minimum(start, constant(x.shape[axis] - size, int64))
    part = dynamic_slice(x, start, axes=(axis,), sizes=(size,))
    return part if n % 2 else dynamic_update_slice(x, flip(part, axes=(axis,)), start, axes=(axis,))


#: What can be done with no elements.
EMPTY = (
    "adds", "multiplies", "permutes", "flips", "pads", "joins", "converts", "chooses", "counts", "calculates", "turns",
    "halves", "sums", "sinks", "climbs", "draws",
)  # fmt: skip
