"""Windows whose place is known only at run time: what `x[i : i + n]` is when i is a number of the program."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.errors import ShapeError
from ..ir.dtype import int64
from ..ir.node import Aval, Node
from ..ir.shape import Shape
from .define import Sample, complex_values, primitive, values
from .gather import check_indices, dim_size, gather, iota, scatter, with_ones
from .movement import broadcast_to, permute, reshape, zeros

Axes = tuple[int, ...]


def _check_starts(x: Aval, starts: tuple[Aval, ...], axes: Axes) -> None:
    check_indices(starts, axes, x)
    for s in starts:
        if s.ndim:
            raise ShapeError(f"a start must be a single integer, got {s.describe()}")


def _dynamic_slice_infer(x: Aval, *starts: Aval, axes: Axes, sizes: Shape) -> Aval:
    _check_starts(x, starts, axes)
    out = list(x.shape)
    for a, n in zip(axes, sizes, strict=True):
        room = x.shape[a] - n
        if (isinstance(n, int) and n < 0) or (isinstance(room, int) and room < 0):
            raise ShapeError(f"a window of {n} does not fit into axis {a} of {x.describe()}")
        out[a] = n
    return Aval(tuple(out), x.dtype)


def _window(x: Any, starts: Any, axes: Axes, sizes: Any) -> tuple[slice, ...]:
    where = [slice(None)] * x.ndim
    for s, a, n in zip(starts, axes, sizes, strict=True):
        first = int(s)
        if not 0 <= first <= x.shape[a] - n:
            raise IndexError(
                f"a window of {n} from {first} is out of bounds for axis {a} with size {x.shape[a]}"
            )
        where[a] = slice(first, first + n)
    return tuple(where)


def _start(n: int, dtype: Any = np.int64) -> np.ndarray:
    return np.asarray(n, dtype)


def _dynamic_slice_samples() -> list[Sample]:
    x = values((4, 5))
    return [
        Sample((x, _start(1)), {"axes": (0,), "sizes": (2,)}),
        Sample((x, _start(0), _start(4)), {"axes": (0, 1), "sizes": (4, 1)}),
        Sample((x, _start(2, np.int32), _start(0, np.int32)), {"axes": (1, 0), "sizes": (3, 1)}),
        Sample((x.astype(np.float32), _start(5)), {"axes": (1,), "sizes": (0,)}),
        Sample((complex_values((3, 2)), _start(1)), {"axes": (0,), "sizes": (2,)}),
        Sample((np.arange(6), _start(2)), {"axes": (0,), "sizes": (3,)}, smooth=False),
    ]


@primitive(_dynamic_slice_infer, attrs=("axes", "sizes"), samples=_dynamic_slice_samples)
def dynamic_slice(x, *starts, axes, sizes):
    """A window of x: `sizes` elements along `axes` from run-time integers `starts`, everything along other axes.

    A window that does not lie inside x raises `IndexError` when the program runs; starts are never negative.
    """
    return x[_window(x, starts, axes, sizes)]


@dynamic_slice.transpose(0)
def _(ct, index, x, *starts, axes, sizes):
    return dynamic_update_slice(zeros(x.aval), ct, *starts, axes=axes)


def _dynamic_update_infer(x: Aval, updates: Aval, *starts: Aval, axes: Axes) -> Aval:
    if updates.ndim != x.ndim:
        raise ShapeError(f"updates of {x.ndim} dimensions are expected, got {updates.describe()}")
    want = _dynamic_slice_infer(x, *starts, axes=axes, sizes=tuple([updates.shape[a] for a in axes]))
    if updates is not want:
        raise ShapeError(f"updates of {want.describe()} are expected here, got {updates.describe()}")
    return x


def _dynamic_update_samples() -> list[Sample]:
    out = []
    for s in _dynamic_slice_samples():
        x, *starts = s.args
        shape = list(x.shape)
        for a, n in zip(s.attrs["axes"], s.attrs["sizes"], strict=True):
            shape[a] = n
        updates = (values(tuple(shape), seed=3) * 3).astype(x.dtype)
        out.append(Sample((x, updates, *starts), {"axes": s.attrs["axes"]}, s.smooth))
    return out


@primitive(_dynamic_update_infer, attrs=("axes",), samples=_dynamic_update_samples)
def dynamic_update_slice(x, updates, *starts, axes):
    """x with `updates` in place of the window that `dynamic_slice` reads at the run-time integers `starts`.

    A window that does not lie inside x raises `IndexError` when the program runs; starts are never negative.
    """
    out = np.array(x)
    out[_window(x, starts, axes, [updates.shape[a] for a in axes])] = updates
    return out


@dynamic_update_slice.transpose(0, 1)
def _(ct, index, x, updates, *starts, axes):
    if index == 0:
        return dynamic_update_slice(ct, zeros(updates.aval), *starts, axes=axes)
    return dynamic_slice(ct, *starts, axes=axes, sizes=tuple([updates.shape[a] for a in axes]))


dynamic_slice.computes = dynamic_update_slice.computes = False


def _spots(
    x: Node, starts: tuple[Node, ...], batched: tuple[bool, ...], axes: Axes, sizes: Shape
) -> list[Node]:
    """Index arrays of (batch, *sizes) for windows that begin at other places in every element of the batch.

    x carries the batch axis. A negative start becomes one beyond the end: as an index it would count from there.
    """
    from .comparison import less
    from .selection import as_dtype, where

    rank = len(axes)
    out = [with_ones(iota(size=x.shape[0], dtype=int64), rank)]
    for k, (s, own, a, n) in enumerate(zip(starts, batched, axes, sizes, strict=True)):
        s = as_dtype(s, int64)
        s = where(less(s, 0), dim_size(x, axis=a + 1), s)
        steps = reshape(iota(size=n, dtype=int64), shape=(1, *[n if j == k else 1 for j in range(rank)]))
        out.append(steps + (with_ones(s, rank) if own else s))
    return out


@dynamic_slice.batch
def _(size, batched, x, *starts, axes, sizes):
    moved = tuple([a + 1 for a in axes])
    if not any(batched[1:]):
        return dynamic_slice(x, *starts, axes=moved, sizes=sizes)
    x = x if batched[0] else broadcast_to(x, (size, *x.shape))
    out = gather(x, *_spots(x, starts, batched[1:], axes, sizes), axes=(0, *moved))
    # (batch, windows in the order of `axes`, the other axes): every axis back to its place.
    source = {a: 1 + k for k, a in enumerate(axes)}
    rest = iter(range(1 + len(axes), out.ndim))
    order = [source[a] if a in source else next(rest) for a in range(out.ndim - 1)]
    return permute(out, axes=(0, *order))


@dynamic_update_slice.batch
def _(size, batched, x, updates, *starts, axes):
    moved = tuple([a + 1 for a in axes])
    x = x if batched[0] else broadcast_to(x, (size, *x.shape))
    updates = updates if batched[1] else broadcast_to(updates, (size, *updates.shape))
    if not any(batched[2:]):
        return dynamic_update_slice(x, updates, *starts, axes=moved)
    sizes = tuple([updates.shape[a] for a in moved])
    others = [a for a in range(1, x.ndim) if a not in moved]
    return scatter(
        x,
        permute(updates, axes=(0, *moved, *others)),
        *_spots(x, starts, batched[2:], axes, sizes),
        axes=(0, *moved),
    )
