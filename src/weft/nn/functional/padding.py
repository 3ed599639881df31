"""Padding of tensors."""

from __future__ import annotations

from collections.abc import Sequence

from ...arrays.dispatch import apply
from ...arrays.remembered import remembered
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError, ShapeError
from ...ir.dtype import weak_dtype
from ...ir.shape import show_shape
from ...ops import movement
from ...ops.composite.padding import MODES, extend
from ...ops.define import constant
from .operands import checked


@remembered
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """More elements around a tensor.

    Args:
        input: any shape.
        pad: (before, after) for the last axis, then for the one before it, and so on. Negative widths take elements
            away.
        mode: "constant": `value`; elements of the tensor itself: "reflect" [c b | a b c | b a], "replicate"
            [a a | a b c | c c], "circular" [b c | a b c | a b].
        value: what is put there in mode "constant" (default 0).

    Shapes: along each axis before + size + after.

    Raises: ShapeError for more widths than axes, or mirrors wider than the axis; ArgumentError for an unknown mode, or
        a value that the dtype cannot hold.

    >>> pad(weft.tensor([1, 2, 3]), (1, 2), mode="circular")
    tensor([3, 1, 2, 3, 1, 2], dtype=int64)
    """
    x = checked("pad", input)
    if not all(hasattr(w, "__index__") for w in pad):
        raise ArgumentError(f"pad takes integer widths, got {tuple(pad)!r}")
    widths = [w.__index__() for w in pad]
    if len(widths) % 2 or len(widths) // 2 > x.ndim:
        raise ShapeError(
            f"pad takes two widths for each of some of the last axes, got {tuple(pad)!r} for shape "
            f"{show_shape(x.shape)}"
        )
    pairs = [(0, 0)] * (x.ndim - len(widths) // 2)
    pairs += [(widths[i], widths[i + 1]) for i in range(len(widths) - 2, -1, -2)]
    node = x._node
    for axis, (low, high) in enumerate(pairs):
        if low < 0 or high < 0:
            size = node.shape[axis]
            if isinstance(size, int) and size + min(low, 0) + min(high, 0) < 0:
                raise ShapeError(
                    f"pad: widths ({low}, {high}) take more away than axis {axis} of {show_shape(x.shape)} has"
                )
            node = movement.slice_axis(node, axis, max(-low, 0), size - max(-high, 0))
    added = tuple([(max(low, 0), max(high, 0)) for low, high in pairs])
    if mode in MODES:
        if value is not None:
            raise ArgumentError(f"pad: mode {mode!r} takes no value, got {value!r}")
        return apply(extend, Tensor(node), widths=added, mode=mode)
    if mode != "constant":
        raise ArgumentError(f"pad: mode must be one of {('constant', *MODES)}, got {mode!r}")
    if not any(map(any, added)):
        return Tensor(node)
    filler = value if value is not None else False if x.dtype.kind == "b" else 0
    if weak_dtype(filler, x.dtype) is not x.dtype:
        raise ArgumentError(f"pad: {filler!r} is no value of a {x.dtype} tensor")
    low, high = zip(*added, strict=True)
    return Tensor(movement.pad(node, constant(filler, x.dtype), low=low, high=high, interior=(0,) * len(low)))
