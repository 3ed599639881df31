"""Random orders that are the same on every machine and with every version of NumPy."""

from __future__ import annotations

import numpy as np


def permutation(n: int, *seed: int) -> np.ndarray:
    """The numbers 0 to n-1 in an order that depends on `seed` alone.

    Sorts n random 64-bit keys. NumPy promises the raw stream of a bit generator for good, but not what its
    `permutation` makes of it.
    """
    words = [s & 0xFFFFFFFF for part in seed for s in (part, part >> 32)]
    keys = np.random.PCG64(np.random.SeedSequence(words)).random_raw(n)
    return np.argsort(keys, kind="stable")
