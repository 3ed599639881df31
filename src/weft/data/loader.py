"""`DataLoader`: a dataset as batches of tensors, in order or shuffled anew in every epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..arrays.random import Generator, bits
from ..base.checked import checked
from ..base.errors import ArgumentError, DataError
from .dataset import Dataset, host_array, to_tensor
from .shuffle import permutation


class DataLoader:
    """Batches of a dataset.

    Args:
        dataset: a `Dataset`, or anything with a length and samples found by their number.
        batch_size: samples in a batch; the last one of an epoch may be smaller.
        shuffle: a new random order in every epoch. The order depends on `seed` and the number of the epoch alone,
            so a run with the same seed sees the same batches.
        seed: an integer; by default another one for every loader, drawn when it is made from `generator`.
        generator: a generator of random numbers, by default the one that `weft.manual_seed` seeds.
        drop_last: leave out a last batch that is smaller than the others.
        collate_fn: makes a batch from a list of samples. By default the samples' parts are stacked.

    >>> [len(x) for x, in DataLoader(TensorDataset([1, 2, 3, 4, 5]), batch_size=2)]
    [2, 2, 1]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        seed: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        n = _length(dataset)
        if n == 0:
            raise DataError("the dataset is empty: there is nothing to load")
        if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ArgumentError(f"batch_size must be a positive integer, got {batch_size!r}")
        if drop_last and batch_size > n:
            raise DataError(
                f"batch_size {batch_size} is larger than the dataset ({n} samples) and drop_last leaves out the "
                f"smaller batch, so that nothing is left; use a batch_size of at most {n} or drop_last=False"
            )
        if seed is not None and generator is not None:
            raise ArgumentError("give seed or generator, not both")
        if seed is None:
            seed = draw_seed(generator)
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.collate_fn = collate_fn
        self.seed = seed
        self.epoch = 0  #: number of the next epoch; set it to resume a run

    def __len__(self) -> int:
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        n = len(self.dataset)
        order = permutation(n, self.seed, self.epoch) if self.shuffle else np.arange(n)
        self.epoch += 1
        return self._batches(order)

    def _batches(self, order: np.ndarray) -> Iterator[Any]:
        for i in range(len(self)):
            yield self._batch(order[i * self.batch_size : (i + 1) * self.batch_size])

    def _batch(self, indices: np.ndarray) -> Any:
        if self.collate_fn is None and isinstance(self.dataset, Dataset):
            parts = self.dataset.take(indices)
            if parts is not None:
                return tuple([to_tensor(p) for p in parts])
        samples = [self.dataset[int(i)] for i in indices]
        return (self.collate_fn or collate)(samples)

    def __repr__(self) -> str:
        return f"DataLoader({self.dataset!r}, batch_size={self.batch_size}, shuffle={self.shuffle})"


def draw_seed(generator: Generator | None = None) -> int:
    """A random number for a seed, from a generator (by default the one that everything draws from)."""
    low, high = bits((2,), generator=generator).numpy()
    return int(high) << 32 | int(low)


def _length(dataset: Any) -> int:
    try:
        return len(dataset)
    except TypeError:
        raise DataError(
            f"a DataLoader needs a dataset with a length and numbered samples, got {type(dataset).__name__}; "
            "wrap arrays in TensorDataset(x, y)"
        ) from None


@checked
def collate(samples: Sequence[Any]) -> Any:
    """Stack samples into a batch: tensors, arrays and numbers along a new first axis, tuples, lists and mappings
    part by part; strings become a list."""
    first = samples[0]
    if isinstance(first, Mapping):
        return {k: collate([s[k] for s in samples]) for k in first}
    if isinstance(first, (tuple, list)):
        if any(len(s) != len(first) for s in samples):
            raise DataError(
                f"samples of one batch have different numbers of parts: {sorted({len(s) for s in samples})}"
            )
        return tuple([collate(part) for part in zip(*samples, strict=True)])
    if isinstance(first, (str, bytes)):
        return list(samples)
    arrays = [host_array(s, "a sample") for s in samples]
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        raise DataError(
            f"samples of one batch have different shapes: {', '.join(map(str, sorted(shapes)))}; pad them to one "
            "shape, or give the loader a collate_fn that does"
        )
    stacked = np.stack(arrays)
    if stacked.dtype == np.float64 and isinstance(first, float) and not isinstance(first, np.generic):
        stacked = stacked.astype(np.float32)
    return to_tensor(np.ascontiguousarray(stacked))
