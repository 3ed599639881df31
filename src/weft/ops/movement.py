"""Movement: the same elements in other places. Views of index arithmetic that cost nothing when fused."""

from __future__ import annotations

import numpy as np

from ..base.errors import ShapeError
from ..ir.node import Aval
from ..ir.shape import Shape, show_shape, size_of
from .define import Sample, constant, primitive, values


def _reshape_infer(x: Aval, *, shape: Shape) -> Aval:
    if size_of(x.shape) != size_of(shape):
        raise ShapeError(
            f"cannot reshape {show_shape(x.shape)} to {show_shape(shape)}: the element counts differ"
        )
    return Aval(shape, x.dtype)


@primitive(
    _reshape_infer,
    attrs=("shape",),
    samples=lambda: (
        [Sample((values((3, 4)),), {"shape": s}) for s in [(12,), (2, 6), (3, 1, 4)]]
        + [Sample((values((0, 4)),), {"shape": (2, 0)})]
    ),
)
def reshape(x, *, shape):
    """The same elements in row-major order under another shape of as many elements."""
    return np.reshape(x, shape)


@reshape.transpose()
def _(ct, index, x, *, shape):
    return reshape(ct, shape=x.shape)


@reshape.batch
def _(size, batched, x, *, shape):
    return reshape(x, shape=(size, *shape))


def _permute_infer(x: Aval, *, axes: tuple[int, ...]) -> Aval:
    if sorted(axes) != list(range(x.ndim)):
        raise ShapeError(f"axes {axes} are not a permutation of the {x.ndim} axes of {show_shape(x.shape)}")
    return Aval(tuple([x.shape[a] for a in axes]), x.dtype)


@primitive(
    _permute_infer,
    attrs=("axes",),
    samples=lambda: [Sample((values((2, 3, 4)),), {"axes": a}) for a in [(2, 0, 1), (0, 2, 1), (0, 1, 2)]],
)
def permute(x, *, axes):
    """Axis i of the result is axis `axes[i]` of x."""
    return np.transpose(x, axes)


@permute.transpose()
def _(ct, index, x, *, axes):
    return permute(ct, axes=tuple(int(i) for i in np.argsort(axes)))


@permute.batch
def _(size, batched, x, *, axes):
    return permute(x, axes=(0, *[a + 1 for a in axes]))


def _broadcast_infer(x: Aval, *, shape: Shape, axes: tuple[int, ...]) -> Aval:
    ok = len(axes) == x.ndim and all(a < b for a, b in zip(axes, axes[1:], strict=False))
    if not ok or not all(x.shape[i] == shape[a] or x.shape[i] == 1 for i, a in enumerate(axes)):
        raise ShapeError(f"cannot broadcast {show_shape(x.shape)} into axes {axes} of {show_shape(shape)}")
    return Aval(shape, x.dtype)


@primitive(
    _broadcast_infer,
    attrs=("shape", "axes"),
    samples=lambda: [
        Sample((values((4,)),), {"shape": (3, 4), "axes": (1,)}),
        Sample((values((3, 1)),), {"shape": (3, 4), "axes": (0, 1)}),
        Sample((values(()),), {"shape": (2, 3), "axes": ()}),
        Sample((values((3,)),), {"shape": (3, 4, 2), "axes": (0,)}),
        Sample((values((3,)),), {"shape": (3, 0), "axes": (0,)}),
    ],
)
def broadcast_in_dim(x, *, shape, axes):
    """x repeated to fill `shape`: axis i of x becomes axis `axes[i]`, where its size is equal or 1."""
    at = [1] * len(shape)
    for i, a in enumerate(axes):
        at[a] = x.shape[i]
    return np.broadcast_to(np.reshape(x, at), shape)


@broadcast_in_dim.transpose()
def _(ct, index, x, *, shape, axes):
    from .reduce import sum_

    spread = tuple([a for a in range(len(shape)) if a not in axes])
    stretched = tuple([a for i, a in enumerate(axes) if x.shape[i] != shape[a]])
    if spread or stretched:
        ct = sum_(ct, axes=tuple(sorted(spread + stretched)))
    return reshape(ct, shape=x.shape) if stretched else ct


@broadcast_in_dim.batch
def _(size, batched, x, *, shape, axes):
    return broadcast_in_dim(x, shape=(size, *shape), axes=(0, *[a + 1 for a in axes]))


def _flip_infer(x: Aval, *, axes: tuple[int, ...]) -> Aval:
    if len(set(axes)) != len(axes) or not all(0 <= a < x.ndim for a in axes):
        raise ShapeError(f"axes {axes} are not different axes of {show_shape(x.shape)}")
    return x


@primitive(
    _flip_infer,
    attrs=("axes",),
    samples=lambda: [Sample((values((2, 3, 4)),), {"axes": a}) for a in [(1,), (0, 2), ()]],
)
def flip(x, *, axes):
    """x with the order of its elements along `axes` reversed."""
    return np.flip(x, axes)


@flip.transpose()
def _(ct, index, x, *, axes):
    return flip(ct, axes=axes)


@flip.batch
def _(size, batched, x, *, axes):
    return flip(x, axes=tuple([a + 1 for a in axes]))


@primitive(lambda x: x, samples=lambda: [Sample((values((3, 4)),))])
def identity(x):
    """x itself, as a node of its own: what a gradient is taken with respect to, or a second tensor of one value."""
    return x


@identity.transpose()
def _(ct, index, x):
    return ct


@identity.batch
def _(size, batched, x):
    return identity(x)


for _prim in (reshape, permute, broadcast_in_dim, flip, identity):
    _prim.movement = True


def zeros(aval):
    """A node of zeros of the given type."""
    return full(aval, {"b": False, "f": 0.0, "c": 0j}.get(aval.dtype.kind, 0))


def full(aval, value):
    """A node of the given type that repeats one number."""
    return broadcast_in_dim(constant(value, aval.dtype), shape=aval.shape, axes=())


def broadcast_to(x, shape):
    """x broadcast to `shape` by NumPy's rule; x itself where it has that shape."""
    if x.shape == shape:
        return x
    first = len(shape) - x.ndim
    return broadcast_in_dim(x, shape=shape, axes=tuple(range(first, len(shape))))


def sum_to(x, shape):
    """The transpose of `broadcast_to`: sum over what broadcasting repeated."""
    if x.shape == shape:
        return x
    from .reduce import sum_

    lead = x.ndim - len(shape)
    axes = (*range(lead), *[i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1])
    out = sum_(x, axes=axes)
    return out if out.shape == shape else reshape(out, shape=shape)
