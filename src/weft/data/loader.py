"""`DataLoader`: a dataset as batches of tensors, in order or shuffled anew in every epoch."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..arrays.generator import Generator
from ..arrays.tensor import Tensor
from ..base.checked import checked
from ..base.errors import ArgumentError, ArgumentTypeError, DataError, OutOfMemoryError, StateError
from .dataset import IterableDataset
from .fetch import End, Fetcher, Job, StreamReader, announced, cut, shown_samples
from .parallel import Batches, WorkerBatches
from .pool import Pool
from .sampler import set_epoch, state_of
from .shuffle import choose_seed, permutation
from .worker import inside_worker


class DataLoader:
    """Batches of a dataset.

    Args:
        dataset: a `Dataset`, or anything with a length and samples found by their number, or an `IterableDataset`.
        batch_size: samples in a batch; the last one of an epoch may be smaller. None: no batches, but single samples.
        shuffle: a new random order in every epoch. The order depends on `seed` and the number of the epoch alone,
            so a run with the same seed sees the same batches.
        sampler: gives the numbers of the samples in the order to visit them, instead of `shuffle`.
        batch_sampler: gives the numbers of the samples of each batch, instead of `batch_size`, `shuffle`, `sampler`
            and `drop_last`.
        collate_fn: makes a batch from a list of samples. By default the samples' parts are stacked (`collate`).
        drop_last: leave out a last batch that is smaller than the others.
        num_workers: processes that make batches beside this one; 0: they are made here, when they are asked for. The
            batches and their order are the same for any number.
        prefetch_factor: batches that every worker makes ahead, 2 by default.
        persistent_workers: keep the processes from epoch to epoch, with the dataset as it was sent to them.
        timeout: seconds to wait for a batch of a worker before `DataError` says where it hangs: 300 by default, with a
            warning after 60; 0: for ever.
        worker_init_fn: called in every worker with its number, before its first batch.
        multiprocessing_context: for PyTorch's sake; workers are always started anew ("spawn").
        generator: where the seed is drawn; by default the generator that `weft.manual_seed` seeds.
        seed: an integer; by default another one for every loader.
        pin_memory: for PyTorch's sake; memory of a CPU needs no pinning.

    What is drawn while a sample is made, from `item_rng`, `random`, the global functions of `numpy.random` or Weft's
    default generator, depends on the seed and the place of its batch in the epoch alone.

    Workers are processes that start from nothing and get the dataset through a pipe: classes and functions of the main
    script too, which therefore needs no `if __name__ == "__main__"`. One that raises, dies or hangs becomes a
    `DataError` that names it; none outlives the loader or its process.

    `state_dict()` says where the loader is, `load_state_dict` goes on from there, with the same batches that would
    have come.

    >>> [len(x) for x, in DataLoader(TensorDataset([1, 2, 3, 4, 5]), batch_size=2)]
    [2, 2, 1]
    """

    @checked
    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float | None = None,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        seed: int | None = None,
    ) -> None:
        self.is_stream = isinstance(dataset, IterableDataset)
        self.shuffle = bool(shuffle)
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.batch_size = _batch_size(batch_size, batch_sampler)
        self.drop_last = bool(drop_last)
        self._check_order()
        self._check_data(dataset)
        for name, function in (("collate_fn", collate_fn), ("worker_init_fn", worker_init_fn)):
            if function is not None and not callable(function):
                raise ArgumentError(f"{name} must be a function, got {function!r}")
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.seed = choose_seed(seed, generator)
        self._workers(num_workers, prefetch_factor, persistent_workers, timeout, multiprocessing_context)
        self.worker_init_fn = worker_init_fn
        self.epoch = 0  #: number of the next epoch; set it to resume a run
        self._position = 0  # batches of the next epoch to leave out
        self._latest: weakref.ref[Batches] | None = None

    def _workers(self, count: Any, prefetch: Any, persistent: bool, timeout: Any, context: Any) -> None:
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 0:
            raise ArgumentError(f"num_workers must be a number of processes, 0 or more, got {count!r}")
        if prefetch is not None:
            if isinstance(prefetch, bool) or not isinstance(prefetch, (int, np.integer)) or prefetch < 1:
                raise ArgumentError(f"prefetch_factor must be a positive integer, got {prefetch!r}")
            if not count:
                raise ArgumentError("prefetch_factor needs worker processes: give num_workers too")
        if persistent and not count:
            raise ArgumentError("persistent_workers needs worker processes: give num_workers too")
        if timeout is not None and (not isinstance(timeout, (int, float)) or not timeout >= 0):
            raise ArgumentError(f"timeout must be a number of seconds, 0 for no limit, got {timeout!r}")
        method = getattr(context, "get_start_method", lambda: context)()
        if method not in (None, "spawn"):
            raise ArgumentError(
                f"workers are always new processes ('spawn'), got multiprocessing_context={method!r}: a process with "
                "running threads cannot be forked safely"
            )
        self.num_workers = int(count)
        self.prefetch_factor = 2 if prefetch is None else int(prefetch)
        self.persistent_workers = bool(persistent)
        self.timeout = None if timeout is None else float(timeout)
        self._pool: Pool | None = None
        self._close_pool: Callable[[], Any] | None = None

    def _check_order(self) -> None:
        if self.batch_sampler is not None:
            given = {
                "batch_size": self.batch_size not in (1, None),
                "shuffle": self.shuffle,
                "sampler": self.sampler is not None,
                "drop_last": self.drop_last,
            }
            wrong = [name for name, is_given in given.items() if is_given]
            if wrong:
                raise ArgumentError(f"batch_sampler decides what makes a batch; leave out {', '.join(wrong)}")
        for name, given in (("sampler", self.sampler), ("batch_sampler", self.batch_sampler)):
            flat = isinstance(given, (np.ndarray, Tensor)) and given.ndim == 0
            if isinstance(given, Iterator) or flat or (given is not None and not hasattr(given, "__iter__")):
                raise ArgumentError(
                    f"{name} must give its numbers anew in every epoch, got {type(given).__name__}; give a Sampler, a "
                    "list or another object with __iter__"
                )
        if self.sampler is not None and self.shuffle:
            raise ArgumentError("sampler decides about the order; leave out shuffle")
        if self.batch_size is None and self.batch_sampler is None and self.drop_last:
            raise ArgumentError("batch_size=None makes no batches, of which drop_last could leave out one")
        ordered = self.shuffle or self.sampler is not None or self.batch_sampler is not None
        if self.is_stream and ordered:
            raise ArgumentError(
                "the samples of an IterableDataset come in its own order: leave out shuffle, sampler and batch_sampler"
            )

    def _check_data(self, dataset: Any) -> None:
        if self.is_stream:
            return
        n = _length(dataset, numbered=self.sampler is None and self.batch_sampler is None)
        if n == 0:
            raise DataError("the dataset is empty: there is nothing to load")
        if self.drop_last and self.sampler is None and self.batch_size is not None and self.batch_size > n:
            raise DataError(
                f"batch_size {self.batch_size} is larger than the dataset ({n} samples) and drop_last leaves out the "
                f"smaller batch, so that nothing is left; use a batch_size of at most {n} or drop_last=False"
            )

    # -- iteration ------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        sampler = self.sampler if self.batch_sampler is None else self.batch_sampler
        if sampler is not None and not hasattr(sampler, "__len__"):
            raise ArgumentTypeError(
                f"this loader has no length: its {type(sampler).__name__} has none (__len__)"
            )
        if self.batch_sampler is not None:
            return len(self.batch_sampler)  # type: ignore[arg-type]
        n = len(self.dataset if self.sampler is None else self.sampler)  # type: ignore[arg-type]
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        epoch, position, samplers = self.epoch, self._position, self._sampler_states()
        jobs = self._jobs(epoch)
        if self.sampler is not None or self.batch_sampler is not None:
            jobs = announced(jobs, self)
        for _ in range(position):
            if next(jobs, None) is None:
                break
        if self.num_workers:
            batches: Batches = self._parallel(epoch, position, jobs)
        else:
            batches = LocalBatches(self, epoch, position, jobs)
        batches.samplers = samplers
        self.epoch, self._position = epoch + 1, 0
        self._latest = weakref.ref(batches)
        return batches

    def _parallel(self, epoch: int, position: int, jobs: Iterator[Job]) -> Batches:
        if inside_worker():
            raise DataError(
                "a worker process cannot start workers of its own. Does a module that it imports train when it is "
                'imported? Put that under `if __name__ == "__main__":`, or use num_workers=0'
            )
        fetcher = self._fetcher()
        pool = self._pool
        if pool is None or len(pool.workers) != self.num_workers or not pool.serves(fetcher):
            if self._close_pool is not None:
                self._close_pool()
            pool = Pool(fetcher, self.num_workers, self.worker_init_fn)
            if self.persistent_workers:
                self._pool, self._close_pool = pool, weakref.finalize(self, pool.close)
        batches = WorkerBatches(
            pool, epoch, position, jobs,
            prefetch=self.prefetch_factor, timeout=self.timeout, keep=self.persistent_workers, stream=self.is_stream,
        )  # fmt: skip
        if self.persistent_workers:
            batches.owner = self  # whose end is that of the workers
        return batches

    def _jobs(self, epoch: int) -> Iterator[Job]:
        """What makes up epoch number `epoch`."""
        if self.batch_sampler is not None:
            return self._sampled(epoch)
        if self.is_stream:
            return self._endless(epoch)
        if self.sampler is not None:
            set_epoch(self.sampler, epoch)
            return cut(epoch, iter(self.sampler), self.batch_size, self.drop_last)
        n = len(self.dataset)
        order = self._shuffled(n, epoch) if self.shuffle else None
        if self.batch_size is None:
            return (
                Job(epoch, i, i, int(index)) for i, index in enumerate(range(n) if order is None else order)
            )
        size = self.batch_size
        part = np.arange if order is None else lambda first, end: order[first:end]
        return (Job(epoch, i, i * size, part(i * size, min(i * size + size, n))) for i in range(len(self)))

    def _shuffled(self, n: int, epoch: int) -> np.ndarray:
        try:
            return permutation(n, self.seed, epoch)
        except MemoryError:
            raise OutOfMemoryError(
                f"there is no memory for a random order of {n} samples; visit fewer in an epoch with a RandomSampler, "
                "or read them as a stream"
            ) from None

    def _sampled(self, epoch: int) -> Iterator[Job]:
        assert self.batch_sampler is not None
        set_epoch(self.batch_sampler, epoch)
        first = 0
        for number, indices in enumerate(self.batch_sampler):
            if not hasattr(indices, "__len__") and not hasattr(indices, "__iter__"):
                raise DataError(
                    f"a batch_sampler gives lists of sample numbers, one for each batch, and its number {number} is "
                    f"{indices!r}; a sampler gives single numbers"
                )
            batch = indices if isinstance(indices, np.ndarray) else list(indices)
            yield Job(epoch, number, first, batch)
            first += len(batch)

    def _endless(self, epoch: int) -> Iterator[Job]:
        size = self.batch_size or 1
        number = 0
        while True:
            yield Job(epoch, number, number * size, size)
            number += 1

    def _fetcher(self) -> Fetcher:
        return Fetcher(
            self.dataset,
            self.collate_fn,
            self.seed,
            batched=self.batch_size is not None or self.batch_sampler is not None,
            drop_last=self.drop_last,
        )

    # -- state ----------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is: its seed, the number of the epoch, and how many of its batches were handed out.

        While an iterator is alive and not exhausted, that is its epoch; otherwise the next one, from its beginning.
        The state of a sampler that has a `state_dict` is in it too.
        """
        latest = self._latest() if self._latest is not None else None
        state: dict[str, Any] = {"seed": self.seed, "epoch": self.epoch, "position": self._position}
        if latest is not None and not latest.exhausted and latest.epoch == self.epoch - 1:
            return state | {"epoch": latest.epoch, "position": latest.position} | latest.samplers
        return state | self._sampler_states()

    def _sampler_states(self) -> dict[str, Any]:
        found = {"sampler": state_of(self.sampler), "batch_sampler": state_of(self.batch_sampler)}
        return {name: state for name, state in found.items() if state is not None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was asked: the next iteration gives the batches that were to come."""
        if not isinstance(state, Mapping):
            raise StateError(f"this is not the state of a loader: it is {type(state).__name__}")
        missing = {"seed", "epoch", "position"} - set(state)
        if missing:
            raise StateError(f"this is not the state of a loader: it lacks {', '.join(sorted(missing))}")
        wrong = [
            n for n in ("seed", "epoch", "position") if not isinstance(state[n], (int, np.integer, Tensor))
        ]
        if wrong:
            raise StateError(f"{wrong[0]} of a loader's state is an integer, got {state[wrong[0]]!r}")
        seed, epoch, position = (int(state[name]) for name in ("seed", "epoch", "position"))
        if epoch < 0 or position < 0:
            raise StateError(f"epoch and position count from 0, got {epoch} and {position}")
        for name, sampler in (("sampler", self.sampler), ("batch_sampler", self.batch_sampler)):
            if name in state:
                setter = getattr(sampler, "load_state_dict", None)
                if setter is None:
                    raise StateError(f"the state has a part for a {name} with a state, the loader has none")
                setter(state[name])
        self.seed, self.epoch, self._position = seed, epoch, position
        self._latest = None

    def __getstate__(self) -> dict[str, Any]:
        # Processes and running iterations stay where they are.
        return {**self.__dict__, "_pool": None, "_close_pool": None, "_latest": None}

    def __repr__(self) -> str:
        shuffle = "" if self.is_stream else f", shuffle={self.shuffle}"
        return f"DataLoader({self.dataset!r}, batch_size={self.batch_size}{shuffle})"


class LocalBatches(Batches):
    """Batches that are made in this process, when they are asked for."""

    def __init__(self, loader: DataLoader, epoch: int, position: int, jobs: Iterator[Job]) -> None:
        super().__init__(epoch, position)
        self._jobs = jobs
        self._fetcher = loader._fetcher()
        if loader.is_stream:
            self._fetcher.begin(StreamReader(loader.dataset, loader.seed, epoch))

    def __next__(self) -> Any:
        job = None if self.exhausted else next(self._jobs, None)
        if job is None:
            self.exhausted = True
            raise StopIteration
        try:
            batch = self._fetcher.fetch(job)
        except Exception as e:
            e.add_note(f"while batch {job.number}{shown_samples(job)} was made")
            raise
        if isinstance(batch, End):
            self.exhausted = True
            raise StopIteration
        self.position = job.number + 1
        return batch


def _batch_size(given: Any, batch_sampler: Any) -> int | None:
    if given is None or (batch_sampler is not None and given == 1):
        return None
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1:
        raise ArgumentError(f"batch_size must be a positive integer, or None for no batches, got {given!r}")
    return int(given)


def _length(dataset: Any, numbered: bool) -> int:
    """How many samples there are; `numbered`: they are asked for by numbers, not by the keys that a sampler gives."""
    if type(dataset) is tuple and dataset and all(isinstance(a, (np.ndarray, Tensor)) for a in dataset):
        raise DataError(
            f"a tuple of {len(dataset)} arrays is no dataset: wrap them in TensorDataset(x, y), or give a list if each "
            "of them is one sample"
        )
    try:
        if numbered and isinstance(dataset, Mapping) and dataset and 0 not in dataset:
            raise TypeError
        return len(dataset)
    except TypeError:
        raise DataError(
            f"a DataLoader needs a dataset with a length and numbered samples, got {type(dataset).__name__}; "
            "wrap arrays in TensorDataset(x, y), and what can only be read as a stream in an IterableDataset"
        ) from None
