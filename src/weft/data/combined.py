"""Datasets made of others: parts, chains, random splits."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..arrays.generator import Generator
from ..base.checked import checked
from ..base.errors import ArgumentError, DataError, IndexingError
from .dataset import Dataset, IterableDataset, Sample, taken
from .shuffle import choose_seed, permutation


class Subset(Dataset):
    """The samples of `dataset` at `indices`, in that order."""

    def __init__(self, dataset: Dataset, indices: Sequence[int] | np.ndarray) -> None:
        found = np.asarray(indices, dtype=np.int64 if len(indices) == 0 else None)
        if found.ndim != 1 or found.dtype.kind not in "ui":
            raise ArgumentError(
                f"indices must be a sequence of integers, got {found.dtype} of shape {found.shape}"
            )
        n = len(dataset)
        outside = found[(found < -n) | (found >= n)]
        if outside.size:
            raise IndexingError(f"index {outside[0]} is outside a dataset of {n} samples")
        self.dataset = dataset
        self.indices = np.where(found < 0, found + n, found).astype(np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[int(self.indices[self.check_index(index)])]

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, ...] | None:
        return taken(self.dataset, self.indices[indices])

    def __repr__(self) -> str:
        return f"Subset({len(self)} samples of {self.dataset!r})"


class ConcatDataset(Dataset):
    """The samples of several datasets, one dataset after the other. `first + second` makes one too.

    >>> both = TensorDataset([1, 2]) + TensorDataset([3])
    >>> len(both), both[2][0].item()
    (3, 3)
    """

    def __init__(self, datasets: Iterable[Dataset]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise DataError("ConcatDataset needs at least one dataset")
        for d in self.datasets:
            if isinstance(d, IterableDataset):
                raise DataError(
                    f"ConcatDataset finds samples by their number, {type(d).__name__} is a stream; "
                    "chain streams with ChainDataset"
                )
        self.cumulative_sizes = np.cumsum([len(d) for d in self.datasets]).tolist()

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Sample:
        i = self.check_index(index)
        which = bisect_right(self.cumulative_sizes, i)
        return self.datasets[which][i - (self.cumulative_sizes[which - 1] if which else 0)]

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, ...] | None:
        which = np.searchsorted(self.cumulative_sizes, indices, side="right")
        found: list[np.ndarray] = []
        for d in np.unique(which):
            here = which == d
            first = self.cumulative_sizes[d - 1] if d else 0
            parts = taken(self.datasets[d], indices[here] - first)
            if parts is None:
                return None
            if here.all():
                return parts
            if not found:
                found = [np.empty((len(indices), *p.shape[1:]), p.dtype) for p in parts]
            if [(p.shape[1:], p.dtype) for p in parts] != [(f.shape[1:], f.dtype) for f in found]:
                return None  # sample by sample: what does not fit is then named where batches are made
            for whole, part in zip(found, parts, strict=True):
                whole[here] = part
        return tuple(found) if found else None

    def __repr__(self) -> str:
        return f"ConcatDataset({len(self)} samples of {len(self.datasets)} datasets)"


class ChainDataset(IterableDataset):
    """The samples of several streams, one stream after the other. `first + second` makes one too."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        for d in self.datasets:
            if not hasattr(d, "__iter__"):
                raise DataError(f"ChainDataset chains datasets, got {type(d).__name__}")

    def __iter__(self) -> Iterator[Sample]:
        for d in self.datasets:
            yield from d

    def __len__(self) -> int:
        return sum([len(d) for d in self.datasets])

    def __repr__(self) -> str:
        return f"ChainDataset({len(self.datasets)} datasets)"


@checked
def random_split(
    dataset: Dataset,
    lengths: Sequence[int | float],
    generator: Generator | None = None,
    *,
    seed: int | None = None,
) -> list[Subset]:
    """Cut a dataset at random into parts without a sample in common; the same seed gives the same parts.

    Args:
        lengths: numbers of samples that add up to `len(dataset)`, or fractions that add up to 1 (rounded down,
            the samples left over given to the first parts, one each).
        generator: where the seed is drawn, unless `seed` is given; without both the seed is 0.

    >>> [len(p) for p in random_split(TensorDataset(list(range(10))), [0.7, 0.3])]
    [7, 3]
    """
    n = len(dataset)
    sizes = _sizes(lengths, n)
    order = permutation(n, 0 if seed is None and generator is None else choose_seed(seed, generator))
    ends = np.cumsum(sizes)
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def _sizes(lengths: Sequence[int | float], n: int) -> list[int]:
    if not len(lengths):
        raise ArgumentError("random_split needs at least one length")
    if all(isinstance(x, (int, np.integer)) for x in lengths):
        if any(x < 0 for x in lengths) or sum(lengths) != n:
            raise ArgumentError(
                f"lengths {list(lengths)} add up to {sum(lengths)}, the dataset has {n} samples; "
                "give counts that add up to it, or fractions that add up to 1"
            )
        return [int(x) for x in lengths]
    if any(not 0 <= x <= 1 for x in lengths) or abs(sum(lengths) - 1) > 1e-6:
        raise ArgumentError(f"fractions must lie between 0 and 1 and add up to 1, got {list(lengths)}")
    # 0.7 * 10 is 6.999...: forgive the last bits.
    sizes = [int(np.floor(x * n + 1e-6)) for x in lengths]
    for i in range(n - sum(sizes)):
        sizes[i % len(sizes)] += 1
    return sizes
