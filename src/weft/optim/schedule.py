"""Learning-rate schedules: the rate of every group as a function of how often `step()` was called."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    """Base class. The rate at time t is `rate(base, t)`, where `base` is the group's rate when the schedule was made.

    Making a schedule sets the rates of time 0; every `step()` goes on by one.
    Rates are worked out from t alone, so a schedule that is resumed, or moved by hand, gives what an uninterrupted
    one does. To resume, make the schedule again and load its
    `state_dict`. Use one schedule per optimiser; warm-up and decay combine in `SequentialLR`.
    """

    #: what `state_dict` saves besides the time and the base rates
    saved: tuple[str, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_constructor(cls)

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(f"a schedule takes an optimiser, got {type(optimizer).__name__}")
        if not optimizer.bound:
            raise ArgumentError("the optimiser has no parameters yet: bind them before making a schedule")
        self.optimizer = optimizer
        self.base_lrs = self._bases()
        self.last_epoch = -1
        self.step()

    def _bases(self) -> list[float]:
        return [float(g["lr"].item()) for g in self.optimizer.param_groups]

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


class LambdaLR(Schedule):
    """base * function(t); `lr_lambda` is the function, or a list of one for each parameter group."""

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]]
    ) -> None:
        self.lr_lambda = lr_lambda
        super().__init__(optimizer)

    def rates(self, t: int, bases: list[float] | None = None) -> list[float]:
        starts = self.base_lrs if bases is None else bases
        functions = [self.lr_lambda] * len(starts) if callable(self.lr_lambda) else self.lr_lambda
        if len(functions) != len(starts):
            raise ArgumentError(
                f"LambdaLR got {len(functions)} functions for an optimiser with {len(starts)} parameter groups; "
                "give one function, or one for each group"
            )
        return [base * float(f(t)) for base, f in zip(starts, functions, strict=True)]


class MultiplicativeLR(Schedule):
    """base * function(1) * ... * function(t)."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float]) -> None:
        self.lr_lambda = lr_lambda
        self._products = [1.0]  # of the factors up to each time, as far as they were asked for
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        while len(self._products) <= t:
            self._products.append(self._products[-1] * float(self.lr_lambda(len(self._products))))
        return base * self._products[t]


class StepLR(Schedule):
    """Times `gamma` every `step_size` steps: base * gamma**(t // step_size)."""

    saved = ("step_size", "gamma")

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size = positive_count("step_size", step_size)
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** (t // self.step_size)


class MultiStepLR(Schedule):
    """Times `gamma` at each of the `milestones`."""

    saved = ("milestones", "gamma")

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(Schedule):
    """base * gamma**t."""

    saved = ("gamma",)

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma**t


class CosineAnnealingLR(Schedule):
    """Half a cosine from base down to `eta_min` in `T_max` steps: eta_min + (base - eta_min)(1 + cos(pi t/T_max))/2.

    It goes on after T_max, up again. Reference: I. Loshchilov, F. Hutter, "SGDR", 2017,
    https://arxiv.org/abs/1608.03983
    """

    saved = ("T_max", "eta_min")

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max = positive_count("T_max", T_max)
        self.eta_min = eta_min
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class LinearLR(Schedule):
    """A factor that goes from `start_factor` to `end_factor` in `total_iters` steps and stays there: a warm-up."""

    saved = ("start_factor", "end_factor", "total_iters")

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ArgumentError(
                f"factors lie between 0 and 1 (start above 0), got {start_factor} and {end_factor}"
            )
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = positive_count("total_iters", total_iters)
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        done = min(t, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * done)


class ConstantLR(Schedule):
    """`factor` * base for the first `total_iters` steps, then base."""

    saved = ("factor", "total_iters")

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5) -> None:
        if not 0 <= factor <= 1:
            raise ArgumentError(f"ConstantLR: factor lies between 0 and 1, got {factor}")
        self.factor = factor
        self.total_iters = positive_count("total_iters", total_iters)
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * self.factor if t < self.total_iters else base


class PolynomialLR(Schedule):
    """base * (1 - t / total_iters)**power, down to 0 at `total_iters`."""

    saved = ("total_iters", "power")

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0) -> None:
        self.total_iters = positive_count("total_iters", total_iters)
        self.power = power
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * (1 - min(t, self.total_iters) / self.total_iters) ** self.power


class ChainedScheduler(Schedule):
    """Several schedules at once: each takes the rate that those before it give as its base.

    Schedules that multiply their base (`ConstantLR`, `ExponentialLR`, `LinearLR`, ...) so multiply their factors.

    >>> from weft.optim import SGD, ChainedScheduler, ConstantLR, ExponentialLR
    >>> import weft as wf
    >>> opt = SGD([wf.tensor([1.0])], lr=1.0)
    >>> s = ChainedScheduler([ConstantLR(opt, 0.1, total_iters=2), ExponentialLR(opt, 0.5)])
    >>> [round(s.rates(t)[0], 3) for t in range(4)]
    [0.1, 0.05, 0.25, 0.125]
    """

    def __init__(self, schedulers: Iterable[Schedule], optimizer: Optimizer | None = None) -> None:
        self.schedulers = list(schedulers)
        if not self.schedulers:
            raise ArgumentError("ChainedScheduler needs one schedule or more")
        own = self.schedulers[0].optimizer if optimizer is None else optimizer
        if any(s.optimizer is not own for s in self.schedulers):
            raise ArgumentError("all schedules must be of the same optimiser")
        _restart(own, self.schedulers[0])
        super().__init__(own)

    def rates(self, t: int, bases: list[float] | None = None) -> list[float]:
        found = self.base_lrs if bases is None else bases
        for s in self.schedulers:
            found = s.rates(t, found)
        return found


class SequentialLR(Schedule):
    """One schedule after another: number i+1 takes over at `milestones[i]` and counts from there.

    >>> from weft.optim import SGD, CosineAnnealingLR, LinearLR, SequentialLR
    >>> import weft as wf
    >>> opt = SGD([wf.tensor([1.0])], lr=1.0)
    >>> s = SequentialLR(opt, [LinearLR(opt, 0.5, total_iters=2), CosineAnnealingLR(opt, 4)], milestones=[2])
    >>> [round(s.rates(t)[0], 2) for t in range(7)]
    [0.5, 0.75, 1.0, 0.85, 0.5, 0.15, 0.0]
    """

    saved = ("milestones",)

    def __init__(self, optimizer: Optimizer, schedulers: list[Schedule], milestones: list[int]) -> None:
        if len(schedulers) != len(milestones) + 1:
            raise ArgumentError(
                f"{len(schedulers)} schedules need {len(schedulers) - 1} milestones, got {milestones}"
            )
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ArgumentError("all schedules must be of the same optimiser")
        self.schedulers = schedulers
        self.milestones = list(milestones)
        _restart(optimizer, schedulers[0])
        super().__init__(optimizer)

    def rates(self, t: int, bases: list[float] | None = None) -> list[float]:
        i = bisect_right(self.milestones, t)
        own = self.base_lrs if bases is None else bases
        return self.schedulers[i].rates(t - (self.milestones[i - 1] if i else 0), own)


def _restart(optimizer: Optimizer, first: Schedule) -> None:
    """Put the rates back to what they were before any part of a combination was made: the first part knows."""
    for group, base in zip(optimizer.param_groups, first.base_lrs, strict=True):
        group["lr"] = base


def positive_count(name: str, value: Any) -> int:
    """`value` as a positive integer."""
    if not is_number(value) or value != int(value) or value < 1:
        raise ArgumentError(f"{name} must be a positive integer, got {value!r}")
    return int(value)
