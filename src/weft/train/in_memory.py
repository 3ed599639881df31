"""Batches of arrays in memory, made for a whole epoch at once: the loader's batches for less work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..base.errors import DataError
from ..data import DataLoader, Dataset, TensorDataset
from ..data.dataset import taken, to_tensor
from ..data.shuffle import permutation

#: Bytes up to which an epoch is gathered at once.
_SMALL = 2**24
#: Batches up to which those of arrays that are not shuffled are kept from epoch to epoch.
_FEW = 4096


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
        parts = taken(self.dataset, indices) if isinstance(self.dataset, Dataset) else None
        return None if parts is None else (*parts, np.ascontiguousarray(self.weights[indices]))


class ArrayBatches:
    """The batches that a loader gives of arrays, with the samples of an epoch put in order by one operation.

    Which samples make up a batch is a function of the loader's seed and the number of the epoch, here as there.
    """

    def __init__(self, loader: DataLoader, arrays: tuple[np.ndarray, ...], size: int) -> None:
        self.loader = loader
        self.arrays = arrays
        self.size = size
        self._kept: list[tuple[Any, ...]] | None = None

    @classmethod
    def of(cls, loader: Any) -> ArrayBatches | None:
        """These batches for a loader whose data and order are so plain; else None."""
        if type(loader) is not DataLoader or loader.batch_size is None or loader.num_workers:
            return None
        if loader.collate_fn is not None or loader.sampler is not None or loader.batch_sampler is not None:
            return None
        data, more = loader.dataset, ()
        if type(data) is WeightedDataset:
            data, more = data.dataset, (data.weights,)
        if type(data) is not TensorDataset or sum(a.nbytes for a in data.arrays) > _SMALL:
            return None
        return cls(loader, (*data.arrays, *more), loader.batch_size)

    def epoch(self, *, keep: bool) -> Iterator[tuple[Any, ...]]:
        """The batches of the loader's next epoch.

        keep: nobody changes them in place, so that they may be kept where all epochs have the same.
        """
        number = self.loader.epoch
        self.loader.epoch = number + 1
        if not keep or self.loader.shuffle or len(self.loader) > _FEW:
            return self._cut(number)
        if self._kept is None:
            self._kept = list(self._cut(number))
        return iter(self._kept)

    def _cut(self, number: int) -> Iterator[tuple[Any, ...]]:
        loader, n = self.loader, len(self.arrays[0])
        if loader.shuffle:
            order = permutation(n, loader.seed, number)
            whole = [np.ascontiguousarray(a[order]) for a in self.arrays]
        else:
            whole = [np.array(a, order="C") for a in self.arrays]
        size = self.size
        for first in range(0, n - n % size if loader.drop_last else n, size):
            yield tuple([to_tensor(a[first : first + size]) for a in whole])
