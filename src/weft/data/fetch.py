"""Making batches: the same code in this process and in workers."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base.errors import DataError
from .collate import collate, default_convert
from .dataset import Dataset, IterableDataset, taken, to_tensor
from .randomness import BATCH, SAMPLE, STREAM, Scope, begin_item

_SHOWN_INDICES = 5


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for: batch number `number` of an epoch.

    `indices` are the samples of it, of which the first stands at place `first` of the epoch; for a stream they are the
    number of samples.
    """

    epoch: int
    number: int
    first: int
    indices: Any


def shown_samples(job: Job | None) -> str:
    """The samples of a job, for an error message."""
    indices = getattr(job, "indices", None)
    if indices is None or isinstance(indices, int) or not len(indices):
        return ""
    try:
        some = [_plain(i) for i in indices[:_SHOWN_INDICES]]
    except TypeError:
        return ""
    more = ", ..." if len(indices) > _SHOWN_INDICES else ""
    return f" (samples {', '.join(map(repr, some))}{more})"


def cut(epoch: int, indices: Iterator[Any], size: int | None, drop_last: bool) -> Iterator[Job]:
    """Jobs of `size` indices each."""
    if size is None:
        for number, index in enumerate(indices):
            yield Job(epoch, number, number, index)
        return
    batch: list[Any] = []
    number = 0
    for index in indices:
        batch.append(index)
        if len(batch) == size:
            yield Job(epoch, number, number * size, batch)
            batch, number = [], number + 1
    if batch and not drop_last:
        yield Job(epoch, number, number * size, batch)


def announced(jobs: Iterator[Job], loader: Any) -> Iterator[Job]:
    """The jobs of a loader with a sampler; a warning if they are not as many as its length says."""
    count = 0
    for job in jobs:
        count += 1
        yield job
    try:
        said = len(loader)
    except TypeError:
        return
    if count != said:
        sampler = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
        warnings.warn(
            f"len({type(sampler).__name__}) promises {said} batches and it gave {count}: schedules and progress bars "
            "go by its length",
            RuntimeWarning,
            stacklevel=3,
        )


class End:
    """Answer to a job behind the end of a stream."""


class Fetcher:
    """Makes the batches of a dataset.

    Args:
        collate_fn: makes a batch of samples; None stands for the default.
        batched: whether a job is a batch; otherwise it is one sample, which is handed out as it is.
    """

    def __init__(
        self,
        dataset: Any,
        collate_fn: Callable[[Any], Any] | None,
        seed: int,
        *,
        batched: bool,
        drop_last: bool,
    ) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.seed = seed
        self.batched = batched
        self.drop_last = drop_last
        self._stream: StreamReader | None = None

    def begin(self, stream: StreamReader | None = None) -> None:
        """Begin an epoch; of a stream, with a reader of its own."""
        self._stream = stream

    def fetch(self, job: Job) -> Any:
        """The batch that `job` asks for, or `End()`."""
        if self._stream is not None:
            return self._from_stream(job, self._stream)
        if self.batched and self.collate_fn is None and isinstance(self.dataset, Dataset):
            parts = self._taken(job.indices)
            if parts is not None:
                return tuple([to_tensor(p) for p in parts])
        with Scope(self.seed, job.epoch, BATCH, job.number):
            if not self.batched:
                (sample,) = self._samples(job, [job.indices])
                return (self.collate_fn or default_convert)(sample)
            samples = self._samples(job, job.indices)
            begin_item(self.seed, job.epoch, BATCH, job.number)
            return self._collated(samples)

    def _taken(self, indices: Any) -> tuple[np.ndarray, ...] | None:
        try:
            numbers = np.asarray(indices)
        except ValueError:
            return None
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not len(numbers):
            return None
        n = len(self.dataset)
        if numbers.min() < 0 or numbers.max() >= n:
            return None  # the dataset itself says what is wrong
        return taken(self.dataset, numbers)

    def _samples(self, job: Job, indices: Any) -> list[Any]:
        many = getattr(self.dataset, "__getitems__", None)
        if many is not None and self.batched:
            begin_item(self.seed, job.epoch, SAMPLE, job.first)
            samples = self._guarded(lambda: list(many([_plain(i) for i in indices])), "these samples")
            if len(samples) != len(indices):
                raise DataError(
                    f"{type(self.dataset).__name__}.__getitems__ gave {len(samples)} samples for {len(indices)} numbers"
                )
            return samples
        samples = []
        for place, index in enumerate(indices):
            begin_item(self.seed, job.epoch, SAMPLE, job.first + place)
            index = _plain(index)
            samples.append(self._guarded(lambda i=index: self.dataset[i], f"sample {index!r}"))
        return samples

    def _guarded(self, make: Callable[[], Any], what: str) -> Any:
        try:
            return make()
        except StopIteration as e:
            raise DataError(f"{type(self.dataset).__name__} raised StopIteration for {what}") from e
        except Exception as e:
            e.add_note(f"while {what} of {type(self.dataset).__name__} was fetched")
            raise

    def _collated(self, samples: list[Any]) -> Any:
        try:
            return (self.collate_fn or collate)(samples)
        except StopIteration as e:
            raise DataError("collate_fn raised StopIteration") from e

    def _from_stream(self, job: Job, stream: StreamReader) -> Any:
        samples = stream.read(job)
        if not samples or (self.drop_last and self.batched and len(samples) < job.indices):
            return End()
        with Scope(self.seed, job.epoch, BATCH, job.number):
            if not self.batched:
                return (self.collate_fn or default_convert)(samples[0])
            return self._collated(samples)


def _plain(index: Any) -> Any:
    return int(index) if isinstance(index, np.integer) else index


class StreamReader:
    """One pass over a stream, from which the samples of ever later jobs are read."""

    def __init__(self, dataset: IterableDataset, seed: int, epoch: int) -> None:
        self._scope = Scope(seed, epoch, STREAM)
        self._dataset = dataset
        self._iterator: Iterator[Any] | None = None
        self._place = 0  # how many samples were read
        self.reading = False  #: whether the stream's own code is running

    def start(self) -> Iterator[Any]:
        """Begin to read, up to the first sample."""
        if self._iterator is None:
            try:
                with self._scope:
                    stream = iter(self._dataset)
                    first = list(itertools.islice(stream, 1))
            except Exception as e:
                e.add_note(self._note())
                raise
            self._iterator = itertools.chain(first, stream)
        return self._iterator

    def read(self, job: Job) -> list[Any]:
        """The samples of `job`: fewer than asked for, or none, at the end of the stream."""
        stream = self.start()
        skip = job.first - self._place
        samples: list[Any] = []
        self.reading = True
        try:
            with self._scope:
                for _ in itertools.islice(stream, skip):
                    self._place += 1
                if self._place == job.first:
                    for sample in itertools.islice(stream, job.indices):
                        samples.append(sample)
                        self._place += 1
        except Exception as e:
            e.add_note(self._note())
            raise
        finally:
            self.reading = False
        return samples

    def _note(self) -> str:
        return f"while sample {self._place} of the stream {type(self._dataset).__name__} was read"
