"""Reductions: one value from all elements along some axes."""

from __future__ import annotations

import numpy as np

from ..base.errors import DTypeError, ShapeError
from ..ir.dtype import bool_, int64
from ..ir.node import Aval
from ..ir.shape import show_shape, size_of
from .define import Sample, complex_values, integer_values, primitive, values
from .movement import broadcast_in_dim, permute, reshape

Axes = tuple[int, ...]


def _infer(x: Aval, *, axes: Axes) -> Aval:
    if len(set(axes)) != len(axes) or not all(0 <= a < x.ndim for a in axes):
        raise ShapeError(f"axes {axes} are not distinct axes of {show_shape(x.shape)}")
    return Aval(tuple([n for i, n in enumerate(x.shape) if i not in axes]), x.dtype)


def _numeric(x: Aval, *, axes: Axes) -> Aval:
    if x.dtype is bool_:
        raise DTypeError(f"takes numbers, got {x.describe()}; cast to an integer type first")
    return _infer(x, axes=axes)


def _nonempty(x: Aval, *, axes: Axes) -> Aval:
    if x.dtype.kind == "c":
        raise DTypeError(f"complex numbers have no order, got {x.describe()}")
    out = _infer(x, axes=axes)
    for i in axes:
        if x.shape[i] == 0:
            raise ShapeError(
                f"axis {i} of a tensor of shape {x.shape} is empty: there is nothing to choose from"
            )
    return out


def _boolean(x: Aval, *, axes: Axes) -> Aval:
    if x.dtype is not bool_:
        raise DTypeError(f"takes booleans, got {x.describe()}")
    return _infer(x, axes=axes)


def _samples() -> list[Sample]:
    x = values((3, 4, 2))
    return [
        Sample((x,), {"axes": (1,)}),
        Sample((x,), {"axes": (0, 2)}),
        Sample((x,), {"axes": (0, 1, 2)}),
        Sample((x,), {"axes": ()}),
        Sample((values(()),), {"axes": ()}),
        Sample((x.astype(np.float32),), {"axes": (2,)}),
        Sample((values((0, 3)),), {"axes": (1,)}),
        Sample((np.arange(24).reshape(3, 4, 2),), {"axes": (1,)}, smooth=False),
        Sample((integer_values(np.uint8),), {"axes": (0,)}, smooth=False),
        Sample((np.array([[np.nan, 1, np.inf], [-np.inf, -0.0, 0.0]]),), {"axes": (1,)}, smooth=False),
    ]


def _sum_samples() -> list[Sample]:
    more = [
        Sample((complex_values((3, 4)),), {"axes": (0,)}),
        Sample((values((3, 0)),), {"axes": (1,)}),
    ]
    return [*_samples(), *more]


def _prod_samples() -> list[Sample]:
    zeros_ = values((3, 4))
    zeros_[0, 1] = zeros_[1, 0] = zeros_[1, 3] = 0.0
    return [*_sum_samples(), Sample((zeros_,), {"axes": (1,)}), Sample((zeros_,), {"axes": (0, 1)})]


def _tie_samples() -> list[Sample]:
    return [
        *_samples(),
        Sample((np.array([[1.0, 2.0, 2.0], [0.0, -0.0, -1.0]]),), {"axes": (1,)}, smooth=False),
    ]


def kept(x: Aval, axes: Axes) -> Axes:
    """The axes of `x` that a reduction over `axes` leaves."""
    return tuple([i for i in range(x.ndim) if i not in axes])


def restore(reduced, x, axes):
    """A reduced node spread over the shape of `x` again."""
    return broadcast_in_dim(reduced, shape=x.shape, axes=kept(x.aval, axes))


@primitive(_numeric, attrs=("axes",), samples=_sum_samples, name="sum")
def sum_(x, *, axes):
    """The sum over `axes`. Nothing sums to 0. Integers wrap around; 16-bit floats are added up in float32."""
    return np.sum(x, axis=axes, dtype=x.dtype)


@sum_.transpose()
def _(ct, index, x, *, axes):
    return restore(ct, x, axes)


@primitive(_numeric, attrs=("axes",), samples=_prod_samples, name="prod")
def prod(x, *, axes):
    """The product over `axes`. Nothing multiplies to 1. Integers wrap around.

    The derivative in an element is the product of all others, found without division, so that zeros do no harm.
    """
    return np.prod(x, axis=axes, dtype=x.dtype)


@prod.vjp
def _(cts, outs, x, *, axes):
    from .complex import conj
    from .cumulative import cumprod

    keep = kept(x.aval, axes)
    order = (*keep, *axes)
    flat = reshape(permute(x, axes=order), shape=(*outs[0].shape, size_of([x.shape[a] for a in axes])))
    last = len(keep)
    others = cumprod(flat, axis=last, exclusive=True) * cumprod(flat, axis=last, exclusive=True, reverse=True)
    if x.dtype.kind == "c":
        others = conj(others)
    found = broadcast_in_dim(cts[0], shape=flat.shape, axes=tuple(range(last))) * others
    found = reshape(found, shape=tuple([x.shape[a] for a in order]))
    return (permute(found, axes=tuple(int(i) for i in np.argsort(order))),)


@primitive(_nonempty, attrs=("axes",), samples=_tie_samples, name="max")
def max_(x, *, axes):
    """The largest element over `axes`. A NaN wins, and gets no gradient. Elements that tie share it evenly."""
    return np.max(x, axis=axes)


@primitive(_nonempty, attrs=("axes",), samples=_tie_samples, name="min")
def min_(x, *, axes):
    """The smallest element over `axes`. A NaN wins, and gets no gradient. Elements that tie share it evenly."""
    return np.min(x, axis=axes)


def _extreme_vjp(cts, outs, x, *, axes):
    from .comparison import equal
    from .selection import cast, where

    chosen = equal(x, restore(outs[0], x, axes))
    count = sum_(cast(chosen, dtype=x.dtype), axes=axes)
    return (where(chosen, restore(cts[0] / count, x, axes), 0),)


max_.vjp(_extreme_vjp)
min_.vjp(_extreme_vjp)


def _bool_samples() -> list[Sample]:
    x = values((3, 4, 2))
    cases = [(x > 0, (1,)), (x > 1.5, (0, 2)), (x < 9, (0, 1, 2)), (x > 0, ()), (x[:0] > 0, (0,))]
    return [Sample((a,), {"axes": axes}, smooth=False) for a, axes in cases]


@primitive(_boolean, attrs=("axes",), samples=_bool_samples, name="any")
def any_(x, *, axes):
    """Whether any of the booleans over `axes` is True. Of none it is False."""
    return np.any(x, axis=axes)


@primitive(_boolean, attrs=("axes",), samples=_bool_samples, name="all")
def all_(x, *, axes):
    """Whether all of the booleans over `axes` are True. Of none it is True."""
    return np.all(x, axis=axes)


any_.exact = all_.exact = True
any_.nondifferentiable("the result is boolean")
all_.nondifferentiable("the result is boolean")


def batch_axes(prim):
    """The batching rule of every reduction: the same axes, one further back."""

    @prim.batch
    def _(size, batched, x, *, axes, **attrs):
        return prim(x, axes=tuple([a + 1 for a in axes]), **attrs)

    return prim


for _prim in (sum_, prod, max_, min_, any_, all_):
    batch_axes(_prim)


# -- positions ----------------------------------------------------------------------------------------------------


def _arg_infer(x: Aval, *, axis: int) -> Aval:
    return Aval(_nonempty(x, axes=(axis,)).shape, int64)


def _arg_samples() -> list[Sample]:
    x = values((3, 4, 2))
    rough = np.array([[1.0, 2.0, 2.0], [np.nan, -0.0, np.nan], [np.inf, np.inf, 0.0]])
    cases = [(x, 1), (x.astype(np.float32), 2), (rough, 1), (rough, 0), (integer_values(), 0), (x > 0, 1)]
    return [Sample((a,), {"axis": axis}, smooth=False) for a, axis in cases]


@primitive(_arg_infer, attrs=("axis",), samples=_arg_samples)
def argmax(x, *, axis):
    """The index of the largest element along an axis, of several the first; the first NaN wins."""
    return np.argmax(x, axis=axis)


@primitive(_arg_infer, attrs=("axis",), samples=_arg_samples)
def argmin(x, *, axis):
    """The index of the smallest element along an axis, of several the first; the first NaN wins."""
    return np.argmin(x, axis=axis)


def _arg_batch(prim):
    @prim.batch
    def _(size, batched, x, *, axis):
        return prim(x, axis=axis + 1)


for _prim in (argmax, argmin):
    _prim.nondifferentiable("the result is an index")
    _arg_batch(_prim)
