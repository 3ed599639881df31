"""Running reductions along one axis, and the linear recurrence that their derivatives are made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.errors import DTypeError, ShapeError
from ..ir.dtype import bool_, int64
from ..ir.node import Aval, Node
from ..ir.primitive import Primitive
from ..ir.shape import show_shape
from .define import Sample, complex_values, constant, integer_values, primitive, values
from .movement import pad, slice_axis


def _infer(x: Aval, *, axis: int, **_: Any) -> Aval:
    if not 0 <= axis < x.ndim:
        raise ShapeError(f"there is no axis {axis} in {show_shape(x.shape)}")
    if x.dtype is bool_:
        raise DTypeError(f"takes numbers, got {x.describe()}; cast to an integer type first")
    return x


def _ordered(x: Aval, **attrs: Any) -> Aval:
    if x.dtype.kind == "c":
        raise DTypeError(f"complex numbers have no order, got {x.describe()}")
    return _infer(x, **attrs)


def _samples(exclusive: bool = True, complex: bool = True):
    def make() -> list[Sample]:
        x = values((3, 4, 2))
        flags = (
            [(False, False), (True, False), (False, True), (True, True)] if exclusive else [(False,), (True,)]
        )
        names = ("reverse", "exclusive") if exclusive else ("reverse",)
        out = []
        for f in flags:
            attrs = dict(zip(names, f, strict=True))
            out += [
                Sample((x,), {"axis": 1, **attrs}),
                Sample((x.astype(np.float32),), {"axis": 0, **attrs}),
                Sample((integer_values(),), {"axis": 1, **attrs}, smooth=False),
                Sample((x[:0],), {"axis": 0, **attrs}),
                Sample((np.array([1.0, np.nan, -np.inf, 2.0, np.inf]),), {"axis": 0, **attrs}, smooth=False),
                Sample((np.array([2.0, 0.0, -3.0, 0.0, 0.5]),), {"axis": 0, **attrs}, smooth=exclusive),
                Sample((np.array([1.0, 3.0, 3.0, 2.0, 3.0]),), {"axis": 0, **attrs}, smooth=exclusive),
            ]
            if complex:
                out.append(Sample((complex_values((3, 2)),), {"axis": 0, **attrs}))
        return out

    return make


def _along(x: Any, axis: int, reverse: bool) -> Any:
    """x as a view whose first axis is the one that is run along, in running order."""
    view = np.moveaxis(x, axis, 0)
    return view[::-1] if reverse else view


def _accumulate(ufunc: Any, x: Any, axis: int, reverse: bool, exclusive: bool = False) -> Any:
    out = np.empty_like(x)
    source, target = _along(x, axis, reverse), _along(out, axis, reverse)
    if not exclusive:
        ufunc.accumulate(source, axis=0, dtype=x.dtype, out=target)
    elif len(source):
        target[0] = ufunc.identity
        ufunc.accumulate(source[:-1], axis=0, dtype=x.dtype, out=target[1:])
    return out


class _Cumulative(Primitive):
    """`reverse` and `exclusive` may be left out in calls."""

    def __call__(self, x: Node, *, axis: int, reverse: bool = False, exclusive: bool = False) -> Node:  # type: ignore[override]
        rest = (exclusive,) if "exclusive" in self.attr_names else ()
        return self.bind((x,), (axis, reverse, *rest))


def _cumsum(x, *, axis, reverse, exclusive):
    """Running sums along an axis.

    `reverse` runs from the end; `exclusive` leaves an element's own out of its sum, so that 0 comes first.
    """
    return _accumulate(np.add, x, axis, reverse, exclusive)


cumsum = _Cumulative("cumsum", _cumsum, _infer, attrs=("axis", "reverse", "exclusive"), samples=_samples())


@cumsum.transpose()
def _(ct, index, x, *, axis, reverse, exclusive):
    return cumsum(ct, axis=axis, reverse=not reverse, exclusive=exclusive)


def _cumprod(x, *, axis, reverse, exclusive):
    """Running products along an axis.

    `reverse` runs from the end; `exclusive` leaves an element's own out of its product, so that 1 comes first.

    The derivative is found without division, so that zeros do no harm.
    """
    return _accumulate(np.multiply, x, axis, reverse, exclusive)


cumprod = _Cumulative("cumprod", _cumprod, _infer, attrs=("axis", "reverse", "exclusive"), samples=_samples())


@cumprod.jvp
def _(tangents, outs, x, *, axis, reverse, exclusive):
    # p[j] = x[j] p[j-1], so its tangent is t[j] = x[j] t[j-1] + p[j-1] dx[j].
    before = outs[0] if exclusive else cumprod(x, axis=axis, reverse=reverse, exclusive=True)
    moved = linear_recurrence(x, before * tangents[0], axis=axis, reverse=reverse)
    return (shifted(moved, axis, reverse) if exclusive else moved,)


def shifted(x, axis, reverse=False):
    """x moved one place on along an axis (one place back if `reverse`); a 0 comes in, the last element falls out."""
    one, none = tuple([int(a == axis) for a in range(x.ndim)]), (0,) * x.ndim
    widened = pad(
        x, constant(0, x.dtype), low=none if reverse else one, high=one if reverse else none, interior=none
    )
    start = 1 if reverse else 0
    return slice_axis(widened, axis, start, start + x.shape[axis])


def _recurrence_infer(a: Aval, b: Aval, *, axis: int, reverse: bool) -> Aval:
    if a is not b:
        raise ShapeError(f"two operands of one type expected, got {a.describe()} and {b.describe()}")
    return _infer(a, axis=axis)


def _recurrence_samples() -> list[Sample]:
    a, b = values((3, 4, 2), -1.2, 1.2), values((3, 4, 2), seed=1)
    return [
        Sample((a, b), {"axis": 1, "reverse": False}),
        Sample((a, b), {"axis": 0, "reverse": True}),
        Sample((a.astype(np.float32), b.astype(np.float32)), {"axis": 2, "reverse": False}),
        Sample((a[:0], b[:0]), {"axis": 0, "reverse": False}),
        Sample((a[:1], b[:1]), {"axis": 0, "reverse": True}),
        Sample((integer_values(), integer_values(seed=1)), {"axis": 0, "reverse": False}, smooth=False),
        Sample((complex_values((3, 2)), complex_values((3, 2), 4)), {"axis": 0, "reverse": False}),
    ]


@primitive(_recurrence_infer, attrs=("axis", "reverse"), samples=_recurrence_samples)
def linear_recurrence(a, b, *, axis, reverse):
    """h[j] = a[j] h[j-1] + b[j] along an axis, from h[-1] = 0; with `reverse` from the other end.

    Running products' derivatives, exponential averages and diagonal state-space models are of this form.
    """
    out = np.empty_like(b)
    factors, terms, states = [_along(v, axis, reverse) for v in (a, b, out)]
    for j in range(len(states)):
        states[j] = factors[j] * states[j - 1] + terms[j] if j else terms[j]
    return out


@linear_recurrence.vjp
def _(cts, outs, a, b, *, axis, reverse):
    from .complex import conj

    back, state = shifted(a, axis, not reverse), shifted(outs[0], axis, reverse)
    if a.dtype.kind == "c":
        back, state = conj(back), conj(state)
    pulled = linear_recurrence(back, cts[0], axis=axis, reverse=not reverse)
    return pulled * state, pulled


# -- running extremes ---------------------------------------------------------------------------------------------


def _cummax(x, *, axis, reverse):
    """The largest element so far along an axis (from the end with `reverse`). A NaN wins from where it occurs.

    The gradient goes to the element chosen; of equal ones to the latest.
    """
    return _accumulate(np.maximum, x, axis, reverse)


def _cummin(x, *, axis, reverse):
    """The smallest element so far along an axis (from the end with `reverse`). A NaN wins from where it occurs.

    The gradient goes to the element chosen; of equal ones to the latest.
    """
    return _accumulate(np.minimum, x, axis, reverse)


_EXTREME = _samples(exclusive=False, complex=False)
cummax = _Cumulative("cummax", _cummax, _ordered, attrs=("axis", "reverse"), samples=_EXTREME)
cummin = _Cumulative("cummin", _cummin, _ordered, attrs=("axis", "reverse"), samples=_EXTREME)


def _extreme_jvp(tangents, outs, x, *, axis, reverse):
    from .bits import bitwise_or
    from .comparison import equal, isnan
    from .indexing import iota_along, take_along_axis
    from .selection import where

    # An element is chosen until a later one is at least as good: carry the index of the latest such element on.
    improves = bitwise_or(equal(x, outs[0]), isnan(x))
    here = iota_along(x.shape, axis, int64)
    if reverse:
        position = cummin(where(improves, here, 2**62), axis=axis, reverse=True)
    else:
        position = cummax(where(improves, here, 0), axis=axis)
    return (take_along_axis(tangents[0], position, axis),)


cummax.jvp(_extreme_jvp)
cummin.jvp(_extreme_jvp)


def _batch(prim):
    @prim.batch
    def _(size, batched, x, *, axis, **attrs):
        return prim(x, axis=axis + 1, **attrs)


for _prim in (cumsum, cumprod, cummax, cummin):
    _batch(_prim)


@linear_recurrence.batch
def _(size, batched, a, b, *, axis, reverse):
    from .movement import broadcast_to

    a, b = [x if own else broadcast_to(x, (size, *x.shape)) for x, own in zip((a, b), batched, strict=True)]
    return linear_recurrence(a, b, axis=axis + 1, reverse=reverse)
