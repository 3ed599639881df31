"""Attention: values averaged with weights that come from comparing queries with keys."""

from __future__ import annotations

import math

from ...base.errors import DTypeError, ShapeError
from ...ir.dtype import int64
from ...ir.graph import trace_graph
from ...ir.node import Aval, Node
from ...ir.primitive import results
from ...ir.shape import broadcast_shapes, divide, show_shape
from ..contraction import dot_general, matmul
from ..define import constant
from ..elementwise import equal, log, where
from ..gather import iota
from ..loops import scan
from ..movement import broadcast_to, concatenate, full, pad, permute, reshape, slice_axis, sum_to, zeros
from ..rearrange import moveaxis, swapaxes, tri
from ..reduce import max_, sum_
from .common import as_type, exp_or_zero, floating, keep, stop_gradient, widened
from .define import composite
from .dropout import dropped


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


def _fits(mask: Node, scores: Node) -> bool:
    try:
        return broadcast_shapes(scores.shape, mask.shape) == scores.shape
    except ShapeError:
        return False


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
        if not _fits(mask, scores):
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
def attention_rows(q, k, v, mask, scale, first, *, causal):
    """(softmax(s) v, log(sum(e**s))) of s = q k^T * scale + mask, for queries `first` and the following.

    Weights are divided by their sums behind the product with the values. The logarithms, (..., L, 1), are what the
    backward pass computes the weights again from; they are 0 for a query that sees nothing.
    """
    scores = scores_of(q, k, mask, scale, causal, first)
    axis = (scores.ndim - 1,)
    top = keep(max_(scores, axes=axis), scores, axis)
    top = stop_gradient(where(equal(top, float("-inf")), 0, top))
    e = exp_or_zero(scores - top)
    total = keep(sum_(e, axes=axis), e, axis)
    total = where(equal(total, 0), 1, total)
    out = widened(matmul(as_type(e, v.dtype), v)) * (1 / total)
    return as_type(out, v.dtype), top + log(total)


@attention_rows.vjp
def _(cts, outs, q, k, v, mask, scale, first, *, causal):
    """With weights p and the cotangent c of the result, that of a score is p (c v^T - sum(c out))."""
    out, logs = outs
    scores = scores_of(q, k, mask, scale, causal, first)
    p = exp_or_zero(scores - logs)
    ct = zeros(out.aval) if cts[0] is None else cts[0]
    wide = widened(ct)
    shift = keep(sum_(wide * widened(out), axes=(out.ndim - 1,)), out, (out.ndim - 1,))
    if cts[1] is not None:
        shift = shift - cts[1]
    ds = p * (widened(matmul(ct, _turned(v))) - shift)
    products = as_type(ds * _factor(q, scale, ds), q.dtype)
    of_scale = None
    if scale is not None:
        of_scale = as_type(sum_to(ds * widened(matmul(q, _turned(k))), scale.shape), scale.dtype)
    return (
        sum_to(matmul(products, k), q.shape),
        sum_to(matmul(_turned(products), q), k.shape),
        sum_to(matmul(_turned(as_type(p, ct.dtype)), ct), v.shape),
        None if mask is None or mask.dtype.kind != "f" else as_type(sum_to(ds, mask.shape), mask.dtype),
        of_scale,
        None,
    )


def attend(
    q: Node,
    k: Node,
    v: Node,
    mask: Node | None,
    scale: Node | None,
    bits: Node | None,
    p: Node | None,
    causal: bool,
) -> Node:
    """softmax(q k^T * scale + mask) v, its weights dropped out where there are `bits`.

    With many queries and keys a few queries are gone through at a time, and once more in the backward pass: the L x S
    weights are never in memory all at once. What queries do not see because it is behind them is for the most part not
    compared with them.
    """
    if bits is not None or not _is_large(q, k):
        weights = weights_of(q, k, mask, scale, causal)
        if bits is not None:
            weights = dropped(weights, bits, as_type(p, weights.dtype))
        return matmul(as_type(weights, v.dtype), v)
    rows: int = q.shape[-2]  # type: ignore[assignment]
    if not causal or mask is not None:
        return _in_steps(q, k, v, mask, scale, causal, 0)
    each = -(-rows // (_ROWS * _PARTS)) * _ROWS
    parts = []
    for begin in range(0, rows, each):
        end = min(begin + each, rows)
        seen = [slice_axis(x, x.ndim - 2, 0, min(end, x.shape[-2])) for x in (k, v)]  # type: ignore[type-var]
        parts.append(_in_steps(slice_axis(q, q.ndim - 2, begin, end), *seen, None, scale, True, begin))
    return concatenate(*parts, axis=parts[0].ndim - 2)


def _in_steps(
    q: Node, k: Node, v: Node, mask: Node | None, scale: Node | None, causal: bool, begin: int
) -> Node:
    """softmax(q k^T * scale + mask) v, some queries at a time; the first one is number `begin`."""
    rows: int = q.shape[-2]  # type: ignore[assignment]
    count = -(-rows // _ROWS)
    shared = mask is not None and (mask.ndim < 2 or mask.shape[-2] == 1)
    consts = [k, v, *([mask] if shared else []), *([scale] if scale is not None else [])]
    each = [_in_rows(q, count), iota(size=count, dtype=int64) * _ROWS + begin]
    if mask is not None and not shared:
        each.append(_in_rows(mask, count))

    def step(*args: Node) -> tuple[Node, ...]:
        given = iter(args)
        keys, values = next(given), next(given)
        one = next(given) if shared else None
        factor = next(given) if scale is not None else None
        queries, first = next(given), next(given)
        return attention_rows(queries, keys, values, next(given, one), factor, first, causal=causal)

    body = trace_graph(step, [*[c.aval for c in consts], *[Aval(x.shape[1:], x.dtype) for x in each]])
    out = scan(
        *consts, *each, body=body, consts=len(consts), carries=0, length=count, reverse=False, rule=None
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
def scaled_dot_product_attention(q, k, v, mask, scale, bits, p, *, causal=False):
    """softmax(q k^T * scale + mask) v for q (..., L, E), k (..., S, E) and v (..., S, V).

    A boolean mask is True where a query may look; a floating one is added. `causal` lets query i see keys 0 .. i. A
    query that sees nothing gets zeros. With random `bits` of the scores' shape the weights are dropped out.
    """
    _check(q, k, v)
    return attend(q, k, v, mask, scale, bits, p, causal)


def _project(x: Node, weight: Node, bias: Node | None) -> Node:
    out = dot_general(x, weight, contract=((x.ndim - 1,), (1,)), batch=((), ()))
    return out if bias is None else out + bias


def _heads(x: Node, heads: int) -> Node:
    """(N, L, E) to (N, heads, L, E / heads)."""
    each = divide(x.shape[-1], heads)
    return permute(reshape(x, shape=(*x.shape[:-1], heads, each)), axes=(0, 2, 1, 3))


@composite
def multi_head_attention(
    q,
    k,
    v,
    w_in,
    b_in,
    w_q,
    w_k,
    w_v,
    w_out,
    b_out,
    mask,
    bits,
    p,
    bias_k=None,
    bias_v=None,
    *,
    heads,
    zero_attn=False,
    causal=False,
    weights=False,
    average=True,
):
    """Attention in `heads` subspaces: project, attend in each, join, project.

    q (N, L, E), k (N, S, Ek) and v (N, S, Ev), batch first. k None means q, v None means k. The projections are
    packed, w_in (3E, E), or apart, w_q (E, E), w_k (E, Ek), w_v (E, Ev); b_in (3E) is packed in either case. The mask
    broadcasts to (N, heads, L, S). With `weights` the attention weights (averaged over heads, if `average`) are
    returned too. `bias_k` and `bias_v` (1, 1, E) are one more key and value for everybody, `zero_attn` adds a last
    one of zeros; S counts them.
    """
    width = q.shape[-1]
    if w_in is not None and k is None:
        q, k, v = _thirds(_project(q, w_in, b_in), width, q.ndim - 1)
    else:
        k = q if k is None else k
        v = k if v is None else v
        parts = _thirds(w_in, width, 0) if w_in is not None else (w_q, w_k, w_v)
        shifts = (None, None, None) if b_in is None else _thirds(b_in, width, 0)
        q, k, v = [_project(x, w, b) for x, w, b in zip((q, k, v), parts, shifts, strict=True)]
    if bias_k is not None:
        k, v = _one_more(k, bias_k), _one_more(v, bias_v)
    q, k, v = _heads(q, heads), _heads(k, heads), _heads(v, heads)
    if zero_attn:
        k, v = [concatenate(x, full(Aval((*x.shape[:2], 1, x.shape[3]), x.dtype), 0), axis=2) for x in (k, v)]
    if weights:
        share = weights_of(q, k, mask, None, causal)
        if bits is not None:
            share = dropped(share, bits, as_type(p, share.dtype))
        out = matmul(as_type(share, v.dtype), v)  # (N, heads, L, E / heads)
    else:
        out = attend(q, k, v, mask, None, bits, p, causal)
    out = permute(out, axes=(0, 2, 1, 3))
    out = _project(reshape(out, shape=(*out.shape[:2], width)), w_out, b_out)
    if not weights:
        return out
    share = as_type(share, out.dtype)
    return out, (sum_(share, axes=(1,)) / heads if average else share)


def _one_more(x: Node, bias: Node) -> Node:
    """x (N, S, E) with one more step, the same for all."""
    step = broadcast_to(reshape(bias, shape=(1, 1, x.shape[2])), (x.shape[0], 1, x.shape[2]))
    return concatenate(x, as_type(step, x.dtype), axis=1)


def _thirds(x: Node, width: int, axis: int) -> tuple[Node, Node, Node]:
    a, b, c = [slice_axis(x, axis, i * width, (i + 1) * width) for i in range(3)]
    return a, b, c
