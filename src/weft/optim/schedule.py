"""Learning-rate schedules: the rate of every group as a function of how often `step()` was called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..base.checked import check_constructor
from ..base.errors import ArgumentError, StateError, TraceError
from ..base.state import state
from ..ir.node import TRACED
from .group import is_number
from .optimizer import Optimizer


def outside_compile() -> None:
    """Raise inside a function that is being traced."""
    if state.ambient & TRACED:
        raise TraceError(
            "a schedule's step() inside a compiled function would happen once, while tracing; call it outside, "
            "after the compiled step (which reads the new rate without being traced again)"
        )


class Schedule:
    """Base class of schedules: the learning rate of every group as a function of the time t.

        lr = rate(base, t)        t = 0, 1, 2, ...: how often `step()` was called

    where `base` is the group's rate when the schedule was made. Making a schedule sets the rates of time 0. What a
    unit of time is, a batch or an epoch, is up to where `step()` is called; call it after `optimizer.step()` and
    outside compiled functions, which read the new rate without being traced again.

    Rates are worked out from t alone, so a schedule that is resumed gives what an uninterrupted one does. To resume,
    make the schedule again and load its `state_dict`. Use one schedule per optimiser; warm-up and decay combine in
    `SequentialLR`. A schedule of your own defines `rate`.

    Args:
        optimizer: the optimiser whose groups it sets; it has parameters already.
        last_epoch: -1 for a new schedule. k (0 or more): go on as if times 0 to k were over, from the rates that the
            groups began with (`group["initial_lr"]`, which the state of an optimiser contains once it had a schedule).

    Raises: ArgumentError where the optimiser has no parameters, or no initial rates to go on from; TraceError for
        `step()` in a compiled function; StateError where a saved state is one of another kind of schedule.

    >>> class Halving(Schedule):
    ...     def rate(self, base, t):
    ...         return base / 2**t
    >>> schedule = Halving(SGD([weft.zeros(3)], lr=1.0))
    >>> schedule.step()
    >>> schedule.get_last_lr(), schedule.rates(3)
    ([0.5], [0.125])
    """

    #: what `state_dict` saves besides the time and the base rates
    saved: tuple[str, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_constructor(cls)

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(f"a schedule takes an optimiser, got {type(optimizer).__name__}")
        if not optimizer.bound:
            raise ArgumentError("the optimiser has no parameters yet: bind them before making a schedule")
        if isinstance(last_epoch, bool) or not hasattr(last_epoch, "__index__") or last_epoch < -1:
            raise ArgumentError(
                f"last_epoch is -1 (a new schedule) or a time, 0 or later; got {last_epoch!r}"
            )
        self.optimizer = optimizer
        self.last_epoch = last_epoch
        self.base_lrs = self._bases()
        for group, base in zip(optimizer.param_groups, self.base_lrs, strict=True):
            group["initial_lr"] = base
        self.step()

    def _bases(self) -> list[float]:
        groups = self.optimizer.param_groups
        if self.last_epoch == -1:
            return [float(g["lr"].item()) for g in groups]
        missing = [i for i, g in enumerate(groups) if "initial_lr" not in g]
        if missing:
            raise ArgumentError(
                f"with last_epoch={self.last_epoch} the schedule goes on from rates that group {missing[0]} of the "
                "optimiser does not tell: load the state of the optimiser first, or give the group an 'initial_lr'"
            )
        return [float(g["initial_lr"]) for g in groups]

    def rate(self, base: float, t: int) -> float:
        """The learning rate at time t of a group that began with `base`."""
        raise NotImplementedError(f"{type(self).__name__} must define rate(base, t)")

    def rates(self, t: int, bases: list[float] | None = None) -> list[float]:
        """The learning rates of all groups at time t, for groups that began with `bases` (default: as this one's did).

        Schedules whose rates do not depend on where the groups began ignore `bases`.
        """
        return [self.rate(base, t) for base in (self.base_lrs if bases is None else bases)]

    def step(self) -> None:
        """Go on by one and set the rates; call it after `optimizer.step()`, outside compiled functions."""
        outside_compile()
        self.last_epoch += 1
        self._apply()

    def _apply(self) -> None:
        for group, lr in zip(self.optimizer.param_groups, self.rates(self.last_epoch), strict=True):
            group["lr"] = lr

    def get_last_lr(self) -> list[float]:
        """The rates set last, one for each group."""
        return self.rates(self.last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """The time, the base rates, and the schedule's own numbers."""
        own = {name: getattr(self, name) for name in self.saved}
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs), **own}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on where another schedule of this kind was; sets the rates too."""
        wanted = {"last_epoch", "base_lrs", *self.saved}
        if wanted != saved.keys():
            missing, unknown = sorted(wanted - saved.keys()), sorted(saved.keys() - wanted)
            raise StateError(
                f"the state does not fit {type(self).__name__}: missing {missing}, unknown {unknown}"
            )
        if len(saved["base_lrs"]) != len(self.base_lrs):
            raise StateError(
                f"the state has {len(saved['base_lrs'])} groups, the optimiser {len(self.base_lrs)}"
            )
        for name, value in saved.items():
            setattr(self, name, value)
        self._apply()

    def __repr__(self) -> str:
        own = "".join(f", {n}={getattr(self, n)!r}" for n in self.saved)
        return f"{type(self).__name__}(last_epoch={self.last_epoch}{own})"


def positive_count(name: str, value: Any) -> int:
    """`value` as a positive integer."""
    if not is_number(value) or value != int(value) or value < 1:
        raise ArgumentError(f"{name} must be a positive integer, got {value!r}")
    return int(value)
