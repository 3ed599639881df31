"""Parameter groups: parameters, and the options they are updated with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays.outer import outer_tensor
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, DTypeError, ShapeError, nearest
from ..base.state import state, version
from ..ir.dtype import float64
from ..ir.node import Aval, Node
from ..ops.define import constant
from ..ops.elementwise import cast
from ..ops.movement import reshape


@dataclass(frozen=True)
class Range:
    """What a numeric option may be: a test, its wording for the error, and how many numbers the option has."""

    holds: Callable[[float], bool]
    wording: str
    count: int = 1


def _is_positive(x: float) -> bool:
    return 0 <= x < float("inf")


def _is_fraction(x: float) -> bool:
    return 0 <= x < 1


@dataclass(frozen=True)
class Choice:
    """What an option that is part of the structure may be: a test, and its wording for the error."""

    holds: Callable[[Any], bool]
    wording: str


def _is_count(x: Any) -> bool:
    return hasattr(x, "__index__") and not isinstance(x, bool) and x.__index__() >= 1


# Named functions, so that optimisers can be pickled.
POSITIVE = Range(_is_positive, "finite and at least 0")
FINITE = Range(math.isfinite, "finite")
FRACTION = Range(_is_fraction, "at least 0 and less than 1")
COUNT = Choice(_is_count, "a positive integer")
FRACTIONS = Range(_is_fraction, "at least 0 and less than 1", count=2)


def is_number(x: Any) -> bool:
    return isinstance(x, (int, float, np.integer, np.floating)) and not isinstance(x, bool)


class ParamGroup(MutableMapping[str, Any]):
    """Some parameters with their options, as a mapping: `group["params"]`, `group["lr"]`, ...

    Options that are numbers are held as 0-dimensional float64 tensors, so that a compiled step reads their present
    value: `group["lr"] = 0.1` changes the tensor in place, `group["lr"]` gives it. Options that choose what is
    computed (`nesterov`, `amsgrad`, `maximize`) are booleans, and changing one compiles the step again.
    """

    def __init__(
        self,
        owner: str,
        ranges: dict[str, Range],
        switches: tuple[str, ...],
        choices: dict[str, Choice] | None = None,
    ) -> None:
        self.params: list[Any] = []
        self.kind: Any = None  #: the optimiser inside whose rule the parameters follow, if not the owner
        self.slots: list[dict[str, Tensor]] = []  #: of each parameter: what the optimiser remembers about it
        self.names: list[str] | None = None  #: of the parameters, where they were given with names
        self._owner = owner
        self._ranges = ranges
        self._switch_names = switches
        self._choices = {} if choices is None else choices
        self._numbers: dict[str, tuple[Tensor, ...]] = {}
        self._zero: set[str] = set()
        self._switches: dict[str, Any] = {}
        self._notes: dict[str, Any] = {}
        self.plan: Any = None  #: what a step is under the present options, if that is known: see `update`

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "plan": None}

    def numbers(self) -> list[Node]:
        """The nodes of all numeric options, in the order the optimiser declares them."""
        return [t._cell.node for name in self._ranges for t in self._numbers[name]]

    def switches(self) -> dict[str, Any]:
        """The options that are part of the structure."""
        return dict(self._switches)

    def is_zero(self, name: str) -> bool:
        """Whether the numeric option was set to the Python number 0, so that its term can be left out."""
        return name in self._zero

    def assumptions(self) -> tuple[Any, ...]:
        """What a program of the step takes for granted about the options."""
        first: dict[int, int] = {}  # who shares a count with whom
        counts = tuple([first.setdefault(id(s.get("step")), i) for i, s in enumerate(self.slots)])
        return (
            tuple(self._switches.items()),
            frozenset(self._zero),
            tuple([len(s) for s in self.slots]),
            counts,
        )

    # -- the mapping ----------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        if name == "params":
            return self.params
        if name in self._numbers:
            found = self._numbers[name]
            return found if self._ranges[name].count > 1 else found[0]
        for table in (self._switches, self._notes):
            if name in table:
                return table[name]
        raise KeyError(name)

    def __setitem__(self, name: str, value: Any) -> None:
        if name == "params":
            raise ArgumentError(
                "the parameters of a group are fixed; add others with optimizer.add_param_group"
            )
        if name in self._ranges:
            self._set_numbers(name, value)
        elif name in self._switch_names:
            if not isinstance(value, (bool, np.bool_)):
                raise ArgumentError(f"{self._owner}: {name} must be True or False, got {value!r}")
            self._choose(name, bool(value))
        elif name in self._choices:
            if not self._choices[name].holds(value):
                raise ArgumentError(
                    f"{self._owner}: {name} must be {self._choices[name].wording}, got {value!r}"
                )
            self._choose(name, value)
        elif name == "name":
            self._notes[name] = value
        elif name == "initial_lr":  # where schedules start from; no program reads it
            if not is_number(value):
                raise ArgumentError(f"{self._owner}: initial_lr must be a number, got {value!r}")
            self._notes[name] = float(value)
        else:
            known = ["params", "name", "initial_lr", *self._ranges, *self._switch_names, *self._choices]
            raise ArgumentError(f"{self._owner} has no option {name!r}. {nearest(name, known)}")

    def _choose(self, name: str, value: Any) -> None:
        if name not in self._switches or self._switches[name] != value:
            self._switches[name] = value
            self._options_changed()

    def __delitem__(self, name: str) -> None:
        raise ArgumentError(f"the option {name!r} of a parameter group cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(["params", *self._numbers, *self._switches, *self._notes])

    def __len__(self) -> int:
        return 1 + len(self._numbers) + len(self._switches) + len(self._notes)

    def __repr__(self) -> str:
        options = ", ".join(f"{k}={_shown(v)}" for k, v in self.items() if k != "params")
        return f"ParamGroup({len(self.params)} parameters, {options})"

    # -- numbers --------------------------------------------------------------------------------------------

    def _set_numbers(self, name: str, value: Any) -> None:
        before = self._numbers.get(name)
        values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        count = self._ranges[name].count
        if len(values) != count or (count == 1 and values[0] is not value):
            raise ArgumentError(
                f"{self._owner}: {name} takes {count} number{'s' * (count > 1)}, got {value!r}"
            )
        for v in values:
            self._check(name, v)
        if before is None:
            self._numbers[name] = tuple([_held(v) for v in values])
        else:
            for held, v in zip(before, values, strict=True):
                held._cell.rebind(_as_node(v))
        zero = all(is_number(v) and v == 0 for v in values)
        if zero != (name in self._zero):
            self._zero ^= {name}
            self._options_changed()

    def _options_changed(self) -> None:
        """What a step computes is another from now on."""
        self.plan = None
        version.bump()

    def _check(self, name: str, value: Any) -> None:
        if isinstance(value, Tensor):
            if value.dtype.kind not in "fiu":
                raise DTypeError(f"{self._owner}: {name} must be a real number, got a {value.dtype} tensor")
            if value.size != 1:
                raise ShapeError(
                    f"{self._owner}: {name} must be one number, got a tensor of shape {value.shape}"
                )
            return
        allowed = self._ranges[name]
        if not is_number(value):
            raise ArgumentError(f"{self._owner}: {name} must be a number, got {value!r}")
        if not allowed.holds(float(value)):
            raise ArgumentError(f"{self._owner}: {name} must be {allowed.wording}, got {value!r}")


def _as_node(value: Any) -> Node:
    if not isinstance(value, Tensor):
        return constant(float(value), float64)
    saved = state.grad
    try:
        state.grad = False
        node = value.detach()._cell.node
        if node.shape:
            node = reshape(node, shape=())
        return node if node.dtype is float64 else cast(node, dtype=float64)
    finally:
        state.grad = saved


def _held(value: Any) -> Tensor:
    """The tensor that a group keeps for a number: a float64 scalar tensor given by the user is kept itself."""
    if isinstance(value, Tensor):
        if value.dtype is float64 and value.shape == () and not value.requires_grad:
            return value
        return Tensor(_as_node(value))
    return outer_tensor(float(value), Aval((), float64))


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_shown(v) for v in value) + ")"
    if isinstance(value, Tensor) and isinstance(value._cell.node.value, (int, float)):
        return f"{value._cell.node.value:g}"
    return "..." if isinstance(value, Tensor) else repr(value)
