"""Schedules given by a formula: steps, powers, cosines, lines."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable

from ..base.errors import ArgumentError
from .optimizer import Optimizer
from .schedule import Schedule, positive_count


class StepLR(Schedule):
    """The rate is multiplied by `gamma` every `step_size` steps.

        lr = base * gamma**(t // step_size)

    Args:
        step_size: a positive integer.
        gamma: the factor.
        last_epoch: the time that is over (-1: none); see `Schedule`.

    >>> s = StepLR(SGD([weft.zeros(3)], lr=1.0), step_size=2, gamma=0.5)
    >>> [s.rates(t)[0] for t in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    saved = ("step_size", "gamma")

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = positive_count("step_size", step_size)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** (t // self.step_size)


class MultiStepLR(Schedule):
    """The rate is multiplied by `gamma` at each milestone.

        lr = base * gamma**(number of milestones <= t)

    Args:
        milestones: times, in any order; one that stands twice counts twice.
        gamma: the factor.
        last_epoch: the time that is over (-1: none); see `Schedule`.

    >>> s = MultiStepLR(SGD([weft.zeros(3)], lr=1.0), milestones=[2, 3], gamma=0.5)
    >>> [s.rates(t)[0] for t in range(5)]
    [1.0, 1.0, 0.5, 0.25, 0.25]
    """

    saved = ("milestones", "gamma")

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(Schedule):
    """The rate is multiplied by `gamma` at every step.

        lr = base * gamma**t

    Args:
        gamma: the factor.
        last_epoch: the time that is over (-1: none); see `Schedule`.

    >>> s = ExponentialLR(SGD([weft.zeros(3)], lr=1.0), gamma=0.5)
    >>> [s.rates(t)[0] for t in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    """

    saved = ("gamma",)

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma**t


class CosineAnnealingLR(Schedule):
    """Half a cosine from base down to `eta_min` in `T_max` steps; after that it goes up again.

        lr = eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2

    Args:
        T_max: how many steps the way down takes, a positive integer.
        eta_min: the least rate.
        last_epoch: the time that is over (-1: none); see `Schedule`.

    Reference: I. Loshchilov, F. Hutter, "SGDR", 2017, https://arxiv.org/abs/1608.03983

    >>> s = CosineAnnealingLR(SGD([weft.zeros(3)], lr=1.0), T_max=4)
    >>> [round(s.rates(t)[0], 3) for t in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.146]
    """

    saved = ("T_max", "eta_min")

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = positive_count("T_max", T_max)
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class LinearLR(Schedule):
    """A factor that goes along a straight line and then stays: a warm-up.

        lr = base * (start_factor + (end_factor - start_factor) min(t, total_iters) / total_iters)

    Args:
        start_factor: the factor at time 0, above 0 and at most 1.
        end_factor: the factor from time `total_iters` on, between 0 and 1.
        total_iters: how many steps it takes, a positive integer.
        last_epoch: the time that is over (-1: none); see `Schedule`.

    >>> s = LinearLR(SGD([weft.zeros(3)], lr=1.0), start_factor=0.25, total_iters=3)
    >>> [s.rates(t)[0] for t in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    saved = ("start_factor", "end_factor", "total_iters")

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ArgumentError(
                f"factors lie between 0 and 1 (start above 0), got {start_factor} and {end_factor}"
            )
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = positive_count("total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        done = min(t, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * done)


class ConstantLR(Schedule):
    """A factor for the first steps, then none.

        lr = base * factor  where t < total_iters, otherwise base

    Args:
        factor: between 0 and 1.
        total_iters: how many steps it holds for, a positive integer.
        last_epoch: the time that is over (-1: none); see `Schedule`.

    >>> s = ConstantLR(SGD([weft.zeros(3)], lr=1.0), factor=0.5, total_iters=2)
    >>> [s.rates(t)[0] for t in range(4)]
    [0.5, 0.5, 1.0, 1.0]
    """

    saved = ("factor", "total_iters")

    def __init__(
        self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1:
            raise ArgumentError(f"ConstantLR: factor lies between 0 and 1, got {factor}")
        self.factor = factor
        self.total_iters = positive_count("total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return base * self.factor if t < self.total_iters else base


class PolynomialLR(Schedule):
    """A power of the time that is left, down to 0.

        lr = base * (1 - min(t, total_iters) / total_iters)**power

    Args:
        total_iters: when the rate is 0, a positive integer.
        power: 1 is a straight line.
        last_epoch: the time that is over (-1: none); see `Schedule`.

    >>> s = PolynomialLR(SGD([weft.zeros(3)], lr=1.0), total_iters=4, power=2.0)
    >>> [s.rates(t)[0] for t in range(6)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """

    saved = ("total_iters", "power")

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters = positive_count("total_iters", total_iters)
        self.power = power
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int) -> float:
        return base * (1 - min(t, self.total_iters) / self.total_iters) ** self.power
