"""Embedding: a table of learned vectors."""

from __future__ import annotations

from typing import Any

from ..arrays.creation import tensor
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


class Embedding(Module):
    """A table of vectors: integer positions (...) to vectors (..., embedding_dim).

    Args:
        num_embeddings: the number of rows.
        embedding_dim: the length of each vector.
        padding_idx: a row that starts as zeros and is never learned.

    The table is drawn from a standard normal distribution. A position outside 0 .. num_embeddings-1 raises
    `IndexError` when the value is computed.
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        _weight: Any = None,
        _freeze: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = positive_int("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = positive_int("Embedding", "embedding_dim", embedding_dim)
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ArgumentError(
                    f"Embedding: padding_idx must be one of the {num_embeddings} rows, got {padding_idx}"
                )
            padding_idx = int(padding_idx) % num_embeddings
        self.padding_idx = padding_idx
        if _weight is None:
            self.weight = Parameter(empty((num_embeddings, embedding_dim), dtype), not _freeze)
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
        init.normal_(self.weight)
        if self.padding_idx is not None:
            node = self.weight._node
            with no_grad():
                init.copy_(
                    self.weight, Tensor(where(equal(iota_along(node.shape, 0), self.padding_idx), 0, node))
                )

    def forward(self, x: Tensor) -> Tensor:
        return F.embedding(x, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
