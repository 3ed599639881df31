"""Loops that go through memory as one loop would.

The pixels of an image are two axes, and a row of them may be shorter than a vector. Where all that a stage reads and
writes goes on evenly from one row to the next, the loops are one; and so are the loops around all stages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from .index import Index, Var, as_index, unflatten_index
from .loops import Apply, Expr, Kernel, Literal, Load, Scalar, Stage, Store, Total, found_in, substituted


def joined(kernel: Kernel) -> Kernel:
    """A kernel whose vectors run along what its sums leave, with as many of its last loops, and of the inner loops of
    each stage, in one as can be.

    The turns of the loops follow each other as before, so no sum changes. Vectors along what is reduced are another
    matter: where rows end decides which lane an element is in.
    """
    if not kernel.across or kernel.turned:
        return kernel
    kernel = replace(kernel, stages=tuple([_joined(s) for s in kernel.stages]))
    if not all(_is_plain(s) for s in kernel.stages):
        return kernel
    found = _one_of(kernel.outer, [i for s in kernel.stages for i in _indices(s)])
    if found is None:
        return kernel
    outer, at = found
    return replace(kernel, outer=outer, stages=tuple([_with(s, s.variables, at) for s in kernel.stages]))


def _joined(stage: Stage) -> Stage:
    """A stage with the last of its loops in one: all of them, if possible."""
    if not _is_plain(stage):
        return stage
    found = _one_of(stage.variables, _indices(stage))
    return stage if found is None else _with(stage, *found)


def _is_plain(stage: Stage) -> bool:
    """Whether a stage reads and writes memory at places that do not depend on conditions, or on what is in it."""
    if stage.serial or stage.carries or not all(isinstance(s, Store) and not s.within for s in stage.stores):
        return False
    parts = found_in([x.value for x in (*stage.reductions, *stage.stores)])
    return all(isinstance(e, (Apply, Literal, Load, Scalar, Total)) for e in parts)


def _loads(stage: Stage) -> list[Load]:
    return [e for e in found_in([x.value for x in (*stage.reductions, *stage.stores)]) if isinstance(e, Load)]


def _indices(stage: Stage) -> list[Index]:
    return [x.index for x in (*_loads(stage), *stage.stores)]  # type: ignore[union-attr]


def _one_of(
    loops: Sequence[Var], indices: Sequence[Index]
) -> tuple[tuple[Var, ...], dict[Var, Index]] | None:
    """Loops with as many of the last in one as can be, and what the variables of those are in terms of it."""
    if any(v.size < 2 for v in loops):
        return None
    for first in range(len(loops) - 1):
        together = loops[first:]
        sizes = [v.size for v in together]
        one = Var(f"{together[0].name}v", math.prod(sizes))
        at = dict(zip(together, unflatten_index(as_index(one), sizes), strict=True))
        if all(i.substitute(at).stride(one) is not None for i in indices):
            return (*loops[:first], one), at
    return None


def _with(stage: Stage, variables: tuple[Var, ...], at: dict[Var, Index]) -> Stage:
    """A stage with other loops, and what the variables of those before are in terms of them."""
    loads = _loads(stage)

    def value(e: Expr) -> Expr:
        for x in loads:
            e = substituted(e, x, replace(x, index=x.index.substitute(at)))
        return e

    return replace(
        stage,
        variables=variables,
        reductions=tuple([replace(r, value=value(r.value)) for r in stage.reductions]),
        stores=tuple([replace(s, index=s.index.substitute(at), value=value(s.value)) for s in stage.stores]),  # type: ignore[union-attr]
    )
