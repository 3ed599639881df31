"""Movement: the same elements in other places. Views of index arithmetic that cost nothing when fused."""

from __future__ import annotations

import numpy as np

from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..ir.dtype import bool_
from ..ir.node import Aval
from ..ir.shape import Shape, show_shape, size_of
from .define import Sample, complex_values, constant, primitive, values


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


@primitive(lambda x: x, samples=lambda: [Sample((values((3, 4)),)), Sample((complex_values((0, 2)),))])
def identity(x):
    """x itself, as a node of its own: what a gradient is taken with respect to, or a second tensor of one value."""
    return x


@identity.transpose()
def _(ct, index, x):
    return ct


@identity.batch
def _(size, batched, x):
    return identity(x)


# -- parts, borders, joins ----------------------------------------------------------------------------------------


def _sliced(n, start, limit, stride):
    """The number of elements that start, start + stride, ... below limit selects from n."""
    if stride < 1:
        raise ArgumentError(f"a stride must be positive, got {stride}; flip the axis to go backwards")
    if any(isinstance(d, int) and d < 0 for d in (start, limit - start, n - limit)):
        raise ShapeError(f"cannot slice {start}:{limit} out of an axis of size {n}")
    if stride == 1:
        return limit - start
    if not isinstance(limit, int) or not isinstance(start, int):
        raise ShapeError(f"an open dimension ({n}) can only be sliced with stride 1, got stride {stride}")
    return -((start - limit) // stride)


def _slice_infer(x: Aval, *, start: Shape, limit: Shape, stride: tuple[int, ...]) -> Aval:
    if not len(start) == len(limit) == len(stride) == x.ndim:
        raise ShapeError(f"one start, limit and stride for each axis of {show_shape(x.shape)} expected")
    return Aval(tuple([_sliced(*a) for a in zip(x.shape, start, limit, stride, strict=True)]), x.dtype)


def _slice_samples() -> list[Sample]:
    def sample(start, limit, stride, x=None):
        x = values((4, 5)) if x is None else x
        return Sample((x,), {"start": start, "limit": limit, "stride": stride})

    return [
        sample((1, 0), (3, 5), (1, 1)),
        sample((0, 1), (4, 5), (2, 3)),
        sample((3, 2), (4, 2), (1, 1)),
        sample((0, 0), (4, 5), (1, 1), values((4, 5)).astype(np.float32)),
        sample((1, 1), (4, 4), (3, 2), complex_values((4, 5))),
        sample((), (), (), values(())),
    ]


@primitive(_slice_infer, attrs=("start", "limit", "stride"), samples=_slice_samples, name="slice")
def slice_(x, *, start, limit, stride):
    """The elements start, start + stride, ... below limit of every axis. 0 <= start <= limit <= size, stride >= 1."""
    return x[tuple([slice(*a) for a in zip(start, limit, stride, strict=True)])]


@slice_.transpose()
def _(ct, index, x, *, start, limit, stride):
    # The last element taken from an axis is at start + (m - 1) * stride; an axis that gave none is all border.
    high = []
    for n, m, a, s in zip(x.shape, ct.shape, start, stride, strict=True):
        high.append(n - a if m == 0 else n - a - (m - 1) * s - 1)
    interior = tuple([s - 1 for s in stride])
    return pad(ct, constant(0, ct.dtype), low=start, high=tuple(high), interior=interior)


@slice_.batch
def _(size, batched, x, *, start, limit, stride):
    return slice_(x, start=(0, *start), limit=(x.shape[0], *limit), stride=(1, *stride))


def slice_axis(x, axis, start, limit, stride=1):
    """start:limit:stride of one axis, all of the others; x itself where that is everything."""
    if start == 0 and stride == 1 and limit == x.shape[axis]:
        return x
    at = [0] * x.ndim
    ends, strides = list(x.shape), [1] * x.ndim
    at[axis], ends[axis], strides[axis] = start, limit, stride
    return slice_(x, start=tuple(at), limit=tuple(ends), stride=tuple(strides))


Pads = tuple[int, ...]


def _pad_infer(x: Aval, value: Aval, *, low: Pads, high: Pads, interior: Pads) -> Aval:
    if value.ndim or value.dtype is not x.dtype:
        raise ShapeError(f"the padding value must be one {x.dtype}, got {value.describe()}")
    if not len(low) == len(high) == len(interior) == x.ndim:
        raise ShapeError(f"one low, high and interior width for each axis of {show_shape(x.shape)} expected")
    out = []
    for n, a, b, i in zip(x.shape, low, high, interior, strict=True):
        if any(isinstance(w, int) and w < 0 for w in (a, b, i)):
            raise ArgumentError(
                f"padding widths cannot be negative, got low={low}, high={high}, interior={interior}"
            )
        inner = n if i == 0 or n == 0 else n + (n - 1) * i
        out.append(a + inner + b)
    return Aval(tuple(out), x.dtype)


def _pad_samples() -> list[Sample]:
    def sample(low, high, interior=(0, 0), x=None, value=0.7):
        x = values((3, 4)) if x is None else x
        return Sample((x, np.asarray(value, x.dtype)), {"low": low, "high": high, "interior": interior})

    return [
        sample((1, 0), (2, 3)),
        sample((0, 2), (0, 1), (1, 2)),
        sample((0, 0), (0, 0)),
        sample((2, 1), (0, 0), x=values((3, 4)).astype(np.float32), value=-np.inf),
        sample((1, 1), (1, 1), (2, 0), x=values((0, 2))),
        sample((1, 1), (1, 0), x=complex_values((2, 2)), value=1j),
    ]


@primitive(_pad_infer, attrs=("low", "high", "interior"), samples=_pad_samples)
def pad(x, value, *, low, high, interior):
    """x with `low` copies of value before it along each axis, `high` after it, `interior` between its elements."""
    shape = [a + n + max(n - 1, 0) * i + b for n, a, b, i in zip(x.shape, low, high, interior, strict=True)]
    out = np.full(shape, value, x.dtype)
    spots = zip(x.shape, low, interior, strict=True)
    out[tuple([slice(a, a + max((n - 1) * (i + 1) + 1, 0) if n else a, i + 1) for n, a, i in spots])] = x
    return out


@pad.transpose()
def _(ct, index, x, value, *, low, high, interior):
    from .reduce import sum_
    from .selection import where

    if index == 0:
        limit = tuple([
            a if n == 0 else a + n + (n - 1) * i if i else a + n
            for n, a, i in zip(x.shape, low, interior, strict=True)
        ])  # fmt: skip
        return slice_(ct, start=low, limit=limit, stride=tuple([i + 1 for i in interior]))
    inside = full(Aval(x.shape, bool_), True)
    inside = pad(inside, constant(False, bool_), low=low, high=high, interior=interior)
    return sum_(where(inside, 0, ct), axes=tuple(range(ct.ndim)))


@pad.batch
def _(size, batched, x, value, *, low, high, interior):
    widths = {"low": (0, *low), "high": (0, *high), "interior": (0, *interior)}
    if not batched[1]:
        return pad(x, value, **widths)
    from .selection import where

    # A value of its own for every element of the batch: pad a mask, and choose.
    shape = x.shape[1:] if batched[0] else x.shape
    inside = full(Aval(shape, bool_), True)
    inside = pad(inside, constant(False, bool_), low=low, high=high, interior=interior)
    zero = constant(0, x.dtype)
    widened = pad(x, zero, **widths) if batched[0] else pad(x, zero, low=low, high=high, interior=interior)
    return where(inside, widened, reshape(value, shape=(size, *[1] * inside.ndim)))


def _flip_infer(x: Aval, *, axes: tuple[int, ...]) -> Aval:
    if len(set(axes)) != len(axes) or not all(0 <= a < x.ndim for a in axes):
        raise ShapeError(f"axes {axes} are not distinct axes of {show_shape(x.shape)}")
    return x


@primitive(
    _flip_infer,
    attrs=("axes",),
    samples=lambda: (
        [Sample((values((2, 3, 4)),), {"axes": a}) for a in [(0,), (1, 2), ()]]
        + [Sample((values((0, 4)),), {"axes": (0,)})]
    ),
)
def flip(x, *, axes):
    """The elements in reverse order along `axes`."""
    return np.flip(x, axes)


@flip.transpose()
def _(ct, index, x, *, axes):
    return flip(ct, axes=axes)


@flip.batch
def _(size, batched, x, *, axes):
    return flip(x, axes=tuple([a + 1 for a in axes]))


def _concatenate_infer(*xs: Aval, axis: int) -> Aval:
    if not xs:
        raise ArgumentError("at least one operand is needed")
    first = xs[0]
    total = first.shape[axis] if 0 <= axis < first.ndim else None
    if total is None:
        raise ShapeError(f"there is no axis {axis} in {show_shape(first.shape)}")
    for x in xs[1:]:
        rest = [a for a in range(first.ndim) if a != axis]
        if x.ndim != first.ndim or any(x.shape[a] != first.shape[a] for a in rest):
            shapes = ", ".join(show_shape(v.shape) for v in xs)
            raise ShapeError(
                f"shapes {shapes} differ in another axis than {axis}, along which they are joined"
            )
        if x.dtype is not first.dtype:
            raise DTypeError(f"operands of one dtype expected, got {', '.join(v.describe() for v in xs)}")
        total = total + x.shape[axis]
    return Aval((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype)


@primitive(
    _concatenate_infer,
    attrs=("axis",),
    samples=lambda: [
        Sample((values((2, 3)), values((2, 1), seed=1)), {"axis": 1}),
        Sample((values((2, 3)), values((0, 3)), values((1, 3), seed=1)), {"axis": 0}),
        Sample((values((4,)).astype(np.float32),), {"axis": 0}),
        Sample((complex_values((2, 2)), complex_values((2, 2), seed=3)), {"axis": 1}),
        Sample((np.arange(3), np.arange(2)), {"axis": 0}, smooth=False),
    ],
)
def concatenate(*xs, axis):
    """The operands one after the other along an axis; all other axes have equal sizes."""
    return np.concatenate(xs, axis)


@concatenate.transpose()
def _(ct, index, *xs, axis):
    start = sum([x.shape[axis] for x in xs[:index]])
    return slice_axis(ct, axis, start, start + xs[index].shape[axis])


@concatenate.batch
def _(size, batched, *xs, axis):
    lined = [x if b else broadcast_to(x, (size, *x.shape)) for x, b in zip(xs, batched, strict=True)]
    return concatenate(*lined, axis=axis + 1)


for _prim in (reshape, permute, broadcast_in_dim, identity, slice_, pad, flip, concatenate):
    _prim.movement = True
    _prim.computes = False


# -- helpers that rules are written with --------------------------------------------------------------------------


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
