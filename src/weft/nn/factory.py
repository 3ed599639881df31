"""What layers need to make and check their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, DTypeError
from ..base.state import state
from ..ir.dtype import DEFAULT_FLOAT
from ..ir.dtype import dtype as as_dtype
from ..ir.node import Aval
from ..ops.movement import zeros


def empty(shape: Sequence[int], dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor to be filled by an initialiser; zeros until then."""
    want = DEFAULT_FLOAT if dtype is None else as_dtype(dtype)
    if want.kind != "f":
        raise DTypeError(f"parameters are floating, got dtype {want}")
    check_device(device)
    return Tensor(zeros(Aval(tuple(shape), want)))


def check_device(device: Any) -> None:
    """Raise for a device that is not there."""
    if device is not None and str(device) != "cpu":
        raise ArgumentError(f"there is no device {device!r}. Devices available: cpu")


def positive_int(layer: str, name: str, value: Any, *, zero: bool = False) -> int:
    """`value` as a positive integer (or 0, if `zero`), or an error that names the layer's argument."""
    try:
        n = value.__index__()
    except (AttributeError, TypeError):
        n = -1
    if n < (0 if zero else 1) or isinstance(value, bool):
        least = "0 or more" if zero else "1 or more"
        raise ArgumentError(f"{layer}: {name} must be an integer, {least}, got {value!r}")
    return n


def probability(layer: str, value: Any, name: str = "p") -> float:
    """`value` as a number between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ArgumentError(f"{layer}: {name} must be a number between 0 and 1, got {value!r}")
    return float(value)


@contextmanager
def outside_traces() -> Iterator[None]:
    """Make tensors as if no trace or derivative were running: for parameters that are born during a first call."""
    saved = state.traces, state.ambient, state.active
    try:
        state.traces, state.ambient, state.active = [], 0, 3
        yield
    finally:
        state.traces, state.ambient, state.active = saved
