"""Attention with heads: projections, attention in each of several subspaces, and a last projection."""

from __future__ import annotations

from ...ir.node import Aval, Node
from ...ir.shape import divide
from ..contraction import dot_general, matmul
from ..movement import broadcast_to, concatenate, full, permute, reshape, slice_axis
from ..reduce import sum_
from .attention import attend, dropped_weights, weights_of
from .common import as_type
from .define import composite


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
    state,
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
    broadcasts to (N, heads, L, S). With a random `state` weights are dropped out with probability p. With `weights` the
    attention weights (averaged over heads, if `average`) are returned too. `bias_k` and `bias_v` (1, 1, E) are one more
    key and value for everybody, `zero_attn` adds a last one of zeros; S counts them.
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
        share = dropped_weights(weights_of(q, k, mask, None, causal), state, p)
        out = matmul(as_type(share, v.dtype), v)  # (N, heads, L, E / heads)
    else:
        out = attend(q, k, v, mask, None, state, p, causal)
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
