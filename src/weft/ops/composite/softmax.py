"""Softmax and its relatives, shifted by the maximum so that nothing overflows."""

from __future__ import annotations

from ...base.errors import DTypeError
from ...ir.node import Node
from ..elementwise import equal, log, where
from ..movement import reshape
from ..reduce import max_, sum_
from .common import as_type, exp_or_zero, keep, stop_gradient, widened
from .define import composite


def _check(name: str, x: Node) -> None:
    if x.dtype.kind != "f":
        raise DTypeError(
            f"{name} takes a floating tensor, got {x.aval.describe()}; convert it with astype('float32')"
        )


def _empty(x: Node, axes: tuple[int, ...]) -> bool:
    return any(x.shape[a] == 0 for a in axes)


@composite
def softmax(x, *, axis):
    """e**x / sum(e**x) along `axis`. Computed in float32 for 16-bit floats. All -inf along the axis gives NaN.

    One division for each row: its elements are multiplied by 1 / sum(e**x).
    """
    _check("softmax", x)
    if _empty(x, (axis,)):
        return x
    w = widened(x)
    top = keep(max_(w, axes=(axis,)), w, (axis,))
    e = exp_or_zero(w - stop_gradient(top))
    return as_type(e * keep(1 / sum_(e, axes=(axis,)), e, (axis,)), x.dtype)


@softmax.vjp
def _(cts, outs, x, *, axis):
    y, ct = widened(outs[0]), widened(cts[0])
    total = keep(sum_(ct * y, axes=(axis,)), y, (axis,))
    return (as_type((ct - total) * y, x.dtype),)


@composite
def log_softmax(x, *, axis):
    """x - log(sum(e**x)) along `axis`. Computed in float32 for 16-bit floats."""
    _check("log_softmax", x)
    if _empty(x, (axis,)):
        return x
    w = widened(x)
    shifted = w - stop_gradient(keep(max_(w, axes=(axis,)), w, (axis,)))
    return as_type(shifted - log(keep(sum_(exp_or_zero(shifted), axes=(axis,)), w, (axis,))), x.dtype)


@log_softmax.vjp
def _(cts, outs, x, *, axis):
    y, ct = widened(outs[0]), widened(cts[0])
    return (as_type(ct - exp_or_zero(y) * keep(sum_(ct, axes=(axis,)), ct, (axis,)), x.dtype),)


@composite
def exp_sums(x, *, axis):
    """(max, sum(e**(x - max))) along `axis`, which stays with length 1.

    What a loss keeps of each row of scores: log_softmax(x) is x less the maximum and the logarithm of the sum. The
    maximum is a number without a derivative, as in `log_softmax`.
    """
    if _empty(x, (axis,)):
        nothing = keep(sum_(x, axes=(axis,)), x, (axis,))
        return nothing, nothing
    top = stop_gradient(keep(max_(x, axes=(axis,)), x, (axis,)))
    return top, keep(sum_(exp_or_zero(x - top), axes=(axis,)), x, (axis,))


@exp_sums.vjp
def _(cts, outs, x, *, axis):
    if cts[1] is None:
        return (None,)
    return (cts[1] * exp_or_zero(x - outs[0]),)


@composite
def logsumexp(x, *, axes, keepdims=False):
    """log(sum(e**x)) over `axes`: -inf where all are -inf or there is nothing, inf where one is inf."""
    _check("logsumexp", x)
    w = widened(x)
    if _empty(x, axes):
        out = log(sum_(w, axes=axes))
        return as_type(keep(out, x, axes) if keepdims else out, x.dtype)
    top = keep(max_(w, axes=axes), w, axes)
    # An infinite maximum must not be subtracted from itself.
    finite = equal(top - top, 0)
    shift = stop_gradient(where(finite, top, 0))
    out = log(keep(sum_(exp_or_zero(w - shift), axes=axes), w, axes)) + shift
    out = as_type(out, x.dtype)
    return out if keepdims else _dropped(out, axes)


@logsumexp.vjp
def _(cts, outs, x, *, axes, keepdims):
    if _empty(x, axes):
        return (None,)
    w, y, ct = widened(x), widened(outs[0]), widened(cts[0])
    if not keepdims:
        y, ct = keep(y, x, axes), keep(ct, x, axes)
    # Where the result is -inf every element is; like the sum of nothing, it has derivative 0.
    nothing = equal(y, float("-inf"))
    share = exp_or_zero(w - where(nothing, 0, y))
    return (as_type(where(nothing, 0, ct) * share, x.dtype),)


def _dropped(x: Node, axes: tuple[int, ...]) -> Node:
    return reshape(x, shape=tuple([n for i, n in enumerate(x.shape) if i not in axes]))
