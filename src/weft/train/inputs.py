"""What `fit`, `evaluate` and `predict` take: arrays, datasets, loaders; and what is checked before any step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import nn
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, DataError
from ..base.pytree import flatten
from ..data import DataLoader, Dataset, IterableDataset, TensorDataset
from ..data.dataset import host_array, taken
from ..ir.dtype import DType
from ..ir.dtype import dtype as as_dtype
from ..ir.shape import show_shape

_CHUNK = 4096
#: Bytes from which on data is not read through before the first step, but checked as it comes.
_LARGE = 2**30


def as_dataset(x: Any, y: Any, dtype: DType, what: str) -> Any:
    """Arrays as a dataset, their floats in the model's dtype; datasets as they are."""
    if isinstance(x, Dataset):
        if y is not None:
            raise ArgumentError(f"{what}: a dataset brings its labels along; leave out y")
        return x
    if y is None and isinstance(x, tuple) and len(x) == 2:
        x, y = x
    if y is None:
        if (
            hasattr(x, "__getitem__")
            and not isinstance(x, (Tensor, np.ndarray, list, tuple))
            and hasattr(x, "__len__")
        ):
            return x
        raise DataError(
            f"{what} needs labels: give x and y, or a dataset of pairs such as TensorDataset(x, y)"
        )
    inputs = x if isinstance(x, tuple) else (x,)
    names = [f"{what}'s x" if len(inputs) == 1 else f"{what}'s x[{i}]" for i in range(len(inputs))]
    arrays = [floats_as(host_array(a, n), dtype) for a, n in zip(inputs, names, strict=True)]
    labels = floats_as(host_array(y, f"{what}'s y"), dtype)
    for name, a in zip([*names, f"{what}'s y"], [*arrays, labels], strict=True):
        if a.ndim == 0:
            raise DataError(f"{name} is a single number; its first axis must count samples")
    for name, a in zip(names, arrays, strict=True):
        if len(a) != len(labels):
            raise DataError(
                f"{name} has {len(a)} samples and y has {len(labels)}; every sample needs its label"
            )
    return TensorDataset(*arrays, labels)


def floats_as(array: np.ndarray, dtype: DType) -> np.ndarray:
    """Floating arrays in the model's dtype, all others as they are."""
    return array.astype(dtype.numpy) if as_dtype(array.dtype).kind == dtype.kind == "f" else array


def is_indexed(data: Any) -> bool:
    """Whether these are samples found by their number: no loader, no stream, no iterable of batches."""
    return not isinstance(data, (DataLoader, IterableDataset)) and hasattr(data, "__getitem__")


def as_loader(
    data: Any,
    batch_size: int | None,
    shuffle: bool | None,
    seed: int | None,
    default_shuffle: bool,
    empty: str = "there is nothing to learn from",
) -> Any:
    """A loader for a dataset. A loader, or any iterable of batches, is taken as it is."""
    if isinstance(data, IterableDataset):
        return DataLoader(data, 32 if batch_size is None else batch_size, shuffle, seed=seed)
    if not is_indexed(data):
        given = {"batch_size": batch_size, "shuffle": shuffle, "seed": seed}
        for name, value in given.items():
            if value is not None:
                raise ArgumentError(
                    f"the loader has decided about {name} already; give {name} to the loader instead"
                )
        if isinstance(data, Iterator):
            raise DataError(
                "an iterator can be used only once; give a dataset, a DataLoader or a list of batches"
            )
        return data
    shuffle = default_shuffle if shuffle is None else shuffle
    if len(data) == 0:
        raise DataError(f"the dataset is empty: {empty}")
    return DataLoader(data, 32 if batch_size is None else batch_size, shuffle, seed=seed)


def split_batch(batch: Any, weighted: bool = False) -> tuple[Any, ...]:
    """A batch as a tuple: inputs, then the target, then (`weighted`) the samples' weights."""
    least = 2 + weighted
    if type(batch) is tuple and len(batch) >= least:
        return batch
    if not isinstance(batch, (tuple, list)) or len(batch) < least:
        wanted = "(inputs..., targets, weights)" if weighted else "(inputs..., targets)"
        raise DataError(
            f"a batch must be a tuple {wanted}, got "
            + (f"one of {len(batch)} part" if isinstance(batch, (tuple, list)) else type(batch).__name__)
        )
    return tuple(batch)


def batch_length(target: Any) -> int:
    """The number of samples of a batch, by the first array among its targets."""
    if type(target) is not Tensor:
        leaves, _ = flatten(target)
        target = next((x for x in leaves if isinstance(x, (Tensor, np.ndarray))), None)
    shape = () if target is None else target.shape
    return int(shape[0]) if shape else 1


class BatchList:
    """A list of batches that were made beforehand."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def is_batch_list(data: Any) -> bool:
    """Whether this is a list of batches: tuples of tensors or arrays, and not of samples or numbers."""
    return (
        isinstance(data, list)
        and bool(data)
        and all(isinstance(b, tuple) and len(b) >= 2 and isinstance(b[0], (Tensor, np.ndarray)) for b in data)
        and all(
            isinstance(x, (Tensor, np.ndarray)) and x.ndim > 0
            for b in data
            for x in flatten((b[0], b[-1]))[0]
        )
    )


# -- checks -----------------------------------------------------------------------------------------------------


class Checks:
    """What must hold of the data: no NaN or infinity, and class labels that the model has a score for and that are not
    all ignored."""

    def __init__(self, loss: Any, scores: Any, target: Any) -> None:
        by_class = isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss))
        self.ignore = loss.ignore_index if by_class else None
        self.classes: int | None = None
        self.ignored = self.heeded = False  #: whether labels were seen that the loss ignores, and others
        if by_class and isinstance(target, Tensor) and isinstance(scores, Tensor) and scores.ndim >= 2:
            if target.dtype.kind == "f" and target.ndim == scores.ndim - 1:
                raise DataError(
                    f"{type(loss).__name__} takes class labels as integers, the labels are {target.dtype}; "
                    "convert them, for example with y.astype('int64')"
                )
            if target.dtype.kind in "ui":
                self.classes = int(scores.shape[1])

    def begin(self, target: Any) -> None:
        """Forget what was seen, but for the targets of the first batch."""
        array = _array(target)
        held = self.classes is not None and self.ignore is not None and array is not None
        self.ignored = held and bool((array == self.ignore).any())
        self.heeded = held and not self.ignored

    def dataset(self, data: Any, what: str, weighted: bool = False) -> bool:
        """Check all of a dataset that hands out many samples at once; False if it must be checked as it comes.

        weighted: its samples end with their weights.
        """
        known = isinstance(data, Dataset) and not isinstance(data, IterableDataset) and len(data)
        sample = taken(data, np.arange(1)) if known else None
        if sample is None or len(data) * sum(part.nbytes for part in sample) > _LARGE:
            return False
        self.ignored = self.heeded = False
        for first in range(0, len(data), _CHUNK):
            parts = taken(data, np.arange(first, min(first + _CHUNK, len(data))))
            assert parts is not None
            self.batch(parts[: -1 - weighted], parts[-1 - weighted], what, first)
        if self.ignored and not self.heeded:
            raise DataError(
                f"all labels of {what} are {self.ignore}, which the loss ignores (ignore_index): nothing is left; "
                "correct the labels, or give the loss another ignore_index"
            )
        return True

    def batch(self, inputs: Sequence[Any], target: Any, what: str, first: int = 0) -> None:
        """Check one batch, whose first sample has the number `first`."""
        for part in inputs:
            self._finite(part, f"the inputs of {what}", first, "remove these samples or fill in their values")
        self._finite(target, f"the labels of {what}", first, "remove these samples")
        self._in_range(target, what, first)

    def _finite(self, part: Any, title: str, first: int, mend: str) -> None:
        array = _array(part)
        if array is None or array.dtype.kind not in "fc":
            return
        bad = ~np.isfinite(array)
        if bad.any():
            at = np.argwhere(bad)[0]
            value = array[tuple(at)]
            raise DataError(
                f"{title} hold {value} (sample {first + int(at[0]) if len(at) else first}, "
                f"{int(bad.sum())} such values in this part of the data); {mend}"
            )

    def _in_range(self, target: Any, what: str, first: int) -> None:
        array = _array(target)
        if self.classes is None or array is None or array.dtype.kind not in "ui":
            return
        wrong = (array < 0) | (array >= self.classes)
        if self.ignore is not None:
            kept = array != self.ignore
            self.ignored |= not kept.all()
            self.heeded |= bool(kept.any())
            wrong &= kept
        if wrong.any():
            at = np.argwhere(wrong)[0]
            raise DataError(
                f"the labels of {what} hold {array[tuple(at)]} (sample {first + int(at[0])}), but the model has "
                f"{self.classes} scores, for the labels 0 to {self.classes - 1}; give it more outputs "
                "or correct the labels"
            )


def refuse_texts(target: Any) -> None:
    """Raise if the targets are texts: said better than by a loss that gets a list."""
    if isinstance(target, list) and target and isinstance(target[0], (str, bytes)):
        raise DataError(
            f"the labels are texts, such as {target[0]!r}: give every class a number, for example by "
            "classes.index(label) in the dataset"
        )


def _array(part: Any) -> np.ndarray | None:
    if isinstance(part, Tensor):
        return part.numpy()
    return part if isinstance(part, np.ndarray) else None


def describe_batch(inputs: Sequence[Any], target: Any) -> str:
    """The types of a batch, for a note on an error."""
    parts = [
        f"{t.dtype} {show_shape(t.shape)}" if isinstance(t, Tensor) else type(t).__name__ for t in inputs
    ]
    last = (
        f"{target.dtype} {show_shape(target.shape)}" if isinstance(target, Tensor) else type(target).__name__
    )
    return f"inputs {', '.join(parts)} and targets {last}"
