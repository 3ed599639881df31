"""Random numbers for samples: what is drawn while a sample is made depends on the loader's seed and on the sample's
place in its epoch, and on nothing else: not on the number of workers, not on what other samples drew."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..arrays.generator import Generator, exchange_default
from ..base.errors import ArgumentError
from .shuffle import draw_seed, raw, to_unit

Shape = int | tuple[int, ...] | None

#: What a key is for: its third number.
SAMPLE, BATCH, STREAM, WORKER = range(4)


class RandomStream:
    """Random numbers that depend on a key alone: the same on every machine and with every version of NumPy.

    >>> RandomStream(3).uniform() == RandomStream(3).uniform()
    True
    """

    __slots__ = ("_bits",)

    def __init__(self, *key: int) -> None:
        words = [k & 0xFFFFFFFF for part in key for k in (part, part >> 32)]
        self._bits = np.random.PCG64(np.random.SeedSequence(words))

    def raw(self, shape: Shape = None) -> Any:
        """64 random bits, as a Python integer or (with a shape) as uint64."""
        if shape is None:
            return self._bits.random_raw()
        size = (shape,) if isinstance(shape, int) else shape
        return self._bits.random_raw(math.prod(size)).reshape(size)

    def uniform(self, low: float = 0.0, high: float = 1.0, shape: Shape = None) -> Any:
        """Numbers in [low, high), all equally likely: a float, or float64 of a shape."""
        if shape is None:
            return low + (high - low) * ((self._bits.random_raw() >> 11) * 2.0**-53)
        return low + (high - low) * to_unit(self.raw(shape))

    def integers(self, low: int, high: int | None = None, shape: Shape = None) -> Any:
        """Integers from low up to, not including, high; of one number, from 0 up to it."""
        low, high = (0, low) if high is None else (low, high)
        if high <= low:
            raise ArgumentError(f"there is no integer from {low} up to, not including, {high}")
        if shape is None:
            return low + ((self._bits.random_raw() * (high - low)) >> 64)
        return low + np.floor(self.uniform(0.0, high - low, shape)).astype(np.int64)

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return self.uniform() < p

    def normal(self, mean: float = 0.0, std: float = 1.0, shape: Shape = None) -> Any:
        """Normally distributed numbers (method of Box and Muller)."""
        size = () if shape is None else shape
        radius = np.sqrt(-2.0 * np.log1p(-np.asarray(self.uniform(shape=size))))
        out = mean + std * radius * np.cos(2.0 * np.pi * np.asarray(self.uniform(shape=size)))
        return float(out) if shape is None else out

    def gamma(self, shape_parameter: float) -> float:
        """A number with the gamma distribution of scale 1 (method of Marsaglia and Tsang)."""
        if shape_parameter < 1:
            return self.gamma(shape_parameter + 1) * (1 - self.uniform()) ** (1 / shape_parameter)
        d = shape_parameter - 1 / 3
        while True:
            x = self.normal()
            v = (1 + x / math.sqrt(9 * d)) ** 3
            if v > 0 and math.log(1 - self.uniform()) < 0.5 * x * x + d - d * v + d * math.log(v):
                return d * v

    def beta(self, a: float, b: float) -> float:
        """A number with the beta distribution."""
        x, y = self.gamma(a), self.gamma(b)
        return x / (x + y) if x + y > 0 else float(self.chance(a / (a + b)))

    def permutation(self, n: int) -> np.ndarray:
        """The numbers 0 to n-1 in a random order."""
        return np.argsort(self.raw(n), kind="stable")


class _Current(threading.local):
    """The key of what this thread is making, and its stream once it was asked for."""

    key: tuple[int, ...] | None = None
    stream: RandomStream | None = None


_current = _Current()


def item_rng() -> RandomStream:
    """The random numbers of the sample (or, in a `collate_fn`, of the batch) that is being made.

    A dataset or transform that draws from here gives the same samples for any number of workers, and again when a run
    is resumed. Outside a loader the numbers come from Weft's default generator, which `weft.manual_seed` seeds.

    >>> with seeded(3):
    ...     a = item_rng().uniform()
    >>> with seeded(3):
    ...     assert item_rng().uniform() == a
    """
    if _current.stream is None:
        if _current.key is None:
            return RandomStream(draw_seed())
        _current.stream = RandomStream(*_current.key)
    return _current.stream


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """What is drawn from `item_rng` in the block depends on `key` alone. Two images that belong together get the same
    augmentation in two blocks of one key."""
    before = _current.key, _current.stream
    _current.key, _current.stream = key, None
    try:
        yield
    finally:
        _current.key, _current.stream = before


def begin_item(*key: int) -> None:
    """From here on, `item_rng` is that of another item. Inside a `Scope`, which restores what was there."""
    _current.key, _current.stream = key, None


class Scope:
    """A block in which Python's, NumPy's and Weft's default generators start from `key`; afterwards they are what they
    were before. Entered again, it goes on where it was left."""

    def __init__(self, *key: int) -> None:
        self._key = key
        self._left: tuple[Any, ...] | None = None  # the states of the generators when it was left
        self._before: tuple[Any, ...] = ()  # and those outside when it was entered

    def __enter__(self) -> None:
        self._before = _states()
        if self._left is not None:
            _restore(self._left)
            return
        a, b, c = (int(word) for word in raw(3, *self._key))
        random.seed(a)
        np.random.seed(b & 0xFFFFFFFF)  # noqa: NPY002 (datasets may still draw from it)
        exchange_default(Generator(c))
        begin_item(*self._key)

    def __exit__(self, *error: object) -> None:
        self._left = _states()
        _restore(self._before)
        self._before = ()


def _states() -> tuple[Any, ...]:
    generator = exchange_default(None)
    exchange_default(generator)
    return (
        random.getstate(),
        np.random.get_state(legacy=False),  # noqa: NPY002
        (_current.key, _current.stream),
        generator,
    )


def _restore(states: tuple[Any, ...]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    _current.key, _current.stream = states[2]
    exchange_default(states[3])
