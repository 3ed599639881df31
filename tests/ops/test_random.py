"""Random bits against the published test vectors of Philox, and that they do not depend on how a draw is cut."""

from __future__ import annotations

import numpy as np
import pytest

from nodes import node, run
from weft.base.errors import ArgumentError, DTypeError
from weft.ir.shape import Dim
from weft.ops import random as r
from weft.ops.random import advance, blocks, philox, random_bits

#: counter, key, result: the known-answer tests that come with the algorithm's reference implementation
VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return [np.uint64(int(w, 16)) for w in text.split()]


def bits(seed, counter, shape, width=32):
    return run(lambda s: random_bits(s, shape=shape, bits=width), np.array([seed, counter], np.uint64))


@pytest.mark.parametrize("counter, key, expected", VECTORS)
def test_known_vectors(counter, key, expected):
    assert [int(w) for w in philox(words(counter), words(key))] == [int(w) for w in words(expected)]


def test_bits_are_the_words_of_the_blocks():
    seed, counter = 0x123456789ABCDEF, (1 << 32) - 1  # the carry into the second word of the counter
    got = bits(seed, counter, (3, 3))
    assert got.dtype == np.uint32 and got.shape == (3, 3)
    expected = []
    for block in range(counter, counter + 3):
        expected += philox(words(f"{block & 0xFFFFFFFF:x} {block >> 32:x} 0 0"), words("89abcdef 1234567"))
    assert got.ravel().tolist() == [int(w) for w in expected[:9]]
    long = bits(seed, counter, (4,), 64)
    assert long.dtype == np.uint64
    assert long.tolist() == [int(expected[2 * i]) | int(expected[2 * i + 1]) << 32 for i in range(4)]
    assert bits(0, 0, (4,)).tolist() == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


def test_a_draw_does_not_depend_on_how_it_is_cut(monkeypatch):
    whole = bits(3, 10, (64,))
    parts = [bits(3, 10 + at // 4, (n,)) for at, n in [(0, 8), (8, 20), (28, 36)]]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(bits(3, 10, (2, 32)).ravel(), whole)
    monkeypatch.setattr(r, "_PIECE", 5)
    np.testing.assert_array_equal(bits(3, 10, (64,)), whole)


def test_the_counter_wraps_around():
    last = (1 << 64) - 1
    np.testing.assert_array_equal(bits(1, last, (8,))[4:], bits(1, 0, (4,)))
    state = run(advance, np.array([1, last], np.uint64), np.uint64(3))
    assert state.tolist() == [1, 2]


def test_seeds_and_counters_give_unrelated_streams():
    streams = [bits(seed, counter, (256,)) for seed in (0, 1, 1 << 32) for counter in (0, 64, 1 << 33)]
    assert len({s.tobytes() for s in streams}) == len(streams)
    ones = np.unpackbits(np.concatenate(streams).view(np.uint8)).reshape(-1, 32)
    assert np.all(np.abs(ones.mean(0) - 0.5) < 0.04)  # 4 sigma of 2304 draws for each of the 32 bits
    table = np.stack([s.astype(float) / 2**32 - 0.5 for s in streams])
    correlation = np.corrcoef(table)
    assert np.abs(correlation - np.eye(len(table))).max() < 0.25


def test_a_batch_of_states_draws_for_each():
    states = np.array([[5, 0], [5, 3], [6, 0]], np.uint64)
    got = run(lambda s: random_bits(s, shape=(6,), bits=32), states)
    for row, (seed, counter) in zip(got, states):
        np.testing.assert_array_equal(row, bits(int(seed), int(counter), (6,)))


def test_blocks():
    assert [blocks((n,), 32) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]
    assert [blocks((n,), 64) for n in (0, 1, 2, 3)] == [0, 1, 1, 2]
    assert blocks((Dim("n"), 3), 32) == Dim("n") * 3


def test_what_is_not_a_state():
    with pytest.raises(DTypeError, match=r"uint64 \(\.\.\., 2\)"):
        random_bits(node(np.zeros(2)), shape=(3,), bits=32)
    with pytest.raises(DTypeError, match=r"uint64 \(3,\)"):
        random_bits(node(np.zeros(3, np.uint64)), shape=(3,), bits=32)
    with pytest.raises(ArgumentError, match="32 or 64"):
        random_bits(node(np.zeros(2, np.uint64)), shape=(3,), bits=16)
    with pytest.raises(DTypeError, match="count"):
        advance(node(np.zeros(2, np.uint64)), node(np.zeros((), np.int64)))
