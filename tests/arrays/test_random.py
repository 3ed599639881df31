"""Generators: their stream, their state, and how compiled functions carry it."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from weft.arrays import generator, random
from weft.arrays.compile import compile
from weft.base.config import config
from weft.base.errors import ArgumentError, DTypeError, ShapeError
from weft.ops.random import random_bits


def direct(seed, counter, n):
    return random_bits.evaluate(np.array([seed, counter], np.uint64), shape=(n,), bits=32)


# -- the stream ------------------------------------------------------------------------------------------------


def test_draws_follow_each_other_in_the_stream():
    g = random.Generator(5)
    first, second, third = (
        random.bits(6, generator=g),
        random.bits((2, 2), generator=g),
        random.bits(1, generator=g),
    )
    np.testing.assert_array_equal(third.numpy(), direct(5, 3, 1))  # looked at in another order
    np.testing.assert_array_equal(first.numpy(), direct(5, 0, 6))
    np.testing.assert_array_equal(second.numpy().ravel(), direct(5, 2, 4))


def test_the_stream_does_not_depend_on_when_values_are_computed():
    def draws(look):
        g = random.Generator(8)
        out = []
        for n in (3, 8, 1):
            out.append(random.normal(n, generator=g) + random.uniform((), generator=g))
            if look:
                out[-1].numpy()
        return np.concatenate([x.numpy() for x in out])

    want = draws(look=False)
    np.testing.assert_array_equal(draws(look=True), want)
    with config(eager=True):
        np.testing.assert_array_equal(draws(look=False), want)


def test_a_seed_gives_its_stream_again():
    g = random.Generator(1)
    before = random.bits(8, generator=g).numpy()
    assert not np.array_equal(random.bits(8, generator=g).numpy(), before)
    g.seed(1)
    np.testing.assert_array_equal(random.bits(8, generator=g).numpy(), before)
    np.testing.assert_array_equal(random.bits(8, generator=random.Generator(1 + (1 << 64))).numpy(), before)
    assert not np.array_equal(random.bits(8, generator=random.Generator(2)).numpy(), before)
    assert not np.array_equal(random.bits(8, generator=random.Generator(-1)).numpy(), before)


def test_the_default_generator():
    random.manual_seed(3)
    a = random.bits(4)
    np.testing.assert_array_equal(a.numpy(), direct(3, 0, 4))
    random.seed()  # from the system
    assert not np.array_equal(random.bits(4).numpy(), a.numpy())


def test_state_can_be_kept_and_put_back():
    g = random.Generator(9)
    random.bits(5, generator=g)
    kept = g.state
    a = random.bits(7, generator=g).numpy()
    assert kept.numpy().tolist() == [9, 2]
    g.state = kept
    np.testing.assert_array_equal(random.bits(7, generator=g).numpy(), a)
    g.state = (9, 2)
    np.testing.assert_array_equal(random.bits(7, generator=g).numpy(), a)
    for again in (copy.deepcopy(g), pickle.loads(pickle.dumps(g))):
        b = random.bits(3, generator=again).numpy()
    np.testing.assert_array_equal(random.bits(3, generator=g).numpy(), b)
    with pytest.raises(ShapeError, match="shape"):
        g.state = random.bits(3)
    with pytest.raises(DTypeError, match="uint64"):
        g.state = random.bits(2)


def test_a_draw_of_nothing_takes_nothing():
    g = random.Generator(0)
    assert random.bits((0, 3), generator=g).shape == (0, 3)
    assert g.state.numpy().tolist() == [0, 0]


# -- compiled functions ------------------------------------------------------------------------------------------


def test_compiled_draws_are_those_of_the_plain_function():
    g = random.Generator(11)

    def step():
        return random.bits(5, generator=g), random.bits(3, generator=g)

    compiled = compile(step)
    got = [x.numpy() for _ in range(3) for x in compiled()]
    assert g.state.numpy().tolist() == [11, 9]
    g.seed(11)
    want = [x.numpy() for _ in range(3) for x in step()]
    for a, b in zip(got, want):
        np.testing.assert_array_equal(a, b)


def test_the_default_generator_first_used_inside_a_trace(monkeypatch):
    monkeypatch.setattr(generator, "_default", None)
    compiled = compile(lambda: random.bits(4))
    assert not np.array_equal(compiled().numpy(), compiled().numpy())
    random.seed(2)
    np.testing.assert_array_equal(compiled().numpy(), direct(2, 0, 4))


def test_a_trace_may_hand_out_states():
    from weft.base.state import state

    class Trace:
        def draw(self, generator, count):
            self.asked = generator, count
            return generator.state._node

    g = random.Generator(4)
    trace = Trace()
    state.traces.append(trace)
    try:
        random.bits(9, generator=g)
    finally:
        state.traces.pop()
    assert trace.asked == (g, 3) and g.state.numpy().tolist() == [4, 0]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: random.bits(3, width=16), "32 or 64"),
        (lambda: random.bits(3, generator=4), "Generator or None"),
        (lambda: random.Generator("x"), "integer or None"),
    ],
)
def test_errors(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()
