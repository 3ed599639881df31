"""What `fit` and `evaluate` take (arrays, datasets, loaders, iterables of batches), made into feeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..base.errors import ArgumentError, DataError
from ..data import DataLoader, Dataset, IterableDataset, random_split
from ..data.dataset import taken
from ..ir.dtype import DType
from .endless import EndlessFeed
from .feed import Feed, sample_weights
from .in_memory import WeightedDataset
from .inputs import BatchList, Checks, as_dataset, as_loader, is_batch_list, is_indexed

#: Samples whose labels are looked at together.
_CHUNK = 4096
_EMPTY = "there is nothing to measure"


class Sources:
    """Makes feeds for one call.

    Args:
        dtype: the model's floating type, which floats in arrays take.
        batch_size, shuffle, seed: what the user said, or None.
    """

    def __init__(self, dtype: DType, batch_size: Any, shuffle: Any, seed: Any) -> None:
        self.dtype = dtype
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed

    def training(
        self, data: Any, y: Any, weights: Any, validation: Any, split: float, length: int | None
    ) -> tuple[Feed, Feed | None]:
        """The training data and, where there are some, those to validate with.

        length: how many batches an epoch has; None: all there are.
        """
        given = data
        data, weighted = self._weighed(data, y, weights, "fit")
        if split:
            if validation is not None:
                raise ArgumentError("give validation_data or validation_split, not both")
            if isinstance(split, str) or not 0 < split < 1:
                raise ArgumentError(
                    "validation_split is the part of the samples that is kept for validation, at least 0 and below 1, "
                    f"got {split!r}: 0.2 keeps a fifth of them"
                )
            if not is_indexed(data):
                raise ArgumentError(
                    "validation_split takes samples of arrays or of a dataset with a length, got "
                    f"{type(data).__name__}; give validation_data"
                )
            data, validation = random_split(
                data, [1 - split, split], seed=0 if self.seed is None else self.seed
            )
            if not len(data) or not len(validation):
                raise DataError(
                    f"validation_split={split!r} of {len(data) + len(validation)} samples leaves none for "
                    f"{'validation' if len(data) else 'training'}; take another fraction, or give validation_data"
                )
        loader = as_loader(data, self.batch_size, self.shuffle, self.seed, True)
        own = loader is not given
        if length is None:
            feed = Feed(loader, own=own, weighted=weighted)
        else:
            feed = EndlessFeed(loader, own=own, weighted=weighted, length=length)
        if validation is None:
            return feed, None
        # Figures do not depend on the size of the batches, and larger ones are quicker.
        size = max(256, getattr(loader, "batch_size", 0))
        if split:
            return feed, Feed(DataLoader(validation, size, seed=self.seed or 0), own=True, weighted=weighted)
        return feed, self._held_out(validation, None, None, "validation_data", size)

    def held_out(self, data: Any, y: Any, weights: Any, what: str) -> Feed:
        """Data to measure on."""
        return self._held_out(data, y, weights, what, self.batch_size)

    def _held_out(self, data: Any, y: Any, weights: Any, what: str, size: int | None) -> Feed:
        if y is None and weights is None and isinstance(data, tuple) and len(data) == 3:
            *data, weights = data
            data = tuple(data)
        given = data
        data, weighted = self._weighed(data, y, weights, what)
        plain = is_indexed(data) or isinstance(data, IterableDataset)
        # A seed of its own: to measure draws nothing from the generator that training draws from.
        seed = (self.seed or 0) if plain else None
        loader = as_loader(data, (size or 256) if plain else self.batch_size, None, seed, False, _EMPTY)
        return Feed(loader, own=loader is not given, weighted=weighted)

    def _weighed(self, data: Any, y: Any, weights: Any, what: str) -> tuple[Any, bool]:
        """A dataset or loader, and whether it gives sample weights."""
        if isinstance(data, DataLoader):
            if y is not None:
                raise ArgumentError(f"{what}: a DataLoader brings its labels along; leave out y")
        else:
            data = self._dataset(data, y, what)
        if weights is None:
            return data, False
        if not is_indexed(data):
            raise ArgumentError(
                f"{what}: sample_weight goes with arrays or a dataset, whose samples have numbers; got "
                f"{type(data).__name__}"
            )
        return WeightedDataset(data, sample_weights(weights, len(data), "sample_weight")), True

    def _dataset(self, data: Any, y: Any, what: str) -> Any:
        if y is None and is_batch_list(data):
            return BatchList(data)
        if y is None and not isinstance(data, (Dataset, tuple, list)) and not hasattr(data, "__getitem__"):
            if not hasattr(data, "__iter__"):
                raise DataError(f"{what}: arrays, a dataset or a loader expected, got {type(data).__name__}")
            return data  # an iterable of batches
        return as_dataset(data, y, self.dtype, what)

    def check(self, checks: Checks, feed: Feed, what: str) -> bool:
        """Check all data that can be read as a whole; False if they must be checked as they come."""
        loader = feed.source
        if not isinstance(loader, DataLoader) or loader.collate_fn is not None:
            return False
        return checks.dataset(loader.dataset, what, feed.weighted)

    def labels(self, feed: Feed) -> Iterator[np.ndarray]:
        """The labels of the training data, a part at a time."""
        if not isinstance(feed.source, DataLoader) or feed.source.is_stream:
            raise ArgumentError(
                'class_weight="balanced" counts the labels of a dataset or of arrays; for an iterable of batches '
                "give the weights themselves"
            )
        data, at = feed.source.dataset, -1 - feed.weighted
        for first in range(0, len(data), _CHUNK):
            numbers = np.arange(first, min(first + _CHUNK, len(data)))
            parts = taken(data, numbers) if isinstance(data, Dataset) else None
            if parts is not None:
                yield np.asarray(parts[at]).reshape(-1)
            else:
                yield np.array([np.asarray(data[int(i)][at]) for i in numbers]).reshape(-1)
