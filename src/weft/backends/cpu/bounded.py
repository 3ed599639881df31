"""Conditions that hold nearly everywhere: where a long axis was padded to whole blocks, or within an image."""

from __future__ import annotations

from collections.abc import Sequence

from ...kernel.index import Var
from ...kernel.loops import Inside, Literal, Stage, found_in
from . import instructions as ir
from .build import I1, I64
from .expressions import Expressions
from .places import Lanes

#: Conditional values that are worth code of their own where all their conditions hold.
_SEVERAL = 4

#: Iterations of a reduction that are worth code of their own where nothing has to be checked.
_LONG = 512


def bounded(stage: Stage, last: Var) -> Sequence[Inside]:
    """What of a long reduction stays inside its bounds in most turns of the loops around it, along `last` at least."""
    if not stage.reductions:
        return _same_for_all(stage, last)
    if last.size < _LONG:
        return ()
    found = [e for e in found_in([r.value for r in stage.reductions]) if isinstance(e, Inside)]
    return [e for e in found if all(at.stride(last) is not None for at, _, _ in e.conditions)]


def _same_for_all(stage: Stage, last: Var) -> Sequence[Inside]:
    """What a stage without sums reads in several places, on conditions that the innermost loop does not change.

    Only what is a number elsewhere, as around an image: of several parts side by side one is read at a time.
    """
    found = [e for e in found_in([s.value for s in stage.stores]) if isinstance(e, Inside)]
    found = [e for e in found if isinstance(e.other, Literal)]
    known = [e for e in found if all(last not in at.variables() for at, _, _ in e.conditions)]
    return known if len(known) >= _SEVERAL else ()


def all_inside(code: Expressions, checked: Sequence[Inside], last: Var, lanes: Lanes) -> ir.Value:
    """Whether conditions hold in the first and the last turn of a loop, and so in all of them."""
    holds: ir.Value = I1(1)
    for at, low, high in dict.fromkeys(c for e in checked for c in e.conditions):
        for end in (0, last.size - 1) if last in at.variables() else (0,):
            i = code.index(at, lanes.at(last, I64(end)))
            holds = code.b.and_(holds, code.b.icmp_signed(">=", i, I64(low)))
            holds = code.b.and_(holds, code.b.icmp_signed("<", i, I64(high)))
    return holds
