"""Tables of vectors, and class indices as vectors."""

from __future__ import annotations

from typing import Any

from ...arrays.dispatch import apply
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError, DTypeError
from ...ir.dtype import dtype as as_dtype
from ...ops.composite import classes as c
from .operands import checked


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of `weight` (rows, width) at the integer positions `input`; row `padding_idx` gets no gradient.

    Raises:
        IndexError: when the value is computed and a position is not in 0 .. rows-1.
    """
    input, weight = checked("embedding", input), checked("embedding", weight)
    if padding_idx is not None:
        rows = weight.shape[0]
        if not -rows <= padding_idx < rows:
            raise ArgumentError(f"padding_idx must be one of the {rows} rows, got {padding_idx}")
        padding_idx = int(padding_idx) % rows  # type: ignore[operator]
    return apply(c.embedding, input, weight, padding_idx=padding_idx)


def one_hot(tensor: Tensor, num_classes: int = -1, dtype: Any = "int64") -> Tensor:
    """A new last axis with 1 at the class and 0 elsewhere. num_classes=-1 looks at the values to find how many.

    Raises:
        IndexError: when the value is computed and a class is not in 0 .. num_classes-1.
    """
    tensor = checked("one_hot", tensor)
    if tensor.dtype.kind not in "ui":
        raise DTypeError(f"one_hot takes integers, got {tensor.dtype}")
    if num_classes < 0:
        if tensor.size == 0:
            raise ArgumentError("one_hot of nothing needs num_classes")
        num_classes = int(tensor.numpy().max()) + 1
    return apply(c.one_hot, tensor, classes=int(num_classes), dtype=as_dtype(dtype))
