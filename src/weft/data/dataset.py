"""Datasets: things with a length whose samples are found by their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..arrays.tensor import Tensor, from_array
from ..base.checked import check_constructor, checked, refuse_masked
from ..base.errors import ArgumentError, DataError, DTypeError, IndexingError
from ..ir.dtype import DEFAULT_FLOAT
from ..ir.dtype import dtype as as_dtype
from .shuffle import permutation

Sample = Any


class Dataset:
    """What every dataset is: `len(dataset)` samples, `dataset[i]` the i-th of them.

    A dataset that can fetch many samples at once overrides `take`; the loader then makes no Python loop over
    samples.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_constructor(cls)

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__, the number of its samples")

    def __getitem__(self, index: int) -> Sample:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__, its sample number `index`")

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, ...] | None:
        """The samples at `indices`, stacked: one array for each part of a sample. None: ask one by one."""
        return None

    def check_index(self, index: Any) -> int:
        """`index` counted from the front, or an error if there is no such sample."""
        try:
            i = index.__index__()
        except AttributeError:
            raise IndexingError(
                f"a dataset is indexed by an integer, got {index!r}; take many with Subset"
            ) from None
        n = len(self)
        if not -n <= i < n:
            raise IndexingError(f"sample {i} is outside a dataset of {n} samples")
        return i % n


def host_array(data: Any, what: str = "data") -> np.ndarray:
    """Tensors, NumPy arrays and nested lists as a NumPy array of a dtype that Weft knows; arrays are not copied."""
    if isinstance(data, Tensor):
        return data.numpy()
    refuse_masked(data)
    if isinstance(data, (np.ndarray, np.generic)):
        array = np.asarray(data)
    else:
        try:
            array = np.asarray(data)
        except ValueError as e:
            raise DataError(f"{what} is not rectangular ({e}); pad its rows to one length") from None
        if array.dtype == np.float64:
            array = array.astype(DEFAULT_FLOAT.numpy)
    try:
        as_dtype(array.dtype)
    except DTypeError:
        kind = type(data).__name__ if array.dtype == object else f"dtype {array.dtype}"
        raise DataError(f"{what} holds {kind}, which is not numeric; encode it as numbers first") from None
    return array


class TensorDataset(Dataset):
    """Samples along the first axis of one or more tensors or NumPy arrays of equal length.

    Sample i is the tuple of their i-th elements, as tensors. NumPy arrays are kept as they are, without a copy
    (a memory-mapped file stays on disk): do not change them while they are in use.

    >>> TensorDataset([[0.0], [1.0]], [0, 1])
    TensorDataset(2 samples of float32 (1,), int64 ())
    """

    def __init__(self, *arrays: Any) -> None:
        if not arrays:
            raise DataError("TensorDataset needs at least one tensor or array")
        self.arrays = tuple([host_array(a, f"argument {i} of TensorDataset") for i, a in enumerate(arrays)])
        for i, a in enumerate(self.arrays):
            if a.ndim == 0:
                raise DataError(
                    f"argument {i} of TensorDataset is a single number; its first axis must count samples"
                )
        lengths = [len(a) for a in self.arrays]
        if len(set(lengths)) > 1:
            raise DataError(
                f"the parts of a dataset must have one length, got {', '.join(map(str, lengths))}: "
                "every sample needs its label"
            )

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The parts as tensors (a copy each)."""
        return tuple([to_tensor(np.array(a)) for a in self.arrays])

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        i = self.check_index(index)
        return tuple([to_tensor(np.array(a[i])) for a in self.arrays])

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple([rows(a, indices) for a in self.arrays])

    def __repr__(self) -> str:
        parts = ", ".join(f"{a.dtype} {a.shape[1:]}" for a in self.arrays)
        return f"TensorDataset({len(self)} samples of {parts})"


def rows(array: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """A contiguous copy of the rows at `indices`; where these are consecutive, of one slice."""
    n = len(indices)
    if n and indices[-1] - indices[0] == n - 1 and (n < 3 or bool(np.all(np.diff(indices) == 1))):
        return np.array(array[indices[0] : indices[0] + n], order="C", copy=True)
    return np.ascontiguousarray(array[indices])


def to_tensor(array: np.ndarray) -> Tensor:
    """A tensor that takes over `array`, which must be contiguous and nobody else's."""
    return from_array(array, as_dtype(array.dtype))


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
        return self.dataset.take(self.indices[indices])

    def __repr__(self) -> str:
        return f"Subset({len(self)} samples of {self.dataset!r})"


@checked
def random_split(dataset: Dataset, lengths: Sequence[int | float], *, seed: int = 0) -> list[Subset]:
    """Cut a dataset at random into parts without a sample in common; the same seed gives the same parts.

    Args:
        lengths: numbers of samples that add up to `len(dataset)`, or fractions that add up to 1 (rounded down,
            the samples left over given to the first parts, one each).

    >>> [len(p) for p in random_split(TensorDataset(list(range(10))), [0.7, 0.3])]
    [7, 3]
    """
    n = len(dataset)
    sizes = _sizes(lengths, n)
    order = permutation(n, seed)
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
