"""Elementary functions against higher precision: samples of the whole range, and special values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from weft.kernel.algebra import NumpyAlgebra
from weft.kernel.functions import functions

EXACT = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
}


def stratified(dtype, count: int = 400_000) -> np.ndarray:
    """Numbers of both signs with all exponents alike, and the neighbourhood of the usual arguments."""
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    exponents = rng.uniform(info.minexp - 20, info.maxexp, count)
    wide = np.exp2(exponents.astype(np.longdouble)).astype(dtype)
    near = rng.uniform(-20, 20, count).astype(dtype)
    steep = rng.uniform(-110, 90, count).astype(dtype) * (1 if dtype == np.float32 else 8)
    specials = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, info.tiny, -info.tiny, info.max, -info.max, 1, -1], dtype
    )
    return np.concatenate([wide, -wide, near, steep, specials])


def ulps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """The distance in units of the last place of the wanted value, 0 where both are the same special value."""
    rounded = want.astype(got.dtype)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    gap = np.spacing(np.abs(np.where(np.isfinite(rounded), rounded, 1))).astype(want.dtype)
    off = np.abs(got.astype(want.dtype) - want) / gap
    off = np.where(np.isfinite(got) == np.isfinite(rounded), off, np.inf)
    return np.where(same & ~np.isfinite(rounded), 0, np.where(same, np.minimum(off, 0.5), off))


@pytest.mark.parametrize("name", EXACT)
def test_float32_is_within_two_units_of_the_last_place(name):
    x = stratified(np.float32)
    with np.errstate(all="ignore"):
        got = functions[name](NumpyAlgebra(32), x)
        want = EXACT[name](x.astype(np.float64))
        worst = ulps(got, want)
    assert got.dtype == np.float32
    assert worst.max() <= 2, (name, x[worst.argmax()], got[worst.argmax()], want[worst.argmax()], worst.max())


@pytest.mark.parametrize("name", EXACT)
def test_float64_is_within_four_units_of_the_last_place(name):
    x = stratified(np.float64, 100_000)
    with np.errstate(all="ignore"):
        got = functions[name](NumpyAlgebra(64), x)
        exact = EXACT[name](x) if name == "erf" else EXACT[name](x.astype(np.longdouble))
        worst = ulps(got, exact)
    assert got.dtype == np.float64
    assert worst.max() <= 4, (
        name,
        x[worst.argmax()],
        got[worst.argmax()],
        exact[worst.argmax()],
        worst.max(),
    )


@pytest.mark.parametrize("name", [n for n in EXACT if n not in ("exp", "log")])
def test_odd_zeros_keep_their_sign(name):
    for bits, dtype in ((32, np.float32), (64, np.float64)):
        out = functions[name](NumpyAlgebra(bits), np.array([0.0, -0.0], dtype))
        assert np.signbit(out).tolist() == [False, True]
