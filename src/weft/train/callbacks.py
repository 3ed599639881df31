"""Callbacks: what happens between the batches and epochs of a run."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import ArgumentError, nearest
from ..formats import save
from ..optim import Schedule
from .history import better_is

if TYPE_CHECKING:
    from .trainer import Trainer

Figures = Mapping[str, Any]


class Callback:
    """Base class: override what is needed. `trainer.stop("why")` ends the run after the present epoch's figures.

    `figures` are those of the epoch (with `val_` ones if there is validation data), of which callbacks may add more.
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first batch; `trainer.figure_names` says what will be measured."""

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Before epoch number `epoch` (from 1)."""

    def on_batch_end(self, trainer: Trainer, batch: int, loss: Any) -> None:
        """After batch number `batch` (from 1) of the epoch. `loss` is a tensor: `loss.item()` looks at it."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: dict[str, Any]) -> None:
        """After an epoch and its validation."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, also if the run was stopped or interrupted."""


class Monitor(Callback):
    """Base class of callbacks that follow one figure.

    Args:
        monitor: its name, such as "val_loss" or "val_accuracy".
        mode: "min" or "max": what is better; "auto" goes by the name.
        min_delta: by how much it must be better to count.
    """

    def __init__(self, monitor: str = "val_loss", *, mode: str = "auto", min_delta: float = 0.0) -> None:
        self.monitor = monitor
        self.sign = 1.0 if better_is(monitor, mode) == "min" else -1.0
        self.min_delta = abs(min_delta)
        self.best: float | None = None
        self.best_epoch = 0

    def on_fit_begin(self, trainer: Trainer) -> None:
        self.best, self.best_epoch = None, 0
        if self.monitor not in trainer.figure_names:
            mend = " (it needs validation_data)" if self.monitor.startswith("val_") else ""
            raise ArgumentError(
                f"{type(self).__name__} follows {self.monitor!r}, which is not measured{mend}. "
                f"{nearest(self.monitor, trainer.figure_names)}"
            )

    def improved(self, epoch: int, figures: Figures) -> bool:
        """Whether the figure is better than ever before; NaN is not."""
        value = float(figures[self.monitor])
        if math.isnan(value):
            return False
        if self.best is not None and self.sign * value >= self.sign * self.best - self.min_delta:
            return False
        self.best, self.best_epoch = value, epoch
        return True


class EarlyStopping(Monitor):
    """Stop when a figure has not become better for `patience` epochs, and go back to the best weights.

    Args:
        restore_best: whether the model ends with the weights of its best epoch.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        *,
        mode: str = "auto",
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, mode=mode, min_delta=min_delta)
        if patience < 0:
            raise ArgumentError(f"patience must be at least 0, got {patience}")
        self.patience = patience
        self.restore_best = restore_best
        self._kept: dict[str, Any] | None = None
        self._waited = 0

    def on_fit_begin(self, trainer: Trainer) -> None:
        super().on_fit_begin(trainer)
        self._kept = None
        self._waited = 0

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: dict[str, Any]) -> None:
        if self.improved(epoch, figures):
            if self.restore_best:
                self._kept = snapshot(trainer.model)
            self._waited = 0
            return
        self._waited += 1
        if self._waited >= max(self.patience, 1):
            trainer.stop(f"{self.monitor} has not become better for {self.patience} epochs")

    def on_fit_end(self, trainer: Trainer) -> None:
        if self._kept is not None:
            trainer.model.load_state_dict(self._kept)
            self._kept = None


def snapshot(model: Any) -> dict[str, Any]:
    """The model's state as it is now, apart from the model."""
    return {name: t.detach() for name, t in model.state_dict().items()}


class ModelCheckpoint(Monitor):
    """Write the model's state to a file after every epoch, or only when a figure is better than before.

    The file is replaced whole or not at all. `{epoch}` and the names of figures in the path are filled in:
    `ModelCheckpoint("run/{epoch:03d}-{val_loss:.3f}.safetensors", best_only=False)`. Load it with
    `model.load_state_dict(weft.load(path))`; with `whole=True` the file holds the trainer's state, from which a run can
    go on: `trainer.load_state_dict(weft.load(path))`.
    """

    def __init__(
        self,
        path: str | Path,
        monitor: str = "val_loss",
        *,
        best_only: bool = True,
        mode: str = "auto",
        min_delta: float = 0.0,
        whole: bool = False,
    ) -> None:
        super().__init__(monitor, mode=mode, min_delta=min_delta)
        self.path = str(path)
        self.best_only = best_only
        self.whole = whole
        self.written: str | None = None  #: the file written last

    def on_fit_begin(self, trainer: Trainer) -> None:
        if self.best_only:
            super().on_fit_begin(trainer)
        names = {"epoch": 1, **dict.fromkeys(trainer.figure_names, 0.0)}
        try:
            self.path.format(**names)
        except (KeyError, IndexError, ValueError) as e:
            raise ArgumentError(f"the checkpoint's path {self.path!r} cannot be filled in: {e!r}") from None

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: dict[str, Any]) -> None:
        if self.best_only and not self.improved(epoch, figures):
            return
        path = Path(self.path.format(**{**figures, "epoch": epoch}))
        path.parent.mkdir(parents=True, exist_ok=True)
        save(trainer if self.whole else trainer.model, path)
        self.written = str(path)


class TerminateOnNaN(Callback):
    """Stop as soon as a batch's loss is NaN or infinite. Looks at every loss."""

    def on_batch_end(self, trainer: Trainer, batch: int, loss: Any) -> None:
        value = loss.item()
        if not math.isfinite(value):
            trainer.stop(f"the loss of batch {batch} is {value}", now=True)


class LearningRateSchedule(Callback):
    """Change the learning rate after every epoch, or after every batch.

    Args:
        schedule: a function from the epoch (from 1) to the learning rate, or one that makes a schedule of
            `weft.optim` for the optimiser: `LearningRateSchedule(make=lambda opt: CosineAnnealingLR(opt, 10))`.
        every: "epoch" or "batch", for `make`.
    """

    def __init__(
        self,
        schedule: Callable[[int], float] | None = None,
        *,
        make: Callable[[Any], Schedule] | None = None,
        every: str = "epoch",
    ) -> None:
        if (schedule is None) == (make is None):
            raise ArgumentError("give either a function of the epoch, or make=")
        if every not in ("epoch", "batch"):
            raise ArgumentError(f'every must be "epoch" or "batch", got {every!r}')
        self.function = schedule
        self.make = make
        self.every = every
        self.schedule: Schedule | None = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        if self.make is not None and self.schedule is None:
            self.schedule = self.make(trainer.optimizer)
            if not isinstance(self.schedule, Schedule):
                raise ArgumentError(f"make must return a schedule, got {type(self.schedule).__name__}")

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        if self.function is not None:
            for group in trainer.optimizer.param_groups:
                group["lr"] = float(self.function(epoch))

    def on_batch_end(self, trainer: Trainer, batch: int, loss: Any) -> None:
        if self.schedule is not None and self.every == "batch":
            self.schedule.step()

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: dict[str, Any]) -> None:
        figures["lr"] = trainer.optimizer.param_groups[0]["lr"].item()
        if self.schedule is not None and self.every == "epoch":
            self.schedule.step()


class CSVLogger(Callback):
    """Write the figures of every epoch as a line of a CSV file."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._columns: list[str] | None = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        self._columns = None

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: dict[str, Any]) -> None:
        row = {"epoch": epoch, **{k: v for k, v in figures.items() if isinstance(v, (int, float))}}
        first = self._columns is None
        if self._columns is None:
            self._columns = list(row)
        with self.path.open("w" if first else "a", newline="") as file:
            writer = csv.DictWriter(file, self._columns, extrasaction="ignore")
            if first:
                writer.writeheader()
            writer.writerow(row)
