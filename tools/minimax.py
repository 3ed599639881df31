"""Minimax polynomials for the elementary functions, by Remez exchange in high precision (needs mpmath and NumPy).

python tools/minimax.py [name ...]     prints the coefficient tables that kernel/functions holds, all or those named
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import mpmath as mp
import numpy as np

mp.mp.dps = 60


def remez(
    f: Callable[[mp.mpf], mp.mpf], weight: Callable[[mp.mpf], mp.mpf], low: float, high: float, terms: int
) -> tuple[list[mp.mpf], mp.mpf]:
    """Coefficients c of sum c[i] x**i that minimise the largest |weight * (f - polynomial)| on [low, high]."""
    a, b = mp.mpf(low), mp.mpf(high)
    n = terms + 1
    points = [(a + b) / 2 + (b - a) / 2 * mp.cos(mp.pi * (n - 1 - i) / (n - 1)) for i in range(n)]
    grid = [a + (b - a) * (1 - mp.cos(mp.pi * i / (20 * n))) / 2 for i in range(20 * n + 1)]
    known = [(x, f(x), weight(x)) for x in grid]
    for _ in range(30):
        rows, right = [], []
        for i, x in enumerate(points):
            w = weight(x)
            rows.append([x**j for j in range(terms)] + [(-1) ** i / w if w else mp.mpf(0)])
            right.append(f(x))
        solved = mp.lu_solve(mp.matrix(rows), mp.matrix(right))
        c, level = [solved[j] for j in range(terms)], abs(solved[terms])
        high_first = list(reversed(c))
        values = [w * (y - mp.polyval(high_first, x)) for x, y, w in known]
        new = _alternation(grid, values, n)
        worst = max(abs(v) for v in values)
        if new is None or worst - level < level * mp.mpf("1e-3"):
            break
        points = new
    return c, worst


def _alternation(grid: list[mp.mpf], values: list[mp.mpf], n: int) -> list[mp.mpf] | None:
    """The largest error of each run of one sign, n neighbouring ones with the largest errors."""
    runs: list[tuple[mp.mpf, mp.mpf]] = []
    for x, v in zip(grid, values, strict=True):
        if runs and (runs[-1][1] > 0) == (v > 0):
            if abs(v) > abs(runs[-1][1]):
                runs[-1] = (x, v)
        else:
            runs.append((x, v))
    while len(runs) > n:
        runs.pop(0 if abs(runs[0][1]) < abs(runs[-1][1]) else -1)
    return [x for x, _ in runs] if len(runs) == n else None


def show(name: str, made: tuple[list[mp.mpf], mp.mpf]) -> None:
    c, worst = made
    print(f"{name}  # error {mp.nstr(worst, 3)}")
    print("    " + ", ".join(mp.nstr(x, 20) for x in c))


def _series(f: Callable[[mp.mpf], mp.mpf], at_zero: mp.mpf) -> Callable[[mp.mpf], mp.mpf]:
    return lambda x: f(x) if abs(x) > mp.mpf("1e-25") else at_zero


def exponentials() -> None:
    half_ln2 = float(mp.log(2) / 2) * 1.0001
    # e**r = 1 + r + r**2 p(r)
    p = _series(lambda r: (mp.exp(r) - 1 - r) / r**2, mp.mpf(1) / 2)
    for bits, terms in ((32, 5), (64, 11)):
        show(f"EXP{bits}", remez(p, lambda r: r**2 / mp.exp(r) + mp.mpf("1e-30"), -half_ln2, half_ln2, terms))
    # the same between 16 powers of two in an octave
    near = half_ln2 / 16
    show("EXP in pieces", remez(p, lambda r: r**2 / mp.exp(r) + mp.mpf("1e-30"), -near, near, 2))


def logarithms() -> None:
    # log(1 + f) = f - f**2 / 2 + f**3 p(f), f = m - 1, sqrt(1/2) <= m < sqrt(2)
    low, high = float(mp.sqrt(0.5)) - 1, float(mp.sqrt(2)) - 1
    q = _series(lambda f: (mp.log(1 + f) - f + f**2 / 2) / f**3, mp.mpf(1) / 3)
    show("LOG32", remez(q, lambda f: abs(f**3 / mp.log(1 + f)) if f else mp.mpf(0), low, high, 9))
    # log(1 + f) = 2 s + s z p(z), s = f / (2 + f), z = s**2
    top = float(((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2) * 1.0001
    a = _series(lambda z: (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2) / z, mp.mpf(2) / 3)
    show("LOG64", remez(a, lambda z: z / 2 + mp.mpf("1e-30"), 0, top, 8))
    # log(1 + f) = 2 s (1 + z / 3 + z**2 p(z)), for pow
    b = _series(lambda z: ((mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 1) / z - mp.mpf(1) / 3) / z, mp.mpf(1) / 5)
    show("LOG_PAIR", remez(b, lambda z: z**2 + mp.mpf("1e-30"), 0, top, 9))


def _odd(name: str, f: Callable[[mp.mpf], mp.mpf], cubic: mp.mpf, top: float, sizes: dict[int, int]) -> None:
    """f(x) = x + x z p(z), z = x**2, for |x| <= top."""
    p = _series(lambda z: (f(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, cubic)
    for bits, terms in sizes.items():
        show(f"{name}{bits}", remez(p, lambda z: z + mp.mpf("1e-30"), 0, top**2, terms))


def trigonometric() -> None:
    top = float(mp.pi / 4) * 1.001
    _odd("SIN", mp.sin, mp.mpf(-1) / 6, top, {32: 3, 64: 6})
    # cos x = 1 - z / 2 + z**2 p(z)
    p = _series(lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, mp.mpf(1) / 24)
    for bits, terms in ((32, 3), (64, 6)):
        show(f"COS{bits}", remez(p, lambda z: z**2 + mp.mpf("1e-30"), 0, top**2, terms))


def inverse_trigonometric() -> None:
    _odd("ATAN", mp.atan, mp.mpf(-1) / 3, 0.4143, {64: 12})
    _odd("ASIN", mp.asin, mp.mpf(1) / 6, 0.5, {64: 13})


def hyperbolic() -> None:
    _odd("TANH", mp.tanh, mp.mpf(-1) / 3, 0.625, {32: 5, 64: 12})
    _odd("SINH", mp.sinh, mp.mpf(1) / 6, 1.0, {64: 7})


def error_functions() -> None:
    # erf x = x + x p(z), z = x**2, |x| < 1
    e = _series(lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1, 2 / mp.sqrt(mp.pi) - 1)
    for bits, terms in ((32, 8), (64, 15)):
        show(f"ERF{bits}", remez(e, lambda z: mp.mpf(1), 0, 1, terms))
    # erfc x = exp(-p(u)) with u = |x| - low; what counts is the absolute error of erfc
    for bits, parts in ((32, [(1, 4, 9)]), (64, [(1, 2.25, 15), (2.25, 6, 16)])):
        for low, high, terms in parts:
            show(
                f"ERFC{bits} [{low}, {high}]",
                remez(
                    lambda u, m=low: -mp.log(mp.erfc(u + m)),
                    lambda u, m=low: mp.erfc(u + m),
                    0,
                    high - low,
                    terms,
                ),
            )


def scaled_complement() -> None:
    # exp(x**2) erfc(x) = p(u) / (x + 2), u = (x - 2) / (x + 2) - 1/8, 0.5 <= x <= 28
    shift = mp.mpf(0.125)

    def scaled(u: mp.mpf) -> mp.mpf:
        t = u + shift
        x = 2 * (1 + t) / (1 - t)
        return mp.exp(x * x) * mp.erfc(x) * (x + 2)

    low, high = mp.mpf(-0.6), mp.mpf(26) / 30
    show("SCALED64", remez(scaled, lambda u: 1 / scaled(u), low - shift, high - shift, 24))


def inverse_error() -> None:
    # erfinv x = x p(w - middle), w = -log(1 - x**2); further out in the square root of w
    def ratio(w: mp.mpf) -> mp.mpf:
        if w < mp.mpf("1e-20"):
            return mp.sqrt(mp.pi) / 2
        x = mp.sqrt(-mp.expm1(-w))
        return mp.erfinv(x) / x

    with mp.workdps(40):
        show("ERFINV centre", remez(lambda u: ratio(u + 3), lambda u: 1 / ratio(u + 3), -3, 3.001, 25))
        for low, high, terms in ((2.44, 4.0, 22), (4.0, 6.08, 20)):
            middle = (low + high) / 2
            show(
                f"ERFINV sqrt [{low}, {high}] about {middle}",
                remez(
                    lambda u, m=middle: ratio((u + m) ** 2),
                    lambda u, m=middle: 1 / ratio((u + m) ** 2),
                    low - middle,
                    high - middle,
                    terms,
                ),
            )


def gamma() -> None:
    def quotient(x: mp.mpf) -> mp.mpf:
        if abs(x - 1) < mp.mpf("1e-25"):
            return mp.euler
        if abs(x - 2) < mp.mpf("1e-25"):
            return 1 - mp.euler
        return mp.loggamma(x) / ((x - 1) * (x - 2))

    with mp.workdps(40):
        for low, high, terms in ((0.5, 1, 23), (1, 2, 22), (2, 3, 17)):
            middle = (low + high) / 2
            f = lambda u, m=middle: quotient(u + m)  # noqa: E731
            show(
                f"LGAMMA [{low}, {high}]",
                remez(f, lambda u, f=f: 1 / f(u), low - middle, high - middle, terms),
            )
        zero = mp.findroot(mp.digamma, 1.46)
        print("DIGAMMA zero", mp.nstr(zero, 40))
        g = lambda u: mp.digamma(u + 1.5) / (u + 1.5 - zero)  # noqa: E731
        show("DIGAMMA", remez(g, lambda u: 1 / g(u), -0.5, 0.5, 23))


def _single(x: mp.mpf) -> mp.mpf:
    return mp.mpf(float(np.float32(float(x))))


def _centre(f: Callable[[mp.mpf], mp.mpf], low: float, high: float) -> mp.mpf:
    """A float32 number about the middle of a piece where f is very nearly one, too."""
    middle, step = (mp.mpf(low) + high) / 2, (mp.mpf(high) - low) / 3000
    tried = [_single(middle + k * step) for k in range(-300, 301)]
    return min(tried, key=lambda c: abs(f(c) - _single(f(c))) / f(c))


def in_pieces(
    name: str, f: Callable[[mp.mpf], mp.mpf], pieces: list[tuple[float, float]], terms: int
) -> None:
    """A polynomial c[0] + u (c[1] + ...), u = t - centre, for each piece (low, high) of t >= 0 of an odd f.

    The first piece, which begins at 0, has centre 0 and is u + u (c[1] + ...), the others have centres where f is
    nearly a float32 number. Coefficients are rounded to float32 one after the other, each followed by a fit of those
    behind it.
    """
    rows: list[list[mp.mpf]] = [[] for _ in range(terms + 1)]
    worst = mp.mpf(0)
    for begin, end in pieces:
        first = begin == 0
        centre = mp.mpf(0) if first else _centre(f, begin, end)
        low, high = begin - centre, end - centre
        nodes = [low + (high - low) * (1 - mp.cos(mp.pi * (i + mp.mpf("0.5")) / 96)) / 2 for i in range(96)]
        wanted = [f(centre + u) for u in nodes]
        known = [_single(f(centre))]

        def made(
            nodes: list[mp.mpf] = nodes, known: list[mp.mpf] = known, first: bool = first
        ) -> list[mp.mpf]:
            return [mp.polyval(list(reversed(known)), u) + (u if first else 0) for u in nodes]

        widest = max(abs(low), abs(high))
        for j in range(1, terms):
            left = np.array([float((w - m) / w) for w, m in zip(wanted, made(), strict=True)])
            powers = [
                [float((u / widest) ** i / w) for i in range(j, terms)]
                for u, w in zip(nodes, wanted, strict=True)
            ]
            fitted = np.linalg.lstsq(np.array(powers), left, rcond=None)[0]
            known.append(_single(mp.mpf(fitted[0]) / widest**j))
        worst = max(worst, *[abs(m / w - 1) for m, w in zip(made(), wanted, strict=True)])
        for row, value in zip(rows, [centre, *known], strict=True):
            row.append(value)
    print(f"{name}  # error {mp.nstr(worst, 3)}")
    for row in rows:
        print("    (" + ", ".join(f"{float(x):.9g}" for x in row) + "),")


def by_octaves(low: int) -> list[tuple[float, float]]:
    """Four pieces of each of eight octaves from 2**low on, in the order of (bits >> 21) % 32; the first begins at 0."""
    pieces: list[tuple[float, float]] = [(0, 0)] * 32
    for k in range(32):
        octave, quarter = divmod(k, 4)
        edges = [math.ldexp(1 + (quarter + e) / 4, low + octave) for e in (0, 1)]
        bits = int(np.float32(edges[0]).view(np.uint32))
        pieces[(bits >> 21) % 32] = (edges[0] if k else 0.0, edges[1])
    return pieces


def alike(top: float, scale: float) -> list[tuple[float, float]]:
    """The pieces in which round(t * scale) is 0, 1, ..., 31, as far as `top`."""
    return [(max(0.0, (k - 0.5001) / scale), min(top, (k + 0.5001) / scale)) for k in range(32)]


def tabulated() -> None:
    in_pieces("TANH", mp.tanh, by_octaves(-4), 6)
    in_pieces("ERF", mp.erf, alike(3.9375, 8.0), 6)


FAMILIES = (
    exponentials, logarithms, trigonometric, inverse_trigonometric, hyperbolic, error_functions, scaled_complement,
    inverse_error, gamma, tabulated,
)  # fmt: skip


def main() -> None:
    wanted = sys.argv[1:] or [f.__name__ for f in FAMILIES]
    for family in FAMILIES:
        if family.__name__ in wanted:
            family()


if __name__ == "__main__":
    main()
