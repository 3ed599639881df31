"""Epochs of a number of batches that is given, of data that may have no end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from ..base.errors import DataError
from ..data import DataLoader
from .feed import Feed
from .inputs import split_batch


class EndlessFeed(Feed):
    """A feed whose epochs have `length` batches each, and go on where the last one stopped.

    Where the source comes to its end, it is begun anew, in the middle of an epoch if need be.
    """

    def __init__(self, source: Any, *, own: bool, weighted: bool, length: int) -> None:
        super().__init__(source, own=own, weighted=weighted)
        self.length: int = length
        self._in_memory = None
        self._pass: Iterator[Any] = iter(())  # through the source
        self._taken = 0  # batches of that pass
        self._done = 0  # batches of the epoch that is to go on
        self._ahead: list[Any] = []  # a batch that was looked at

    def _next(self) -> tuple[Any, ...]:
        if self._ahead:
            return self._ahead.pop()
        batch = next(self._pass, None)
        if batch is None:
            self._pass, self._taken = iter(self.source), 0
            batch = next(self._pass, None)
        if batch is not None:
            self._taken += 1
            return split_batch(batch, self.weighted)
        raise DataError("the data have no batches: there is nothing to learn from")

    def first(self) -> tuple[Any, ...]:
        batch = self._next()
        self._ahead.append(batch)
        return batch

    def epoch(self, *, keep: bool = False) -> Iterator[tuple[Any, ...]]:
        done, self._done = self._done, 0
        for _ in range(done, self.length):
            yield self._next()

    def again(self) -> Iterator[tuple[Any, ...]]:
        return itertools.islice(super().again(), self.length)

    def state_dict(self, done: int | None) -> dict[str, Any]:
        loader = self.source
        if isinstance(loader, DataLoader):
            return {"loader": loader.state_dict(), "made": self._made(loader)}
        return {"taken": self._taken}

    def load_state_dict(self, saved: Mapping[str, Any], done: int | None) -> None:
        loader = self.source
        self._ahead.clear()
        self._done = done or 0
        if isinstance(loader, DataLoader):
            self._check_made(saved)
            loader.load_state_dict(saved["loader"])
            self._pass, self._taken = iter(loader), saved["loader"]["position"]
        else:
            self._pass, self._taken = iter(loader), saved["taken"]
            for _ in itertools.islice(self._pass, self._taken):
                pass
