"""Sequences of several lengths in one tensor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..arrays.creation import arange, asarray
from ..arrays.elementwise import where
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, DataError, ShapeError
from ..ir.node import Node
from ..ir.shape import show_shape
from ..ops.define import constant
from ..ops.movement import pad, permute, slice_axis
from ..ops.rearrange import stack
from .functional.operands import checked


class PackedSequence(NamedTuple):
    """Sequences with their lengths, as `RNN`, `LSTM` and `GRU` take and give them: steps beyond a length do not count.

    Shapes: `padded` is (T, N, ...), steps first, with anything beyond the lengths; `lengths` (N) are integers.
    PyTorch's holds the steps of all sequences one after the other, sorted by length; this one needs no order.
    """

    padded: Tensor
    lengths: Tensor


def _lengths(value: Any, batch: Any) -> tuple[Tensor, list[int] | None]:
    """Lengths as a tensor, and as numbers where they were given as such."""
    if isinstance(value, Tensor):
        numbers, found = None, value
    else:
        found = asarray(np.asarray(value))
        numbers = [int(n) for n in np.asarray(value).ravel()]
    if found.ndim != 1 or found.shape[0] != batch or found.dtype.kind not in "iu":
        raise ShapeError(
            f"one integer length for each of the {batch} sequences is expected, got {found._node.aval.describe()}"
        )
    return found, numbers


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Sequences that lie padded in one tensor, with their lengths.

    Args:
        input: (T, N, ...), or (N, T, ...) if `batch_first`.
        lengths: how many steps of each sequence count: a list, an array or a tensor.
        enforce_sorted: accepted and means nothing: sequences may come in any order.

    Raises: ShapeError unless there is one length for each sequence; ArgumentError for lengths beyond T.

    >>> packed = nn.utils.rnn.pack_padded_sequence(weft.zeros((5, 2, 3)), [5, 2])
    >>> out, _ = RNN(3, 4)(packed)
    >>> padded, lengths = nn.utils.rnn.pad_packed_sequence(out)
    >>> padded.shape, lengths.tolist()
    ((5, 2, 4), [5, 2])
    """
    x = checked("pack_padded_sequence", input)
    if x.ndim < 2:
        raise ShapeError(f"pack_padded_sequence takes (T, N, ...), got shape {show_shape(x.shape)}")
    node = _swapped(x._node) if batch_first else x._node
    found, numbers = _lengths(lengths, node.shape[1])
    if numbers is not None:
        steps = node.shape[0]
        if any(n < 0 for n in numbers) or (isinstance(steps, int) and any(n > steps for n in numbers)):
            raise ArgumentError(f"pack_padded_sequence: lengths lie between 0 and {steps}, got {numbers}")
        node = slice_axis(node, 0, 0, max(numbers, default=0))
    return PackedSequence(Tensor(node), found)


def _swapped(x: Node) -> Node:
    return permute(x, axes=(1, 0, *range(2, x.ndim)))


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """(padded sequences, lengths) of packed ones: (T, N, ...), or (N, T, ...) if `batch_first`.

    Steps beyond the lengths are `padding_value`; with `total_length` there are so many steps.
    """
    if not isinstance(sequence, PackedSequence):
        raise ArgumentError(f"pad_packed_sequence takes a PackedSequence, got {type(sequence).__name__}")
    x = sequence.padded
    steps = x.shape[0]
    if total_length is not None and steps != total_length:
        if not isinstance(steps, int) or total_length < steps:
            raise ArgumentError(
                f"total_length must be at least the longest length, {steps}, got {total_length}"
            )
        zero = (0,) * x.ndim
        more = (total_length - steps, *zero[1:])
        x = Tensor(pad(x._node, constant(0, x.dtype), low=zero, high=more, interior=zero))
    at = arange(x.shape[0]).reshape((x.shape[0], *[1] * (x.ndim - 1)))
    inside = at < sequence.lengths.reshape((1, x.shape[1], *[1] * (x.ndim - 2)))
    x = where(inside, x, padding_value).astype(x.dtype)
    return (Tensor(_swapped(x._node)) if batch_first else x), sequence.lengths


def pad_sequence(
    sequences: Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences of several lengths as one tensor, filled up with `padding_value` at the "right" or "left"
    (`padding_side`).

    Shapes: N of (T_i, ...) to (T, N, ...), or (N, T, ...) if `batch_first`, T the longest. Raises: ShapeError if they
    differ behind the first axis; DataError for none.
    """
    if padding_side not in ("left", "right"):
        raise ArgumentError(f"padding_side must be 'left' or 'right', got {padding_side!r}")
    nodes = [checked("pad_sequence", s)._node for s in sequences]
    if not nodes:
        raise DataError("pad_sequence got no sequences")
    if any(n.ndim == 0 or n.shape[1:] != nodes[0].shape[1:] for n in nodes):
        raise ShapeError(
            f"sequences must agree in all axes but the first, got {', '.join(show_shape(n.shape) for n in nodes)}"
        )
    longest = max(int(n.shape[0]) for n in nodes)  # type: ignore[arg-type]
    rows = []
    for n in nodes:
        none = (0,) * n.ndim
        more = (longest - n.shape[0], *none[1:])
        low, high = (more, none) if padding_side == "left" else (none, more)
        rows.append(pad(n, constant(padding_value, n.dtype), low=low, high=high, interior=none))
    return Tensor(stack(rows, 0 if batch_first else 1))


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences of several lengths, packed: `pack_padded_sequence` of `pad_sequence`.

    Shapes: N of (T_i, ...). `enforce_sorted` is accepted and means nothing: sequences may come in any order.
    """
    items = list(sequences)
    return pack_padded_sequence(pad_sequence(items), [int(s.shape[0]) for s in items])


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded tensor, each with its own length. Looks at the lengths.

    Shapes: (T, N, ...), or (N, T, ...) if `batch_first`, and lengths (N) to N of (T_i, ...).
    """
    x = checked("unpad_sequence", padded_sequences)
    node = x._node if batch_first else _swapped(x._node)
    numbers = [int(n) for n in (lengths.numpy() if isinstance(lengths, Tensor) else lengths)]
    rows = [slice_axis(node, 0, i, i + 1) for i in range(len(numbers))]
    return [
        Tensor(slice_axis(r, 1, 0, n)).reshape((n, *r.shape[2:])) for r, n in zip(rows, numbers, strict=True)
    ]


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of packed ones, each with its own length. Looks at the lengths.

    Shapes: N of (T_i, ...).
    """
    padded, lengths = pad_packed_sequence(packed_sequences)
    return unpad_sequence(padded, lengths)
