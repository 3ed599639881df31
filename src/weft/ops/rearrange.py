"""Movement derived from the primitives: roll, tile, repeat, stack, split, squeeze, diagonals and triangles."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.errors import ShapeError
from ..ir.dtype import DType, int64
from ..ir.node import Node
from ..ir.shape import Size
from .comparison import equal, less_equal
from .indexing import gather, iota, iota_along
from .movement import broadcast_in_dim, concatenate, permute, reshape, slice_axis
from .selection import cast, where

Axes = tuple[int, ...]


def expand_dims(x: Node, axes: Axes) -> Node:
    """New axes of size 1 at the positions `axes` of the result."""
    old = iter(x.shape)
    return reshape(x, shape=tuple([1 if a in axes else next(old) for a in range(x.ndim + len(axes))]))


def squeeze(x: Node, axes: Axes) -> Node:
    """x without the axes `axes`, which have size 1."""
    for a in axes:
        if x.shape[a] != 1:
            raise ShapeError(f"squeeze: axis {a} of {x.aval.describe()} has size {x.shape[a]}, not 1")
    return reshape(x, shape=tuple([n for a, n in enumerate(x.shape) if a not in axes]))


def moveaxis(x: Node, source: int, target: int) -> Node:
    """x with one axis in another place, the others in order."""
    order = [a for a in range(x.ndim) if a != source]
    order.insert(target, source)
    return x if source == target else permute(x, axes=tuple(order))


def swapaxes(x: Node, a: int, b: int) -> Node:
    """x with two axes exchanged."""
    order = list(range(x.ndim))
    order[a], order[b] = b, a
    return x if a == b else permute(x, axes=tuple(order))


def stack(xs: Sequence[Node], axis: int) -> Node:
    """The operands side by side along a new axis."""
    return concatenate(*[expand_dims(x, (axis,)) for x in xs], axis=axis)


def split(x: Node, sizes: Sequence[Size], axis: int) -> list[Node]:
    """Consecutive parts of the given sizes along an axis."""
    out, start = [], 0
    for n in sizes:
        out.append(slice_axis(x, axis, start, start + n))
        start = start + n
    if start != x.shape[axis]:
        raise ShapeError(f"split: sizes {tuple(sizes)} do not add up to axis {axis} of {x.aval.describe()}")
    return out


def roll(x: Node, shift: int, axis: int) -> Node:
    """The elements moved `shift` places on along an axis; those pushed out at one end come in at the other."""
    n = x.shape[axis]
    if n == 0 or shift == 0:
        return x
    by = shift % n if isinstance(n, int) else shift
    if by == 0:
        return x
    cut = n - by if not isinstance(by, int) or by > 0 else -by
    return concatenate(slice_axis(x, axis, cut, n), slice_axis(x, axis, 0, cut), axis=axis)


def tile(x: Node, repeats: Sequence[int]) -> Node:
    """x repeated as a whole, `repeats[i]` times along axis i; axes of size 1 are put in front as needed."""
    counts = [1] * (x.ndim - len(repeats)) + list(repeats)
    if len(counts) > x.ndim:
        x = expand_dims(x, tuple(range(len(counts) - x.ndim)))
    if all(c == 1 for c in counts):
        return x
    # (n0, n1) -> (r0, n0, r1, n1) -> (r0*n0, r1*n1)
    spread = tuple([s for pair in zip(counts, x.shape, strict=True) for s in pair])
    wide = broadcast_in_dim(x, shape=spread, axes=tuple(range(1, 2 * x.ndim, 2)))
    return reshape(wide, shape=tuple([c * n for c, n in zip(counts, x.shape, strict=True)]))


def repeat(x: Node, count: int, axis: int) -> Node:
    """Every element repeated `count` times in its place along an axis."""
    wide = broadcast_in_dim(
        x,
        shape=(*x.shape[: axis + 1], count, *x.shape[axis + 1 :]),
        axes=tuple([a if a <= axis else a + 1 for a in range(x.ndim)]),
    )
    return reshape(wide, shape=(*x.shape[:axis], x.shape[axis] * count, *x.shape[axis + 1 :]))


def arange(size: Size, start, step, dtype: DType) -> Node:
    """start, start + step, ...: `size` numbers; start and step are numbers or scalar nodes of the type."""
    return start + iota(size=size, dtype=dtype) * step


def eye(rows: Size, columns: Size, offset: int | Node, dtype: DType) -> Node:
    """A matrix with ones on a diagonal (`offset` above the main one), zeros elsewhere."""
    shape = (rows, columns)
    return cast(equal(iota_along(shape, 0) + offset, iota_along(shape, 1)), dtype=dtype)


def tri(rows: Size, columns: Size, offset: int | Node = 0) -> Node:
    """A boolean matrix that is True on and below a diagonal (`offset` above the main one)."""
    shape = (rows, columns)
    return less_equal(iota_along(shape, 1), iota_along(shape, 0) + offset)


def tril(x: Node, offset: int | Node = 0) -> Node:
    """x with zeros above a diagonal of its last two axes."""
    return where(tri(x.shape[-2], x.shape[-1], offset), x, 0)


def triu(x: Node, offset: int | Node = 0) -> Node:
    """x with zeros below a diagonal of its last two axes."""
    return where(tri(x.shape[-2], x.shape[-1], offset - 1), 0, x)


def diagonal(x: Node, offset: int = 0) -> Node:
    """The diagonal of the last two axes (`offset` above the main one) as a new last axis."""
    rows, columns = x.shape[-2:]
    down, right = max(-offset, 0), max(offset, 0)
    size = max(min(rows - down, columns - right), 0)
    line = iota(size=size, dtype=int64)
    out = gather(x, line + down, line + right, axes=(x.ndim - 2, x.ndim - 1))
    return moveaxis(out, 0, out.ndim - 1)
