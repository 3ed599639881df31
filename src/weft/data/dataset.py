"""Datasets: things with a length whose samples are found by their number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..arrays.tensor import Tensor, from_array
from ..base.checked import check_constructor, refuse_masked
from ..base.errors import DataError, DTypeError, IndexingError
from ..ir.dtype import DEFAULT_FLOAT
from ..ir.dtype import dtype as as_dtype

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

    def __add__(self, other: Dataset) -> Dataset:
        """The samples of this dataset and then those of another."""
        from .combined import ConcatDataset

        return ConcatDataset([self, other])

    def check_index(self, index: Any) -> int:
        """`index` counted from the front, or an error if there is no such sample."""
        try:
            i = index.__index__()
        except (AttributeError, TypeError):
            raise IndexingError(
                f"a dataset is indexed by an integer, got {index!r}; take many with Subset"
            ) from None
        n = len(self)
        if not -n <= i < n:
            raise IndexingError(f"sample {i} is outside a dataset of {n} samples")
        return i % n


class IterableDataset(Dataset):
    """A dataset whose samples come one after the other: `iter(dataset)` gives them, from the first one, every time.

    A loader with worker processes reads the stream in each of them, and each makes its own share of the batches: the
    batches and their order are the same for any number of workers. What is expensive for a sample is therefore best
    done in the loader's `collate_fn`, which runs only for a worker's own batches.

    A dataset that shares the stream out itself asks `get_worker_info()` before its first sample; then every worker
    delivers what its own iterator gives, in turns of one batch.

    >>> class Count(IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(3))
    >>> [batch.tolist() for batch in DataLoader(Count(), batch_size=2)]
    [[0, 1], [2]]
    """

    def __iter__(self) -> Iterator[Sample]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__, which gives its samples")

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} has no length: it is read as a stream")

    def __getitem__(self, index: int) -> Sample:
        raise IndexingError(f"{type(self).__name__} is read as a stream; its samples have no numbers")

    def __add__(self, other: Dataset) -> Dataset:
        from .combined import ChainDataset

        return ChainDataset([self, other])


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


def taken(dataset: Any, indices: np.ndarray) -> tuple[np.ndarray, ...] | None:
    """What `dataset.take(indices)` gives, if it can: arrays that are nobody else's, with a row for each index."""
    take = getattr(dataset, "take", None)
    parts = None if take is None else take(indices)
    if parts is None or type(dataset).__module__.startswith("weft."):
        return parts
    kind, n = type(dataset).__name__, len(indices)
    if not isinstance(parts, (tuple, list)):
        raise DataError(
            f"{kind}.take must return a tuple with one array for each part of a sample, got {parts!r}"
        )
    arrays = [np.array(host_array(p, f"part {i} of {kind}.take"), order="C") for i, p in enumerate(parts)]
    for i, a in enumerate(arrays):
        if a.shape[:1] != (n,):
            raise DataError(
                f"part {i} of {kind}.take has the shape {a.shape}; it needs a row for each of {n} samples"
            )
    return tuple(arrays)


def rows(array: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """A contiguous copy of the rows at `indices`; where these are consecutive, of one slice."""
    n = len(indices)
    if n and indices[-1] - indices[0] == n - 1 and (n < 3 or bool(np.all(np.diff(indices) == 1))):
        return np.array(array[indices[0] : indices[0] + n], order="C", copy=True)
    return np.ascontiguousarray(array[indices])


def to_tensor(array: np.ndarray) -> Tensor:
    """A tensor that takes over `array`, which must be contiguous and nobody else's."""
    return from_array(array, as_dtype(array.dtype))
