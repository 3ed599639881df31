"""Schedules that go up and down: warm restarts, one cycle, triangles."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..arrays.dispatch import check_choice
from ..base.errors import ArgumentError
from .optimizer import Optimizer
from .schedule import Schedule, outside_compile, positive_count


class CosineAnnealingWarmRestarts(Schedule):
    """Half a cosine from base down to `eta_min`, again and again, over longer and longer cycles.

        lr = eta_min + (base - eta_min) (1 + cos(pi t_i / T_i)) / 2        T_i = T_0 * T_mult**i

    where t_i is the time since cycle i began. `step(epoch)` moves to any time, also between two whole numbers:
    `step(epoch + batch / batches)`.

    Args:
        T_0: steps of the first cycle, a positive integer.
        T_mult: how many times longer each cycle is than the one before, a positive integer.
        eta_min: the least rate.
        last_epoch: the time that is over (-1: none); see `Schedule`.

    Reference: I. Loshchilov, F. Hutter, "SGDR", 2017, https://arxiv.org/abs/1608.03983

    >>> s = CosineAnnealingWarmRestarts(SGD([weft.zeros(3)], lr=1.0), T_0=2, T_mult=2)
    >>> [round(s.rates(t)[0], 3) for t in range(7)]
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """

    saved = ("T_0", "T_mult", "eta_min")

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_0 = positive_count("T_0", T_0)
        self.T_mult = positive_count("T_mult", T_mult)
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Go on by one, or to the time `epoch`."""
        if epoch is None:
            return super().step()
        outside_compile()
        if epoch < 0:
            raise ArgumentError(f"the time of a schedule is 0 or later, got {epoch}")
        self.last_epoch = epoch  # type: ignore[assignment]
        self._apply()

    def rate(self, base: float, t: float) -> float:
        length = self.T_0
        if self.T_mult == 1:
            t = t % length
        while t >= length:
            t, length = t - length, length * self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / length)) / 2


def _momentum(optimizer: Optimizer) -> str:
    """The option that a cycle of momentum moves: `momentum`, or the first of `betas`."""
    for name in ("momentum", "betas"):
        if name in optimizer.ranges:
            return name
    raise ArgumentError(f"{optimizer.name} has no momentum to cycle; pass cycle_momentum=False")


class _Cycle(Schedule):
    """A cycle of the rate, and one of the momentum against it."""

    cycle_momentum = False

    def momentum(self, group: int, t: int) -> float:
        """The momentum of a group at time t."""
        raise NotImplementedError

    def _apply(self) -> None:
        super()._apply()
        if not self.cycle_momentum:
            return
        for i, group in enumerate(self.optimizer.param_groups):
            name = _momentum(self.optimizer.kind_of(group))
            value = self.momentum(i, self.last_epoch)
            group[name] = value if name == "momentum" else (value, group[name][1].item())


def per_group(name: str, value: Any, optimizer: Optimizer) -> list[float]:
    """`value` as one number for each group."""
    count = len(optimizer.param_groups)
    items = list(value) if isinstance(value, (list, tuple)) else [value] * count
    if len(items) != count:
        raise ArgumentError(f"{name} needs one number or {count}, one for each group, got {value!r}")
    return [float(v) for v in items]


_SHAPES = ("cos", "linear")


def annealed(start: float, end: float, done: float, shape: str) -> float:
    """From start to end as `done` goes from 0 to 1: along half a cosine or a straight line."""
    return (
        end + (start - end) * (1 + math.cos(math.pi * done)) / 2
        if shape == "cos"
        else start + (end - start) * done
    )


class OneCycleLR(_Cycle):
    """From a low rate up to `max_lr`, then down to nearly nothing, with momentum against it.

        max_lr / div_factor  ->  max_lr  ->  max_lr / div_factor / final_div_factor

    each way along half a cosine, start + (end - start) (1 - cos(pi x)) / 2 with x from 0 to 1, or a straight line.

    Args:
        max_lr: the highest rate, one number or one for each group.
        total_steps: how long the cycle is; or `epochs` times `steps_per_epoch`. Going further is an `ArgumentError`.
        pct_start: the part of the cycle that goes up.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether momentum (or the first beta) goes from `max_momentum` down to `base_momentum` and back.
        base_momentum, max_momentum: the limits between which momentum goes.
        div_factor: max_lr over the first rate.
        final_div_factor: the first rate over the last one.
        three_phase: come back to max_lr / div_factor first, as long as it went up, then go down to the end.
        last_epoch: the time that is over (-1: none); see `Schedule`.

    Reference: L. N. Smith, N. Topin, "Super-Convergence", 2019, https://arxiv.org/abs/1708.07120

    >>> opt = SGD([weft.zeros(3)], lr=1.0, momentum=0.9)
    >>> s = OneCycleLR(opt, max_lr=1.0, total_steps=6, pct_start=0.5, anneal_strategy="linear")
    >>> [round(s.rates(t)[0], 2) for t in range(6)]
    [0.04, 0.52, 1.0, 0.67, 0.33, 0.0]
    """

    saved = ("total_steps", "max_lrs", "div_factor", "final_div_factor", "cycle_momentum", "base_momentum",
             "max_momentum")  # fmt: skip

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Any,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_choice("anneal_strategy", anneal_strategy, _SHAPES)
        if not isinstance(pct_start, (int, float)) or not 0 <= pct_start <= 1:
            raise ArgumentError(f"pct_start lies between 0 and 1, got {pct_start!r}")
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ArgumentError("OneCycleLR needs total_steps, or epochs and steps_per_epoch")
            total_steps = positive_count("epochs", epochs) * positive_count(
                "steps_per_epoch", steps_per_epoch
            )
        self.total_steps = positive_count("total_steps", total_steps)
        self.anneal_strategy = anneal_strategy
        self.max_lrs = per_group("max_lr", max_lr, optimizer)
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        self.cycle_momentum = bool(cycle_momentum)
        self.base_momentum, self.max_momentum = base_momentum, max_momentum
        up = pct_start * self.total_steps - 1
        #: (last step, where the rate goes, where the momentum goes) of each phase; both as places in a triple
        self._phases = [(up, "max", "base")]
        if three_phase:
            self._phases.append((2 * pct_start * self.total_steps - 2, "initial", "max"))
        self._phases.append((self.total_steps - 1, "end", "max"))
        super().__init__(optimizer, last_epoch)

    def _bases(self) -> list[float]:
        return [m / self.div_factor for m in self.max_lrs]

    def _between(self, t: int, rates: dict[str, float], which: int, start: str) -> float:
        if t > self.total_steps:
            raise ArgumentError(f"this OneCycleLR has {self.total_steps} steps; step {t} comes after its end")
        t = min(t, self.total_steps - 1)  # a loop calls `step` after its last batch too
        first = 0.0
        for last, *goal in self._phases:
            end = goal[which]
            if t <= last:
                done = (t - first) / (last - first) if last > first else 1.0
                return annealed(rates[start], rates[end], done, self.anneal_strategy)
            first, start = last, end
        raise AssertionError("the last phase ends the loop")

    def rates(self, t: int, bases: list[float] | None = None) -> list[float]:
        return [self.rate(base, t) for base in self.base_lrs]

    def rate(self, base: float, t: int) -> float:
        top = base * self.div_factor
        goals = {"initial": base, "max": top, "end": base / self.final_div_factor}
        return self._between(t, goals, 0, "initial")

    def momentum(self, group: int, t: int) -> float:
        return self._between(t, {"max": self.max_momentum, "base": self.base_momentum}, 1, "max")


_MODES: dict[str, Callable[[float, float], float]] = {
    "triangular": lambda gamma, x: 1.0,
    "triangular2": lambda gamma, x: 0.5 ** (x - 1),
    "exp_range": lambda gamma, x: gamma**x,
}


class CyclicLR(_Cycle):
    """Triangles between `base_lr` and `max_lr`, whose height may shrink.

        lr = base_lr + (max_lr - base_lr) * height * scale

    where height rises from 0 to 1 in `step_size_up` steps and falls to 0 in `step_size_down`, and scale is 1,
    1 / 2**(cycle - 1) or gamma**t, as `mode` says.

    Args:
        base_lr, max_lr: the lowest and highest rate, one number or one for each group.
        step_size_up, step_size_down: steps up and steps down (default: as many).
        mode: "triangular", "triangular2" (half the height in each cycle) or "exp_range" (gamma**step).
        scale_fn: a height of your own, of the number of the cycle (from 1) or of the step, as `scale_mode` says.
        cycle_momentum: whether momentum (or the first beta) goes against the rate, between its two limits.
        base_momentum, max_momentum: these limits, one number or one for each group.
        last_epoch: the time that is over (-1: none); see `Schedule`.

    Reference: L. N. Smith, "Cyclical Learning Rates", 2017, https://arxiv.org/abs/1506.01186

    >>> opt = SGD([weft.zeros(3)], lr=1.0, momentum=0.9)
    >>> s = CyclicLR(opt, base_lr=0.1, max_lr=0.5, step_size_up=2, mode="triangular2")
    >>> [round(s.rates(t)[0], 2) for t in range(8)]
    [0.1, 0.3, 0.5, 0.3, 0.1, 0.2, 0.3, 0.2]
    """

    saved = ("max_lrs",)

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Any,
        max_lr: Any,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.8,
        max_momentum: Any = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_choice("mode", mode, tuple(_MODES))
        check_choice("scale_mode", scale_mode, ("cycle", "iterations"))
        self._low = per_group("base_lr", base_lr, optimizer)
        self.max_lrs = per_group("max_lr", max_lr, optimizer)
        self._up = positive_count("step_size_up", step_size_up)
        self._length = self._up + (
            self._up if step_size_down is None else positive_count("step_size_down", step_size_down)
        )
        self._by_cycle = scale_mode == "cycle" if scale_fn is not None else mode != "exp_range"
        self._scale = (lambda x: _MODES[mode](gamma, x)) if scale_fn is None else scale_fn
        self.cycle_momentum = bool(cycle_momentum)
        self._momenta = list(
            zip(
                per_group("base_momentum", base_momentum, optimizer),
                per_group("max_momentum", max_momentum, optimizer),
                strict=True,
            )
        )
        super().__init__(optimizer, last_epoch)

    def _bases(self) -> list[float]:
        return list(self._low)

    def _height(self, t: int) -> float:
        """Between 0 and the scale: how far up the triangle is."""
        cycle = t // self._length
        at = t - cycle * self._length
        height = at / self._up if at <= self._up else (self._length - at) / (self._length - self._up)
        return height * self._scale(cycle + 1 if self._by_cycle else t)

    def rates(self, t: int, bases: list[float] | None = None) -> list[float]:
        height = self._height(t)
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def momentum(self, group: int, t: int) -> float:
        low, high = self._momenta[group]
        return high - (high - low) * self._height(t)


class SWALR(Schedule):
    """From the present rate to `swa_lr` in `anneal_epochs` steps, then constant: for averaging weights.

        lr = base + (swa_lr - base) (1 - cos(pi x)) / 2        x = min(1, t / anneal_epochs)

    or base + (swa_lr - base) x with the strategy "linear". The average itself is `train.AveragedModel`.

    Args:
        swa_lr: the rate at the end, one number or one for each group.
        anneal_epochs: how many steps it takes, 0 or more.
        anneal_strategy: "cos" or "linear".
        last_epoch: the time that is over (-1: none); see `Schedule`.

    Reference: P. Izmailov et al., "Averaging Weights Leads to Wider Optima", 2018, https://arxiv.org/abs/1803.05407

    >>> s = SWALR(SGD([weft.zeros(3)], lr=1.0), swa_lr=0.2, anneal_epochs=2, anneal_strategy="linear")
    >>> [round(s.rates(t)[0], 2) for t in range(4)]
    [1.0, 0.6, 0.2, 0.2]
    """

    saved = ("swa_lrs", "anneal_epochs")

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: Any,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        check_choice("anneal_strategy", anneal_strategy, _SHAPES)
        if not hasattr(anneal_epochs, "__index__") or anneal_epochs < 0:
            raise ArgumentError(f"anneal_epochs must be an integer, 0 or more, got {anneal_epochs!r}")
        self.anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        self.swa_lrs = per_group("swa_lr", swa_lr, optimizer)
        super().__init__(optimizer, last_epoch)

    def rates(self, t: int, bases: list[float] | None = None) -> list[float]:
        done = 1.0 if self.anneal_epochs == 0 else min(1.0, t / self.anneal_epochs)
        return [
            annealed(base, goal, done, self.anneal_strategy)
            for base, goal in zip(self.base_lrs if bases is None else bases, self.swa_lrs, strict=True)
        ]
