"""Optimiser state as plain dictionaries, and back with a full report of what does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays.outer import outer_tensor
from ..arrays.tensor import Tensor
from ..base.errors import StateError, WeftError
from ..ir.node import Aval
from ..ir.shape import show_shape
from . import clocks
from .group import ParamGroup

if TYPE_CHECKING:
    from .optimizer import Optimizer


def save_state(groups: Sequence[ParamGroup]) -> dict[str, Any]:
    """Slots as tensors of their own, options as Python numbers, parameters as their running number."""
    slots: dict[int, dict[str, Tensor]] = {}
    saved = []
    for group in groups:
        first = len(slots)
        for own in group.slots:
            slots[len(slots)] = {k: t.detach() for k, t in own.items()}
        options = {k: _number(v) for k, v in group.items() if k != "params"}
        saved.append({**options, "params": list(range(first, len(slots)))})
    return {"state": {i: s for i, s in slots.items() if s}, "param_groups": saved}


def _number(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple([_number(v) for v in value])
    return value.item() if isinstance(value, Tensor) else value


def load_state(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Check everything, then change everything."""
    problems: list[str] = []
    new = _read(optimizer, saved, problems)
    if problems:
        listed = "\n".join(f"  - {p}" for p in problems[:20])
        more = f"\n  ... and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise StateError(f"the state does not fit this {optimizer.name}:\n{listed}{more}")
    for group, options, slots in new:
        for key, value in options.items():
            group[key] = value
        pairs = [
            (o["step"], a["step"].item()) for o, a in zip(group.slots, slots, strict=True) if "step" in a
        ]
        if len({(id(count), n) for count, n in pairs}) > len({id(count) for count, _ in pairs}):
            for own in group.slots:  # some share a count, and are at different steps now
                clocks.separate(group, own)
        for own, arrays in zip(group.slots, slots, strict=True):
            for key, array in arrays.items():
                fresh = outer_tensor(array, Aval(array.shape, own[key].dtype))
                own[key]._cell.rebind(fresh._cell.node)


Plan = list[tuple[ParamGroup, dict[str, Any], list[dict[str, np.ndarray]]]]


def _read(optimizer: Optimizer, saved: Any, problems: list[str]) -> Plan:
    if not isinstance(saved, Mapping) or not {"state", "param_groups"} <= saved.keys():
        problems.append(
            'it must be a dict with the keys "state" and "param_groups", as state_dict() makes it'
        )
        return []
    groups, states = saved["param_groups"], saved["state"]
    if len(groups) != len(optimizer.param_groups):
        problems.append(f"it has {len(groups)} parameter groups, the optimiser {len(optimizer.param_groups)}")
        return []
    plan: Plan = []
    for i, (group, other) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
        numbers = other.get("params", [])
        if len(numbers) != len(group.params):
            problems.append(f"group {i} has {len(numbers)} parameters, the optimiser's {len(group.params)}")
            continue
        options = _options(optimizer.kind_of(group), other, i, problems)
        slots = []
        for j, (number, own) in enumerate(zip(numbers, group.slots, strict=True)):
            title = f"parameter {group.names[j] if group.names else number}"
            given = states.get(number, states.get(str(number)))
            slots.append(_slots(optimizer.kind_of(group).name, own, given, title, problems))
        plan.append((group, options, slots))
    return plan


def _options(optimizer: Optimizer, other: Mapping[str, Any], i: int, problems: list[str]) -> dict[str, Any]:
    given = {k: v for k, v in other.items() if k != "params"}
    known = {*optimizer.ranges, *optimizer.switches, *optimizer.choices}
    for key in sorted(known - given.keys()):
        problems.append(f"group {i} lacks the option {key!r}")
    for key in sorted(given.keys() - known - {"name", "initial_lr"}):
        problems.append(f"group {i} has the option {key!r}, which {optimizer.name} does not know")
    options = {k: v for k, v in given.items() if k in known}
    trial = ParamGroup(optimizer.name, optimizer.ranges, optimizer.switches, optimizer.choices)
    for key, value in options.items():
        try:
            trial[key] = value if not isinstance(value, list) else tuple(value)
        except WeftError as e:
            problems.append(f"group {i}: {e}")
    return {**options, **{k: v for k, v in given.items() if k == "initial_lr"}}


def _slots(
    name: str,
    own: dict[str, Tensor],
    given: Mapping[str, Any] | None,
    title: str,
    problems: list[str],
) -> dict[str, np.ndarray]:
    if given is None:
        if own:
            problems.append(f"{title} has no state in it")
        return {}
    out: dict[str, np.ndarray] = {}
    for key in sorted(own.keys() - given.keys()):
        problems.append(f"{title}: the slot {key!r} is missing")
    for key, value in given.items():
        if key not in own:
            problems.append(f"{title}: the slot {key!r} is unknown to {name} with these options")
            continue
        array = value.numpy() if isinstance(value, Tensor) else np.asarray(value)
        want = own[key]._cell.node.aval
        if array.shape != want.shape:
            problems.append(
                f"{title}: {key!r} has shape {show_shape(array.shape)}, expected {show_shape(want.shape)}"
            )
            continue
        out[key] = np.array(array, dtype=want.dtype.numpy, order="C", copy=True)
    return out
