"""Minimax polynomials for the elementary functions, by Remez exchange in high precision (needs mpmath).

python tools/minimax.py            prints the coefficient tables that kernel/functions.py holds
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp

mp.mp.dps = 60


def remez(
    f: Callable[[mp.mpf], mp.mpf], weight: Callable[[mp.mpf], mp.mpf], low: float, high: float, terms: int
) -> tuple[list[mp.mpf], mp.mpf]:
    """Coefficients c of sum c[i] x**i that minimise the largest |weight * (f - polynomial)| on [low, high]."""
    a, b = mp.mpf(low), mp.mpf(high)
    n = terms + 1
    points = [(a + b) / 2 + (b - a) / 2 * mp.cos(mp.pi * (n - 1 - i) / (n - 1)) for i in range(n)]
    for _ in range(30):
        rows, right = [], []
        for i, x in enumerate(points):
            w = weight(x)
            rows.append([x**j for j in range(terms)] + [(-1) ** i / w if w else mp.mpf(0)])
            right.append(f(x))
        solved = mp.lu_solve(mp.matrix(rows), mp.matrix(right))
        c, level = [solved[j] for j in range(terms)], abs(solved[terms])

        def error(x: mp.mpf, c: list[mp.mpf] = c) -> mp.mpf:
            return weight(x) * (f(x) - mp.polyval(list(reversed(c)), x))

        grid = [a + (b - a) * i / (60 * n) for i in range(60 * n + 1)]
        values = [error(x) for x in grid]
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


def main() -> None:
    half_ln2 = float(mp.log(2) / 2) * 1.0001
    # e**r = 1 + r + r**2 p(r)
    p = _series(lambda r: (mp.exp(r) - 1 - r) / r**2, mp.mpf(1) / 2)
    for bits, terms in ((32, 5), (64, 11)):
        show(f"EXP{bits}", remez(p, lambda r: r**2 / mp.exp(r) + mp.mpf("1e-30"), -half_ln2, half_ln2, terms))
    # log(1 + f) = f - f**2 / 2 + f**3 p(f), f = m - 1, sqrt(1/2) <= m < sqrt(2)
    low, high = float(mp.sqrt(0.5)) - 1, float(mp.sqrt(2)) - 1
    q = _series(lambda f: (mp.log(1 + f) - f + f**2 / 2) / f**3, mp.mpf(1) / 3)
    show("LOG32", remez(q, lambda f: abs(f**3 / mp.log(1 + f)) if f else mp.mpf(0), low, high, 9))
    # log(1 + f) = 2 s + s z p(z), s = f / (2 + f), z = s**2
    top = float(((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2) * 1.0001
    a = _series(lambda z: (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2) / z, mp.mpf(2) / 3)
    show("LOG64", remez(a, lambda z: z / 2 + mp.mpf("1e-30"), 0, top, 8))
    # tanh x = x + x z p(z), z = x**2, |x| < 0.625
    t = _series(lambda z: (mp.tanh(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, mp.mpf(-1) / 3)
    for bits, terms in ((32, 5), (64, 12)):
        show(f"TANH{bits}", remez(t, lambda z: z + mp.mpf("1e-30"), 0, 0.625**2, terms))
    # erf x = x p(z), z = x**2, |x| < 1;  erfc x = exp(-x**2) q(1 / x) for larger x
    e = _series(lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z), 2 / mp.sqrt(mp.pi))
    for bits, terms in ((32, 8), (64, 15)):
        show(f"ERF{bits}", remez(e, lambda z: mp.mpf(1), 0, 1, terms))
    # erfc x = exp(-p(u)) with u = |x| - middle; what counts is the absolute error of erfc
    for bits, parts in ((32, [(1, 4, 10)]), (64, [(1, 2.25, 16), (2.25, 6, 20)])):
        for low, high, terms in parts:
            middle = (low + high) / 2
            show(
                f"ERFC{bits} [{low}, {high}]",
                remez(
                    lambda u, m=middle: -mp.log(mp.erfc(u + m)),
                    lambda u, m=middle: mp.erfc(u + m),
                    low - middle,
                    high - middle,
                    terms,
                ),
            )


if __name__ == "__main__":
    main()
