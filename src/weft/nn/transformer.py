"""The transformer: layers of attention and feed-forward networks, stacks of them, and both sides together."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from ..arrays.creation import full, triu
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, ShapeError
from ..ir.dtype import DEFAULT_FLOAT
from ..ir.shape import show_shape
from . import functional as F
from . import init
from .attention import MultiheadAttention
from .containers import ModuleList
from .dropout import Dropout
from .factory import positive_int
from .functional.operands import checked
from .linear import Linear
from .module import Module
from .normalization import LayerNorm

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


class _Layer(Module):
    """What both kinds of layer share: self-attention, a feed-forward network, and where the norms stand."""

    _blocks = 2  # each with a shortcut, a norm and a dropout

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if isinstance(activation, str) and activation not in _ACTIVATIONS:
            raise ArgumentError(f"activation must be 'relu', 'gelu' or a function, got {activation!r}")
        options: dict[str, Any] = {"batch_first": batch_first, "device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, **options)
        if self._blocks == 3:
            self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias, **options)
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, device=device, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, device=device, dtype=dtype)
        self.norm_first = norm_first
        for i in range(1, self._blocks + 1):
            setattr(
                self,
                f"norm{i}",
                LayerNorm(d_model, eps=layer_norm_eps, bias=bias, device=device, dtype=dtype),
            )
        for i in range(1, self._blocks + 1):
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.activation = _ACTIVATIONS[activation] if isinstance(activation, str) else activation

    def _feed(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def _through(self, x: Tensor, blocks: list[Callable[[Tensor], Tensor]]) -> Tensor:
        """Each block with its dropout, a shortcut around it, and its norm before the block or after the shortcut."""
        for i, block in enumerate(blocks, 1):
            norm, dropout = getattr(self, f"norm{i}"), getattr(self, f"dropout{i}")
            x = x + dropout(block(norm(x))) if self.norm_first else norm(x + dropout(block(x)))
        return x


def _attending(
    attention: MultiheadAttention, memory: Tensor | None, **masks: Any
) -> Callable[[Tensor], Tensor]:
    """x attending to `memory`, or to itself."""

    def attend(x: Tensor) -> Tensor:
        seen = x if memory is None else memory
        return attention(x, seen, seen, need_weights=False, **masks)[0]

    return attend


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward network, each with dropout, a shortcut and a layer norm.

        x = norm1(x + attention(x, x, x))        x = norm2(x + linear2(activation(linear1(x))))
        x = x + attention(norm1(x), ...)         x = x + linear2(activation(linear1(norm2(x))))        norm_first=True

    Args:
        d_model: the width E.
        nhead: the number of attention heads.
        dim_feedforward: the width between the two linear maps.
        dropout: probability of the dropouts.
        activation: "relu", "gelu" or a function of tensors.
        layer_norm_eps: eps of the layer norms.
        batch_first: whether tensors are (N, L, E) instead of (L, N, E).
        norm_first: normalise before attention and feed-forward instead of after the shortcut.
        bias: whether linear maps and norms have biases.

    Shapes: (L, N, E), kept, N first if `batch_first`, or without N.

    Reference: A. Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762
    """

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """The layer applied to `src`; masks as in `MultiheadAttention`."""
        masks = {"attn_mask": src_mask, "key_padding_mask": src_key_padding_mask, "is_causal": is_causal}
        return self._through(src, [_attending(self.self_attn, None, **masks), self._feed])


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to a memory (what an encoder made of another sequence), and a feed-forward network.

        x = norm1(x + attention(x, x, x));  x = norm2(x + attention(x, memory, memory))
        x = norm3(x + linear2(activation(linear1(x))))

    Each has dropout; with `norm_first` norms stand before the parts. Arguments are those of `TransformerEncoderLayer`.

    Shapes: x (L, N, E), kept, and memory (S, N, E), N first if `batch_first`, or without N.

    Reference: A. Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762
    """

    _blocks = 3

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The layer applied to `tgt` (L, N, E) and `memory` (S, N, E); masks as in `MultiheadAttention`."""
        own = {"attn_mask": tgt_mask, "key_padding_mask": tgt_key_padding_mask, "is_causal": tgt_is_causal}
        other = {
            "attn_mask": memory_mask,
            "key_padding_mask": memory_key_padding_mask,
            "is_causal": memory_is_causal,
        }
        attend, look = (
            _attending(self.self_attn, None, **own),
            _attending(self.multihead_attn, memory, **other),
        )
        return self._through(tgt, [attend, look, self._feed])


class _Stack(Module):
    """Copies of a layer, one after the other, and a final norm if one is given."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None) -> None:
        super().__init__()
        count = positive_int(type(self).__name__, "num_layers", num_layers)
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(count)])
        self.num_layers = num_layers
        self.norm = norm


class TransformerEncoder(_Stack):
    """Copies of an encoder layer, one after the other, and a final norm if one is given.

        y = norm(layer_n(... layer_1(x)))

    Args:
        encoder_layer: the layer that is copied, its parameters too.
        num_layers: how many copies.
        norm: what comes last.
        enable_nested_tensor, mask_check: accepted and mean nothing: there is one way to compute.

    Shapes: those of the layer, kept.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__(encoder_layer, num_layers, norm)

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """All layers applied to `src`; masks as in `MultiheadAttention`."""
        x = src
        for layer in self.layers:
            x = layer(x, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=is_causal)
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(_Stack):
    """Copies of a decoder layer, one after the other, and a final norm if one is given.

        y = norm(layer_n(... layer_1(x, memory), memory))

    Args:
        decoder_layer: the layer that is copied, its parameters too.
        num_layers: how many copies.
        norm: what comes last.

    Shapes: those of the layer; x is kept.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """All layers applied to `tgt`, each looking at `memory`; masks as in `MultiheadAttention`."""
        x = tgt
        for layer in self.layers:
            x = layer(
                x,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=tgt_is_causal,
                memory_is_causal=memory_is_causal,
            )
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """An encoder of one sequence and a decoder of another that looks at what the encoder made of it.

        y = decoder(tgt, encoder(src))

    Args:
        d_model: the width.
        nhead: the number of attention heads.
        num_encoder_layers, num_decoder_layers: how many layers each side has.
        custom_encoder, custom_decoder: modules instead of the usual sides.

    Other arguments are those of `TransformerEncoderLayer`. Embeddings, positions and the output layer are yours.
    Matrices are drawn from Glorot's uniform distribution.

    Shapes: src (S, N, E), tgt and result (L, N, E), N first if `batch_first`, or without N.

    Reference: A. Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        shared = (
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
            bias,
        )
        if custom_encoder is None:
            norm = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, device=device, dtype=dtype)
            layer = TransformerEncoderLayer(*shared, device=device, dtype=dtype)
            custom_encoder = TransformerEncoder(layer, num_encoder_layers, norm)
        self.encoder = custom_encoder
        if custom_decoder is None:
            norm = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, device=device, dtype=dtype)
            decoder = TransformerDecoderLayer(*shared, device=device, dtype=dtype)
            custom_decoder = TransformerDecoder(decoder, num_decoder_layers, norm)
        self.decoder = custom_decoder
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool = False,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The decoder's output, of the shape of `tgt`; masks as in `MultiheadAttention`."""
        src, tgt = checked("Transformer", src), checked("Transformer", tgt)
        if src.ndim != tgt.ndim or src.shape[-1] != tgt.shape[-1] or src.shape[-1] != self.d_model:
            raise ShapeError(
                f"Transformer takes two sequences of width {self.d_model}, got {show_shape(src.shape)} and "
                f"{show_shape(tgt.shape)}"
            )
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """A mask (sz, sz) that hides what comes later: -inf above the diagonal, 0 elsewhere.

        `is_causal` does the same without a mask being built.
        """
        return triu(full((sz, sz), float("-inf"), dtype=DEFAULT_FLOAT if dtype is None else dtype), k=1)
