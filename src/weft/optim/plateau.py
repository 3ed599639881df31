"""A schedule that follows a figure of the training instead of the time."""

from __future__ import annotations

import math
from typing import Any

from ..arrays.dispatch import check_choice
from ..base.errors import ArgumentError
from .cycles import per_group
from .optimizer import Optimizer
from .schedule import Schedule, outside_compile


class ReduceLROnPlateau(Schedule):
    """The rate is multiplied by `factor` whenever a figure has not improved for more than `patience` steps.

        lr <- max(factor * lr, min_lr)

    `step(figure)` tells it the figure, of each epoch say.

    Args:
        mode: "min" for a figure that is to fall (a loss), "max" for one that is to rise (an accuracy).
        factor: what the rate is multiplied by, below 1.
        patience: how many steps without improvement are waited for.
        threshold: how much better counts as an improvement.
        threshold_mode: "rel" (times the best) or "abs".
        cooldown: how many steps after a reduction are not counted.
        min_lr: the least rate, one number or one for each group.
        eps: smaller changes of the rate are not made.

    >>> opt = SGD([weft.tensor([1.0])], lr=1.0)
    >>> schedule = ReduceLROnPlateau(opt, patience=1)
    >>> for loss in (1.0, 0.9, 0.9, 0.9, 0.8):
    ...     schedule.step(loss)
    >>> schedule.get_last_lr()
    [0.1]
    """

    saved = ("best", "num_bad_epochs", "cooldown_counter", "present")

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: Any = 0.0,
        eps: float = 1e-8,
    ) -> None:
        check_choice("mode", mode, ("min", "max"))
        check_choice("threshold_mode", threshold_mode, ("rel", "abs"))
        if not 0 <= factor < 1:
            raise ArgumentError(f"ReduceLROnPlateau: factor must be at least 0 and less than 1, got {factor}")
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.eps = cooldown, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0
        self.present: list[float] = []
        super().__init__(optimizer)
        self.min_lrs = per_group("min_lr", min_lr, optimizer)

    def _bases(self) -> list[float]:
        self.present = super()._bases()
        return list(self.present)

    def rates(self, t: int, bases: list[float] | None = None) -> list[float]:
        return list(self.present)

    def step(self, metrics: Any = None) -> None:
        """Tell the schedule the figure of one more epoch."""
        if self.last_epoch == -1:  # the first call comes from __init__
            return super().step()
        if metrics is None:
            raise ArgumentError(
                "ReduceLROnPlateau.step takes the figure that it follows: schedule.step(loss)"
            )
        outside_compile()
        figure = float(metrics.item() if hasattr(metrics, "item") else metrics)
        self.last_epoch += 1
        if self._better(figure):
            self.best, self.num_bad_epochs = figure, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _better(self, figure: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "abs":
            return sign * (figure - self.best) > self.threshold
        return sign * figure > sign * self.best * (1 + sign * self.threshold)

    def _reduce(self) -> None:
        now = [float(g["lr"].item()) for g in self.optimizer.param_groups]
        lower = [max(r * self.factor, least) for r, least in zip(now, self.min_lrs, strict=True)]
        self.present = [n if p - n > self.eps else p for p, n in zip(now, lower, strict=True)]
        self._apply()
