"""Random bits from a counter: a pure function of seed, counter and element, the same on every device and thread.

A state is a pair of uint64, (seed, counter), along the last axis of a tensor. The generator is Philox4x32 with 10
rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011). The seed is its key. The
counter counts blocks of 128 bits: four elements of 32 bits or two of 64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..ir.dtype import uint32, uint64
from ..ir.node import Aval, Node
from ..ir.shape import Shape, Size, broadcast_shapes, size_of
from .define import Sample, constant, primitive
from .movement import full, reshape
from .reduce import sum_

_MULTIPLY = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)
_ROUNDS = 10
_PIECE = 1 << 13  # blocks that are worked on together: their words stay in the cache


def philox(counter: Any, key: Any) -> list[np.ndarray]:
    """Philox4x32-10: four 32-bit words for each counter of four words and key of two, all held in uint64."""
    c0, c1, c2, c3 = counter
    k0, k1 = (np.asarray(k, np.uint64) for k in key)
    for i in range(_ROUNDS):
        p0, p1 = c0 * _MULTIPLY[0], c2 * _MULTIPLY[1]
        bump0, bump1 = (np.uint64(i * w & 0xFFFFFFFF) for w in _WEYL)
        c0, c1, c2, c3 = (
            (p1 >> _32) ^ c1 ^ ((k0 + bump0) & _LOW),
            p1 & _LOW,
            (p0 >> _32) ^ c3 ^ ((k1 + bump1) & _LOW),
            p0 & _LOW,
        )
    return [c0, c1, c2, c3]


def blocks(shape: Shape, bits: int) -> Size:
    """By how much the counter must advance for a draw of this shape: no two draws share a block."""
    count = size_of(shape)
    if isinstance(count, int):
        per_block = 128 // bits
        return -(-count // per_block)
    return count  # an open dimension: more than is needed


def count_node(count: Size) -> Node:
    """A number of blocks as an operand. That of an open dimension is counted when the program runs."""
    if isinstance(count, int):
        if count >= 2**63:
            raise ShapeError(f"a draw of {count} blocks of random numbers is larger than any memory")
        return constant(count, uint64)
    return sum_(full(Aval((count,), uint64), 1), axes=(0,))


def _check_state(state: Aval) -> None:
    if state.dtype is not uint64 or state.ndim < 1 or state.shape[-1] != 2:
        raise DTypeError(f"a random state is uint64 (..., 2): seed and counter, got {state.describe()}")


def _bits_infer(state: Aval, *, shape: Shape, bits: int) -> Aval:
    _check_state(state)
    if bits not in (32, 64):
        raise ArgumentError(f"bits must be 32 or 64, got {bits}")
    return Aval((*state.shape[:-1], *shape), uint32 if bits == 32 else uint64)


def _bits_samples() -> list[Sample]:
    state = np.array([[7, 0], [7, 3], [1 << 40, (1 << 64) - 2]], np.uint64)
    return [
        Sample((state[0],), {"shape": (2, 5), "bits": 32}, smooth=False),
        Sample((state,), {"shape": (7,), "bits": 32}, smooth=False),
        Sample((state[2],), {"shape": (3, 3), "bits": 64}, smooth=False),
        Sample((state[:, None],), {"shape": (), "bits": 64}, smooth=False),
        Sample((state[0],), {"shape": (0, 4), "bits": 32}, smooth=False),
    ]


@primitive(_bits_infer, attrs=("shape", "bits"), samples=_bits_samples)
def random_bits(state, *, shape, bits):
    """Uniformly distributed unsigned integers of 32 or 64 bits: uint64[..., 2] to (..., *shape).

    For one state (seed, counter), element i of the result in row-major order is word i % 4 of
    Philox4x32-10(key = seed, counter = counter + i // 4). An element of 64 bits is made of words 2i and 2i + 1, the
    lower half first. The counter wraps around at 2**64.
    """
    lead = state.shape[:-1]
    size = int(np.prod(shape, dtype=np.int64))
    count = -(-size * bits // 128)
    out = np.empty((int(np.prod(lead, dtype=np.int64)), count, 4), "<u4")
    for row, (seed, start) in zip(out, state.reshape(-1, 2), strict=True):
        key = seed & _LOW, seed >> _32
        for at in range(0, count, _PIECE):
            block = np.arange(at, min(at + _PIECE, count), dtype=np.uint64) + start
            zero = np.zeros_like(block)
            for word, values in enumerate(philox((block & _LOW, block >> _32, zero, zero), key)):
                row[at : at + _PIECE, word] = values
    words = out.reshape(len(out), 4 * count).view("<u4" if bits == 32 else "<u8")
    return words[:, :size].reshape((*lead, *shape))


random_bits.nondifferentiable("random bits are integers")


@random_bits.batch
def _(size, batched, state, *, shape, bits):
    return random_bits(state, shape=shape, bits=bits)


def _advance_infer(state: Aval, count: Aval) -> Aval:
    _check_state(state)
    if count.dtype is not uint64:
        raise DTypeError(f"a count of blocks is uint64, got {count.describe()}")
    return Aval((*broadcast_shapes(state.shape[:-1], count.shape), 2), uint64)


def _advance_samples() -> list[Sample]:
    state = np.array([[7, 0], [7, 3], [9, (1 << 64) - 2]], np.uint64)
    return [
        Sample((state[0], np.uint64(5).reshape(())), smooth=False),
        Sample((state, np.uint64(3).reshape(())), smooth=False),
        Sample((state[1], np.arange(4, dtype=np.uint64)), smooth=False),
        Sample((state, np.arange(3, dtype=np.uint64)), smooth=False),
    ]


@primitive(_advance_infer, samples=_advance_samples)
def advance(state, count):
    """The state after `count` more blocks: (seed, counter + count), wrapping around at 2**64.

    `count` is broadcast against the leading axes of the state, so advance(state, i * n) for i = 0, 1, ... gives
    states whose draws of n blocks do not overlap.
    """
    lead = np.broadcast_shapes(state.shape[:-1], count.shape)
    out = np.array(np.broadcast_to(state, (*lead, 2)))
    out[..., 1] += count
    return out


advance.nondifferentiable("a random state is a pair of integers")


@advance.batch
def _(size, batched, state, count):
    if not all(batched):
        # The operand without the axis broadcasts, unless the other is of lower rank than it.
        if batched[0] and count.ndim > state.ndim - 2:
            state = _widen(state, count.ndim - (state.ndim - 2))
        if batched[1] and state.ndim - 1 > count.ndim - 1:
            count = _widen(count, state.ndim - count.ndim)
        return advance(state, count)
    short = (state.ndim - 2) - (count.ndim - 1)
    return advance(_widen(state, -short), _widen(count, short))


def _widen(x, axes):
    """`axes` axes of size 1 after the first."""
    return x if axes <= 0 else reshape(x, shape=(x.shape[0], *[1] * axes, *x.shape[1:]))
