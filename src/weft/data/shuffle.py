"""Random orders that are the same on every machine and with every version of NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays.generator import Generator
from ..arrays.random import bits
from ..base.errors import ArgumentError


def raw(n: int, *seed: int) -> np.ndarray:
    """`n` random 64-bit words that depend on `seed` alone.

    NumPy promises the raw stream of a bit generator for good, but not what its other functions make of it.
    """
    words = [s & 0xFFFFFFFF for part in seed for s in (part, part >> 32)]
    return np.random.PCG64(np.random.SeedSequence(words)).random_raw(n)


def permutation(n: int, *seed: int) -> np.ndarray:
    """The numbers 0 to n-1 in an order that depends on `seed` alone."""
    return np.argsort(raw(n, *seed), kind="stable")


def uniform(n: int, *seed: int) -> np.ndarray:
    """`n` numbers in [0, 1) that depend on `seed` alone."""
    return to_unit(raw(n, *seed))


def to_unit(words: Any) -> Any:
    """64-bit words as numbers in [0, 1), of which float64 tells 2**53 apart."""
    return (words >> np.uint64(11)) * 2.0**-53


def draw_seed(generator: Generator | None = None) -> int:
    """A random number for a seed, from a generator (by default the one that everything draws from)."""
    low, high = bits((2,), generator=generator).numpy()
    return int(high) << 32 | int(low)


def choose_seed(seed: Any, generator: Generator | None) -> int:
    """The seed that was given, or one drawn from the generator."""
    if seed is None:
        return draw_seed(generator)
    if generator is not None:
        raise ArgumentError("give seed or generator, not both")
    try:
        return int(seed.__index__())
    except AttributeError:
        raise ArgumentError(f"seed must be an integer, got {seed!r}") from None
