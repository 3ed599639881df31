"""What a metric is: sums over batches that become one figure at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..arrays import dispatch
from ..arrays.grad import no_grad
from ..arrays.outer import outer_zeros
from ..arrays.tensor import Tensor
from ..base.checked import check_constructor, checked
from ..base.errors import DataError, StateError
from ..ir.dtype import DType, float64, int64
from ..ir.shape import Shape, show_shape
from ..ops.composite.define import composite
from ..ops.define import constant
from ..ops.elementwise import cast
from ..ops.movement import reshape
from ..ops.reduce import sum_


class Metric:
    """A figure over many batches: `update(predictions, targets)` for each, `compute()` at the end, `reset()`.

    What is remembered are sums, held as tensors: updating looks at no value, and inside a compiled step the sums
    become part of the program. The figure is that of all samples together, so uneven batches weigh what they should.

    A subclass gives `batch(predictions, targets)`, the tensors to add up, and `result(*sums)`, the figure they give.
    """

    name: str = "metric"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_constructor(cls)

    def __init__(self) -> None:
        self._sums: list[Tensor] = []

    def batch(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """What one batch adds to the sums. The types must be the same for every batch."""
        raise NotImplementedError(f"{type(self).__name__} must define batch(predictions, targets)")

    def result(self, *sums: np.ndarray) -> Any:
        """The figure, from the sums."""
        raise NotImplementedError(f"{type(self).__name__} must define result(*sums)")

    @checked
    def update(self, predictions: Any, targets: Any) -> None:
        """Take one more batch into account."""
        with no_grad():
            parts = self.batch(as_tensor(predictions), as_tensor(targets))
            if not self._sums:
                self._sums = [outer_zeros(p._cell.node.aval) for p in parts]
            for held, part in zip(self._sums, parts, strict=True):
                if part._cell.node.aval is not held._cell.node.aval:
                    before, now = held._cell.node.aval.describe(), part._cell.node.aval.describe()
                    raise DataError(f"{self.name}: this batch gives {now}, the ones before gave {before}")
            for held, new in zip(self._sums, self.merge(self._sums, parts), strict=True):
                held._cell.rebind(new._cell.node)

    def merge(self, held: list[Tensor], parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What two parts of the data give together; their sum, unless a subclass knows better. Zeros are no data."""
        return tuple([Tensor(h._cell.node + p._cell.node) for h, p in zip(held, parts, strict=True)])

    def compute(self) -> Any:
        """The figure of all batches since the last `reset`: a float, or an array where there are several."""
        if not self._sums:
            raise DataError(f"{self.name} has seen no data yet: call update(predictions, targets) first")
        return self.result(*[s.numpy() for s in self._sums])

    def reset(self) -> None:
        """Start anew."""
        for held in self._sums:
            fresh = outer_zeros(held._cell.node.aval)
            held._cell.rebind(fresh._cell.node)

    def state_dict(self) -> dict[str, Any]:
        """What the batches so far have left, to go on from."""
        return {"sums": [s.detach() for s in self._sums]}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        found = saved["sums"]
        if not self._sums:
            self._sums = [outer_zeros(s._cell.node.aval) for s in found]
        if [s._cell.node.aval for s in self._sums] != [s._cell.node.aval for s in found] and found:
            raise StateError(f"the saved state of {self.name} is of another kind of predictions")
        if not found:
            self.reset()
        for held, new in zip(self._sums, found, strict=False):
            held._cell.rebind(new._cell.node)

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The sums, under the metric's name."""
        for i, held in enumerate(self._sums):
            yield f"{self.name}.sum{i}", held

    def __repr__(self) -> str:
        return f"<metric {self.name}>"


class Collected(Metric):
    """A figure that no sums give: what every batch leaves is kept until the end, and takes memory accordingly.

    A subclass gives `batch(predictions, targets)`, tensors whose first axis counts samples, and `result(*columns)`, the
    figure from those of all batches together.
    """

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[tuple[Tensor, ...]] = []

    @checked
    def update(self, predictions: Any, targets: Any) -> None:
        with no_grad():
            self.keep(self.batch(as_tensor(predictions), as_tensor(targets)))

    def keep(self, parts: tuple[Tensor, ...]) -> None:
        """Take what `batch` gave into account."""
        for before, now in zip(self._parts[0] if self._parts else parts, parts, strict=True):
            if before.shape[1:] != now.shape[1:]:
                raise DataError(
                    f"{self.name}: this batch gives shape {show_shape(now.shape)}, the ones before gave "
                    f"{show_shape(before.shape)}"
                )
        self._parts.append(parts)

    def compute(self) -> Any:
        if not self._parts:
            raise DataError(f"{self.name} has seen no data yet: call update(predictions, targets) first")
        columns = [np.concatenate([t.numpy() for t in column]) for column in zip(*self._parts, strict=True)]
        if not len(columns[0]):
            raise DataError(f"{self.name} has seen no samples since it was reset")
        return self.result(*columns)

    def reset(self) -> None:
        self._parts.clear()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [list(parts) for parts in self._parts]}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self._parts = [tuple(parts) for parts in saved["parts"]]

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        return iter(())


def as_tensor(x: Any) -> Tensor:
    """A tensor for a tensor, an array or nested lists."""
    return x if isinstance(x, Tensor) else Tensor(dispatch.node_of(np.asarray(x)))


@composite
def total(x, *, dtype):
    """The sum of all elements, added up in another dtype."""
    return sum_(cast(x, dtype=dtype), axes=tuple(range(x.ndim)))


def summed(x: Tensor, dtype: DType = float64) -> Tensor:
    """The sum of all elements as float64 or int64."""
    return dispatch.apply(total, x, dtype=dtype)


def count(n: int) -> Tensor:
    """A number of samples, which is known without looking."""
    return Tensor(constant(n, int64))


def per_sample(value: np.ndarray, samples: np.ndarray, name: str) -> float:
    """value / samples; an error where there are none."""
    if not samples:
        raise DataError(f"{name} has seen no samples since it was reset")
    return float(value / samples)


def same_shape(name: str, predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions and targets of one shape; (n, 1) and (n,) are the same."""
    if predictions.shape == targets.shape:
        return predictions, targets
    short = [
        tuple(x.shape[:1]) if x.ndim == 2 and x.shape[1] == 1 else tuple(x.shape)
        for x in (predictions, targets)
    ]
    if short[0] == short[1]:
        return reshaped(predictions, short[0]), reshaped(targets, short[0])
    raise DataError(
        f"{name}: predictions of shape {show_shape(predictions.shape)} and targets of shape "
        f"{show_shape(targets.shape)} do not belong together; they must have one shape"
    )


def reshaped(x: Tensor, shape: Shape) -> Tensor:
    """x under another shape of as many elements."""
    return x if x.shape == shape else Tensor(reshape(x._cell.node, shape=shape))


class Mean(Metric):
    """The mean of numbers, each with a weight: `update(loss, weight)`."""

    def __init__(self, name: str = "mean") -> None:
        super().__init__()
        self.name = name

    def update(self, value: Any, weight: float | int = 1) -> None:  # type: ignore[override]
        """Take `value`, which stands for `weight` samples, into account."""
        super().update(value, float(weight))

    def batch(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        if predictions.size != 1:
            raise DataError(f"{self.name} takes one number, got shape {show_shape(predictions.shape)}")
        weight = summed(targets)
        return summed(predictions) * weight, weight

    def result(self, value: np.ndarray, weight: np.ndarray) -> float:
        return per_sample(value, weight, self.name)
