"""What callbacks ask of a trainer, and do with it, while a `fit` is going on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..base.errors import StateError
from .run import Run


class Status:
    """The part of `Trainer` that is for callbacks."""

    stopped: str | None
    accumulate: int
    _run: Run | None

    def stop(self, why: str = "stopped", *, now: bool = False) -> None:
        """End the run after the present epoch, or (`now`) at once. For callbacks."""
        self.stopped = why
        if now and self._run is not None:
            self._run.stop_now()

    def when_settled(self, action: Callable[[], None]) -> None:
        """Do something when every callback has had its turn with what happens now: so that what is saved is whole."""
        if self._run is None:
            action()
        else:
            self._run.later.append(action)

    @property
    def running(self) -> Run:
        """The `fit` that is going on."""
        if self._run is None:
            raise StateError("the trainer is not in a fit now; callbacks may ask this while one is going on")
        return self._run

    @property
    def batch(self) -> int:
        """How many batches of the present epoch are done."""
        return self.running.batch

    @property
    def batches(self) -> int:
        """How many batches of the run are done."""
        return self.running.batches

    @property
    def stepped(self) -> bool:
        """Whether the last batch ended with a step of the optimiser (with `accumulate`, not every one does)."""
        return self.running.stepped

    @property
    def total_epochs(self) -> int:
        """How many epochs the run has in all."""
        return self.running.epochs

    @property
    def last_epoch(self) -> int:
        """The number of the last epoch of the run."""
        return self.running.last

    @property
    def batches_per_epoch(self) -> int | None:
        """How many batches an epoch has; None if that is not known."""
        return self.running.feed.length

    @property
    def steps_per_epoch(self) -> int | None:
        """How many steps the optimiser makes in an epoch; None if that is not known."""
        n = self.batches_per_epoch
        return None if n is None else -(-n // self.accumulate)

    def running_figures(self) -> dict[str, float]:
        """The mean loss of the present epoch so far."""
        return {"loss": self.running.loss.mean()}

    def training_batches(self) -> Iterator[tuple[Any, ...]]:
        """The batches of the training data once more: tuples of inputs, targets (and weights)."""
        return self.running.feed.again()
