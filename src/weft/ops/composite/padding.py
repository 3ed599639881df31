"""Padding with what is there already: mirrored, repeated at the border, or taken from the other end."""

from __future__ import annotations

from ...base.errors import ShapeError
from ...ir.node import Node
from ...ir.shape import show_shape
from ..movement import broadcast_to, concatenate, flip, slice_axis
from .define import composite

MODES = ("reflect", "replicate", "circular")


def _reflected(x: Node, axis: int, low: int, high: int) -> list[Node]:
    n = x.shape[axis]
    before = flip(slice_axis(x, axis, 1, low + 1), axes=(axis,))
    after = flip(slice_axis(x, axis, n - high - 1, n - 1), axes=(axis,))
    return [before, x, after]


def _repeated(x: Node, axis: int, low: int, high: int) -> list[Node]:
    def spread(edge: Node, count: int) -> Node:
        return broadcast_to(edge, tuple([count if a == axis else n for a, n in enumerate(edge.shape)]))

    n = x.shape[axis]
    first, last = slice_axis(x, axis, 0, 1), slice_axis(x, axis, n - 1, n)
    return [spread(first, low), x, spread(last, high)]


def _wrapped(x: Node, axis: int, low: int, high: int) -> list[Node]:
    n = x.shape[axis]
    return [slice_axis(x, axis, n - low, n), x, slice_axis(x, axis, 0, high)]


_PARTS = {"reflect": _reflected, "replicate": _repeated, "circular": _wrapped}
#: How many elements more than the padding an axis must have.
_SPARE = {"reflect": 1, "circular": 0}


@composite
def extend(x, *, widths, mode):
    """x with `widths` = (low, high) more elements before and after each axis, taken from x itself.

    "reflect" mirrors at the border elements, which are not repeated; "replicate" repeats them; "circular" goes on at
    the other end. Axes are extended one after the other.
    """
    for axis, (low, high) in enumerate(widths):
        if low == 0 and high == 0:
            continue
        n = x.shape[axis]
        need = 1 if mode == "replicate" else max(low, high) + _SPARE[mode]
        if not isinstance(n, int) or n < need:
            raise ShapeError(
                f"pad: mode {mode!r} with widths ({low}, {high}) needs {need} elements or more along axis {axis}, "
                f"got shape {show_shape(x.shape)}"
            )
        parts = _PARTS[mode](x, axis, low, high)
        x = concatenate(*[p for p in parts if p.shape[axis] != 0], axis=axis)
    return x
