"""Sliding windows: what pooling, unfold and fold are made of."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..ir.node import Aval
from ..ir.shape import Shape, show_shape
from .define import Sample, primitive, values

Sizes = tuple[int, ...]


def _positions(size: Shape, kernel: Shape, stride: Sizes, dilation: Sizes) -> Shape:
    """How many windows fit along each of the axes that they slide over."""
    if not len(size) == len(kernel) == len(stride) == len(dilation):
        raise ArgumentError(
            f"kernel, stride and dilation need one entry for each axis, got {kernel}, {stride} and {dilation} "
            f"for {show_shape(size)}"
        )
    if any(v < 1 for v in (*stride, *dilation)) or any(isinstance(k, int) and k < 1 for k in kernel):
        raise ArgumentError(f"kernel {kernel}, stride {stride} and dilation {dilation} must be at least 1")
    out = []
    for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        room = n - ((k - 1) * d + 1)
        if isinstance(room, int) and room < 0:
            raise ShapeError(
                f"a window of {kernel} with dilation {dilation} does not fit into {show_shape(size)}"
            )
        out.append((room if s == 1 else room // s) + 1)
    return tuple(out)


def _windows_infer(x: Aval, *, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Aval:
    rank = len(kernel)
    if x.ndim < rank:
        raise ShapeError(f"windows over {rank} axes of a tensor of shape {show_shape(x.shape)}")
    lead, size = x.shape[: x.ndim - rank], x.shape[x.ndim - rank :]
    return Aval((*lead, *_positions(size, kernel, stride, dilation), *kernel), x.dtype)


def _windows_samples() -> list[Sample]:
    def sample(shape, kernel, stride, dilation):
        return Sample((values(shape),), {"kernel": kernel, "stride": stride, "dilation": dilation})

    return [
        sample((2, 7), (3,), (2,), (1,)),
        sample((2, 3, 6, 5), (2, 2), (2, 2), (1, 1)),
        sample((2, 6, 7), (3, 2), (1, 2), (1, 3)),
        sample((9,), (2,), (4,), (2,)),
        sample((1, 4, 3, 5), (2, 2, 2), (1, 1, 2), (2, 1, 1)),
        sample((0, 4), (2,), (1,), (1,)),
        Sample((values((2, 5)) > 0,), {"kernel": (2,), "stride": (1,), "dilation": (1,)}, smooth=False),
    ]


@primitive(_windows_infer, attrs=("kernel", "stride", "dilation"), samples=_windows_samples)
def windows(x, *, kernel, stride, dilation):
    """The windows of the last len(kernel) axes of x: (..., *spatial) to (..., *positions, *kernel).

    out[..., p..., k...] = x[..., p s + k d, ...] with s = stride and d = dilation, for the
    (size - (kernel - 1) d - 1) // s + 1 positions along each axis where the window fits.
    """
    rank = len(kernel)
    lead = x.ndim - rank
    steps = x.strides[lead:]
    shape = _positions(x.shape[lead:], kernel, stride, dilation)
    inside = [t * d for t, d in zip(steps, dilation, strict=True)]
    across = [t * s for t, s in zip(steps, stride, strict=True)]
    view = as_strided(
        x, (*x.shape[:lead], *kernel, *shape), (*x.strides[:lead], *inside, *across), writeable=False
    )
    # Laid out with the kernel's axes outside, so that a reduction over them runs through memory in order.
    front = range(lead)
    return np.ascontiguousarray(view).transpose(
        *front, *range(lead + rank, x.ndim + rank), *range(lead, lead + rank)
    )


def _add_infer(x: Aval, *, size: Shape, stride: Sizes, dilation: Sizes) -> Aval:
    rank = len(size)
    if x.ndim < 2 * rank:
        raise ShapeError(f"windows over {rank} axes need {2 * rank} axes or more, got {show_shape(x.shape)}")
    if x.dtype.kind == "b":
        raise DTypeError(f"boolean windows cannot be added, got {x.describe()}")
    lead = x.ndim - 2 * rank
    kernel = x.shape[lead + rank :]
    want = _positions(size, kernel, stride, dilation)
    if x.shape[lead : lead + rank] != want:
        raise ShapeError(
            f"{show_shape(size)} has {show_shape(want)} windows of {show_shape(kernel)} with stride {stride} and "
            f"dilation {dilation}, got {show_shape(x.shape[lead : lead + rank])} of them in {show_shape(x.shape)}"
        )
    return Aval((*x.shape[:lead], *size), x.dtype)


def _add_samples() -> list[Sample]:
    def sample(shape, size, stride, dilation, dtype: Any = np.float64):
        return Sample((values(shape).astype(dtype),), {"size": size, "stride": stride, "dilation": dilation})

    return [
        sample((2, 3, 3), (7,), (2,), (1,)),
        sample((2, 3, 2, 2, 2), (6, 5), (2, 2), (1, 2), np.float64),
        sample((4, 2, 3, 2), (6, 6), (1, 2), (1, 3)),
        sample((2, 2), (9,), (4,), (2,), np.float32),
    ]


@primitive(_add_infer, attrs=("size", "stride", "dilation"), samples=_add_samples)
def windows_add(x, *, size, stride, dilation):
    """The sum of overlapping windows: (..., *positions, *kernel) to (..., *size), the transpose of `windows`.

    out[..., i, ...] = sum of x[..., p..., k...] over all p, k with p s + k d = i. Where no window reaches it is 0.
    """
    rank = len(size)
    lead = x.ndim - 2 * rank
    counts, kernel = x.shape[lead : lead + rank], x.shape[lead + rank :]
    out = np.zeros((*x.shape[:lead], *size), x.dtype)
    for at in product(*map(range, kernel)):
        starts = [k * d for k, d in zip(at, dilation, strict=True)]
        reach = [slice(a, a + s * n, s) for a, s, n in zip(starts, stride, counts, strict=True)]
        part = out[(..., *reach)]
        part += x[(..., *at)]
    return out


@windows.transpose()
def _(ct, index, x, *, kernel, stride, dilation):
    return windows_add(ct, size=x.shape[x.ndim - len(kernel) :], stride=stride, dilation=dilation)


@windows_add.transpose()
def _(ct, index, x, *, size, stride, dilation):
    return windows(ct, kernel=x.shape[x.ndim - len(size) :], stride=stride, dilation=dilation)


@windows.batch
def _(size, batched, x, *, kernel, stride, dilation):
    return windows(x, kernel=kernel, stride=stride, dilation=dilation)


@windows_add.batch
def _(_, batched, x, *, size, stride, dilation):
    return windows_add(x, size=size, stride=stride, dilation=dilation)


windows.movement = True
windows.computes = False
