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
        self.length = _length(source)
        self._begun: Iterator[Any] | None = None  # an epoch of which only the first batch was looked at
        self._advanced = False  # an epoch of which some batches are done
        self._kept: list[tuple[Any, ...]] | None = None
        self.keeps = own and self._small()

    def _small(self) -> bool:
        """Whether all epochs have the same batches, and few enough to keep them."""
        loader = self.source
        if not isinstance(loader, DataLoader) or loader.shuffle or loader.collate_fn is not None:
            return False
        if loader.sampler is not None or loader.batch_sampler is not None:
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
        state = loader.state_dict()
        if done is not None:
            state["position"] = done  # an epoch that was kept goes past the loader
        return {"loader": state, "made": self._made(loader)}

    def _made(self, loader: DataLoader) -> dict[str, Any]:
        """How the loader was made."""
        return {
            "samples": None if loader.is_stream else len(loader.dataset),
            "batch_size": loader.batch_size,
            "shuffle": loader.shuffle,
            "drop_last": loader.drop_last,
        }

    def load_state_dict(self, saved: Mapping[str, Any], done: int | None) -> None:
        """Take over the data of a run that is to go on, `done` batches into an epoch."""
        loader = self.source
        self._begun = self._kept = None
        if saved:
            if not isinstance(loader, DataLoader):
                raise StateError("the saved run had a DataLoader, or arrays; this one has another iterable")
            now = self._made(loader)
            changed = [f"{k} {v!r} (now {now[k]!r})" for k, v in saved["made"].items() if v != now[k]]
            if changed:
                raise StateError(
                    f"the saved run saw its data in another way: it had {', '.join(changed)}; give the same data and "
                    "options to go on, or load the state with trainer.load_state_dict and begin another run"
                )
            loader.load_state_dict(saved["loader"])
        if done is not None:
            begun = iter(self.source)
            if not saved:
                for _ in itertools.islice(begun, done):
                    pass
            self._begun, self._advanced = begun, True


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
