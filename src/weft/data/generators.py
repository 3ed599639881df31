"""Python generators as datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..base.errors import ArgumentError, DataError
from .dataset import IterableDataset


def from_generator(function: Callable[..., Any], *args: Any, length: int | None = None) -> GeneratorDataset:
    """The samples that `function(*args)` yields, as a stream; it is called anew for every epoch.

    Args:
        function: a generator function, or any function that returns an iterator.
        length: how many samples there are, if that is known: then loaders have a length too, and another number of
            samples is an error.

    >>> def squares(n):
    ...     for i in range(n):
    ...         yield i * i
    >>> [batch.tolist() for batch in DataLoader(from_generator(squares, 5), batch_size=3)]
    [[0, 1, 4], [9, 16]]
    """
    return GeneratorDataset(function, args, length)


class GeneratorDataset(IterableDataset):
    """What `from_generator` returns."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...] = (), length: int | None = None
    ) -> None:
        if not callable(function):
            mend = (
                "give the function that makes it, without calling it" if hasattr(function, "__next__") else ""
            )
            raise ArgumentError(
                f"from_generator takes a function, got {type(function).__name__}, which can be read only once; {mend}"
                if mend
                else f"from_generator takes a function that returns an iterator, got {type(function).__name__}"
            )
        if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 0):
            raise ArgumentError(f"length must be a number of samples, got {length!r}")
        self.function = function
        self.args = args
        self.length = length
        self._last: Any = None

    def __iter__(self) -> Iterator[Any]:
        made = self.function(*self.args)
        name = getattr(self.function, "__name__", "the function")
        try:
            samples = iter(made)
        except TypeError:
            raise DataError(f"{name} returned {type(made).__name__}, which gives no samples") from None
        if samples is made and made is self._last:
            raise DataError(
                f"{name} returned the iterator that was read before; it must make a new one every time"
            )
        self._last = made if samples is made else None
        return samples if self.length is None else self._counted(samples, name, self.length)

    @staticmethod
    def _counted(samples: Iterator[Any], name: str, length: int) -> Iterator[Any]:
        count = 0
        for sample in samples:
            count += 1
            if count > length:
                raise DataError(f"{name} gives more than the {length} samples that were announced")
            yield sample
        if count < length:
            raise DataError(f"{name} gave {count} samples, {length} were announced")

    def __len__(self) -> int:
        return super().__len__() if self.length is None else self.length

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}
