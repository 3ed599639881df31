"""The learning rate over the course of a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import optim
from ..base.errors import ArgumentError, nearest
from ..optim import ReduceLROnPlateau, Schedule
from .callbacks import Callback, check_measured
from .history import better_is

if TYPE_CHECKING:
    from .trainer import Trainer

SCHEDULES: dict[str, type[Schedule]] = {
    "step": optim.StepLR,
    "multi_step": optim.MultiStepLR,
    "exponential": optim.ExponentialLR,
    "cosine": optim.CosineAnnealingLR,
    "warm_restarts": optim.CosineAnnealingWarmRestarts,
    "one_cycle": optim.OneCycleLR,
    "cyclic": optim.CyclicLR,
    "linear": optim.LinearLR,
    "constant": optim.ConstantLR,
    "polynomial": optim.PolynomialLR,
    "plateau": optim.ReduceLROnPlateau,
}
#: Options that stand for the length of the run, filled in where they are not given.
_LENGTHS = {"cosine": "T_max", "one_cycle": "total_steps", "polynomial": "total_iters"}
#: Schedules that are made for every step.
_BY_BATCH = ("one_cycle", "cyclic")


class LearningRateSchedule(Callback):
    """Change the learning rate after every epoch, or after every step.

    Args:
        schedule: the name of a schedule of `weft.optim` ("cosine", "step", "exponential", "one_cycle", "plateau",
            ...), or a function from the epoch (from 1) to the learning rate.
        make: instead, a function that makes a schedule for the optimiser:
            `LearningRateSchedule(make=lambda opt: CosineAnnealingLR(opt, 10))`.
        every: "epoch" or "batch" (after each step that the optimiser makes). By default after every epoch; "one_cycle"
            and "cyclic" after every batch.
        monitor: the figure that a schedule follows which goes by one ("plateau").
        warm_up: how many epochs (or batches) the rate rises at first, in a straight line from a hundredth.
        options: of the schedule that a name stands for, such as `gamma=0.5`; lengths that are left out ("cosine",
            "one_cycle", "polynomial") are that of the run.

    The rates stand in the history as `lr`.
    """

    def __init__(
        self,
        schedule: str | Callable[[int], float] | None = None,
        *,
        make: Callable[[Any], Schedule] | None = None,
        every: str | None = None,
        monitor: str = "val_loss",
        warm_up: int = 0,
        **options: Any,
    ) -> None:
        if (schedule is None) == (make is None):
            raise ArgumentError("give either a schedule (a name or a function of the epoch), or make=")
        if isinstance(schedule, str) and schedule not in SCHEDULES:
            raise ArgumentError(f"there is no schedule {schedule!r}. {nearest(schedule, SCHEDULES)}")
        if every is not None and every not in ("epoch", "batch"):
            raise ArgumentError(f'every must be "epoch" or "batch", got {every!r}')
        self.name = schedule if isinstance(schedule, str) else None
        if self.name is None and (options or warm_up):
            raise ArgumentError(
                f"{', '.join(options) or 'warm_up'} can be given with the name of a schedule only"
            )
        if self.name is not None:
            known = [p for p in inspect.signature(SCHEDULES[self.name]).parameters if p != "optimizer"]
            for option in options:
                if option not in known:
                    raise ArgumentError(
                        f"the schedule {self.name!r} has no option {option!r}. {nearest(option, known)}"
                    )
        if not hasattr(warm_up, "__index__") or warm_up < 0:
            raise ArgumentError(f"warm_up must be an integer, 0 or more, got {warm_up!r}")
        if warm_up and self.name in ("plateau", "one_cycle"):
            raise ArgumentError(f"the schedule {self.name!r} cannot have a warm_up")
        self.function = schedule if callable(schedule) else None
        self.make = make
        self.every = every or ("batch" if self.name in _BY_BATCH else "epoch")
        self.monitor = monitor
        self.warm_up = int(warm_up)
        self.options = options
        self.schedule: Schedule | None = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        if self.schedule is None and self.name is not None:
            self.schedule = self._named(self.name, trainer)
        elif self.schedule is None and self.make is not None:
            self.schedule = self.make(trainer.optimizer)
            if not isinstance(self.schedule, Schedule):
                raise ArgumentError(f"make must return a schedule, got {type(self.schedule).__name__}")
        if isinstance(self.schedule, ReduceLROnPlateau):
            if self.every != "epoch":
                raise ArgumentError('ReduceLROnPlateau follows the figures of epochs; it needs every="epoch"')
            check_measured(self, self.monitor, trainer)

    def _named(self, name: str, trainer: Trainer) -> Schedule:
        options = dict(self.options)
        length = _LENGTHS.get(name)
        if length is not None and length not in options:
            total = trainer.total_epochs
            if self.every == "batch":
                if trainer.steps_per_epoch is None:
                    raise ArgumentError(
                        f"how many batches an epoch has is not known, so the schedule {name!r} needs {length}"
                    )
                total *= trainer.steps_per_epoch
            options[length] = max(total - self.warm_up, 1)
        if name == "plateau":
            options.setdefault("mode", better_is(self.monitor, "auto"))
        if not self.warm_up:
            return SCHEDULES[name](trainer.optimizer, **options)
        rise = optim.LinearLR(trainer.optimizer, 0.01, 1.0, self.warm_up)
        for group, base in zip(trainer.optimizer.param_groups, rise.base_lrs, strict=True):
            group["lr"] = base
        then = SCHEDULES[name](trainer.optimizer, **options)
        return optim.SequentialLR(trainer.optimizer, [rise, then], [self.warm_up])

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        if self.function is not None:
            for group in trainer.optimizer.param_groups:
                group["lr"] = float(self.function(epoch))

    def on_batch_end(self, trainer: Trainer, batch: int, loss: Any) -> None:
        if self.schedule is not None and self.every == "batch" and trainer.stepped and not self._over():
            self.schedule.step()

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: dict[str, Any]) -> None:
        figures["lr"] = trainer.optimizer.param_groups[0]["lr"].item()
        if self.schedule is None or self.every != "epoch":
            return
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(figures[self.monitor])
        elif not self._over():
            self.schedule.step()

    def _over(self) -> bool:
        """Whether the schedule has a last step, and is there."""
        return isinstance(self.schedule, optim.OneCycleLR) and (
            self.schedule.last_epoch + 1 >= self.schedule.total_steps
        )

    def state_dict(self) -> dict[str, Any]:
        return {} if self.schedule is None else {"schedule": self.schedule.state_dict()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        if self.schedule is not None and "schedule" in saved:
            self.schedule.load_state_dict(saved["schedule"])
