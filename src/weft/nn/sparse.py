"""Embedding: a table of learned vectors."""

from __future__ import annotations

from typing import Any

from ..arrays.creation import tensor
from ..arrays.dispatch import check_choice
from ..arrays.grad import no_grad
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, ShapeError
from ..ir.shape import show_shape
from ..ops.elementwise import equal, where
from ..ops.indexing import iota_along
from . import functional as F
from . import init
from .factory import empty, positive_int
from .module import Module
from .parameter import Parameter


def _draw(table: Parameter, padding_idx: int | None) -> None:
    """A standard normal table, with zeros in the row for padding."""
    init.normal_(table)
    if padding_idx is not None:
        node = table._node
        with no_grad():
            init.copy_(table, Tensor(where(equal(iota_along(node.shape, 0), padding_idx), 0, node)))


def _row(layer: str, padding_idx: int | None, rows: int) -> int | None:
    """The row for padding, counted from the front."""
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ArgumentError(f"{layer}: padding_idx must be one of the {rows} rows, got {padding_idx}")
    return int(padding_idx) % rows


class Embedding(Module):
    """A table of vectors: y = weight[x].

    Args:
        num_embeddings: the number of rows.
        embedding_dim: the length of each vector.
        padding_idx: a row that starts as zeros and is never learned.
        max_norm: rows that are looked up are first made at most so long, in place, by the `norm_type`-norm.
        scale_grad_by_freq: divide the gradient of each row by how often it is looked up.
        sparse: accepted and means nothing: gradients are dense.

    Shapes: integer positions (...) to (..., embedding_dim); weight (num_embeddings, embedding_dim) is drawn from a
    standard normal distribution.

    Raises:
        IndexError: when the value is computed and a position is outside 0 .. num_embeddings-1.
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        _weight: Any = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = positive_int("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = positive_int("Embedding", "embedding_dim", embedding_dim)
        self.padding_idx = _row("Embedding", padding_idx, num_embeddings)
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        if _weight is None:
            self.weight = Parameter(empty((num_embeddings, embedding_dim), dtype, device), not _freeze)
            self.reset_parameters()
        else:
            self.weight = Parameter(_weight, not _freeze)

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None
    ) -> Embedding:
        """An embedding with the given table, not learned further unless `freeze` is False."""
        table = embeddings if isinstance(embeddings, Tensor) else tensor(embeddings)
        if table.ndim != 2:
            raise ShapeError(f"a table of shape (rows, width) is expected, got {show_shape(table.shape)}")
        rows, width = table.shape
        return cls(rows, width, padding_idx, _weight=table, _freeze=freeze)  # type: ignore[arg-type]

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        _draw(self.weight, self.padding_idx)

    def forward(self, x: Tensor) -> Tensor:
        return F.embedding(
            x, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq
        )

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        shown = f"{self.num_embeddings}, {self.embedding_dim}{padding}{_limits(self)}"
        return shown + (f", scale_grad_by_freq={self.scale_grad_by_freq}" if self.scale_grad_by_freq else "")


def _limits(layer: Any) -> str:
    limit = "" if layer.max_norm is None else f", max_norm={layer.max_norm}"
    return limit if layer.norm_type == 2 else f"{limit}, norm_type={layer.norm_type}"


class EmbeddingBag(Module):
    """Rows of a table of vectors reduced bag by bag: y[b] = sum (or mean, or max) over x in bag b of weight[x].

    Args:
        num_embeddings: the number of rows.
        embedding_dim: the length of each vector.
        max_norm, norm_type, sparse: as in `Embedding`. Its `scale_grad_by_freq` is not available.
        mode: "sum", "mean" or "max".
        include_last_offset: whether one more offset says where the last bag ends.
        padding_idx: a row that starts as zeros and is left out of bags.

    Shapes: positions (B, N), or (N) with offsets (B), to (B, embedding_dim); empty bags give zeros.

    >>> bag = EmbeddingBag(10, 3, mode="sum")
    >>> bag(weft.tensor([1, 2, 4, 5, 4]), weft.tensor([0, 3])).shape
    (2, 3)
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Any = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if scale_grad_by_freq:
            raise ArgumentError("EmbeddingBag does not scale gradients by frequency; Embedding does")
        self.max_norm, self.norm_type = max_norm, norm_type
        self.num_embeddings = positive_int("EmbeddingBag", "num_embeddings", num_embeddings)
        self.embedding_dim = positive_int("EmbeddingBag", "embedding_dim", embedding_dim)
        check_choice("EmbeddingBag: mode", mode, ("sum", "mean", "max"))
        self.mode = mode
        self.include_last_offset = bool(include_last_offset)
        self.padding_idx = _row("EmbeddingBag", padding_idx, num_embeddings)
        if _weight is None:
            self.weight = Parameter(empty((num_embeddings, embedding_dim), dtype, device))
            self.reset_parameters()
        else:
            self.weight = Parameter(_weight)

    def reset_parameters(self) -> None:
        """Draw the table anew, from a standard normal distribution."""
        _draw(self.weight, self.padding_idx)

    def forward(
        self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            mode=self.mode,
            per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{_limits(self)}, mode={self.mode!r}{padding}"
