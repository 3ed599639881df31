"""Attention: values averaged with weights that come from comparing queries with keys."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...base.errors import DTypeError, ShapeError
from ...ir.dtype import int64, uint64
from ...ir.graph import trace_graph
from ...ir.node import Aval, Node
from ...ir.primitive import results
from ...ir.shape import Shape, Size, broadcast_shapes, broadcasts_to, show_shape
from ..contraction import matmul
from ..define import constant
from ..elementwise import cast, equal, log, shift_right, where
from ..gather import iota
from ..loops import scan
from ..movement import broadcast_to, concatenate, pad, reshape, slice_axis, sum_to, zeros
from ..random import advance, blocks, random_bits
from ..rearrange import moveaxis, swapaxes, tri
from ..reduce import max_, sum_
from .common import as_type, exp_or_zero, floating, keep, stop_gradient, widened
from .define import composite
from .dropout import dropped, rest_of


@composite
def safe_softmax(x):
    """Softmax along the last axis in which a row of nothing but -inf gives zeros. One division for each row."""
    axis = (x.ndim - 1,)
    top = keep(max_(x, axes=axis), x, axis)
    e = exp_or_zero(x - stop_gradient(where(equal(top, float("-inf")), 0, top)))
    total = keep(sum_(e, axes=axis), e, axis)
    return e * (1 / where(equal(total, 0), 1, total))


@safe_softmax.vjp
def _(cts, outs, x):
    y, ct = outs[0], cts[0]
    axis = (x.ndim - 1,)
    return ((ct - keep(sum_(ct * y, axes=axis), y, axis)) * y,)


def _turned(x: Node) -> Node:
    return swapaxes(x, x.ndim - 2, x.ndim - 1)


def _factor(q: Node, scale: Node | None, like: Node) -> Node | float:
    """What products of queries and keys are multiplied by."""
    return 1 / math.sqrt(max(int(q.shape[-1]), 1)) if scale is None else as_type(scale, like.dtype)


def scores_of(
    q: Node, k: Node, mask: Node | None, scale: Node | None, causal: bool, first: Node | int = 0
) -> Node:
    """q k^T * scale + mask for q (..., L, E) and k (..., S, E), where q[0] is query number `first`."""
    scores = widened(matmul(q, _turned(k)))
    scores = scores * _factor(q, scale, scores)
    if causal:
        scores = where(tri(q.shape[-2], k.shape[-2], first), scores, float("-inf"))
    if mask is not None:
        if not broadcasts_to(mask.shape, scores.shape):
            raise ShapeError(
                f"attention: a mask of shape {show_shape(mask.shape)} does not broadcast to the scores "
                f"{show_shape(scores.shape)} (..., queries, keys)"
            )
        if mask.dtype.kind == "b":
            scores = where(broadcast_to(mask, scores.shape), scores, float("-inf"))
        elif mask.dtype.kind == "f":
            scores = scores + as_type(mask, scores.dtype)
        else:
            raise DTypeError(f"attention: a mask is boolean or floating, got {mask.aval.describe()}")
    return scores


def weights_of(q: Node, k: Node, mask: Node | None, scale: Node | None, causal: bool) -> Node:
    """softmax(q k^T * scale + mask) for q (..., L, E) and k (..., S, E)."""
    scores = scores_of(q, k, mask, scale, causal)
    return scores if k.shape[-2] == 0 else safe_softmax(scores)


#: Queries that are compared with all keys at a time, and scores from which on this is done; it takes a fifth longer.
_ROWS, _MANY = 64, 1 << 21

#: Into how many parts queries are cut that see the keys before them only: each leaves out the keys behind its last one,
#: together three eighths of all scores.
_PARTS = 4


@composite
def attention_rows(q, k, v, mask, scale, first, states, p, *, causal):
    """(softmax(s) v, log(sum(e**s))) of s = q k^T * scale + mask, for queries `first` and the following.

    Weights are divided by their sums behind the product with the values. The logarithms, (..., L, 1), are what the
    backward pass computes the weights again from; they are 0 for a query that sees nothing. With random `states`
    (..., 2) weights are dropped out with probability p; the backward pass draws the same bits again.
    """
    scores = scores_of(q, k, mask, scale, causal, first)
    axis = (scores.ndim - 1,)
    top = keep(max_(scores, axes=axis), scores, axis)
    top = stop_gradient(where(equal(top, float("-inf")), 0, top))
    e = exp_or_zero(scores - top)
    total = keep(sum_(e, axes=axis), e, axis)
    total = where(equal(total, 0), 1, total)
    e = dropped_weights(e, states, p)
    out = widened(matmul(as_type(e, v.dtype), v)) * (1 / total)
    return as_type(out, v.dtype), top + log(total)


@attention_rows.vjp
def _(cts, outs, q, k, v, mask, scale, first, states, p, *, causal):
    """With weights w, the cotangent c of the result and dropout d, that of a score is w (d(c v^T) - sum(c out))."""
    out, logs = outs
    scores = scores_of(q, k, mask, scale, causal, first)
    weights = exp_or_zero(scores - logs)
    ct = zeros(out.aval) if cts[0] is None else cts[0]
    products = widened(ct) * widened(out)
    shift = keep(sum_(products, axes=(out.ndim - 1,)), out, (out.ndim - 1,))
    if cts[1] is not None:
        shift = shift - cts[1]
    ds = weights * (dropped_weights(widened(matmul(ct, _turned(v))), states, p) - shift)
    scaled = as_type(ds * _factor(q, scale, ds), q.dtype)
    of_scale = None
    if scale is not None:
        of_scale = as_type(sum_to(ds * widened(matmul(q, _turned(k))), scale.shape), scale.dtype)
    of_p = None
    if p is not None:
        of_p = as_type(sum_to(products / as_type(rest_of(p), products.dtype), p.shape), p.dtype)
    return (
        sum_to(matmul(scaled, k), q.shape),
        sum_to(matmul(_turned(scaled), q), k.shape),
        sum_to(matmul(_turned(as_type(dropped_weights(weights, states, p), ct.dtype)), ct), v.shape),
        None if mask is None or mask.dtype.kind != "f" else as_type(sum_to(ds, mask.shape), mask.dtype),
        of_scale,
        None,
        None,
        of_p,
    )


def dropped_weights(x: Node, states: Node | None, p: Node | None) -> Node:
    """x (..., L, S), its elements dropped out by bits that are drawn from random states (..., 2), if there are."""
    if states is None:
        return x
    lead = states.ndim - 1
    return dropped(x, random_bits(states, shape=x.shape[lead:], bits=32), as_type(p, x.dtype))


def draws(shape: Shape) -> Size:
    """By how much dropping out weights of this shape, (..., L, S), advances a random state."""
    *lead, rows, keys = shape
    if isinstance(rows, int):  # each head begins with a block of queries of its own
        rows = -(-rows // _ROWS) * _ROWS
    return blocks((*lead, rows, keys), 32)


def _states(state: Node, scores: tuple[int, ...], first: Node) -> Node:
    """For each head the state that the bits of `_ROWS` queries are drawn from, the first of which is number `first`."""
    *lead, rows, keys = scores
    heads = iota(size=math.prod(lead), dtype=int64) * (-(-rows // _ROWS) * _ROWS)
    passed = shift_right((heads + first) * keys, 2)  # four words are a block
    return advance(state, reshape(cast(passed, dtype=uint64), shape=tuple(lead)))


def attend(
    q: Node,
    k: Node,
    v: Node,
    mask: Node | None,
    scale: Node | None,
    state: Node | None,
    p: Node | None,
    causal: bool,
) -> Node:
    """softmax(q k^T * scale + mask) v, its weights dropped out by bits from a random `state` if there is one.

    With many queries and keys a few queries are gone through at a time, and once more in the backward pass: the L x S
    weights are never in memory all at once. What queries do not see because it is behind them is for the most part not
    compared with them.
    """
    if not _is_large(q, k):
        weights = dropped_weights(weights_of(q, k, mask, scale, causal), state, p)
        return matmul(as_type(weights, v.dtype), v)
    rows: int = q.shape[-2]  # type: ignore[assignment]
    scores: Any = (*broadcast_shapes(q.shape[:-2], k.shape[:-2]), rows, k.shape[-2])

    def step(queries: Node, first: Node, keys: Node, values: Node, mask: Any, scale: Any, state: Any, p: Any):
        states = None if state is None else _states(state, scores, first)
        return attention_rows(queries, keys, values, mask, scale, first, states, p, causal=causal)

    if not causal or mask is not None:
        return _in_steps(step, q, 0, k, v, mask, scale, state, p)
    each = -(-rows // (_ROWS * _PARTS)) * _ROWS
    parts = []
    for begin in range(0, rows, each):
        end = min(begin + each, rows)
        seen = [slice_axis(x, x.ndim - 2, 0, min(end, x.shape[-2])) for x in (k, v)]  # type: ignore[type-var]
        queries = slice_axis(q, q.ndim - 2, begin, end)
        parts.append(_in_steps(step, queries, begin, *seen, None, scale, state, p))
    return concatenate(*parts, axis=parts[0].ndim - 2)


def _in_steps(
    step: Callable[..., Any],
    q: Node,
    begin: int,
    k: Node,
    v: Node,
    mask: Node | None,
    *shared: Node | None,
) -> Node:
    """step(queries, number of the first, k, v, mask, *shared) for `_ROWS` queries at a time, the results joined.

    The first of all queries is number `begin`. A mask that differs from query to query goes along with them.
    """
    rows: int = q.shape[-2]  # type: ignore[assignment]
    count = -(-rows // _ROWS)
    each = [_in_rows(q, count), iota(size=count, dtype=int64) * _ROWS + begin]
    one = mask is not None and (mask.ndim < 2 or mask.shape[-2] == 1)
    if mask is not None and not one:
        each.append(_in_rows(mask, count))
    among = (k, v, mask if one else None, *shared)
    consts = [c for c in among if c is not None]

    def body(*args: Node) -> tuple[Node, ...]:
        given, (queries, first, *its) = iter(args[: len(consts)]), args[len(consts) :]
        keys, values, mask, *rest = (None if c is None else next(given) for c in among)
        return step(queries, first, keys, values, *its or [mask], *rest)

    avals = [*[c.aval for c in consts], *[Aval(x.shape[1:], x.dtype) for x in each]]
    out = scan(
        *consts,
        *each,
        body=trace_graph(body, avals),
        consts=len(consts),
        carries=0,
        length=count,
        reverse=False,
        rule=None,
    )
    out = results(out)[0]  # (count, ..., _ROWS, V)
    out = moveaxis(out, 0, out.ndim - 3)
    out = reshape(out, shape=(*out.shape[:-3], count * _ROWS, out.shape[-1]))
    return slice_axis(out, out.ndim - 2, 0, rows)


def _is_large(q: Node, k: Node) -> bool:
    """Whether the scores are too many to be in memory all at once."""
    sizes = [*broadcast_shapes(q.shape[:-2], k.shape[:-2]), q.shape[-2], k.shape[-2]]
    known = [n for n in sizes if isinstance(n, int)]
    return len(known) == len(sizes) and math.prod(known) >= _MANY and known[-2] >= 2 * _ROWS


def _in_rows(x: Node, count: int) -> Node:
    """x (..., L, E) as (count, ..., _ROWS, E), filled up with zeros."""
    missing = count * _ROWS - x.shape[-2]  # type: ignore[operator]
    if missing:
        low, high = (0,) * x.ndim, (*(0,) * (x.ndim - 2), missing, 0)
        x = pad(x, constant(0, x.dtype), low=low, high=high, interior=(0,) * x.ndim)
    x = reshape(x, shape=(*x.shape[:-2], count, _ROWS, x.shape[-1]))
    return moveaxis(x, x.ndim - 3, 0)


def _check(q: Node, k: Node, v: Node) -> None:
    floating("scaled_dot_product_attention", query=q, key=k, value=v)
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(
            "attention takes queries (..., L, E), keys (..., S, E) and values (..., S, V), got "
            f"{show_shape(q.shape)}, {show_shape(k.shape)} and {show_shape(v.shape)}"
        )


@composite
def scaled_dot_product_attention(q, k, v, mask, scale, state, p, *, causal=False):
    """softmax(q k^T * scale + mask) v for q (..., L, E), k (..., S, E) and v (..., S, V).

    A boolean mask is True where a query may look; a floating one is added. `causal` lets query i see keys 0 .. i. A
    query that sees nothing gets zeros. With a random `state`, from which `draws` blocks are taken, weights are dropped
    out with probability p.
    """
    _check(q, k, v)
    return attend(q, k, v, mask, scale, state, p, causal)
