"""How an index differs from lane to lane of a vector, where that is the same for every vector.

The lanes of i // 2 for the numbers i = n, n + 1, ... of a vector are 0, 0, 1, 1, ... more than the first, if n is even.
That is known where vectors begin at multiples of some number, and lets elements be read as neighbours that are put in
another order, in place of one by one.
"""

from __future__ import annotations

import math

from .index import Index, Listed, Quotient, Remainder, Term, Var

Pattern = tuple[int, ...]

#: What is known of a number: it is the first, modulo the second; with 0 for the second it is the first.
Class = tuple[int, int]


def pattern(at: Index, vector: Var, every: int, count: int, like: int | None = None) -> Pattern | None:
    """By how much an index is larger in each of `count` lanes along `vector` than in the first one.

    None if that is not the same for every vector that begins at a multiple of `every`. Numbers of tables are those of
    the vector that begins at `like`.
    """
    total = [0] * count
    for term, factor in at.factors.items():
        found = _of_term(term, vector, every, count, like)
        if found is None:
            return None
        total = [t + factor * k for t, k in zip(total, found, strict=True)]
    return tuple(total)


def _of_term(term: Term, vector: Var, every: int, count: int, like: int | None) -> Pattern | None:
    if isinstance(term, Var):
        return tuple(range(count)) if term == vector else (0,) * count
    if isinstance(term, Listed):
        return _of_table(term, vector, count, like)
    inner = pattern(term.of, vector, every, count, like)
    if inner is None or not any(inner):
        return inner
    rest, modulus = first(term.of, vector, every)
    whole = isinstance(term, Quotient)
    if modulus % term.by == 0:
        rest %= term.by
        return tuple([(rest + k) // term.by if whole else (rest + k) % term.by - rest for k in inner])
    if term.by % modulus == 0 and min(inner) + rest >= 0 and max(inner) + rest < modulus:
        return (0,) * count if whole else inner  # no vector goes over a multiple of the divisor
    return None


def _of_table(term: Listed, vector: Var, count: int, like: int | None) -> Pattern | None:
    known = term.of.variables()
    if vector not in known:
        return (0,) * count
    if like is None or known != {vector}:
        return None
    numbers = [term.at(term.of.evaluate({vector: like + k})) for k in range(count)]
    return tuple([n - numbers[0] for n in numbers])


def first(at: Index, vector: Var, every: int) -> Class:
    """What is known of an index in the first lane, where `vector` is a multiple of `every`."""
    rest, modulus = at.offset, 0
    for term, factor in at.factors.items():
        r, m = _first_of_term(term, vector, every)
        rest, modulus = rest + factor * r, math.gcd(modulus, factor * m)
    return (rest % modulus if modulus else rest), modulus


def _first_of_term(term: Term, vector: Var, every: int) -> Class:
    if isinstance(term, Var):
        return 0, every if term == vector else 1
    if isinstance(term, Listed):
        return 0, 1
    rest, modulus = first(term.of, vector, every)
    if isinstance(term, Remainder):
        return (rest % term.by, 0) if modulus % term.by == 0 else (rest, math.gcd(modulus, term.by))
    return (rest // term.by, modulus // term.by) if modulus % term.by == 0 else (0, 1)
