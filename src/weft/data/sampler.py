"""Samplers: in which order the samples of a dataset are visited."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..arrays.generator import Generator
from ..base.checked import check_constructor
from ..base.errors import ArgumentError, DataError, StateError
from .dataset import host_array
from .shuffle import choose_seed, permutation, uniform


class Sampler:
    """What every sampler is: `iter(sampler)` gives the numbers of samples (or, for a loader's `batch_sampler`, lists of
    them), `len(sampler)` says how many there are.

    A loader calls `set_epoch(number)` before each epoch, if the sampler has it.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_constructor(cls)

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(
            f"{type(self).__name__} must define __iter__, which gives numbers of samples"
        )

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__, how many samples it gives")


class SequentialSampler(Sampler):
    """All samples in their order.

    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Any) -> None:
        len(data_source)
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class SeededSampler(Sampler):
    """Base class of random samplers: a new order in every epoch, which depends on the seed and the epoch alone."""

    def __init__(self, generator: Generator | None, seed: int | None) -> None:
        self.seed = choose_seed(seed, generator)
        self.epoch = 0  #: number of the next epoch

    def set_epoch(self, epoch: int) -> None:
        """The next order is that of epoch number `epoch`."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """What the orders to come depend on."""
        return {"seed": self.seed, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        missing = {"seed", "epoch"} - set(state)
        if missing:
            raise StateError(f"this is not the state of a sampler: it lacks {', '.join(sorted(missing))}")
        self.seed, self.epoch = int(state["seed"]), int(state["epoch"])

    def order(self) -> np.ndarray:
        """The numbers of the samples of the next epoch."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        order = self.order()
        self.epoch += 1
        return iter(order.tolist())


class RandomSampler(SeededSampler):
    """All samples in a random order, or samples drawn anew each time.

    Args:
        data_source: the dataset, or anything with a length.
        replacement: draw each sample from all, so that some come twice and others not at all.
        num_samples: how many samples make an epoch; by default as many as there are. Without replacement, more than
            there are is several rounds over them.
        generator: where the seed is drawn, unless `seed` is given.

    >>> sorted(RandomSampler("abcd", seed=0))
    [0, 1, 2, 3]
    """

    def __init__(
        self,
        data_source: Any,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        if num_samples is not None:
            _positive(num_samples, "num_samples")
        if not len(data_source):
            raise DataError("a RandomSampler needs at least one sample, the data source is empty")
        self.data_source = data_source
        self.replacement = replacement
        self.num_samples = len(data_source) if num_samples is None else int(num_samples)
        super().__init__(generator, seed)

    def order(self) -> np.ndarray:
        n = len(self.data_source)
        if self.replacement:
            return np.floor(uniform(self.num_samples, self.seed, self.epoch) * n).astype(np.int64)
        if self.num_samples <= n:
            return permutation(n, self.seed, self.epoch)[: self.num_samples]
        rounds = [permutation(n, self.seed, self.epoch, r) for r in range(-(-self.num_samples // n))]
        return np.concatenate(rounds)[: self.num_samples]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(SeededSampler):
    """The samples at `indices` in a random order."""

    def __init__(
        self, indices: Sequence[int], generator: Generator | None = None, *, seed: int | None = None
    ) -> None:
        self.indices = np.asarray(indices, dtype=np.int64 if not len(indices) else None)
        if self.indices.ndim != 1 or self.indices.dtype.kind not in "iu":
            raise ArgumentError(f"indices must be a sequence of integers, got {indices!r}")
        super().__init__(generator, seed)

    def order(self) -> np.ndarray:
        return self.indices[permutation(len(self.indices), self.seed, self.epoch)]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(SeededSampler):
    """Samples drawn with probabilities in proportion to `weights`, one weight for each sample.

    Without replacement no sample comes twice; the first is drawn from all, the next from what is left, and so on.

    >>> rare = WeightedRandomSampler([0.0, 0.0, 1.0], 4, seed=0)
    >>> list(rare)
    [2, 2, 2, 2]
    """

    def __init__(
        self,
        weights: Any,
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        _positive(num_samples, "num_samples")
        self.weights = np.asarray(host_array(weights, "weights"), np.float64)
        if self.weights.ndim != 1 or not len(self.weights):
            raise DataError(f"weights must be one number for each sample, got shape {self.weights.shape}")
        wrong = ~(np.isfinite(self.weights) & (self.weights >= 0))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise DataError(f"weights must be finite and not negative, weight {at} is {self.weights[at]}")
        possible = int(np.count_nonzero(self.weights))
        if not possible:
            raise DataError("all weights are 0: there is no sample to draw")
        if not replacement and num_samples > possible:
            raise DataError(
                f"{num_samples} different samples asked for, but only {possible} have a weight above 0; ask for at "
                f"most {possible} or draw with replacement"
            )
        self.num_samples = int(num_samples)
        self.replacement = replacement
        super().__init__(generator, seed)

    def order(self) -> np.ndarray:
        if self.replacement:
            ends = np.cumsum(self.weights)
            draws = uniform(self.num_samples, self.seed, self.epoch) * ends[-1]
            last = int(np.flatnonzero(self.weights)[-1])
            return np.minimum(np.searchsorted(ends, draws, side="right"), last)
        # The first to ring of clocks that ring at these rates: the order is that of drawing one after the other.
        waits = -np.log1p(-uniform(len(self.weights), self.seed, self.epoch))
        with np.errstate(divide="ignore", invalid="ignore"):
            times = np.where(self.weights > 0, waits / self.weights, np.inf)
        return np.argsort(times, kind="stable")[: self.num_samples]

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of `batch_size` numbers of another sampler; `drop_last` leaves out a last list that is shorter.

    >>> list(BatchSampler(SequentialSampler("abcde"), 2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool) -> None:
        _positive(batch_size, "batch_size")
        if not isinstance(drop_last, bool):
            raise ArgumentError(f"drop_last must be True or False, got {drop_last!r}")
        if not hasattr(sampler, "__iter__") or (isinstance(sampler, np.ndarray) and sampler.ndim != 1):
            raise ArgumentError(
                f"a BatchSampler goes through numbers of samples again and again, got {sampler!r}"
            )
        self.sampler: Any = sampler
        self.batch_size = int(batch_size)
        self.drop_last = drop_last

    def set_epoch(self, epoch: int) -> None:
        """Passed on to the sampler, if it wants to know."""
        set_epoch(self.sampler, epoch)

    def state_dict(self) -> dict[str, Any]:
        """That of the sampler, if it has one."""
        return state_of(self.sampler) or {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Passed on to the sampler."""
        if state:
            self.sampler.load_state_dict(state)

    def __iter__(self) -> Iterator[list[Any]]:
        batch: list[Any] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def set_epoch(sampler: Any, epoch: int) -> None:
    """Tell a sampler, if it wants to know, which epoch begins."""
    setter = getattr(sampler, "set_epoch", None)
    if setter is not None:
        setter(epoch)


def state_of(sampler: Any) -> dict[str, Any] | None:
    """The state of a sampler that has one."""
    getter = getattr(sampler, "state_dict", None)
    return None if getter is None else getter()


def _positive(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ArgumentError(f"{name} must be a positive integer, got {value!r}")
