"""Where a run's batches come from: loaders for what the user gave, and the place in them that a run has reached."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..base.errors import ArgumentError, DataError, StateError
from ..data import DataLoader
from .in_memory import ArrayBatches
from .inputs import split_batch
from .weighing import check_weights


class Feed:
    """The batches of one source, epoch after epoch.

    Args:
        source: a `DataLoader`, or any iterable of batches that can be gone through again and again.
        own: the loader was made for this run, so that the number of its epoch is the trainer's.
        weighted: batches end with sample weights.
    """

    def __init__(self, source: Any, *, own: bool, weighted: bool) -> None:
        self.source = source
        self.own = own
        self.weighted = weighted
        self.length: int | None = _length(source)
        self._in_memory = ArrayBatches.of(source) if own else None
        self._begun: Iterator[tuple[Any, ...]] | None = (
            None  # an epoch of which batches were looked at, or are done
        )

    def _begin(self, keep: bool) -> Iterator[tuple[Any, ...]]:
        """The batches of the next epoch."""
        if self._in_memory is not None:
            return self._in_memory.epoch(keep=keep)
        return self._batches(iter(self.source))

    def _batches(self, iterator: Iterator[Any]) -> Iterator[tuple[Any, ...]]:
        for batch in iterator:
            yield split_batch(batch, self.weighted)

    def first(self) -> tuple[Any, ...]:
        """The first batch of the next epoch."""
        iterator = self._begin(False)
        batch = next(iterator, None)
        if batch is None:
            raise DataError("the data have no batches: there is nothing to learn from")
        batch = split_batch(batch, self.weighted)
        self._begun = itertools.chain([batch], iterator)
        return batch

    def epoch(self, *, keep: bool = False) -> Iterator[tuple[Any, ...]]:
        """The batches of the next epoch, or those that are left of the one that has begun.

        keep: the steps do not change their batches in place, so that they may be kept where all epochs have the same.
        """
        begun, self._begun = self._begun, None
        return begun if begun is not None else self._begin(keep)

    def again(self) -> Iterator[tuple[Any, ...]]:
        """All batches once more, without an influence on the epochs that follow."""
        loader = self.source
        before = loader.state_dict() if isinstance(loader, DataLoader) else None
        for batch in loader:
            yield split_batch(batch, self.weighted)
        if before is not None:
            loader.load_state_dict(before)

    def at(self, epoch: int) -> None:
        """Say what number the next epoch has (from 0), for an own loader."""
        if self.own and isinstance(self.source, DataLoader):
            self.source.epoch = epoch

    # -- going on -------------------------------------------------------------------------------------------

    def state_dict(self, done: int | None) -> dict[str, Any]:
        """What decides about the samples to come. `done`: batches of an epoch that are done; None outside of one."""
        loader = self.source
        if not isinstance(loader, DataLoader):
            return {}
        if self._in_memory is not None:  # goes past the loader
            inside = done is not None
            state = {"seed": loader.seed, "epoch": loader.epoch - inside, "position": done or 0}
        else:
            state = loader.state_dict()
        return {"loader": state, "made": self._made(loader)}

    def _made(self, loader: DataLoader) -> dict[str, Any]:
        """How the loader was made."""
        return {
            "samples": None if loader.is_stream else len(loader.dataset),
            "batch_size": loader.batch_size,
            "shuffle": loader.shuffle,
            "drop_last": loader.drop_last,
        }

    def _check_made(self, saved: Mapping[str, Any]) -> None:
        """Raise unless a saved run had its data from a loader like this one."""
        loader = self.source
        if not isinstance(loader, DataLoader) or "loader" not in saved:
            raise StateError(
                "the saved run had its data from a DataLoader, or from arrays, and this one has not, or the other way "
                "round; give the same data to go on"
            )
        now = self._made(loader)
        changed = [f"{k} {v!r} (now {now[k]!r})" for k, v in saved["made"].items() if v != now[k]]
        if changed:
            raise StateError(
                f"the saved run saw its data in another way: it had {', '.join(changed)}; give the same data and "
                "options to go on, or load the state with trainer.load_state_dict and begin another run"
            )

    def load_state_dict(self, saved: Mapping[str, Any], done: int | None) -> None:
        """Take over the data of a run that is to go on, `done` batches into an epoch."""
        loader = self.source
        self._begun = None
        if saved:
            self._check_made(saved)
            loader.load_state_dict(saved["loader"])
        if done is None:
            return
        if self._in_memory is not None:
            loader.load_state_dict({**saved["loader"], "position": 0})
        self._begun = self._begin(False)
        if not saved or self._in_memory is not None:
            for _ in itertools.islice(self._begun, done):
                pass


def _length(source: Any) -> int | None:
    """How many batches an epoch has, if that is known."""
    try:
        return len(source)
    except TypeError:
        return None


def sample_weights(weights: Any, samples: int, what: str) -> np.ndarray:
    """Sample weights as a checked array."""
    array = np.asarray(weights.numpy() if hasattr(weights, "numpy") else weights)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} must be numbers, got {array.dtype}")
    if array.shape != (samples,):
        raise DataError(
            f"{what} has shape {array.shape}; it needs one number for each of the {samples} samples"
        )
    array = array.astype(np.float32)
    check_weights(array, what)
    if not array.any():
        raise ArgumentError(f"all of {what} is 0: there is nothing to learn from")
    return array
