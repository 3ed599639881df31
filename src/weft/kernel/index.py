"""Integer expressions over loop variables: where in memory an element is.

An expression is a sum of integer multiples of terms; a term is a loop variable, or a floor division or remainder
of an expression by a positive constant. Every term has a known range, which is what lets a reshape there and back,
or a permuted reshape, cancel down to plain strides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Var:
    """A loop variable that runs over range(size)."""

    name: str
    size: int

    @property
    def bounds(self) -> tuple[int, int]:
        return 0, max(self.size - 1, 0)


@dataclass(frozen=True)
class Quotient:
    """Floor division of an expression by a positive constant."""

    of: Index
    by: int

    @property
    def bounds(self) -> tuple[int, int]:
        low, high = self.of.bounds
        return low // self.by, high // self.by


@dataclass(frozen=True)
class Remainder:
    """The non-negative remainder of an expression by a positive constant."""

    of: Index
    by: int

    @property
    def bounds(self) -> tuple[int, int]:
        return 0, self.by - 1


@dataclass(frozen=True, eq=False)
class Table:
    """Numbers that are known when a kernel is made. They may be many: they are hashed once."""

    numbers: tuple[int | float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(self.numbers))

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined]

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Table) and hash(self) == hash(other) and self.numbers == other.numbers
        )


@dataclass(frozen=True)
class Listed:
    """The integer that an expression is the number of in a table; of one beyond its ends, the first or the last."""

    table: Table
    of: Index

    @property
    def bounds(self) -> tuple[int, int]:
        return min(self.table.numbers), max(self.table.numbers)  # type: ignore[return-value]

    def at(self, place: int) -> int:
        """The number at one place."""
        return self.table.numbers[min(max(place, 0), len(self.table.numbers) - 1)]  # type: ignore[return-value]


Term = Var | Quotient | Remainder | Listed


class Index:
    """offset + sum of factor * term. Immutable; equal when written the same."""

    __slots__ = ("_bounds", "_hash", "factors", "offset")

    def __init__(self, factors: Mapping[Term, int], offset: int) -> None:
        self.factors: dict[Term, int] = {t: f for t, f in factors.items() if f}
        self.offset = offset
        self._hash: int | None = None  # these two are worked out when somebody asks
        self._bounds: tuple[int, int] | None = None

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((frozenset(self.factors.items()), self.offset))
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index) and self.offset == other.offset and self.factors == other.factors

    def __add__(self, other: Index | int) -> Index:
        other = as_index(other)
        factors = dict(self.factors)
        for t, f in other.factors.items():
            factors[t] = factors.get(t, 0) + f
        return _rejoin(Index(factors, self.offset + other.offset))

    def __sub__(self, other: Index | int) -> Index:
        return self + as_index(other) * -1

    def __mul__(self, by: int) -> Index:
        return Index({t: f * by for t, f in self.factors.items()}, self.offset * by)

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest value it can have, never too narrow."""
        if self._bounds is None:
            low = high = self.offset
            for t, f in self.factors.items():
                a, b = t.bounds
                low, high = (low + a * f, high + b * f) if f > 0 else (low + b * f, high + a * f)
            self._bounds = low, high
        return self._bounds

    @property
    def constant(self) -> int | None:
        """Its value, if it does not depend on any variable."""
        return self.offset if not self.factors else None

    def variables(self) -> set[Var]:
        """The loop variables that occur in it."""
        found: set[Var] = set()
        for t in self.factors:
            found |= {t} if isinstance(t, Var) else t.of.variables()
        return found

    def stride(self, var: Var) -> int | None:
        """By how much it grows when `var` grows by one, if that is the same everywhere; else None."""
        for t in self.factors:
            if not isinstance(t, Var) and var in t.of.variables():
                return None
        return self.factors.get(var, 0)

    def evaluate(self, values: Mapping[Var, Any]) -> Any:
        """Its value (an integer or array) for values of the variables."""
        total: Any = self.offset
        for t, f in self.factors.items():
            total = total + f * _evaluate(t, values)
        return total

    def substitute(self, replace: Mapping[Var, Index]) -> Index:
        """With other expressions in place of some variables."""
        total = Index({}, self.offset)
        for t, f in self.factors.items():
            if isinstance(t, Var):
                part = replace.get(t, Index({t: 1}, 0))
            elif isinstance(t, Listed):
                part = listed(t.table, t.of.substitute(replace))
            elif isinstance(t, Quotient):
                part = quotient(t.of.substitute(replace), t.by)
            else:
                part = remainder(t.of.substitute(replace), t.by)
            total = total + part * f
        return total

    def __repr__(self) -> str:
        parts = [f"{f}*{_show(t)}" if f != 1 else _show(t) for t, f in self.factors.items()]
        if self.offset or not parts:
            parts.append(str(self.offset))
        return " + ".join(parts)


def show_table(table: Table, at: Index) -> str:
    """A table, of many numbers the first few, and where it is read."""
    first = [str(n) for n in table.numbers[:_SHOWN]]
    return f"[{', '.join([*first, *(['...'] if len(table.numbers) > _SHOWN else [])])}][{at}]"


#: Numbers of a table that are written out.
_SHOWN = 6


def _show(term: Term) -> str:
    if isinstance(term, Var):
        return term.name
    if isinstance(term, Listed):
        return show_table(term.table, term.of)
    return f"({term.of}){'//' if isinstance(term, Quotient) else '%'}{term.by}"


def _evaluate(term: Term, values: Mapping[Var, Any]) -> Any:
    if isinstance(term, Var):
        return values[term]
    inner = term.of.evaluate(values)
    if isinstance(term, Listed):
        return np.take(term.table.numbers, inner, mode="clip")
    return inner // term.by if isinstance(term, Quotient) else inner % term.by


def as_index(x: Index | Var | int) -> Index:
    """A variable or a number as an expression. A variable that can only be 0 is 0."""
    if isinstance(x, Index):
        return x
    if isinstance(x, Var):
        return Index({x: 1}, 0) if x.size > 1 else Index({}, 0)
    return Index({}, x)


def _rejoin(x: Index) -> Index:
    """x with f*by*(a // by) + f*(a % by) put together to f*a again."""
    for t, f in x.factors.items():
        if not isinstance(t, Remainder) or f * t.by not in x.factors.values():
            continue
        whole = quotient(t.of, t.by)
        if len(whole.factors) != 1 or whole.offset:
            continue
        ((other, one),) = whole.factors.items()
        if one == 1 and x.factors.get(other) == f * t.by:
            rest = Index({k: v for k, v in x.factors.items() if k is not t and k != other}, x.offset)
            return rest + t.of * f
    return x


def _split(x: Index, by: int) -> tuple[Index, Index]:
    """x = by * whole + rest, with the multiples of `by` among the factors and the offset in `whole`."""
    whole = {t: f // by for t, f in x.factors.items() if f % by == 0}
    rest = {t: f for t, f in x.factors.items() if f % by}
    return Index(whole, x.offset // by), Index(rest, x.offset % by)


def _undivided(x: Index, by: int) -> tuple[Index, Index]:
    """The split of x by `by`, with as much of the offset in the rest as keeps the rest inside one multiple."""
    if x.bounds[0] >= 0 and x.bounds[1] < by and all(f % by for f in x.factors.values()):
        return Index({}, 0), x
    whole, rest = _split(x, by)
    low, high = rest.bounds
    shift = low // by
    if shift and high // by == shift:
        whole, rest = whole + shift, rest - shift * by
    return whole, rest


def _coarser(x: Index, by: int) -> tuple[Index, Index, int] | None:
    """(a, r, g) with x = g*a + r, 0 <= r < g and g > 1 a divisor of `by`, if there is such a split.

    Then x // by = a // (by / g) and x % by = (a % (by / g)) * g + r.
    """
    for g in sorted({math.gcd(f, by) for f in x.factors.values()} - {1}, reverse=True):
        whole, rest = _split(x, g)
        low, high = rest.bounds
        if low >= 0 and high < g:
            return whole, rest, g
    return None


def quotient(x: Index, by: int) -> Index:
    """x // by, simplified with what is known of the ranges."""
    if by == 1:
        return x
    whole, rest = _undivided(x, by)
    low, high = rest.bounds
    if low >= 0 and high < by:
        return whole
    coarse = _coarser(rest, by)
    if coarse is not None:
        return whole + quotient(coarse[0], by // coarse[2])
    if len(rest.factors) == 1 and rest.offset == 0:
        ((term, factor),) = rest.factors.items()
        if isinstance(term, Quotient) and factor == 1:  # (a // m) // n == a // (m n)
            return whole + quotient(term.of, term.by * by)
        if (
            isinstance(term, Remainder) and factor == 1 and term.by % by == 0
        ):  # (a % (m n)) // n == (a // n) % m
            return whole + remainder(quotient(term.of, by), term.by // by)
    return whole + Index({Quotient(rest, by): 1}, 0)


def remainder(x: Index, by: int) -> Index:
    """x % by, simplified with what is known of the ranges."""
    if by == 1:
        return Index({}, 0)
    _, rest = _undivided(x, by)
    low, high = rest.bounds
    if low >= 0 and high < by:
        return rest
    coarse = _coarser(rest, by)
    if coarse is not None:
        return remainder(coarse[0], by // coarse[2]) * coarse[2] + coarse[1]
    if len(rest.factors) == 1 and rest.offset == 0:
        ((term, factor),) = rest.factors.items()
        if isinstance(term, Remainder) and factor == 1 and term.by % by == 0:
            return remainder(term.of, by)
    return Index({Remainder(rest, by): 1}, 0)


def listed(table: Table, x: Index) -> Index:
    """The number of a table at an index, which is a plain one where the numbers are evenly apart."""
    numbers: Any = table.numbers
    step = numbers[1] - numbers[0] if len(numbers) > 1 else 0
    inside = x.bounds[0] >= 0 and x.bounds[1] < len(numbers)
    if inside and all(n == numbers[0] + k * step for k, n in enumerate(numbers)):
        return x * step + numbers[0]
    return Index({Listed(table, x): 1}, 0)


# -- indices of whole tensors ---------------------------------------------------------------------------------

Indices = tuple[Index, ...]


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    out: list[int] = []
    step = 1
    for n in reversed(shape):
        out.append(step)
        step *= max(n, 1)
    return tuple(reversed(out))


def flatten_index(indices: Sequence[Index], shape: Sequence[int]) -> Index:
    """The position in row-major order."""
    factors: dict[Term, int] = {}
    offset = 0
    for i, s in zip(indices, strides(shape), strict=True):
        offset += i.offset * s
        for t, f in i.factors.items():
            factors[t] = factors.get(t, 0) + f * s
    total = Index(factors, offset)
    while (joined := _rejoin(total)) is not total:
        total = joined
    return total


def unflatten_index(position: Index, shape: Sequence[int]) -> Indices:
    """The indices at a position in row-major order."""
    out: list[Index] = []
    for k, (n, s) in enumerate(zip(shape, strides(shape), strict=True)):
        here = quotient(position, s)
        out.append(here if k == 0 else remainder(here, n) if n else here)
    return tuple(out)


def reshape_index(indices: Indices, source: Sequence[int], shape: Sequence[int]) -> Indices:
    """Where an element of a reshaped tensor comes from: axes are put together and taken apart in groups."""
    out: list[Index] = []
    for (a, b), (c, d) in _groups(source, shape):
        out.extend(unflatten_index(flatten_index(indices[c:d], shape[c:d]), source[a:b]))
    return tuple(out)


def _groups(source: Sequence[int], shape: Sequence[int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The smallest runs of axes of two shapes that hold equally many elements."""
    if 0 in source or 0 in shape:
        return [((0, len(source)), (0, len(shape)))]
    groups = []
    a = c = 0
    while a < len(source) or c < len(shape):
        b, d = min(a + 1, len(source)), min(c + 1, len(shape))
        while math.prod(source[a:b]) != math.prod(shape[c:d]):
            if math.prod(source[a:b]) < math.prod(shape[c:d]):
                b += 1
            else:
                d += 1
        groups.append(((a, b), (c, d)))
        a, c = b, d
    return groups
