"""How precise the elementary functions are: all float32 numbers, dense samples of float64.

    python benchmarks/accuracy.py                     every function, for this machine's instruction set
    python benchmarks/accuracy.py sin cos --cpu x86-64-v2
    python benchmarks/accuracy.py --stride 127        a quick look: every 127th number
    python benchmarks/accuracy.py --double            float64

float32 functions of one argument are run on all 2**32 inputs as the compiled code that users get, against NumPy and
SciPy in float64 (a difference of more than 2 units in the last place is looked at again with mpmath). Results are kept
in a file after every 2**24 inputs, so that a run that was stopped goes on where it was. float64 functions are compared
with extended precision, or with mpmath on fewer numbers. Needs SciPy and mpmath. Prints a table.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import scipy.special

import weft.ops  # noqa: F401
from weft.backends.cpu.probe import compiled
from weft.backends.cpu.processor import host_target
from weft.ir.dtype import float32, float64
from weft.kernel.target import Target, named_target

#: Numbers at a time: the arrays stay in the cache.
CHUNK = 2**16

#: function -> the same in NumPy, which also has it in extended precision
NUMPY: dict[str, Any] = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10,
    "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "rsqrt": lambda x: 1 / np.sqrt(x),
}  # fmt: skip


def _inverse_error(x: Any) -> Any:
    """erfinv. SciPy takes a hundred times as long to say that it is none: half of all numbers are above 1."""
    return scipy.special.erfinv(x, where=np.abs(x) <= 1, out=np.full_like(x, np.nan))


SPECIAL: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "erf": (scipy.special.erf, mpmath.erf),
    "erfc": (scipy.special.erfc, mpmath.erfc),
    "erfinv": (_inverse_error, mpmath.erfinv),
    "lgamma": (scipy.special.gammaln, lambda x: mpmath.re(mpmath.loggamma(x))),
    "digamma": (scipy.special.digamma, mpmath.digamma),
}

PAIRS: dict[str, Any] = {"pow": np.power, "atan2": np.arctan2, "hypot": np.hypot, "logaddexp": np.logaddexp}


def precise(name: str) -> Callable[[Any], Any]:
    """The function in mpmath."""
    if name in SPECIAL:
        return SPECIAL[name][1]
    if name == "rsqrt":
        return lambda x: 1 / mpmath.sqrt(x)
    if name == "exp2":
        return lambda x: mpmath.mpf(2) ** x
    if name == "log2":
        return lambda x: mpmath.log(x) / mpmath.log(2)
    return getattr(mpmath, name)


def ulps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """The distance in units of the last place that `want`, in higher precision, has in the type of `got`."""
    rounded = want.astype(got.dtype)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    gap = np.spacing(np.abs(np.where(np.isfinite(rounded), rounded, 1))).astype(want.dtype)
    off = np.abs(got.astype(want.dtype) - want) / gap
    off = np.where(np.isfinite(got) & np.isfinite(rounded), off, np.inf)
    return np.where(same, np.where(np.isfinite(rounded), np.minimum(off, 0.5), 0.0), off)


def recheck(name: str, x: float, got: float, dtype: Any) -> float:
    """One distance again, in as many digits as it takes."""
    with mpmath.workdps(60):
        try:
            want = precise(name)(mpmath.mpf(x))
        except (ValueError, ZeroDivisionError, OverflowError):
            return math.inf
        if not math.isfinite(float(want)) or not math.isfinite(got):
            return 0.0 if dtype(float(want)) == got else math.inf
        gap = mpmath.mpf(float(np.spacing(np.abs(dtype(float(want))))))
        return float(abs(mpmath.mpf(got) - want) / gap)


def poles(name: str, x: np.ndarray, want: np.ndarray) -> np.ndarray:
    """The conventions at poles that SciPy has otherwise."""
    if name == "lgamma":
        return np.where(np.isinf(x), np.inf, want)
    if name == "digamma":
        return np.where(np.isneginf(x), np.nan, np.where((x < 0) & (x == np.floor(x)), np.nan, want))
    return want


def exhaustive(
    name: str, target: Target, kept: dict[str, Any], save: Callable[[], None], stride: int
) -> dict[str, Any]:
    """All float32 numbers, or every `stride`-th, from where the last run was stopped."""
    run = compiled(name, float32, 1, CHUNK, target)
    reference = NUMPY.get(name) or SPECIAL[name][0]
    key = f"{name} {target.name}" + (f" every {stride}" if stride > 1 else "")
    state = kept.setdefault(key, {"next": 0, "worst": 0.5, "at": None, "inexact": 0, "beyond": 0})
    steps = (stride * np.arange(CHUNK)).astype(np.uint32)
    while state["next"] < 2**32:
        # Beyond the last number it starts again with the first.
        x = (np.uint32(state["next"] % 2**32) + steps).view(np.float32)
        got = run(x)
        want = poles(name, x, reference(x.astype(np.float64)))
        rounded = want.astype(np.float32)
        odd = np.flatnonzero(got != rounded)
        odd = odd[~(np.isnan(got[odd]) & np.isnan(rounded[odd]))]
        off = ulps(got[odd], want[odd])
        state["inexact"] += len(odd)
        for k in np.flatnonzero(off > 2):
            i = odd[k]
            off[k] = recheck(name, float(x[i]), float(got[i]), np.float32)
            state["beyond"] += int(off[k] > 2)
        if len(odd) and off.max() > state["worst"]:
            k = int(off.argmax())
            state["worst"], state["at"] = float(off[k]), float(x[odd[k]])
        state["next"] += stride * CHUNK
        if state["next"] % 2**24 == 0 or state["next"] >= 2**32:
            save()
    return state


def stratified(count: int) -> np.ndarray:
    """Numbers of all exponents alike and both signs, and the neighbourhood of the usual arguments."""
    rng = np.random.default_rng(0)
    wide = np.exp2(rng.uniform(-1074, 1024, count).astype(np.longdouble)).astype(np.float64)
    unit = rng.uniform(-1, 1, count)
    one = 1 + rng.normal(0, 1, count) * 10.0 ** rng.uniform(-15, 0, count)
    parts = [wide, -wide, unit, 20 * unit, 750 * unit, one, -one]
    return np.concatenate(parts)


def double(name: str, target: Target, count: int) -> tuple[float, float]:
    """The worst error seen in float64, and where."""
    if name in SPECIAL:
        x = stratified(count // 200)
        # Near the zeros at negative numbers gamma's functions are precise absolutely only.
        x = x[x > -0.4] if name in ("lgamma", "digamma") else x[np.abs(x) < 30]
        got = compiled(name, float64, 1, len(x), target)(x)
        want = poles(name, x, SPECIAL[name][0](x))
        fair = np.flatnonzero(np.isfinite(got) & np.isfinite(want))
        off = np.array([recheck(name, float(x[i]), float(got[i]), np.float64) for i in fair])
        return float(off.max()), float(x[fair[off.argmax()]])
    x = stratified(count)
    off = ulps(compiled(name, float64, 1, len(x), target)(x), NUMPY[name](x.astype(np.longdouble)))
    return float(off.max()), float(x[off.argmax()])


def two(name: str, target: Target, count: int, dtype: Any) -> tuple[float, tuple[float, float]]:
    """The worst error of a function of two arguments."""
    rng = np.random.default_rng(1)
    numpy, wider = (np.float32, np.float64) if dtype is float32 else (np.float64, np.longdouble)
    info = np.finfo(numpy)

    def anywhere() -> np.ndarray:
        size = np.exp2(rng.uniform(info.minexp, info.maxexp, count).astype(np.longdouble))
        return (size * rng.choice([-1, 1], count)).astype(numpy)

    x = np.concatenate([anywhere(), rng.uniform(-9, 9, count).astype(numpy), anywhere()])
    y = np.concatenate([anywhere(), rng.uniform(-9, 9, count).astype(numpy), anywhere()])
    if name == "pow":
        x = np.abs(x)
        # Exponents that spread the results over the whole range.
        spread = rng.uniform(np.log(info.tiny), np.log(info.max), 3 * count)
        y = np.where(rng.random(3 * count) < 0.8, spread / np.log(x.astype(np.float64)), y).astype(numpy)
    off = ulps(compiled(name, dtype, 2, len(x), target)(x, y), PAIRS[name](x.astype(wider), y.astype(wider)))
    if name == "logaddexp":  # where the result is small against its operands its error is absolute
        small = np.abs(PAIRS[name](x.astype(wider), y.astype(wider))) < 0.25
        off = np.where(small, 0, off)
    k = int(off.argmax())
    return float(off[k]), (float(x[k]), float(y[k]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="functions (all of them without any)")
    parser.add_argument("--cpu", help="instruction set, as WEFT_CPU takes it")
    parser.add_argument(
        "--double", action="store_true", help="float64, sampled, and functions of two arguments"
    )
    parser.add_argument("--samples", type=int, default=1_000_000, help="samples of each kind with --double")
    parser.add_argument("--stride", type=int, default=1, help="only every n-th float32 number (odd)")
    parser.add_argument("--state", type=Path, default=Path("accuracy.json"), help="where results are kept")
    options = parser.parse_args()
    target = named_target(options.cpu) if options.cpu else host_target()
    if hasattr(os, "nice"):
        os.nice(19)
    np.seterr(all="ignore")
    names = options.names or [*NUMPY, *SPECIAL, *(PAIRS if options.double else ())]
    if options.double:
        print("| function | type | worst error (ulp) | at |\n|---|---|---|---|", flush=True)
        for name in names:
            for dtype in (float32, float64) if name in PAIRS else (float64,):
                found = (
                    two(name, target, options.samples, dtype)
                    if name in PAIRS
                    else double(name, target, options.samples)
                )
                print(f"| {name} | {dtype} | {found[0]:.2f} | {found[1]} |", flush=True)
        return
    kept = json.loads(options.state.read_text()) if options.state.exists() else {}

    def save() -> None:
        fresh = options.state.with_suffix(".new")
        fresh.write_text(json.dumps(kept, indent=1))
        os.replace(fresh, options.state)

    print("| function | worst error (ulp) | at | not correctly rounded |\n|---|---|---|---|", flush=True)
    for name in names:
        s = exhaustive(name, target, kept, save, options.stride)
        share = 100 * s["inexact"] / (s["next"] / options.stride)
        print(f"| {name} | {s['worst']:.3f} | {s['at']} | {share:.2f} % |", flush=True)


if __name__ == "__main__":
    main()
