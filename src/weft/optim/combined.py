"""Several schedules of one optimiser: at once, or one after another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from ..base.errors import ArgumentError
from .optimizer import Optimizer
from .plateau import ReduceLROnPlateau
from .schedule import Schedule


class ChainedScheduler(Schedule):
    """Several schedules at once: each takes the rate that those before it give as its base.

        lr = rate_n(... rate_2(rate_1(base, t), t) ..., t)

    Schedules that multiply their base (`ConstantLR`, `ExponentialLR`, `LinearLR`, ...) so multiply their factors.

    Args:
        schedulers: one schedule or more, all of the same optimiser.
        optimizer: that optimiser (default: the one of the first schedule).

    >>> opt = SGD([weft.zeros(3)], lr=1.0)
    >>> s = ChainedScheduler([ConstantLR(opt, 0.1, total_iters=2), ExponentialLR(opt, 0.5)])
    >>> [round(s.rates(t)[0], 3) for t in range(4)]
    [0.1, 0.05, 0.25, 0.125]
    """

    def __init__(self, schedulers: Iterable[Schedule], optimizer: Optimizer | None = None) -> None:
        self.schedulers = list(schedulers)
        if not self.schedulers:
            raise ArgumentError("ChainedScheduler needs one schedule or more")
        own = self.schedulers[0].optimizer if optimizer is None else optimizer
        _check_parts(own, self.schedulers)
        _restart(own, self.schedulers[0])
        super().__init__(own)

    def rates(self, t: int, bases: list[float] | None = None) -> list[float]:
        found = self.base_lrs if bases is None else bases
        for s in self.schedulers:
            found = s.rates(t, found)
        return found


class SequentialLR(Schedule):
    """One schedule after another: number i+1 takes over at `milestones[i]` and counts from there.

        lr = rate_i(base, t - milestones[i - 1])        where milestones[i - 1] <= t < milestones[i]

    Args:
        schedulers: the parts, of the same optimiser.
        milestones: when each of the others takes over, in rising order: one fewer than schedules.
        last_epoch: the time that is over (-1: none); see `Schedule`. The parts are then made with one too.

    >>> opt = SGD([weft.zeros(3)], lr=1.0)
    >>> s = SequentialLR(opt, [LinearLR(opt, 0.5, total_iters=2), CosineAnnealingLR(opt, 4)], milestones=[2])
    >>> [round(s.rates(t)[0], 2) for t in range(7)]
    [0.5, 0.75, 1.0, 0.85, 0.5, 0.15, 0.0]
    """

    saved = ("milestones",)

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[Schedule],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        if len(schedulers) != len(milestones) + 1:
            raise ArgumentError(
                f"{len(schedulers)} schedules need {len(schedulers) - 1} milestones, got {milestones}"
            )
        _check_parts(optimizer, schedulers)
        self.schedulers = list(schedulers)
        self.milestones = list(milestones)
        if self.milestones != sorted(self.milestones):
            raise ArgumentError(f"the milestones of SequentialLR must rise, got {self.milestones}")
        if last_epoch >= 0 and any(s.last_epoch == 0 for s in self.schedulers):
            raise ArgumentError(
                f"SequentialLR with last_epoch={last_epoch} has parts that were made new, from the rates of now; "
                "make the parts with last_epoch too"
            )
        _restart(optimizer, self.schedulers[0])
        super().__init__(optimizer, last_epoch)

    def rates(self, t: int, bases: list[float] | None = None) -> list[float]:
        i = bisect_right(self.milestones, t)
        own = self.base_lrs if bases is None else bases
        return self.schedulers[i].rates(t - (self.milestones[i - 1] if i else 0), own)


def _check_parts(optimizer: Optimizer, parts: Sequence[Schedule]) -> None:
    if any(s.optimizer is not optimizer for s in parts):
        raise ArgumentError("all schedules must be of the same optimiser")
    if any(isinstance(s, ReduceLROnPlateau) for s in parts):
        raise ArgumentError(
            "ReduceLROnPlateau follows a figure that its step() is given, so it cannot be part of a combination; "
            "use it alone"
        )


def _restart(optimizer: Optimizer, first: Schedule) -> None:
    """Put the rates back to what they were before any part of a combination was made: the first part knows."""
    for group, base in zip(optimizer.param_groups, first.base_lrs, strict=True):
        group["lr"] = group["initial_lr"] = base
