"""Callbacks: what happens between the batches and epochs of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..base.checked import check_constructor
from ..base.errors import ArgumentError, nearest
from ..optim import Schedule, clip_grad_norm_, clip_grad_value_
from ..optim.group import is_number
from .history import better_is

if TYPE_CHECKING:
    from .trainer import Trainer

Figures = Mapping[str, Any]


class Callback:
    """Base class: override what is needed. `trainer.stop("why")` ends the run after the present epoch's figures.

    `figures` are those of the epoch (with `val_` ones if there is validation data), of which callbacks may add more.

    Two methods, `on_gradients` and `on_step`, run inside the compiled training step: they see tensors that have no
    value yet, are called when the step is traced and not again, and what they do to tensors becomes part of the step.
    When a number that they read from the callback changes, the step is traced again.

    A callback that remembers something returns it from `state_dict`: so a run that is resumed has the callback as it
    was when the state was saved. `load_state_dict` is called after `on_fit_begin` (and `on_epoch_begin`, where the run
    goes on in the middle of an epoch).
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_constructor(cls)

    needed: bool = True  #: whether a run that is resumed without it would come out in another way

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first batch; `trainer.figure_names` says what will be measured."""

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Before epoch number `epoch` (from 1)."""

    def on_gradients(self, trainer: Trainer) -> None:
        """Inside the compiled step, between the gradients and the optimiser's step."""

    def on_step(self, trainer: Trainer) -> None:
        """Inside the compiled step, after the optimiser's step."""

    def on_batch_end(self, trainer: Trainer, batch: int, loss: Any) -> None:
        """After batch number `batch` (from 1) of the epoch. `loss` is a tensor: `loss.item()` looks at it."""

    def on_validation_begin(self, trainer: Trainer) -> None:
        """After the last batch of an epoch, before its validation if there is one."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: dict[str, Any]) -> None:
        """After an epoch and its validation."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, also if the run was stopped or interrupted."""

    def state_dict(self) -> dict[str, Any]:
        """What the callback remembers: tensors, numbers, texts, and lists and dicts of them."""
        return {}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


#: The methods that a run calls.
EVENTS = tuple(name for name in vars(Callback) if name.startswith("on_"))


def overrides(callback: Callback, event: str) -> bool:
    """Whether a callback does something at an event."""
    return getattr(type(callback), event) is not getattr(Callback, event) or event in vars(callback)


def check_callbacks(callbacks: Iterable[Callback] | Callback | None) -> list[Callback]:
    """Callbacks as a list; `ArgumentError` for what is none."""
    if callbacks is None:
        return []
    if isinstance(callbacks, Callback):
        return [callbacks]
    for c in callbacks:
        if isinstance(c, Schedule):
            raise ArgumentError(
                f"{type(c).__name__} is a schedule, not a callback; make it one with "
                f"LearningRateSchedule(make=lambda optimizer: {type(c).__name__}(optimizer, ...))"
            )
        if not isinstance(c, Callback):
            kind = (
                f"the class {c.__name__}; write {c.__name__}()" if isinstance(c, type) else type(c).__name__
            )
            raise ArgumentError(f"a callback is an object of a subclass of Callback, got {kind}")
    return list(callbacks)


class LambdaCallback(Callback):
    """A callback of functions: `LambdaCallback(on_epoch_end=lambda trainer, epoch, figures: print(figures))`."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        for name, function in functions.items():
            if name not in EVENTS:
                raise ArgumentError(f"callbacks have no event {name!r}. {nearest(name, EVENTS)}")
            if not callable(function):
                raise ArgumentError(f"{name} must be a function, got {type(function).__name__}")
            setattr(self, name, function)


class Monitor(Callback):
    """Base class of callbacks that follow one figure.

    Args:
        monitor: its name, such as "val_loss" or "val_accuracy".
        mode: "min" or "max": what is better; "auto" goes by the name.
        min_delta: by how much it must be better to count.
    """

    def __init__(self, monitor: str = "val_loss", *, mode: str = "auto", min_delta: float = 0.0) -> None:
        if not isinstance(monitor, str):
            raise ArgumentError(f'monitor is the name of a figure, such as "val_loss", got {monitor!r}')
        if not is_number(min_delta):
            raise ArgumentError(f"min_delta must be a number, got {min_delta!r}")
        self.monitor = monitor
        self.sign = 1.0 if better_is(monitor, mode) == "min" else -1.0
        self.min_delta = abs(min_delta)
        self.best: float | None = None
        self.best_epoch = 0

    def on_fit_begin(self, trainer: Trainer) -> None:
        self.best, self.best_epoch = None, 0
        check_measured(self, self.monitor, trainer)

    def improved(self, epoch: int, figures: Figures) -> bool:
        """Whether the figure is better than ever before; NaN is not."""
        value = float(figures[self.monitor])
        if math.isnan(value):
            return False
        if self.best is not None and self.sign * value >= self.sign * self.best - self.min_delta:
            return False
        self.best, self.best_epoch = value, epoch
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.best, self.best_epoch = saved["best"], saved["best_epoch"]


def check_measured(callback: Callback, figure: str, trainer: Trainer) -> None:
    """Raise where a callback follows a figure that the run does not measure."""
    if figure not in trainer.figure_names:
        mend = " (it needs validation_data)" if figure.startswith("val_") else ""
        raise ArgumentError(
            f"{type(callback).__name__} follows {figure!r}, which is not measured{mend}. "
            f"{nearest(figure, trainer.figure_names)}"
        )


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
        if not hasattr(patience, "__index__") or patience < 0:
            raise ArgumentError(f"patience is a number of epochs, at least 0, got {patience!r}")
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

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "waited": self._waited, "kept": self._kept}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        super().load_state_dict(saved)
        self._waited, self._kept = saved["waited"], saved["kept"]


def snapshot(model: Any) -> dict[str, Any]:
    """The model's state as it is now, apart from the model."""
    return {name: t.detach() for name, t in model.state_dict().items()}


class TerminateOnNaN(Callback):
    """Stop as soon as a batch's loss is NaN or infinite. Looks at every loss."""

    def on_batch_end(self, trainer: Trainer, batch: int, loss: Any) -> None:
        value = loss.item()
        if not math.isfinite(value):
            trainer.stop(f"the loss of batch {batch} is {value}", now=True)


class GradientClipping(Callback):
    """Bound the gradients of every step.

    Args:
        norm: where the norm of all gradients together is larger, they are scaled down to it.
        value: every element is moved into [-value, value]; after the norm, if both are given.
    """

    def __init__(self, norm: float | None = None, value: float | None = None) -> None:
        for name, limit in (("norm", norm), ("value", value)):
            if limit is not None and not (is_number(limit) and limit > 0):
                raise ArgumentError(f"clip_{name} must be a positive number or None, got {limit!r}")
        if norm is None and value is None:
            raise ArgumentError("GradientClipping needs a norm, a value, or both")
        self.norm = norm
        self.value = value

    def on_gradients(self, trainer: Trainer) -> None:
        if self.norm is not None:
            clip_grad_norm_(trainer.model.parameters(), self.norm)
        if self.value is not None:
            clip_grad_value_(trainer.model.parameters(), self.value)
