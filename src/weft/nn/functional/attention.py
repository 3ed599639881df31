"""Attention on tensors."""

from __future__ import annotations

from typing import Any

from ...arrays.dispatch import apply
from ...arrays.generator import checked_generator
from ...arrays.remembered import remembered
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError, ShapeError
from ...ir.shape import Shape, broadcast_shapes, divide, show_shape
from ...ops.composite import attention as a
from ...ops.rearrange import repeat
from ..factory import probability
from .operands import checked, maybe


def _repeated(x: Tensor, heads: Any) -> Tensor:
    """x (..., Hk, S, E) with each head repeated, so that there are `heads` of them."""
    axis = x.ndim - 3
    count = divide(heads, x.shape[axis]) if axis >= 0 else None
    if not isinstance(count, int):
        raise ShapeError(
            f"enable_gqa: {heads} query heads are not a multiple of those of {show_shape(x.shape)}"
        )
    return x if count == 1 else Tensor(repeat(x._node, count, axis))


def random_state(scores: Shape, generator: Any = None) -> Tensor:
    """A random state for a dropout of attention weights of this shape, (..., L, S)."""
    return Tensor(checked_generator(generator).draw_state(a.draws(scores)))


@remembered
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """The mean of values, weighted by how well keys fit a query.

        y = softmax(query key^T * scale + mask) value

    Args:
        query: (..., L, E).
        key: (..., S, E).
        value: (..., S, V).
        attn_mask: broadcasts to (..., L, S): boolean, True where a query may look, or floating, added to the scores.
        dropout_p: probability with which weights are put to 0 (always applied: pass 0.0 in evaluation).
        is_causal: query i sees keys 0 .. i.
        scale: factor on the scores, by default 1 / sqrt(E).
        enable_gqa: key and value may have fewer heads (axis -3) than query, each serving several.

    Shapes: (..., L, V). A query that may look nowhere gets zeros.

    Raises: ArgumentError for a mask beside `is_causal`; ShapeError where shapes do not fit.

    Reference: A. Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762
    """
    name = "scaled_dot_product_attention"
    query, key, value = checked(name, query), checked(name, key), checked(name, value)
    attn_mask = maybe(name, attn_mask)
    if is_causal and attn_mask is not None:
        raise ArgumentError("scaled_dot_product_attention takes attn_mask or is_causal, not both")
    probability("scaled_dot_product_attention", dropout_p, "dropout_p")
    if enable_gqa:
        heads = query.shape[-3] if query.ndim > 2 else 1
        key, value = _repeated(key, heads), _repeated(value, heads)
    state = None
    if dropout_p:
        lead = broadcast_shapes(query.shape[:-2], key.shape[:-2])
        state = random_state((*lead, query.shape[-2], key.shape[-2]), generator)
    p = float(dropout_p) if dropout_p else None
    return apply(
        a.scaled_dot_product_attention, query, key, value, attn_mask, scale, state, p, causal=bool(is_causal)
    )
