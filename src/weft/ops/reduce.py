"""Reductions: one value from all elements along some axes."""

from __future__ import annotations

import numpy as np

from ..base.errors import ShapeError
from ..ir.node import Aval
from .define import Sample, primitive, values
from .movement import broadcast_in_dim


def _infer(x: Aval, *, axes: tuple[int, ...]) -> Aval:
    return Aval(tuple([n for i, n in enumerate(x.shape) if i not in axes]), x.dtype)


def _nonempty(x: Aval, *, axes: tuple[int, ...]) -> Aval:
    for i in axes:
        if x.shape[i] == 0:
            raise ShapeError(
                f"axis {i} of a tensor of shape {x.shape} is empty: there is nothing to choose from"
            )
    return _infer(x, axes=axes)


def _samples() -> list[Sample]:
    x = values((3, 4, 2))
    return [
        Sample((x,), {"axes": (1,)}),
        Sample((x,), {"axes": (0, 2)}),
        Sample((x,), {"axes": (0, 1, 2)}),
        Sample((x,), {"axes": ()}),
        Sample((x.astype(np.float32),), {"axes": (2,)}),
        Sample((np.arange(24).reshape(3, 4, 2),), {"axes": (1,)}, smooth=False),
    ]


def kept(x: Aval, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of `x` that a reduction over `axes` leaves."""
    return tuple([i for i in range(x.ndim) if i not in axes])


def restore(reduced, x, axes):
    """A reduced node spread over the shape of `x` again."""
    return broadcast_in_dim(reduced, shape=x.shape, axes=kept(x.aval, axes))


@primitive(_infer, attrs=("axes",), samples=_samples, name="sum")
def sum_(x, *, axes):
    """The sum over `axes`. Nothing sums to 0."""
    return np.sum(x, axis=axes, dtype=x.dtype)


@sum_.transpose()
def _(ct, index, x, *, axes):
    return restore(ct, x, axes)


@primitive(_nonempty, attrs=("axes",), samples=_samples, name="max")
def max_(x, *, axes):
    """The largest element over `axes`. A NaN wins. Elements that tie share the gradient evenly."""
    return np.max(x, axis=axes)


@max_.vjp
def _(cts, outs, x, *, axes):
    from .elementwise import cast, equal, where

    chosen = equal(x, restore(outs[0], x, axes))
    count = restore(sum_(cast(chosen, dtype=x.dtype), axes=axes), x, axes)
    return (where(chosen, restore(cts[0], x, axes) / count, 0),)


def batch_axes(prim):
    """The batching rule of every reduction: the same axes, one further back."""

    @prim.batch
    def _(size, batched, x, *, axes, **attrs):
        return prim(x, axes=tuple([a + 1 for a in axes]), **attrs)

    return prim


for _prim in (sum_, max_):
    batch_axes(_prim)
