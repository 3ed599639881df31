"""Random numbers of many distributions, each a function of a random state and its parameters.

Every composite takes a state first (see `ops.random`) and gives numbers of shape (*lead of the state, *shape);
parameters broadcast to `shape`. Numbers are worked out in
float32, or in float64 from 64 bits each; other floating types are rounded from float32.
"""

from __future__ import annotations

import math

from ...base.errors import DTypeError
from ...ir.dtype import DType, bfloat16, float16, float32, float64, uint32
from ...ir.node import Node
from ...ir.shape import Shape, Size
from .. import elementwise as e
from ..movement import reshape, slice_axis
from ..random import blocks, random_bits
from ..reduce import argmax
from ..sorting import argsort
from .define import composite

# -- the building blocks ------------------------------------------------------------------------------------------


def bits_for(dtype: DType) -> int:
    """How many random bits an element of a floating type is made from."""
    if dtype.kind != "f":
        raise DTypeError(f"random numbers are drawn in a real floating dtype, got {dtype}")
    return 64 if dtype is float64 else 32


def _working(dtype: DType) -> DType:
    return float64 if dtype is float64 else float32


def _uniform(bits: Node, digits: int, dtype: DType) -> Node:
    """Multiples of 2**-digits in [0, 1), from the uppermost bits."""
    width = bits.dtype.bits
    return e.cast(e.shift_right(bits, width - digits), dtype=dtype) * 2.0**-digits


def _inside(bits: Node, dtype: DType) -> Node:
    """Numbers in (0, 1), neither end included, spread evenly and symmetric around 1/2."""
    digits = 23 if bits.dtype.bits == 32 else 52  # one less than fit, so that adding half a step is exact
    return _uniform(bits, digits, dtype) + 2.0 ** -(digits + 1)


def _toward_zero(bits: Node, dtype: DType) -> Node:
    """Numbers in (0, 1] for a logarithm: all bits count, so that small ones are fine-grained."""
    width = bits.dtype.bits
    return e.cast(bits, dtype=dtype) * 2.0**-width + 2.0 ** -(width + 1)


def _draw(state: Node, shape: Shape, dtype: DType) -> Node:
    return random_bits(state, shape=shape, bits=bits_for(dtype))


def _located(x: Node, location: Node | None, scale: Node | None, dtype: DType) -> Node:
    """location + scale * x, rounded to the dtype."""
    if scale is not None:
        x = e.cast(scale, dtype=x.dtype) * x
    if location is not None:
        x = e.cast(location, dtype=x.dtype) + x
    return e.cast(x, dtype=dtype) if x.dtype is not dtype else x


# -- continuous ---------------------------------------------------------------------------------------------------


@composite
def random_uniform(state, low, high, *, shape, dtype):
    """Numbers in [low, high), all multiples of 2**-24 of the interval alike (2**-53 in float64).

    Without low and high the interval is [0, 1); in float16 and bfloat16 its multiples are of 2**-11 and 2**-8.
    """
    digits = {float16: 11, bfloat16: 8, float64: 53}.get(dtype, 24)
    u = _uniform(_draw(state, shape, dtype), digits, _working(dtype))
    if low is None:
        return e.cast(u, dtype=dtype) if u.dtype is not dtype else u
    low, high = (e.cast(v, dtype=u.dtype) for v in (low, high))
    x = low + (high - low) * u
    x = e.cast(x, dtype=dtype) if x.dtype is not dtype else x
    # Rounding may reach the end that does not belong to the interval; where both ends are one, x is that.
    low, high = (e.cast(v, dtype=dtype) for v in (low, high))
    return e.where(e.less(x, high), x, low)


@composite
def random_normal(state, mean, std, *, shape, dtype):
    """mean + std * z for standard normal z, by the method of Box and Muller.

    Two independent uniform numbers u in (0, 1] and v in [0, 1) give sqrt(-2 log u) cos(2 pi v). In float32 |z| goes up
    to 6.7. The other number of a pair, with a sine, would have to go elsewhere in memory: drawing anew is quicker.
    """
    u, v = _two_words(state, shape, dtype)
    work = _working(dtype)
    angle = _uniform(v, 53 if work is float64 else 24, work) * (2 * math.pi)
    z = e.sqrt(-2.0 * e.log(_toward_zero(u, work))) * e.cos(angle)
    return _located(z, mean, std, dtype)


def _two_words(state: Node, shape: Shape, dtype: DType) -> tuple[Node, Node]:
    """Two draws of random bits, each of this shape. Those of 32 bits are the halves of one draw."""
    if bits_for(dtype) == 32:
        both = random_bits(state, shape=shape, bits=64)
        return e.cast(both, dtype=uint32), e.cast(e.shift_right(both, 32), dtype=uint32)
    both = random_bits(state, shape=(2, *shape), bits=64)
    axis = state.ndim - 1
    first, second = (
        reshape(slice_axis(both, axis, i, i + 1), shape=(*both.shape[:axis], *shape)) for i in (0, 1)
    )
    return first, second


def normal_blocks(shape: Shape, bits: int) -> Size:
    """By how much a draw of `random_normal` advances the state."""
    return blocks((2, *shape), bits)


@composite
def random_truncated_normal(state, mean, std, low, high, *, shape, dtype):
    """Normal numbers that lie in [low, high]: mean + std * the quantile of a uniform probability between theirs."""
    bits = _draw(state, shape, dtype)
    work = _working(dtype)
    u = _inside(bits, work)
    mean, std, low, high = (e.cast(v, dtype=work) for v in (mean, std, low, high))
    root = math.sqrt(0.5)
    first, last = (e.erf((v - mean) / std * root) for v in (low, high))
    z = e.erfinv(first + (last - first) * u) * math.sqrt(2.0)
    x = e.minimum(e.maximum(mean + std * z, low), high)
    return e.cast(x, dtype=dtype) if x.dtype is not dtype else x


@composite
def random_exponential(state, rate, *, shape, dtype):
    """Numbers x >= 0 with density rate * exp(-rate * x): -log(u) / rate."""
    x = -e.log(_toward_zero(_draw(state, shape, dtype), _working(dtype)))
    if rate is not None:
        x = x / e.cast(rate, dtype=x.dtype)
    return e.cast(x, dtype=dtype) if x.dtype is not dtype else x


def _gumbel(state: Node, shape: Shape, dtype: DType) -> Node:
    return -e.log(-e.log(_inside(_draw(state, shape, dtype), _working(dtype))))


@composite
def random_gumbel(state, location, scale, *, shape, dtype):
    """location + scale * g, where g = -log(-log(u)) is the largest of many."""
    return _located(_gumbel(state, shape, dtype), location, scale, dtype)


# -- discrete -----------------------------------------------------------------------------------------------------


@composite
def random_bernoulli(state, p, *, shape):
    """True with probability p (rounded to a multiple of 2**-24)."""
    u = _uniform(random_bits(state, shape=shape, bits=32), 24, float32)
    return e.less(u, e.cast(p, dtype=float32))


@composite
def random_integers(state, low, span, *, shape, dtype):
    """Integers in [low, low + span), low and span given modulo 2**64 as uint64; span 0 stands for 2**64.

    The upper half of the product of span with 64 random bits: no value is preferred by more than span / 2**64.
    """
    bits = random_bits(state, shape=shape, bits=64)
    offset = e.where(e.equal(span, 0), bits, _upper_product(bits, span))
    return e.cast(low + offset, dtype=dtype)


def _upper_product(x: Node, y: Node) -> Node:
    """The upper 64 of the 128 bits of x * y, by halves."""
    mask = 0xFFFFFFFF
    x1, x0 = e.shift_right(x, 32), e.bitwise_and(x, mask)
    y1, y0 = e.shift_right(y, 32), e.bitwise_and(y, mask)
    first = x1 * y0 + e.shift_right(x0 * y0, 32)
    second = x0 * y1 + e.bitwise_and(first, mask)
    return x1 * y1 + e.shift_right(first, 32) + e.shift_right(second, 32)


@composite
def random_categorical(state, logits, *, shape, axis):
    """Indices along `axis` of logits, index i with probability softmax(logits)[i]: (*shape, *logits without axis).

    The index of the largest of logits + Gumbel noise. `axis` counts from the end.
    """
    logits = e.cast(logits, dtype=_working(logits.dtype))
    noise = _gumbel(state, (*shape, *logits.shape), logits.dtype)
    scores = logits + noise
    return argmax(scores, axis=scores.ndim + axis)


@composite
def random_order(state, logits=None, *, size, count):
    """`count` different indices below `size` in random order, int64. With logits the next index is drawn, among those
    that are left, with probabilities in proportion to exp(logits)."""
    if logits is None:
        keys = random_bits(state, shape=(size,), bits=64)
        order = argsort(keys, axis=keys.ndim - 1, descending=False)
    else:
        logits = e.cast(logits, dtype=_working(logits.dtype))
        scores = logits + _gumbel(state, (size,), logits.dtype)
        order = argsort(scores, axis=scores.ndim - 1, descending=True)
    return slice_axis(order, order.ndim - 1, 0, count)
