"""Loops of a stage that go through memory as one loop would.

The pixels of an image are two axes, and a row of them may be shorter than a vector. Where all that a stage reads and
writes goes on evenly from one row to the next, the loops are one.
"""

from __future__ import annotations

import math
from dataclasses import replace

from .index import Index, Var, as_index, unflatten_index
from .loops import Apply, Expr, Kernel, Literal, Load, Scalar, Stage, Store, Total, found_in, substituted


def joined(kernel: Kernel) -> Kernel:
    """A kernel whose vectors run along what its sums leave, with as many inner loops in one as can be.

    The turns of the loops follow each other as before, so no sum changes. Vectors along what is reduced are another
    matter: where rows end decides which lane an element is in.
    """
    if not kernel.across:
        return kernel
    return replace(kernel, stages=tuple([_joined(s) for s in kernel.stages]))


def _joined(stage: Stage) -> Stage:
    """A stage with the last of its loops in one: all of them, if possible."""
    if stage.serial or stage.carries or any(v.size < 2 for v in stage.variables):
        return stage
    values = [x.value for x in (*stage.reductions, *stage.stores)]
    parts = found_in(values)
    if not all(isinstance(s, Store) and not s.within for s in stage.stores):
        return stage
    if not all(isinstance(e, (Apply, Literal, Load, Scalar, Total)) for e in parts):
        return stage
    loads = [e for e in parts if isinstance(e, Load)]
    indices = [x.index for x in (*loads, *stage.stores)]  # type: ignore[union-attr]
    for first in range(len(stage.variables) - 1):
        before, together = stage.variables[:first], stage.variables[first:]
        sizes = [v.size for v in together]
        one = Var(f"{together[0].name}v", math.prod(sizes))
        at = dict(zip(together, unflatten_index(as_index(one), sizes), strict=True))
        if all(i.substitute(at).stride(one) is not None for i in indices):
            return _with(stage, (*before, one), loads, at)
    return stage


def _with(stage: Stage, variables: tuple[Var, ...], loads: list[Load], at: dict[Var, Index]) -> Stage:
    """A stage with other loops, and what the variables of those before are in terms of them."""

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
