"""Elementwise kernels of several parts, such as an image between its own reflections, as one stage for each part.

Where an element lies says which part it is of. Asked of every vector, this takes a choice among all parts, of which
nearly always the same is taken. So loops are cut where the answers change: a stage has loops over a piece of the whole
in which each condition holds everywhere or nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise, product

from .index import Index, Var, as_index
from .loops import Inside, Load, Stage, Store, found_in

#: Parts, at least, that are worth stages of their own. What is in the middle of nothing but zeros is none.
_PARTS = 1

#: Stages of a kernel, at most, and expressions in all of them.
_STAGES, _EXPRESSIONS = 16, 256

#: What goes into a unit of work, several rows, at most: pieces come one after the other, and had better find a line of
#: the cache there that they share. And units that have to be left.
_NEAR, _UNITS = 1 << 12, 32


def in_pieces(
    loops: tuple[Var, ...],
    stores: Sequence[Store],
    made: Callable[[dict[Var, Index]], Sequence[Store]],
) -> tuple[tuple[Var, ...], tuple[Stage, ...]] | None:
    """(loops over units, stages of a unit) in place of loops around some stores; None where these had better be kept.

    `made` says what is stored for other expressions in place of variables.
    """
    parts = found_in([s.value for s in stores])
    if sum([isinstance(e, Load) for e in parts]) < _PARTS:
        return None
    conditions = [c for e in parts if isinstance(e, Inside) for c in e.conditions]
    cut: list[list[int]] = []  # of each of the last loops, where its pieces end, the innermost loop first
    for v in reversed(loops):
        ends = _ends(v, [c for c in conditions if v in c[0].variables()])
        if ends is None or len(ends) == 2 or (cut and not _together(loops, len(cut) + 1)):
            break
        cut.insert(0, ends)
    count = math.prod([len(ends) - 1 for ends in cut])
    if not 1 < count <= _STAGES:
        return None
    outer, inner = loops[: -len(cut)], loops[-len(cut) :]
    stages = tuple([_piece(inner, place, made) for place in product(*[list(pairwise(e)) for e in cut])])
    size = sum([len(found_in([s.value for s in stage.stores])) for stage in stages])
    return (outer, stages) if size <= _EXPRESSIONS else None


def _together(loops: Sequence[Var], count: int) -> bool:
    """Whether so many of the last loops may be inside of one unit of work."""
    outer, inner = [math.prod([v.size for v in some]) for some in (loops[:-count], loops[-count:])]
    return inner <= _NEAR and outer >= _UNITS


def _ends(var: Var, conditions: Sequence[tuple[Index, int, int]]) -> list[int] | None:
    """Where along a loop conditions begin or cease to hold, its ends included; None if that is not known."""
    found = {0, var.size}
    for at, low, high in conditions:
        if list(at.factors.items()) not in ([(var, 1)], [(var, -1)]):
            return None
        (step,) = at.factors.values()
        found |= {step * (n - at.offset) + (step < 0) for n in (low, high)}
    return sorted([n for n in found if 0 <= n <= var.size])


def _piece(
    loops: Sequence[Var],
    place: Sequence[tuple[int, int]],
    made: Callable[[dict[Var, Index]], Sequence[Store]],
) -> Stage:
    """The stage of one piece, which begins and ends at a place in each loop."""
    variables = tuple([Var(f"{v.name}at{a}", b - a) for v, (a, b) in zip(loops, place, strict=True)])
    at = {v: as_index(w) + a for v, w, (a, _) in zip(loops, variables, place, strict=True)}
    return Stage(variables, stores=tuple(made(at)))
