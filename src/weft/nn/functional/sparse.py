"""Tables of vectors, and class indices as vectors."""

from __future__ import annotations

from typing import Any

from ...arrays.dispatch import apply, check_choice
from ...arrays.grad import no_grad
from ...arrays.remembered import remembered
from ...arrays.tensor import Tensor
from ...base.checked import checked as checked_call
from ...base.errors import ArgumentError, DTypeError
from ...ir.dtype import dtype as as_dtype
from ...ir.shape import show_shape
from ...ops.composite import classes as c
from .operands import checked, maybe

_MODES = ("sum", "mean", "max")


def _padding(name: str, padding_idx: int | None, rows: Any) -> int | None:
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ArgumentError(f"{name}: padding_idx must be one of the {rows} rows, got {padding_idx}")
    return int(padding_idx) % rows


@remembered
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of a table: y = weight[input].

    Args:
        padding_idx: a row that gets no gradient.
        max_norm: rows that are named are first made at most so long, in place, by the `norm_type`-norm.
        scale_grad_by_freq: divide the gradient of each row by how often it is named.
        sparse: accepted and means nothing: gradients are dense.

    Shapes: integer positions (...), weight (rows, width); the result (..., width). As a layer: `nn.Embedding`.

    Raises:
        IndexError: when the value is computed and a position is not in 0 .. rows-1.
    """
    input, weight = checked("embedding", input), checked("embedding", weight)
    padding = _padding("embedding", padding_idx, weight.shape[0])
    _shorten(input, weight, max_norm, norm_type)
    rows = apply(c.embedding, input, weight, padding_idx=padding)
    return apply(c.by_frequency, rows, input, count=weight.shape[0]) if scale_grad_by_freq else rows


def _shorten(input: Tensor, weight: Tensor, max_norm: float | None, norm_type: float) -> None:
    """Make the rows that are named at most `max_norm` long, in place."""
    if max_norm is None:
        return
    if max_norm <= 0 or norm_type <= 0:
        raise ArgumentError(
            f"embedding: max_norm and norm_type must be positive, got {max_norm} and {norm_type}"
        )
    with no_grad():
        tracked = weight._cell.requires_grad
        weight._cell.require_grad(False)
        weight._cell.rebind(apply(c.shortened_rows, input, weight, float(max_norm), float(norm_type))._node)
        weight._cell.require_grad(tracked)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Rows of a table reduced bag by bag.

    Args:
        input: positions (B, N), a bag in each row; or (N) for all bags, one after the other.
        weight: the table (rows, width).
        offsets: (B), where each bag begins in a list of positions.
        max_norm, norm_type, sparse: as in `embedding`. `scale_grad_by_freq` is not available.
        mode: "sum", "mean" or "max" (element by element).
        per_sample_weights: of the shape of the input: factors of the rows in a sum.
        include_last_offset: whether one more offset says where the last bag ends.
        padding_idx: a row that is left out of bags.

    Shapes: (B, width); empty bags give zeros. As a layer: `nn.EmbeddingBag`.

    Raises:
        IndexError: when the value is computed and a position is not in 0 .. rows-1.
    """
    name = "embedding_bag"
    input, weight = checked(name, input), checked(name, weight)
    factors = maybe(name, per_sample_weights)
    check_choice("mode", mode, _MODES)
    if scale_grad_by_freq:
        raise ArgumentError("embedding_bag does not scale gradients by frequency; nn.Embedding does")
    _shorten(input, weight, max_norm, norm_type)
    if factors is not None and (mode != "sum" or factors.shape != input.shape):
        raise ArgumentError(
            f"{name}: per_sample_weights belong to mode='sum' and have the shape of the input, got mode={mode!r} and "
            f"shapes {show_shape(factors.shape)} and {show_shape(input.shape)}"
        )
    attrs: dict[str, Any] = {"mode": mode, "padding_idx": _padding(name, padding_idx, weight.shape[0])}
    if input.ndim == 2 and offsets is None:
        return apply(c.embedding_bag, input, weight, factors, **attrs)
    if input.ndim != 1 or offsets is None:
        raise ArgumentError(f"{name} takes positions (B, N) without offsets, or (N) with offsets")
    starts = checked(name, offsets)
    bags = starts.shape[0] - 1 if include_last_offset else starts.shape[0]
    return apply(c.embedding_bag_offsets, input, weight, starts, factors, bags=bags, **attrs)


@checked_call
def one_hot(tensor: Tensor, num_classes: int = -1, dtype: Any = "int64") -> Tensor:
    """A new last axis with 1 at the class and 0 elsewhere. num_classes=-1 looks at the values to find how many.

    Shapes: integers (...) to (..., num_classes).

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
