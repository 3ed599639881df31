"""Reading and writing at positions that are known only at run time, and the index ranges to make them from."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.errors import DTypeError, ShapeError
from ..ir.dtype import DType, float32, int32, int64
from ..ir.node import Aval, Node
from ..ir.shape import Shape, Size, broadcast_shapes, show_shape
from .define import Sample, complex_values, primitive, values
from .movement import broadcast_in_dim, broadcast_to, full, permute, reshape, zeros

Axes = tuple[int, ...]

# -- ranges -------------------------------------------------------------------------------------------------------


@primitive(
    lambda *, size, dtype: Aval((size,), dtype),
    attrs=("size", "dtype"),
    samples=lambda: [
        Sample((), {"size": n, "dtype": d}, smooth=False) for n, d in [(5, int64), (0, int32), (3, float32)]
    ],
)
def iota(*, size, dtype):
    """0, 1, 2, ..., size - 1."""
    return np.arange(size).astype(dtype.numpy)


iota.nondifferentiable("it has no operands")


@iota.batch
def _(size, batched, **attrs):
    return broadcast_in_dim(iota(**attrs), shape=(size, attrs["size"]), axes=(1,))


def iota_along(shape: Shape, axis: int, dtype: DType = int64) -> Node:
    """Each element's index along one axis of `shape`."""
    return broadcast_in_dim(iota(size=shape[axis], dtype=dtype), shape=shape, axes=(axis,))


def _dim_size_infer(x: Aval, *, axis: int) -> Aval:
    if not 0 <= axis < x.ndim:
        raise ShapeError(f"there is no axis {axis} in {show_shape(x.shape)}")
    return Aval((), int64)


@primitive(
    _dim_size_infer,
    attrs=("axis",),
    samples=lambda: [Sample((values((3, 4)),), {"axis": a}, smooth=False) for a in (0, 1)],
)
def dim_size(x, *, axis):
    """The size of an axis as a run-time number: what a named dimension turns out to be."""
    return np.asarray(x.shape[axis], np.int64)


def size_node(size: Size) -> Node:
    """A size as a run-time number, also where it is a named dimension or is worked out from some."""
    return dim_size(iota(size=size, dtype=int64), axis=0)


dim_size.nondifferentiable("the result is a size")
dim_size.computes = False


@dim_size.batch
def _(size, batched, x, *, axis):
    return broadcast_in_dim(dim_size(x, axis=axis + 1), shape=(size,), axes=())


# -- gather and scatter -------------------------------------------------------------------------------------------


def check_indices(indices: tuple[Aval, ...], axes: Axes, x: Aval) -> Shape:
    if len(indices) != len(axes) or not axes:
        raise ShapeError(f"one index array for each of the axes {axes} expected, got {len(indices)}")
    if len(set(axes)) != len(axes) or not all(0 <= a < x.ndim for a in axes):
        raise ShapeError(f"axes {axes} are not distinct axes of {show_shape(x.shape)}")
    for i in indices:
        if i.dtype.kind not in "ui":
            raise DTypeError(f"indices must be integers, got {i.describe()}")
    return broadcast_shapes(*[i.shape for i in indices])


def _rest(x: Any, axes: Axes) -> Shape:
    return tuple([n for i, n in enumerate(x.shape) if i not in axes])


def _gather_infer(x: Aval, *indices: Aval, axes: Axes) -> Aval:
    return Aval((*check_indices(indices, axes, x), *_rest(x, axes)), x.dtype)


def _index_samples(updates: bool):
    def make() -> list[Sample]:
        x = values((4, 3, 5))
        cases: list[tuple[Any, tuple[Any, ...], Axes]] = [
            (x, (np.array([0, 3, -1, 3]),), (0,)),
            (x.astype(np.float32), (np.array([[0, -5], [4, 4]]),), (2,)),
            (x, (np.array([[0], [2]]), np.array([1, -2, 0])), (0, 2)),
            (x, (np.array([1, 0]), np.array([2, 2]), np.array([-1, 4])), (2, 1, 0)),
            (x, (np.asarray(2),), (1,)),
            (x, (np.zeros((0,), np.int64),), (0,)),
            (x, (np.array([1, 2], np.uint8),), (1,)),
            (complex_values((3, 2)), (np.array([2, 2, 0], np.int32),), (0,)),
            (np.arange(12).reshape(3, 4), (np.array([1, 1]),), (1,)),
        ]
        out = []
        for a, indices, axes in cases:
            if axes == (2, 1, 0):
                indices = (np.array([1, 0]), np.array([2, 2]), np.array([-1, 3]))
            args = [a, *indices]
            if updates:
                shape = (*np.broadcast_shapes(*[i.shape for i in indices]), *_rest(a, axes))
                args.insert(
                    1, (values(shape, seed=3) * 3 + (0.5j if a.dtype.kind == "c" else 0)).astype(a.dtype)
                )
            out.append(Sample(tuple(args), {"axes": axes}, smooth=a.dtype.kind in "fc"))
        return out

    return make


def _front(x: Any, axes: Axes) -> Any:
    """x as a view with the indexed axes in front."""
    return np.transpose(x, (*axes, *[i for i in range(x.ndim) if i not in axes]))


def _places(x: Any, indices: Any, axes: Axes) -> tuple[Any, ...]:
    """The indices as NumPy takes them, which would read an unsigned one of 2**63 and more as a negative one."""
    for i, a in zip(indices, axes, strict=True):
        if i.dtype == np.uint64 and i.size and (most := int(i.max())) >> 63:
            raise IndexError(f"index {most} is out of bounds for axis {a} with size {x.shape[a]}")
    return tuple(indices)


@primitive(_gather_infer, attrs=("axes",), samples=_index_samples(False))
def gather(x, *indices, axes):
    """x at integer positions along `axes`: one index array for each of them, broadcast against each other.

    The dimensions of the indices come first in the result, then the other axes of x in order:
    `gather(x, i, j, axes=(0, 2))[p..., k] = x[i[p...], k, j[p...]]`. Negative indices count from the end; an index
    outside its axis raises `IndexError` when the program runs. The gradient of elements read twice adds up.
    """
    return _front(x, axes)[_places(x, indices, axes)]


@gather.transpose(0)
def _(ct, index, x, *indices, axes):
    return scatter_add(zeros(x.aval), ct, *indices, axes=axes)


def _scatter_infer(x: Aval, updates: Aval, *indices: Aval, axes: Axes) -> Aval:
    want = _gather_infer(x, *indices, axes=axes)
    if updates is not want:
        raise ShapeError(f"updates of {want.describe()} are expected here, got {updates.describe()}")
    return x


@primitive(_scatter_infer, attrs=("axes",), samples=_index_samples(True))
def scatter_add(x, updates, *indices, axes):
    """x with `updates` added at the positions that `gather(x, *indices, axes=axes)` reads.

    Positions that occur several times receive every update, added one by one in row-major order of the indices.
    """
    out = np.array(x)
    np.add.at(_front(out, axes), _places(x, indices, axes), updates)
    return out


@scatter_add.transpose(0, 1)
def _(ct, index, x, updates, *indices, axes):
    return ct if index == 0 else gather(ct, *indices, axes=axes)


@primitive(_scatter_infer, attrs=("axes",), samples=_index_samples(True))
def scatter(x, updates, *indices, axes):
    """x with `updates` in place of what `gather(x, *indices, axes=axes)` reads.

    Of several updates for one position the last in row-major order of the indices stays, and only it has a gradient.
    """
    out = np.array(x)
    _front(out, axes)[_places(x, indices, axes)] = updates
    return out


@scatter.transpose(0, 1)
def _(ct, index, x, updates, *indices, axes):
    from .comparison import equal
    from .selection import where

    if index == 0:
        return scatter(ct, zeros(updates.aval), *indices, axes=axes)
    # Number the updates, write the numbers, and see whose number stayed.
    shape = broadcast_shapes(*[i.shape for i in indices])
    order = broadcast_to(with_ones(_positions(shape), updates.ndim - len(shape)), updates.shape)
    written = scatter(full(Aval(x.shape, int64), -1), order, *indices, axes=axes)
    stayed = equal(gather(written, *indices, axes=axes), order)
    return where(stayed, gather(ct, *indices, axes=axes), 0)


def _positions(shape: Shape) -> Node:
    """The row-major number of every element of `shape`."""
    from ..ir.shape import size_of

    return reshape(iota(size=size_of(shape), dtype=int64), shape=shape)


def with_ones(x: Node, count: int) -> Node:
    """x with `count` axes of size 1 added at the end."""
    return reshape(x, shape=(*x.shape, *[1] * count)) if count else x


def _lined(size: Size, indices: tuple[Node, ...], batched: tuple[bool, ...]) -> list[Node]:
    """The index arrays with their batch axis, where they have one, in front of as many axes as the widest has."""
    rank = max([i.ndim - b for i, b in zip(indices, batched, strict=True)])
    return [
        reshape(i, shape=(size, *[1] * (rank - i.ndim + 1), *i.shape[1:])) if b and i.ndim - 1 < rank else i
        for i, b in zip(indices, batched, strict=True)
    ]


def _with_batch(size: Size, indices: tuple[Node, ...], batched: tuple[bool, ...]) -> list[Node]:
    """The index arrays, and before them one that runs along the batch."""
    lined = _lined(size, indices, batched)
    rank = max([i.ndim - b for i, b in zip(lined, batched, strict=True)])
    return [with_ones(iota(size=size, dtype=int64), rank), *lined]


@gather.batch
def _(size, batched, x, *indices, axes):
    moved = tuple([a + 1 for a in axes])
    if not batched[0]:
        return gather(x, *_lined(size, indices, batched[1:]), axes=axes)
    if any(batched[1:]):
        return gather(x, *_with_batch(size, indices, batched[1:]), axes=(0, *moved))
    out = gather(x, *indices, axes=moved)
    rank = max(i.ndim for i in indices)
    return permute(out, axes=(rank, *[i for i in range(out.ndim) if i != rank])) if rank else out


def _scatter_batch(prim):
    @prim.batch
    def _(size, batched, x, updates, *indices, axes):
        x = x if batched[0] else broadcast_to(x, (size, *x.shape))
        updates = updates if batched[1] else broadcast_to(updates, (size, *updates.shape))
        everywhere = _with_batch(size, indices, batched[2:])
        return prim(x, updates, *everywhere, axes=(0, *[a + 1 for a in axes]))


for _prim in (scatter_add, scatter):
    _scatter_batch(_prim)
gather.computes = scatter.computes = False
