"""Step counts that the parameters of a group share for as long as they are updated together.

What follows from the count alone (the bias corrections of Adam) is then computed once for all of them. A parameter that
has no gradient in some step stays behind, and has a count of its own from then on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays.cell import Cell, value_of
from ..arrays.outer import outer_tensor
from ..arrays.tensor import Tensor
from ..base.state import state, version
from ..ir.node import TRACED
from ..runtime.buffer import to_array
from .group import ParamGroup


def part(group: ParamGroup, stepping: Sequence[int]) -> None:
    """Give parameters that take this step, while others on the same count do not, a count of their own."""
    if len(stepping) in (0, len(group.params)):
        return
    together: dict[Cell, list[int]] = {}
    for i, slots in enumerate(group.slots):
        together.setdefault(slots["step"]._cell, []).append(i)
    moving = set(stepping)
    for cell, members in together.items():
        going = [i for i in members if i in moving]
        if going and len(going) < len(members):
            fresh = _copy(cell)
            for i in going:
                group.slots[i]["step"] = fresh
            version.bump()


def separate(group: ParamGroup, slots: dict[str, Tensor]) -> None:
    """Give one parameter a count of its own, if it shares one: for users, who may set it."""
    count = slots.get("step")
    if count is not None and any(s is not slots and s.get("step") is count for s in group.slots):
        slots["step"] = _copy(count._cell)
        version.bump()


def _copy(cell: Cell) -> Tensor:
    """A count outside every trace that stands where `cell` does, and moved as far as it has in an open trace."""
    now = before = cell.node
    for trace in reversed(state.traces):
        before = (getattr(trace, "rebound", None) or {}).get(cell, before)
    value = before.value if state.ambient & TRACED else value_of(cell)
    fresh = outer_tensor(np.array(to_array(value, before.aval.dtype.numpy)), before.aval)
    if before is not now:
        fresh._cell.rebind(fresh._cell.node + (now - before))
    return fresh
