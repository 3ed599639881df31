"""Reductions along what lies apart in memory: vectors run along what lies next to each other all the same.

The elements of a channel of a sequence lie apart where channels are stored innermost, as they are behind a convolution.
Vectors along the channel would be gathered, and scattered, element by element. So they run along the channels, and each
lane keeps as many parts of its sum as a vector along the channel has lanes: the order in which elements are combined
follows from the shape alone, and stays what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .index import Index, Var
from .loops import Apply, Expr, Kernel, Literal, Load, Scalar, Stage, Store, Total, found_in

#: Neighbours that are worth a vector.
_FEW = 8

#: What a kernel that is turned may compute with.
_PLAIN = (Apply, Literal, Load, Scalar, Total)


def turned(kernel: Kernel) -> Kernel:
    """A kernel with its vectors along its last outer variable, if that is how what it goes through lies."""
    if kernel.across or not kernel.outer or kernel.outer[-1].size < _FEW:
        return kernel
    if not any(s.reductions and s.variables for s in kernel.stages):
        return kernel
    indices = list(_all_indices(kernel))
    if None in indices or not any(_lies_apart(i, s, kernel.outer[-1]) for s, i in filter(None, indices)):
        return kernel
    suits = all(i.stride(kernel.outer[-1]) in (0, 1) for _, i in filter(None, indices))
    return replace(kernel, across=True, turned=True) if suits else kernel


def _all_indices(kernel: Kernel) -> Iterator[tuple[Stage, Index] | None]:
    """Where the stages read and write; None for what is not as simple as that."""
    for stage in kernel.stages:
        if stage.serial or stage.carries:
            yield None
        for s in stage.stores:
            yield (stage, s.index) if isinstance(s, Store) and not s.within else None
        parts: list[Expr] = found_in([x.value for x in (*stage.reductions, *stage.stores)])
        for e in parts:
            if not isinstance(e, _PLAIN):
                yield None
            elif isinstance(e, Load):
                yield stage, e.index


def _lies_apart(index: Index, stage: Stage, outer: Var) -> bool:
    """Whether elements are neighbours along the outer variable, and apart along the last one of their stage."""
    along = stage.variables and index.stride(stage.variables[-1])
    return along not in ((), 0, 1, None) and index.stride(outer) == 1
