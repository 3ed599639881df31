"""In which order reductions combine elements: decided by shapes and axes alone, so that the bits are the same wherever
and however often one is made."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir.node import Aval

#: Primitives that combine elements along axes.
REDUCTIONS = ("sum", "prod", "max", "min", "any", "all")

#: A reduction over fewer elements than this, with others left over, is done for several results at once.
_SHORT = 32

#: Channels of an image, at least, for vectors to run along them.
_CHANNELS = 8


def runs_across(shape: Sequence[int], axes: Sequence[int]) -> bool:
    """Whether vectors run along what a reduction leaves, each lane adding up in order, or along what it reduces.

    Along what is left, if the last axis is, or if there is little to reduce, or if only the channels of images are
    left, of all images or of each, which lie next to each other behind convolutions. A function of shape and axes
    alone, since it decides in which order elements are combined.
    """
    left = [a for a in range(len(shape)) if a not in axes]
    if not left:
        return False
    if len(shape) - 1 in left or not axes:
        return True
    if math.prod([shape[a] for a in axes]) < _SHORT or (len(shape) > 2 and left == [1]):
        return True
    return len(shape) > 3 and left == [0, 1] and shape[1] >= _CHANNELS


# -- in blocks ------------------------------------------------------------------------------------------------

#: Elements that a reduction with few results has to go through to be made in blocks; for each result, if there are
#: several: rows that stay in a cache had better be gone through by one thread, for all that is computed from them.
_MANY, _LARGE = 1 << 16, 1 << 20

#: Units of work from which on a reduction is shared well enough as it is, and the results of one unit where vectors
#: run across them.
_UNITS, _COLUMNS = 16, 64

#: Elements of a block: at least, best, and at most.
_LEAST, _BEST, _MOST = 1 << 12, 1 << 13, 1 << 15


def _is_long(shape: Sequence[int], axes: Sequence[int]) -> bool:
    """Whether there is much to reduce to few results."""
    left = [n for a, n in enumerate(shape) if a not in axes]
    if not axes or math.prod(shape) < _MANY:
        return False
    if not runs_across(shape, axes):
        results = math.prod(left)
        return results == 1 or (results < _UNITS and math.prod(shape) >= results * _LARGE)
    return math.prod(left[:-1]) * -(-left[-1] // _COLUMNS) < _UNITS


def block_of(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, int] | None:
    """(axis, length): what is combined first are pieces of that length of a reduced axis, and the reduced axes behind
    it as a whole. None for a reduction that is made in one step.
    """
    if not _is_long(shape, axes):
        return None
    # Where vectors run across the results, these are computed together.
    size = math.prod([n for a, n in enumerate(shape) if a not in axes]) if runs_across(shape, axes) else 1
    for axis in sorted(axes, reverse=True):
        if size >= _LEAST:
            return axis + 1, 1  # the axes behind this one are enough
        if size * shape[axis] > _MOST:
            return axis, _length(shape[axis], size)
        size *= shape[axis]
    return None


def _length(count: int, size: int) -> int:
    """The length of the pieces of an axis of `count` elements, each of which stands for `size`.

    One that divides the axis, if there is one, and rather one that is a multiple of long vectors.
    """
    best = max(_BEST // size, 1)
    near = [d for d in range(max(best // 2, 2), min(4 * best, count) + 1) if count % d == 0]
    found = max(near, key=lambda d: (d * size % 64 == 0, d * size % 16 == 0, -abs(d - best)), default=0)
    if found:
        return found
    pieces = -(-count // best)
    return -(-count // pieces // 16) * 16 if best > 256 else -(-count // pieces)


# -- row by row ----------------------------------------------------------------------------------------------

#: A sum of more elements than this is made of the sums of rows, or sums of more in all channels.
_FEW_ROWS, _MANY_IN_ROWS = 2048, 1 << 16


def in_rows(x: Aval, axes: tuple[int, ...]) -> bool:
    """Whether a sum over everything but the channels of images, or of each image, is made of the sums of rows."""
    if x.ndim < 3 or x.dtype.kind != "f":
        return False
    shape: tuple[int, ...] = x.shape  # type: ignore[assignment]
    if axes == (0, *range(2, x.ndim)):
        return math.prod([shape[a] for a in axes]) > _FEW_ROWS or math.prod(shape) >= _MANY_IN_ROWS
    return axes == tuple(range(2, x.ndim)) and runs_across(shape, axes) and block_of(shape, axes) is not None


# -- products -------------------------------------------------------------------------------------------------

#: A sum of fewer products than this is not worth vectors along it: they run along the results, if there is an axis.
SHORT_DOT = 8

#: A sum of as many products may be made in parts side by side, where there are few of them.
LONG_DOT = 2048
