"""Batches of samples of about the same length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..arrays.generator import Generator
from ..base.errors import ArgumentError, DataError
from .dataset import host_array
from .sampler import SeededSampler, _positive
from .shuffle import permutation


class BucketSampler(SeededSampler):
    """For a loader's `batch_sampler`: batches whose samples have about the same length, so that little is padded.

    Shuffled samples are cut into buckets of `bucket_size` batches, sorted by length in each, and the batches come in
    random order: every epoch has other batches. Without `shuffle` all samples are sorted, once and for all.

    Args:
        lengths: of every sample.

    >>> sorted(map(sorted, BucketSampler([9, 1, 8, 2], batch_size=2, seed=0)))
    [[0, 2], [1, 3]]
    """

    def __init__(
        self,
        lengths: Sequence[int] | Any,
        batch_size: int,
        shuffle: bool = True,
        drop_last: bool = False,
        generator: Generator | None = None,
        *,
        bucket_size: int = 100,
        seed: int | None = None,
    ) -> None:
        _positive(batch_size, "batch_size")
        _positive(bucket_size, "bucket_size")
        self.lengths = host_array(lengths, "lengths")
        if self.lengths.ndim != 1 or (self.lengths.size and self.lengths.dtype.kind not in "iu"):
            raise ArgumentError(
                f"lengths are integers, one for each sample, got {self.lengths.dtype} {self.lengths.shape}"
            )
        if not len(self.lengths):
            raise DataError("a BucketSampler needs the length of at least one sample")
        self.batch_size, self.bucket_size = int(batch_size), int(bucket_size)
        self.shuffle, self.drop_last = bool(shuffle), bool(drop_last)
        super().__init__(generator, seed)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        n = len(self.lengths)
        if self.shuffle:
            order = permutation(n, self.seed, epoch)
            size = self.batch_size * self.bucket_size
            buckets = [order[i : i + size] for i in range(0, n, size)]
            order = np.concatenate([b[np.argsort(self.lengths[b], kind="stable")] for b in buckets])
        else:
            order = np.argsort(self.lengths, kind="stable")
        batches = [order[i : i + self.batch_size].tolist() for i in range(0, n, self.batch_size)]
        batches = batches[: len(self)]
        if self.shuffle:
            batches = [batches[i] for i in permutation(len(batches), self.seed, epoch, 1)]
        return iter(batches)

    def __len__(self) -> int:
        n = len(self.lengths)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
