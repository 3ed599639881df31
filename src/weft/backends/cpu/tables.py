"""Loops along which indices come from tables: in which runs of vectors the lanes read a table in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from ...kernel.index import Index, Listed, Var
from ...kernel.loops import Load, Position, Stage, found_in
from ...kernel.patterns import pattern

#: (where the first of some vectors begins, how many they are)
Run = tuple[int, int]

#: Runs at most: each has code of its own.
_RUNS = 64


def runs_of_tables(stage: Stage, along: Var, lanes: int) -> Sequence[Run]:
    """The runs of vectors that differ in nothing but where they begin; nothing if there are too many, or no tables.

    Where the elements of a row are read from is known when a kernel is made. So vectors are made of neighbours, put in
    another order, and not of elements that are read one by one.
    """
    found = found_in([x.value for x in (*stage.reductions, *stage.stores)])
    indices = [e.index for e in found if isinstance(e, (Load, Position))]
    read = dict.fromkeys([t for i in indices for t in _tables(i) if along in t.of.variables()])
    if lanes == 1 or not read or any(t.of.variables() != {along} for t in read):
        return ()

    def kind(start: int) -> object:
        return start + lanes > along.size, [
            pattern(Index({t: 1}, 0), along, lanes, lanes, start) for t in read
        ]

    groups = [[*starts] for _, starts in groupby(range(0, along.size, lanes), kind)]
    return [(g[0], len(g)) for g in groups] if len(groups) <= _RUNS else ()


def _tables(at: Index) -> list[Listed]:
    """The tables that an index is read from."""
    found = [t for t in at.factors if isinstance(t, Listed)]
    return found + [x for t in at.factors if not isinstance(t, Var) for x in _tables(t.of)]
