"""Elementary functions against higher precision: samples of the whole range, special values, seams."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from weft.kernel.algebra import NumpyAlgebra, _fused64
from weft.kernel.functions import functions, polygamma
from weft.kernel.functions.tables import ERF, TANH

INF, NAN = math.inf, math.nan
LONG = np.finfo(np.longdouble).nmant >= 63

#: functions that NumPy has too, in extended precision on most machines
NUMPY: dict[str, Any] = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10,
    "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh,
}  # fmt: skip
SPECIAL = ("erf", "erfc", "erfinv", "lgamma", "digamma")
PAIRS: dict[str, Any] = {"pow": np.power, "atan2": np.arctan2, "hypot": np.hypot, "logaddexp": np.logaddexp}


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"):
        yield


algebras = pytest.mark.parametrize("fused", [True, False], ids=["fused", "unfused"])


def stratified(dtype: Any, count: int) -> np.ndarray:
    """Numbers of both signs with all exponents alike, and the neighbourhood of the usual arguments."""
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    wide = np.exp2(rng.uniform(info.minexp - 20, info.maxexp, count).astype(np.longdouble)).astype(dtype)
    near = rng.uniform(-20, 20, count).astype(dtype)
    unit = rng.uniform(-1, 1, count).astype(dtype)
    steep = rng.uniform(-110, 90, count).astype(dtype) * (1 if dtype == np.float32 else 8)
    one = (1 + rng.normal(0, 1, count) * 10.0 ** rng.uniform(-8, 0, count)).astype(dtype)
    least = info.smallest_subnormal
    specials = [0.0, -0.0, INF, -INF, NAN, info.tiny, -info.tiny, least, -least, info.max, -info.max, 1, -1]
    return np.concatenate([wide, -wide, near, unit, steep, one, np.array(specials, dtype)])


def ulps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """The distance in units of the last place of the wanted value, 0 where both are the same special value."""
    rounded = want.astype(got.dtype)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    gap = np.spacing(np.abs(np.where(np.isfinite(rounded), rounded, 1))).astype(want.dtype)
    off = np.abs(got.astype(want.dtype) - want) / gap
    off = np.where(np.isfinite(got) & np.isfinite(rounded), off, np.inf)
    return np.where(same, np.where(np.isfinite(rounded), np.minimum(off, 0.5), 0), off)


def ways(bits: int, fused: bool = True) -> list[NumpyAlgebra]:
    """The arithmetics of the processors with or without fused multiply-add; some of those with it pick numbers."""
    return [
        NumpyAlgebra(bits, fused, picks) for picks in ((False, True) if bits == 32 and fused else (False,))
    ]


def check(
    name: str, args: tuple[np.ndarray, ...], want: np.ndarray, fused: bool, bound: float, keep: Any = None
) -> None:
    bits = 32 if args[0].dtype == np.float32 else 64
    for a in ways(bits, fused):
        got = functions[name](a, *args)
        off = ulps(got, want)
        assert got.dtype == args[0].dtype
        off = off if keep is None else np.where(keep, off, 0)
        k = int(off.argmax())
        assert off.max() <= bound, (name, a.picks, [v[k] for v in args], got[k], want[k], off[k])


def in_digits(name: str, x: np.ndarray) -> np.ndarray:
    """A special function in mpmath, rounded to extended precision."""
    mpmath = pytest.importorskip("mpmath")
    lgamma = lambda v: mpmath.re(mpmath.loggamma(v))
    f: Callable[[Any], Any] = lgamma if name == "lgamma" else getattr(mpmath, name)

    def one(v: float) -> np.longdouble:
        y = f(mpmath.mpf(v))
        high = float(y)
        if not math.isfinite(high):
            return np.longdouble(high)
        return np.longdouble(high) + np.longdouble(float(y - mpmath.mpf(high)))

    with mpmath.workdps(40):
        return np.array([one(v) for v in x.tolist()])


# -- one argument -------------------------------------------------------------------------------------------------


@algebras
@pytest.mark.parametrize("name", NUMPY)
def test_float32_is_within_two_units_of_the_last_place(name, fused):
    x = stratified(np.float32, 8_000)
    want = NUMPY[name](x.astype(np.float64))
    check(name, (x,), want, fused, 2)


@pytest.mark.skipif(not LONG, reason="no extended precision to compare with")
@algebras
@pytest.mark.parametrize("name", NUMPY)
def test_float64_is_within_four_units_of_the_last_place(name, fused):
    x = stratified(np.float64, 1_500)
    want = NUMPY[name](x.astype(np.longdouble))
    check(name, (x,), want, fused, 4)


def _special_arguments(name: str, dtype: Any) -> np.ndarray:
    rng = np.random.default_rng(1)
    if name == "erfinv":
        inside = 1 - 10.0 ** rng.uniform(-15, 0, 100)
        return np.concatenate([rng.uniform(-1, 1, 100), inside[inside < 1], 10.0 ** rng.uniform(-300, 0, 50)])
    wide = 10.0 ** rng.uniform(-30, 30, 100)
    if name in ("lgamma", "digamma"):
        # Near the zeros on the negative side they are precise absolutely; see the next test.
        return np.concatenate([wide, rng.uniform(-0.4, 15, 200), 1 + rng.uniform(-1e-3, 1e-3, 50),
                               2 + rng.uniform(-1e-3, 1e-3, 50), 1.46 + rng.uniform(0, 3e-3, 50)])  # fmt: skip
    return np.concatenate([wide, -wide, rng.uniform(-6, 6, 150), rng.uniform(6, 26, 50)])


@pytest.mark.skipif(not LONG, reason="no extended precision to compare with")
@algebras
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions(name, dtype, fused):
    x = _special_arguments(name, dtype).astype(dtype)
    x = x[np.isfinite(x) & (x != 0)]
    if name == "erfinv":
        x = x[np.abs(x) < 1]
    check(name, (x,), in_digits(name, x), fused, 2 if dtype == np.float32 else 4)


@algebras
@pytest.mark.parametrize(("name", "scale"), [("lgamma", 1.0), ("digamma", 10.0)])
def test_gamma_functions_of_negative_numbers(name, scale, fused):
    x = np.random.default_rng(2).uniform(-30, -0.4, 400)
    want = in_digits(name, x).astype(np.float64)
    got = functions[name](NumpyAlgebra(64, fused), x)
    np.testing.assert_allclose(got, want, rtol=3e-15, atol=1e-15 * scale)


@pytest.mark.parametrize("order", [1, 2, 3, 8])
def test_polygamma(order):
    mpmath = pytest.importorskip("mpmath")
    x = np.random.default_rng(3).uniform(-5, 40, 100)
    with mpmath.workdps(40):
        want = np.array([float(mpmath.polygamma(order, mpmath.mpf(v))) for v in x.tolist()])
    got = polygamma(NumpyAlgebra(64), x, order)
    np.testing.assert_allclose(got, want, rtol=1e-12)
    special = polygamma(NumpyAlgebra(64), np.array([0.0, -1.0, -INF, NAN, INF]), order)
    pole = INF if order % 2 else NAN
    np.testing.assert_array_equal(special, [pole, pole, NAN, NAN, 0.0])


# -- arguments that are hard --------------------------------------------------------------------------------------


@algebras
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_angles_close_to_multiples_of_a_quarter_turn(name, fused):
    mpmath = pytest.importorskip("mpmath")
    # The float64 number closest to a multiple of pi / 2 in relative terms, huge ones, and rounded multiples.
    hard = [6381956970095103.0 * 2.0**797, 5.319372648326541e255, 1e22, 2.0**1023, 1.5 * 2.0**20, 1e300]
    multiples = [k * math.pi / 2 for k in (1, 2, 3, 7, 100, 12345, 1048575, 1048577, 2**31, 2**40)]
    x = np.array(hard + multiples)
    with mpmath.workprec(1400):
        want = np.array([np.longdouble(float(getattr(mpmath, name)(mpmath.mpf(v)))) for v in x.tolist()])
    check(name, (x,), want, fused, 4.5)  # `want` is rounded itself
    single = np.concatenate([x[x < 1e30], [1.6e38, 16367173.0 * 2.0**72]]).astype(np.float32)
    with mpmath.workprec(400):
        want = np.array([float(getattr(mpmath, name)(mpmath.mpf(v))) for v in single.tolist()])
    check(name, (single,), want, fused, 2)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize(
    ("name", "seams"),
    [
        ("tanh", [0.625]), ("erf", [1.0, 2.25]), ("erfc", [0.5]), ("sinh", [1.0]), ("asin", [0.5]),
        ("atan", [0.41421356, 2.41421356]), ("asinh", [2.0**28]), ("exp", [0.34657, 1.03972]),
        ("expm1", [0.34657, -0.34657]), ("log", [1.0, 1.41421356, 0.70710678]), ("log1p", [1e-9, 0.41421356]),
        ("erfinv", [0.9987, 0.99999]), ("lgamma", [2.0, 3.0, 10.0]), ("digamma", [1.0, 2.0, 10.0]),
    ],
)  # fmt: skip
def test_no_steps_back_at_seams(name, seams, bits):
    """Where one formula takes over from another a growing function does not fall by more than its rounding."""
    dtype = np.float32 if bits == 32 else np.float64
    for seam in seams:
        x = np.array(seam, dtype)
        steps = np.arange(-200, 200) * np.spacing(x)
        x = (x + steps).astype(dtype)
        y = functions[name](NumpyAlgebra(bits), x)
        y = (-y if name == "erfc" else y)[np.isfinite(y)]
        assert (np.diff(y) >= -4 * np.spacing(np.abs(y[:-1]))).all(), (name, seam)


#: function -> {argument: value}, exact
VALUES = {
    "exp": {0: 1, INF: INF, -INF: 0, NAN: NAN, 1000: INF, -1000: 0},
    "exp2": {0: 1, 10: 1024, -3: 0.125, INF: INF, -INF: 0, NAN: NAN, -126: 2.0**-126, -140: 2.0**-140},
    "expm1": {0: 0, INF: INF, -INF: -1, NAN: NAN, -100: -1},
    "log": {1: 0, -0.0: -INF, -1: NAN, INF: INF, NAN: NAN, -INF: NAN},
    "log2": {1: 0, 8: 3, 0.25: -2, 2.0**-140: -140, 0: -INF, -1: NAN, INF: INF, NAN: NAN},
    "log10": {1: 0, 1000: 3, 0: -INF, -1: NAN, INF: INF, NAN: NAN},
    "log1p": {0: 0, -1: -INF, -2: NAN, INF: INF, NAN: NAN},
    "sin": {0: 0, INF: NAN, -INF: NAN, NAN: NAN},
    "cos": {0: 1, INF: NAN, -INF: NAN, NAN: NAN},
    "tan": {0: 0, INF: NAN, -INF: NAN, NAN: NAN},
    "asin": {0: 0, 2: NAN, -2: NAN, NAN: NAN, INF: NAN},
    "acos": {1: 0, 2: NAN, -2: NAN, NAN: NAN, INF: NAN},
    "atan": {0: 0, NAN: NAN},
    "sinh": {0: 0, INF: INF, -INF: -INF, NAN: NAN, 1000: INF},
    "cosh": {0: 1, INF: INF, -INF: INF, NAN: NAN, -1000: INF},
    "tanh": {0: 0, INF: 1, -INF: -1, NAN: NAN, 50: 1},
    "asinh": {0: 0, INF: INF, -INF: -INF, NAN: NAN},
    "acosh": {1: 0, INF: INF, 0.5: NAN, -INF: NAN, NAN: NAN},
    "atanh": {0: 0, 1: INF, -1: -INF, 1.5: NAN, NAN: NAN, INF: NAN},
    "erf": {0: 0, INF: 1, -INF: -1, NAN: NAN, 10: 1},
    "erfc": {0: 1, INF: 0, -INF: 2, NAN: NAN, 30: 0},
    "erfinv": {0: 0, 1: INF, -1: -INF, 1.5: NAN, NAN: NAN},
    "lgamma": {1: 0, 2: 0, 0: INF, -3: INF, INF: INF, -INF: INF, NAN: NAN},
    "digamma": {-2: NAN, INF: INF, -INF: NAN, NAN: NAN},
}
ODD = ["expm1", "log1p", "sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "erf", "erfinv"]


@algebras
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", VALUES)
def test_special_values(name, bits, fused):
    dtype = np.float32 if bits == 32 else np.float64
    points = VALUES[name]
    for a in ways(bits, fused):
        got = functions[name](a, np.array(list(points), dtype))
        np.testing.assert_array_equal(got, np.array(list(points.values()), dtype))


def test_the_two_poles_of_digamma_at_zero():
    zeros = functions["digamma"](NumpyAlgebra(64), np.array([0.0, -0.0]))
    np.testing.assert_array_equal(zeros, [-INF, INF])


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", ODD)
def test_odd_functions_keep_the_sign_of_zero_and_the_smallest_numbers(name, bits):
    dtype = np.float32 if bits == 32 else np.float64
    for a in ways(bits):
        out = functions[name](a, np.array([0.0, -0.0], dtype))
        assert np.signbit(out).tolist() == [False, True]
        if name not in ("erf", "erfinv"):
            least = np.finfo(dtype).smallest_subnormal
            x = np.array([least, -3 * least], dtype)
            np.testing.assert_array_equal(functions[name](a, x), x)


#: function -> where its pieces end
PIECES = {
    "tanh": [
        1.25 / 16,
        *[math.ldexp(1 + q / 4, e) for e in range(-4, 3) for q in range(4) if (e, q) > (-4, 1)],
        8.0,
        9.5,
    ],
    "erf": [*[(k + 0.5) / 8 for k in range(31)], 3.937],
}


@pytest.mark.parametrize("name", PIECES)
def test_pieces_meet_at_their_seams(name):
    a = NumpyAlgebra(32, picks=True)
    for seam in PIECES[name]:
        x = np.float32(seam) + np.arange(-300, 300) * np.spacing(np.float32(seam))
        y = functions[name](a, x.astype(np.float32))
        assert (np.diff(y) >= -1.1 * np.spacing(y[:-1])).all() and y.max() <= 1, (name, seam)


@pytest.mark.parametrize("name", PIECES)
def test_pieces_are_as_precise_where_all_of_them_are_used(name):
    x = np.linspace(0.001, 10, 200_000, dtype=np.float32)
    want = np.tanh(x.astype(np.float64)) if name == "tanh" else np.array([math.erf(v) for v in x.tolist()])
    got = functions[name](NumpyAlgebra(32, picks=True), x)
    assert ulps(got, want).max() <= 1.05 and len({len(row) for row in (*TANH, *ERF)} | {32}) == 1


# -- two arguments ------------------------------------------------------------------------------------------------

CORNERS = [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 1e-30, 1e30, 1.5, 2.0**53]


def grid(dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    info = np.finfo(dtype)
    corners = np.array(
        [*CORNERS, info.max, -info.max, info.max / 3, info.tiny, info.smallest_subnormal], dtype
    )
    x, y = np.meshgrid(corners, corners)
    return x.ravel(), y.ravel()


def pairs(name: str, dtype: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    info = np.finfo(dtype)

    def wide() -> np.ndarray:
        size = np.exp2(rng.uniform(info.minexp, info.maxexp, count).astype(np.longdouble))
        return (size * rng.choice([-1, 1], count)).astype(dtype)

    x = np.concatenate([wide(), rng.uniform(-9, 9, count).astype(dtype), np.abs(wide()), grid(dtype)[0]])
    y = np.concatenate([wide(), rng.uniform(-9, 9, count).astype(dtype), wide(), grid(dtype)[1]])
    if name == "pow":
        spread = rng.uniform(np.log(info.tiny), np.log(info.max), count) / np.log(x[2 * count : 3 * count])
        y[2 * count : 3 * count] = spread
    return x, y


@algebras
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", PAIRS)
def test_functions_of_two_arguments(name, bits, fused):
    if bits == 64 and not LONG:
        pytest.skip("no extended precision to compare with")
    dtype, wider = (np.float32, np.float64) if bits == 32 else (np.float64, np.longdouble)
    x, y = pairs(name, dtype, 2_000)
    want = PAIRS[name](x.astype(wider), y.astype(wider))
    # A logaddexp that is small against its operands is precise absolutely.
    keep = (np.abs(want) > 0.25) | ~np.isfinite(want) if name == "logaddexp" and bits == 64 else None
    check(name, (x, y), want, fused, 2 if bits == 32 else 4, keep)
    if name in ("pow", "atan2"):
        got = functions[name](NumpyAlgebra(bits, fused), x, y)
        assert (np.isnan(want) | (np.signbit(got) == np.signbit(want))).all()


@algebras
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["remainder", "floor_divide"])
def test_division_with_remainder_is_exact(name, dtype, fused):
    import weft.ops  # noqa: F401
    from weft.ir.primitive import registry

    x, y = pairs(name, dtype, 500)
    bits = 32 if dtype == np.float32 else 64
    want = registry[name].evaluate(x, y)
    got = functions[name](NumpyAlgebra(bits, fused), x, y)
    np.testing.assert_array_equal(got, want)
    assert (np.isnan(want) | (np.signbit(got) == np.signbit(want))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "want"), [("copysign", np.copysign), ("nextafter", np.nextafter)])
def test_functions_on_bits(name, want, dtype):
    x, y = pairs(name, dtype, 200)
    got = functions[name](NumpyAlgebra(32 if dtype == np.float32 else 64), x, y)
    np.testing.assert_array_equal(got, want(x, y))
    assert np.array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(want(x, y)[~np.isnan(got)]))


# -- the arithmetic -----------------------------------------------------------------------------------------------


def test_the_emulated_multiply_add_rounds_once():
    from fractions import Fraction

    rng = np.random.default_rng(5)
    x, y = rng.normal(0, 1, 300), rng.normal(0, 1, 300)
    z = -x * y * (1 + rng.choice([0, 2.0**-52, -(2.0**-30), 1.0], 300))
    scale = rng.choice([1.0, 2.0**500, 2.0**-530], 300)
    x, z = x * scale, z * scale
    got = _fused64(x, y, z)
    want = [float(Fraction(p) * Fraction(q) + Fraction(r)) for p, q, r in zip(x, y, z, strict=True)]
    np.testing.assert_array_equal(got, want)
