"""One `fit` on its way: epochs, batches, and all that is needed to go on from where it is."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays.tensor import Tensor
from ..base.errors import DataError, StateError, WeftError
from .callbacks import EVENTS, Callback, overrides
from .feed import Feed
from .inputs import Checks, batch_length
from .steps import Evaluation, Training

if TYPE_CHECKING:
    from .trainer import Trainer

#: So many losses are held before they are looked at and added up.
_HELD = 256


class StopNow(Exception):
    """Ends an epoch at once."""


class LossSum:
    """The mean loss of many batches, each by its weight. They are looked at in groups, or when the mean is wanted."""

    def __init__(self) -> None:
        self.total = 0.0
        self.weight = 0.0
        self._held: list[tuple[Tensor, Any]] = []

    def add(self, loss: Tensor, weight: Any) -> None:
        held = self._held
        held.append((loss, weight))
        if len(held) >= _HELD:
            self._fold()

    def _fold(self) -> None:
        for loss, weight in self._held:
            w = weight if type(weight) is int else weight.item()
            if w:  # a batch whose samples all weigh nothing says nothing
                self.total += loss.item() * w
                self.weight += w
        self._held.clear()

    def mean(self) -> float:
        self._fold()
        if not self.weight:
            raise DataError("loss has seen no samples since it was reset, or only such as weigh nothing")
        return self.total / self.weight

    def reset(self) -> None:
        self.total = self.weight = 0.0
        self._held.clear()

    def state_dict(self) -> dict[str, float]:
        self._fold()
        return {"total": self.total, "weight": self.weight}

    def load_state_dict(self, saved: Mapping[str, float]) -> None:
        self.reset()
        self.total, self.weight = saved["total"], saved["weight"]


class Run:
    """One call of `fit`.

    Args:
        steps, evaluation: the programs.
        feed, held_out: the training data, and those to validate with.
        callbacks: in the order in which they are called.
        epochs: how many there shall be.
        checks: for data that could not be checked as a whole, what every batch of the first epoch must fulfil.
    """

    def __init__(
        self,
        trainer: Trainer,
        steps: Training,
        evaluation: Evaluation,
        feed: Feed,
        held_out: Feed | None,
        callbacks: Sequence[Callback],
        epochs: int,
        checks: Checks | None,
    ) -> None:
        self.trainer = trainer
        self.steps = steps
        self.evaluation = evaluation
        self.feed = feed
        self.held_out = held_out
        self.callbacks = list(callbacks)
        self.at = {event: [c for c in callbacks if overrides(c, event)] for event in EVENTS}
        self.begun: list[Callback] = []
        self.first = trainer.epochs
        self.epochs = epochs
        self.checks = checks
        self.inside = False  #: an epoch has begun and is not over
        self.batch = 0  #: batches of this epoch that are done
        self.batches = 0  #: batches of the run that are done
        self.gathered = 0  #: batches since the last update
        self.stepped = True  #: whether the last batch ended with an update
        self.loss = LossSum()
        self.later: list[Callable[[], None]] = []
        self._in_batches = False

    @property
    def last(self) -> int:
        """The number of the last epoch."""
        return self.first + self.epochs

    def go(self, saved: Mapping[str, Any] | None) -> None:
        """All epochs, from the beginning or from a saved state."""
        trainer = self.trainer
        trainer.optimizer.zero_grad()  # what a loop by hand, or a run that an error ended, has left
        if self.steps.gathered is not None:
            self.steps.gathered.reset()
        for c in self.callbacks:
            c.on_fit_begin(trainer)
            self.begun.append(c)
        if saved is not None:
            self._go_on(saved)
        while trainer.epochs < self.last and trainer.stopped is None:
            self._epoch()

    def end(self) -> None:
        """Tell those callbacks that were told of the beginning, each of them, whatever another one raises."""
        errors: list[BaseException] = []
        for c in self.begun:
            try:
                c.on_fit_end(self.trainer)
            except BaseException as e:
                errors.append(e)
        if errors:
            raise errors[0]

    # -- epochs ---------------------------------------------------------------------------------------------

    def _epoch(self) -> None:
        trainer, began = self.trainer, time.perf_counter()
        epoch = trainer.epochs + 1
        if not self.inside:
            for c in self.at["on_epoch_begin"]:
                c.on_epoch_begin(trainer, epoch)
            self.loss.reset()
            trainer.reset_metrics()
            self.batch = 0
        self._batches()
        if not self.batch and trainer.stopped is None:
            raise DataError(
                f"epoch {epoch} has no batches: the data were at their end before; give data that can be gone through "
                "again, such as a DataLoader or from_generator(function)"
            )
        figures = trainer.figures(self.loss, "the training data")
        for c in self.at["on_validation_begin"]:
            c.on_validation_begin(trainer)
        if self.held_out is not None:
            found = trainer.measure(self.held_out, self.evaluation)
            for name, value in found.items():
                figures[f"val_{name}"] = value
        self.inside = False
        trainer.epochs = epoch
        self.checks = None
        for c in self.at["on_epoch_end"]:
            c.on_epoch_end(trainer, epoch, figures)
        trainer.history.append(epoch, figures, time.perf_counter() - began)
        if self.later:
            self.settle()

    def _batches(self) -> None:
        """One step for each batch."""
        step, add, on_batch_end = self.steps, self.loss.add, self.at["on_batch_end"]
        accumulate, weighted = self.trainer.accumulate, self.steps.weighted
        batches = self.feed.epoch(keep=self.steps.traceable)
        self.inside = self._in_batches = True
        try:
            for batch in batches:
                if self.checks is not None:
                    self._check(self.checks, batch)
                try:
                    loss, weight = step(batch)
                except WeftError as e:
                    e.add_note(f"in batch {self.batch + 1} of epoch {self.trainer.epochs + 1}")
                    raise
                add(loss, batch_length(batch[-1 - weighted]) if weight is None else weight)
                self.batch += 1
                self.batches += 1
                if accumulate > 1:
                    self._gather(accumulate)
                if on_batch_end:
                    for c in on_batch_end:
                        c.on_batch_end(self.trainer, self.batch, loss)
                    if self.later:
                        self.settle()
            if self.gathered:  # how long the epoch would be was not known
                self._gather(1)
        except StopNow:
            if self.steps.gathered is not None:
                self.steps.gathered.reset()
            self.gathered = 0
        finally:
            self._in_batches = False

    def _gather(self, accumulate: int) -> None:
        """Make the update if gradients of enough batches, or of the last ones, have been gathered."""
        self.gathered += accumulate > 1
        self.stepped = self.gathered >= accumulate or self.batch == self.feed.length
        if self.stepped:
            self.steps.update()
            self.gathered = 0

    def _check(self, checks: Checks, batch: tuple[Any, ...]) -> None:
        last = -1 - self.steps.weighted
        checks.batch(batch[:last], batch[last], f"batch {self.batch + 1} of the training data")

    def stop_now(self) -> None:
        """Leave the epoch's loop over batches, if it is running."""
        if self._in_batches:
            raise StopNow

    def settle(self) -> None:
        """Do what was to be done once every callback had had its turn."""
        todo, self.later = self.later, []
        for action in todo:
            action()

    # -- going on -------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on besides the trainer's model, optimiser and generator."""
        trainer = self.trainer
        inside: dict[str, Any] | None = None
        if self.inside:
            gathered = self.steps.gathered
            inside = {
                "batch": self.batch,
                "loss": self.loss.state_dict(),
                "metrics": {m.name: m.state_dict() for m in trainer.metrics},
                "gathered": gathered.state_dict() if gathered is not None and self.gathered else None,
                "since_update": self.gathered,
            }
        return {
            "first": self.first,
            "stopped": trainer.stopped,
            "batches": self.batches,
            "inside": inside,
            "data": self.feed.state_dict(self.batch if self.inside else None),
            "validation": self.held_out.state_dict(None) if self.held_out is not None else {},
            "history": trainer.history.state_dict(),
            "callbacks": self._callback_states(),
            "random": _random_states(),
        }

    def _callback_states(self) -> dict[str, Any]:
        found = {name: (c, c.state_dict()) for name, c in _named(self.callbacks).items()}
        return {name: {"needed": c.needed, "state": s} for name, (c, s) in found.items() if s}

    def _go_on(self, saved: Mapping[str, Any]) -> None:
        """Take over a trainer's state that was saved during a run. Everything begins first, then it is replaced."""
        trainer, run = self.trainer, saved["run"]
        inside = run["inside"]
        self._check_fits(run)
        if inside is not None:
            for c in self.at["on_epoch_begin"]:
                c.on_epoch_begin(trainer, saved["epochs"] + 1)
        # Data may draw random numbers: their state is set after that.
        self.feed.load_state_dict(run["data"], None if inside is None else inside["batch"])
        if self.held_out is not None:
            self.held_out.load_state_dict(run["validation"], None)
        trainer.load_state_dict(saved)
        trainer.history.load_state_dict(run["history"])
        trainer.stopped = run["stopped"]
        self.first, self.batches = run["first"], run["batches"]
        found = _named(self.callbacks)
        for name, state in run["callbacks"].items():
            if name in found:
                found[name].load_state_dict(state["state"])
            elif state["needed"]:
                warnings.warn(
                    f"the saved run had the callback {name}, which this one has not; it goes on without",
                    RuntimeWarning,
                    stacklevel=5,
                )
        if inside is not None:
            self.inside, self.batch, self.gathered = True, inside["batch"], inside["since_update"]
            self.loss.load_state_dict(inside["loss"])
            for m in trainer.metrics:
                m.load_state_dict(inside["metrics"][m.name])
            if inside["gathered"] is not None and self.steps.gathered is not None:
                self.steps.gathered.load_state_dict(inside["gathered"])
        _set_random_states(run["random"])

    def _check_fits(self, run: Mapping[str, Any]) -> None:
        inside = run["inside"]
        if inside is None:
            return
        names = {m.name for m in self.trainer.metrics}
        if names != inside["metrics"].keys():
            raise StateError(
                f"the saved run measured {sorted(inside['metrics']) or 'no metrics'}, this one measures "
                f"{sorted(names) or 'none'}; give it the same metrics to go on in the middle of an epoch"
            )
        if (inside["gathered"] is not None) > (self.steps.gathered is not None):
            raise StateError("the saved run accumulates gradients; give the Trainer the same accumulate=")


def _named(callbacks: Sequence[Callback]) -> dict[str, Callback]:
    """Callbacks by the name of their class, those after the first of a class with a number."""
    out: dict[str, Callback] = {}
    for c in callbacks:
        kind = type(c).__name__
        n = sum(type(other).__name__ == kind for other in out.values())
        out[kind if n == 0 else f"{kind} {n + 1}"] = c
    return out


def _random_states() -> dict[str, Any]:
    """The states of Python's and NumPy's shared generators, which data may draw from."""
    version, words, spare = random.getstate()
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002
    return {
        "python": {"version": version, "words": np.array(words, np.uint64), "spare": spare},
        "numpy": {
            "kind": legacy["bit_generator"],
            "key": legacy["state"]["key"],
            "pos": int(legacy["state"]["pos"]),
            "has_gauss": int(legacy["has_gauss"]),
            "gauss": float(legacy["gauss"]),
        }
        if legacy["bit_generator"] == "MT19937"
        else None,
    }


def _set_random_states(saved: Mapping[str, Any]) -> None:
    python, legacy = saved["python"], saved["numpy"]
    words = tuple(int(w) for w in _host(python["words"]))
    random.setstate((python["version"], words, python["spare"]))
    if legacy is not None:
        np.random.set_state(  # noqa: NPY002
            {
                "bit_generator": legacy["kind"],
                "state": {"key": _host(legacy["key"]), "pos": legacy["pos"]},
                "has_gauss": legacy["has_gauss"],
                "gauss": legacy["gauss"],
            }
        )


def _host(x: Any) -> np.ndarray:
    return x.numpy() if isinstance(x, Tensor) else np.asarray(x)
