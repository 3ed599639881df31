"""What several composites are written with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...base.errors import DTypeError
from ...base.state import state
from ...ir.dtype import DType, float32, float64
from ...ir.node import Aval, Node
from ...ir.shape import is_static, size_of
from ..elementwise import cast, exp, less, less_equal, where
from ..movement import broadcast_in_dim, full, identity, reshape
from ..reduce import sum_


def stop_gradient(x: Node) -> Node:
    """x, through which no derivative passes."""
    saved, state.grad = state.grad, False
    try:
        return identity(x)
    finally:
        state.grad = saved


def widened(x: Node) -> Node:
    """x for arithmetic that loses too much in 16 bits: float32 for those, else x itself."""
    return cast(x, dtype=float32) if x.dtype.storage_only else x


def as_type(x: Node, dtype: DType) -> Node:
    """x as `dtype`; x itself where it has it."""
    return x if x.dtype is dtype else cast(x, dtype=dtype)


def floating(name: str, **operands: Node | None) -> None:
    """Raise unless all operands are floating and of one dtype; they are named in the message."""
    for what, v in operands.items():
        if v is not None and v.dtype.kind != "f":
            raise DTypeError(
                f"{name} takes floating tensors, but {what} is {v.aval.describe()}; convert it with "
                f"{what}.astype('float32')"
            )
    alike(name, **operands)


def alike(name: str, **operands: Node | None) -> None:
    """Raise unless all operands are of one dtype; they are named in the message."""
    present = {k: v for k, v in operands.items() if v is not None}
    first, x = next(iter(present.items()))
    for what, v in present.items():
        if v.dtype is not x.dtype:
            raise DTypeError(
                f"{name} takes tensors of one dtype, but {first} is {x.aval.describe()} and {what} is "
                f"{v.aval.describe()}; convert the data with astype('{v.dtype}') or the module with "
                f"to('{x.dtype}')"
            )


def count(x: Node, axes: Sequence[int]) -> Any:
    """How many elements a reduction over `axes` takes together: an integer, or a node where sizes are open."""
    sizes = tuple([x.shape[a] for a in axes])
    if is_static(sizes):
        return size_of(sizes)
    ones = full(Aval(sizes, x.dtype), 1)
    return sum_(ones, axes=tuple(range(len(sizes))))


def mean(x: Node, axes: tuple[int, ...]) -> Node:
    """The mean over `axes`, which are dropped."""
    return sum_(x, axes=axes) / count(x, axes)


def keep(reduced: Node, x: Node, axes: tuple[int, ...]) -> Node:
    """A reduced node with its axes back, of length 1."""
    return reshape(reduced, shape=tuple([1 if i in axes else n for i, n in enumerate(x.shape)]))


def along(v: Node, x: Node, axis: int) -> Node:
    """A vector laid along one axis of x, to be broadcast against it."""
    return broadcast_in_dim(
        v, shape=tuple([n if i == axis else 1 for i, n in enumerate(x.shape)]), axes=(axis,)
    )


def positive(x: Node) -> Node:
    """max(x, 0) with derivative 0 at 0. A NaN stays."""
    return where(less_equal(x, 0), 0, x)


def exp_or_zero(shifted: Node) -> Node:
    """e**shifted for what is at most 0, and 0 where that would be below the normal numbers, which are slow."""
    least = 708.0 if shifted.dtype is float64 else 87.0  # -log of the smallest normal number
    return exp(where(less(shifted, -least), float("-inf"), shifted))
