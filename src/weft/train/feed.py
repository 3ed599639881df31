"""Where a run's batches come from: loaders for what the user gave, and the place in them that a run has reached."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..base.errors import ArgumentError, DataError, StateError
from ..data import DataLoader, Dataset, TensorDataset
from .inputs import split_batch
from .weighing import check_weights

#: Bytes up to which the batches of arrays that are not shuffled are kept from epoch to epoch.
_SMALL = 2**24


class WeightedDataset(Dataset):
    """The samples of a dataset, each with its weight as one more part."""

    def __init__(self, dataset: Any, weights: np.ndarray) -> None:
        self.dataset = dataset
        self.weights = weights

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        sample = self.dataset[index]
        if not isinstance(sample, (tuple, list)):
            raise DataError(f"a sample must be a tuple (input, target), got {type(sample).__name__}")
        return (*sample, self.weights[index])

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, ...] | None:
        parts = self.dataset.take(indices) if isinstance(self.dataset, Dataset) else None
        return None if parts is None else (*parts, np.ascontiguousarray(self.weights[indices]))


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
        self.length: int | None = len(source) if hasattr(source, "__len__") else None
        self._begun: Iterator[Any] | None = None  # an epoch of which only the first batch was looked at
        self._advanced = False  # an epoch of which some batches are done
        self._kept: list[tuple[Any, ...]] | None = None
        self.keeps = own and self._small()

    def _small(self) -> bool:
        """Whether all epochs have the same batches, and few enough to keep them."""
        loader = self.source
        if not isinstance(loader, DataLoader) or loader.shuffle or loader.collate_fn is not None:
            return False
        data = loader.dataset
        if type(data) is WeightedDataset:
            data = data.dataset
        return type(data) is TensorDataset and sum(a.nbytes for a in data.arrays) <= _SMALL

    def first(self) -> tuple[Any, ...]:
        """The first batch of the next epoch."""
        iterator = iter(self.source)
        batch = next(iterator, None)
        if batch is None:
            raise DataError("the data have no batches: there is nothing to learn from")
        found = split_batch(batch, self.weighted)
        self._begun = itertools.chain([batch], iterator)
        return found

    def epoch(self, *, keep: bool = False) -> Iterator[tuple[Any, ...]]:
        """The batches of the next epoch, or those that are left of the one that has begun.

        keep: the steps do not change their batches in place, so that they may be kept where all epochs have the same.
        """
        begun, self._begun = self._begun, None
        if begun is None and self._kept is not None and keep:
            return iter(self._kept)
        whole = begun is None or not self._advanced
        self._advanced = False
        batches = self._batches(begun if begun is not None else iter(self.source))
        return self._keeping(batches) if self.keeps and keep and whole else batches

    def _batches(self, iterator: Iterator[Any]) -> Iterator[tuple[Any, ...]]:
        for batch in iterator:
            yield split_batch(batch, self.weighted)

    def _keeping(self, batches: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        found = []
        for batch in batches:
            found.append(batch)
            yield batch
        self._kept = found

    def again(self) -> Iterator[tuple[Any, ...]]:
        """All batches once more, without an influence on the epochs that follow."""
        epoch = getattr(self.source, "epoch", None)
        for batch in self.source:
            yield split_batch(batch, self.weighted)
        if epoch is not None:
            self.source.epoch = epoch

    def at(self, epoch: int) -> None:
        """Say what number the next epoch has (from 0), for an own loader."""
        if self.own and isinstance(self.source, DataLoader):
            self.source.epoch = epoch

    # -- going on -------------------------------------------------------------------------------------------

    def state_dict(self, inside: bool) -> dict[str, Any]:
        """What decides about the order of the samples. `inside`: an epoch has begun and is not over."""
        loader = self.source
        if not isinstance(loader, DataLoader):
            return {}
        return {
            "seed": loader.seed,
            "epoch": loader.epoch - inside,
            "samples": len(loader.dataset),
            "batch_size": loader.batch_size,
            "shuffle": loader.shuffle,
            "drop_last": loader.drop_last,
        }

    def advance(self, batches: int) -> None:
        """Begin the next epoch and leave its first batches out."""
        iterator = iter(self.source)
        for _ in itertools.islice(iterator, batches):
            pass
        self._begun, self._advanced = iterator, True

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over the order of a run that is to go on; the next epoch is the one that it was in."""
        self._begun = self._kept = None
        if not saved:
            return
        loader = self.source
        if not isinstance(loader, DataLoader):
            raise StateError("the saved run had a DataLoader, or arrays; this one has another iterable")
        now = self.state_dict(False)
        changed = [
            f"{name} {saved[name]!r} (now {now[name]!r})"
            for name in ("samples", "batch_size", "shuffle", "drop_last")
            if saved[name] != now[name]
        ]
        if changed:
            raise StateError(
                f"the saved run saw its data in another way: it had {', '.join(changed)}; give the same data and "
                "options to go on, or load the state with trainer.load_state_dict and begin another run"
            )
        loader.seed, loader.epoch = saved["seed"], saved["epoch"]


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
