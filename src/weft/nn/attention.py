"""Multi-head attention."""

from __future__ import annotations

from typing import Any

from ..arrays.dispatch import apply
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..ir.node import Aval, Node
from ..ir.shape import Shape, show_shape
from ..ops.composite.heads import multi_head_attention
from ..ops.elementwise import cast, less, logical_and, logical_not, where
from ..ops.indexing import iota_along
from ..ops.movement import concatenate, full, permute, reshape
from . import init
from .factory import empty, positive_int, probability
from .functional.attention import random_state
from .functional.operands import checked, maybe
from .linear import Linear
from .module import Module
from .parameter import Parameter


class MultiheadAttention(Module):
    """Attention in several subspaces at once.

        y = concat(head_1, ..., head_h) W_o        head_i = softmax(q_i k_i^T / sqrt(E / h) + mask) v_i

    where q_i, k_i and v_i are parts of the projections of query, key and value. Called with the three, and with masks
    as `forward` says; returns (y, weights).

    Args:
        embed_dim: the width of queries and results; a multiple of `num_heads`.
        num_heads: the number of subspaces.
        dropout: probability with which attention weights are put to 0 in training.
        bias: whether the projections have biases.
        add_bias_kv: whether one learned key and value is added behind those of every sequence.
        add_zero_attn: whether a key and value of zeros is added, so that a query can look at nothing.
        kdim, vdim: widths of keys and values, if they differ from `embed_dim`.
        batch_first: whether tensors are (N, L, E) instead of (L, N, E).

    Shapes: query (L, N, E), key (S, N, kdim), value (S, N, vdim), or all without N; y (L, N, E), weights (N, L, S).
    in_proj_weight (3 E, E) is drawn from Glorot's uniform distribution, out_proj.weight (E, E) as in `Linear`; biases
    are 0.

    Raises: ArgumentError unless embed_dim is a multiple of num_heads; ShapeError when called, for other widths or
    masks.

    Reference: A. Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None
    out_proj: Linear

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = "MultiheadAttention"
        self.embed_dim = positive_int(name, "embed_dim", embed_dim)
        self.num_heads = positive_int(name, "num_heads", num_heads)
        if embed_dim % num_heads:
            raise ArgumentError(f"{name}: embed_dim {embed_dim} does not divide into {num_heads} heads")
        self.head_dim = embed_dim // num_heads
        self.dropout = probability(name, dropout, "dropout")
        self.kdim = embed_dim if kdim is None else positive_int(name, "kdim", kdim)
        self.vdim = embed_dim if vdim is None else positive_int(name, "vdim", vdim)
        self.batch_first = batch_first
        if self.kdim == embed_dim and self.vdim == embed_dim:
            self.in_proj_weight = Parameter(empty((3 * embed_dim, embed_dim), dtype, device))
            for missing in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
                self.register_parameter(missing, None)
        else:
            self.q_proj_weight = Parameter(empty((embed_dim, embed_dim), dtype, device))
            self.k_proj_weight = Parameter(empty((embed_dim, self.kdim), dtype, device))
            self.v_proj_weight = Parameter(empty((embed_dim, self.vdim), dtype, device))
            self.register_parameter("in_proj_weight", None)
        self.register_parameter(
            "in_proj_bias", Parameter(empty((3 * embed_dim,), dtype, device)) if bias else None
        )
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        for name in ("bias_k", "bias_v"):
            self.register_parameter(
                name, Parameter(empty((1, 1, embed_dim), dtype, device)) if add_bias_kv else None
            )
        self.add_zero_attn = bool(add_zero_attn)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the projections anew (Glorot's uniform distribution); biases 0."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None and self.out_proj.bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """(result, weights): the result has the query's shape, the weights (N, L, S), or None if not needed.

        In the weights S counts the keys that `add_bias_kv` and `add_zero_attn` add; in the masks it does not.

        Args:
            query, key, value: (L, N, E), (S, N, kdim), (S, N, vdim), N first if `batch_first`, or without N.
            key_padding_mask: (N, S), True (or -inf) at keys that nobody looks at.
            need_weights: whether the attention weights are returned.
            attn_mask: (L, S) or (N * num_heads, L, S), True where a query may not look, or added to the scores.
            average_attn_weights: whether the weights are averaged over the heads.
            is_causal: query i sees keys 0 .. i, without a mask being built.
        """
        name, given = "MultiheadAttention", (query, key, value)
        query = checked(name, query)
        key = query if key is given[0] else checked(name, key)
        value = key if value is given[1] else checked(name, value)
        key_padding_mask, attn_mask = maybe(name, key_padding_mask), maybe(name, attn_mask)
        lone = query.ndim == 2
        self._check(query, key, value)
        same_kv, same_qk = value is key, key is query
        q = self._batch_first(query, lone)
        k = None if same_qk else self._batch_first(key, lone)
        v = None if same_kv else self._batch_first(value, lone)
        batch, length, steps = q.shape[0], q.shape[1], (q if k is None else k).shape[1]
        scores: Shape = (batch, self.num_heads, length, steps)
        more = int(self.bias_k is not None) + int(self.add_zero_attn)
        causal = bool(is_causal) and attn_mask is None
        if more and causal:
            attn_mask, causal = Tensor(less(iota_along(scores[2:], 0), iota_along(scores[2:], 1))), False
        mask = self._mask(attn_mask, key_padding_mask, scores, lone)
        if more:
            scores = (*scores[:3], steps + more)
            mask = None if mask is None else _wider(mask, more)
        dropped = self.dropout if self.training else 0.0
        out = apply(
            multi_head_attention,
            q, k, v,
            self.in_proj_weight, self.in_proj_bias,
            self.q_proj_weight, self.k_proj_weight, self.v_proj_weight,
            self.out_proj.weight, self.out_proj.bias,
            mask,
            random_state(scores) if dropped else None,
            dropped or None,
            self.bias_k, self.bias_v,
            heads=self.num_heads,
            zero_attn=self.add_zero_attn,
            causal=causal,
            weights=bool(need_weights),
            average=bool(average_attn_weights),
        )  # fmt: skip
        result, weights = out if need_weights else (out, None)
        result = self._restored(result, lone)
        if weights is not None and lone:
            weights = Tensor(reshape(weights._node, shape=weights.shape[1:]))
        return result, weights

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        got = ", ".join(show_shape(t.shape) for t in (query, key, value))
        widths = (self.embed_dim, self.kdim, self.vdim)
        if query.ndim not in (2, 3) or any(t.ndim != query.ndim for t in (key, value)):
            order = "(N, L, E)" if self.batch_first else "(L, N, E)"
            raise ShapeError(f"queries, keys and values are {order} or (L, E), got {got}")
        if tuple(t.shape[-1] for t in (query, key, value)) != widths or key.shape[:-1] != value.shape[:-1]:
            raise ShapeError(f"queries, keys and values of widths {widths} are expected, got {got}")

    def _batch_first(self, x: Tensor, lone: bool) -> Tensor:
        if lone:
            return Tensor(reshape(x._node, shape=(1, *x.shape)))
        return x if self.batch_first else Tensor(permute(x._node, axes=(1, 0, 2)))

    def _restored(self, x: Tensor, lone: bool) -> Tensor:
        if lone:
            return Tensor(reshape(x._node, shape=x.shape[1:]))
        return x if self.batch_first else Tensor(permute(x._node, axes=(1, 0, 2)))

    def _mask(self, attn: Tensor | None, padding: Tensor | None, scores: Shape, lone: bool) -> Tensor | None:
        """Both masks as one that broadcasts to the scores: True where a query may look, or to be added."""
        batch, heads, length, steps = scores
        found: list[Node] = []
        if attn is not None:
            if attn.shape == (length, steps):
                found.append(attn._node)
            elif attn.shape == (batch * heads, length, steps):  # type: ignore[operator]
                found.append(reshape(attn._node, shape=scores))
            else:
                raise ShapeError(
                    f"attn_mask of shape ({length}, {steps}) or ({batch * heads}, {length}, {steps}) is expected, "  # type: ignore[operator]
                    f"got {show_shape(attn.shape)}"
                )
        if padding is not None:
            want = (steps,) if lone else (batch, steps)
            if padding.shape != want:
                raise ShapeError(
                    f"key_padding_mask of shape {show_shape(want)} is expected, got {show_shape(padding.shape)}"
                )
            found.append(reshape(padding._node, shape=(batch, 1, 1, steps)))
        if not found:
            return None
        for m in found:
            if m.dtype.kind not in "bf":
                raise DTypeError(f"attention masks are boolean or floating, got {m.dtype}")
        if all(m.dtype.kind == "b" for m in found):
            allowed = [logical_not(m) for m in found]
            return Tensor(allowed[0] if len(allowed) == 1 else logical_and(*allowed))
        dtype = next(m.dtype for m in found if m.dtype.kind == "f")
        added = [
            where(m, float("-inf"), 0.0, dtype=dtype) if m.dtype.kind == "b" else cast(m, dtype=dtype)
            for m in found
        ]
        return Tensor(added[0] if len(added) == 1 else added[0] + added[1])


def _wider(mask: Tensor, more: int) -> Tensor:
    """A mask for so many more keys, at which everybody may look."""
    node = mask._node
    free = full(Aval((*node.shape[:-1], more), node.dtype), node.dtype.kind == "b")
    return Tensor(concatenate(node, free, axis=node.ndim - 1))
