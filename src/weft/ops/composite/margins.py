"""Losses with margins between the scores of classes."""

from __future__ import annotations

from ...base.errors import DTypeError, ShapeError
from ...ir.node import Node
from ...ir.shape import show_shape
from ..cumulative import cumsum
from ..elementwise import cast, equal, less, logical_and, logical_not, where
from ..gather import iota_along
from ..indexing import take_along_axis
from ..movement import broadcast_to, reshape
from ..reduce import any_, sum_
from .activations import softplus_
from .classes import pick_class, positions
from .common import along, as_type, count, floating, positive, widened
from .define import composite
from .losses import pair, reduced


def _scores(name: str, x: Node, target: Node, want: tuple) -> None:
    floating(name, input=x)
    if x.ndim not in (1, 2) or target.shape != want:
        raise ShapeError(
            f"{name} takes scores (N, C) or (C) and class indices {show_shape(want)}, got {show_shape(x.shape)} and "
            f"{show_shape(target.shape)}"
        )
    if target.dtype.kind not in "iu":
        raise DTypeError(f"{name}: class indices must be integers, got {target.aval.describe()}")


@composite
def multi_margin_loss(x, target, margin, weight, *, squared=False, reduction="mean"):
    """The mean over all other classes i, and 0 for the class y itself, of max(0, margin - x[y] + x[i])**p.

    x is (N, C) or (C), the targets class indices (N) or (). p is 2 if `squared`, else 1; `weight` (C) multiplies the
    loss of each class y.
    """
    _scores("multi_margin_loss", x, target, x.shape[:-1])
    w, axis = widened(x), x.ndim - 1
    target = positions(target)
    spread = reshape(target, shape=(*target.shape, 1))
    own = reshape(pick_class(w, target, axis=axis), shape=spread.shape)
    gap = positive(as_type(margin, w.dtype) - own + w)
    gap = gap * gap if squared else gap
    gap = where(equal(iota_along(x.shape, axis), broadcast_to(spread, x.shape)), 0, gap)
    loss = sum_(gap, axes=(axis,)) / count(w, (axis,))
    if weight is not None:
        each = broadcast_to(along(as_type(weight, w.dtype), w, axis), w.shape)
        loss = loss * pick_class(each, target, axis=axis)
    return as_type(reduced(loss, reduction), x.dtype)


@composite
def multilabel_margin_loss(x, target, *, reduction="mean"):
    """The sum over classes y of the sample and classes i that are none of them of max(0, 1 - x[y] + x[i]), over C.

    x is (N, C) or (C); the targets, of the same shape, list the classes of each sample up to the first negative number.
    """
    _scores("multilabel_margin_loss", x, target, x.shape)
    lone = x.ndim == 1
    w, target = widened(x), positions(target)
    if lone:
        w, target = reshape(w, shape=(1, *w.shape)), reshape(target, shape=(1, *target.shape))
    n, classes = w.shape
    ended = cumsum(cast(less(target, 0), dtype=target.dtype), axis=1, reverse=False, exclusive=False)
    listed = equal(ended, 0)
    target = where(listed, target, 0)
    own = take_along_axis(w, target, 1)  # (N, listed)
    row, column = (n, classes, 1), (n, 1, classes)
    grid = (n, classes, classes)  # sample, place in the list, class
    same = equal(broadcast_to(reshape(target, shape=row), grid), iota_along(grid, 2))
    listed = broadcast_to(reshape(listed, shape=row), grid)
    member = reshape(any_(logical_and(same, listed), axes=(1,)), shape=column)
    counts = logical_and(listed, broadcast_to(logical_not(member), grid))
    gap = positive(1 - reshape(own, shape=row) + reshape(w, shape=column))
    loss = sum_(where(counts, gap, 0), axes=(1, 2)) / count(w, (1,))
    return as_type(reduced(reshape(loss, shape=()) if lone else loss, reduction), x.dtype)


@composite
def multilabel_soft_margin_loss(x, target, weight, *, reduction="mean"):
    """The mean over classes of -(y log s + (1 - y) log(1 - s)) * weight with s = sigmoid(x), for targets y 0 and 1."""
    a, t = pair("multilabel_soft_margin_loss", x, target)
    if x.ndim == 0:
        raise ShapeError("multilabel_soft_margin_loss takes scores (N, C) or (C), got a single number")
    each = (1 - t) * a + softplus_(-a)
    axis = x.ndim - 1
    if weight is not None:
        each = each * as_type(weight, a.dtype)
    return as_type(reduced(sum_(each, axes=(axis,)) / count(a, (axis,)), reduction), x.dtype)
