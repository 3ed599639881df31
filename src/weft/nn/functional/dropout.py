"""Dropout on tensors: the random bits come from the default generator, or the one given."""

from __future__ import annotations

from typing import Any

from ...arrays import random
from ...arrays.dispatch import apply
from ...arrays.tensor import Tensor
from ...base.checked import checked as checked_call
from ...base.errors import ShapeError
from ...ir.shape import Shape, show_shape
from ...ops.composite import dropout as d
from ..factory import probability
from .operands import checked


def random_bits(shape: Shape, generator: Any = None) -> Tensor:
    """Random 32-bit numbers for a dropout over `shape`."""
    return random.bits(shape, generator=generator)


@checked_call
def dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Any = None
) -> Tensor:
    """In training x m / (1 - p), where m is 0 with probability p for each element, else 1. Otherwise the input itself.

    Args:
        generator: where random bits come from (default: the generator of `weft.manual_seed`).

    Shapes: any, kept. Raises: ArgumentError unless p is a probability. As a layer: `nn.Dropout`.
    """
    probability("dropout", p)
    input = checked("dropout", input)
    if not training or p == 0:
        return input
    return apply(d.dropout, input, random_bits(input.shape, generator), p)


def _channels(rank: int, input: Tensor, p: float, training: bool, generator: Any) -> Tensor:
    """Dropout of whole channels of a tensor with `rank` spatial axes."""
    probability(f"dropout{rank}d", p)
    input = checked(f"dropout{rank}d", input)
    if input.ndim not in (rank + 1, rank + 2):
        raise ShapeError(
            f"dropout{rank}d takes (channels, ...) or (batch, channels, ...) with {rank} spatial axes, got shape "
            f"{show_shape(input.shape)}"
        )
    if not training or p == 0:
        return input
    lead = input.ndim - rank
    return apply(d.dropout, input, random_bits((*input.shape[:lead], *[1] * rank), generator), p)


@checked_call
def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Any = None
) -> Tensor:
    """`dropout` with one m, 0 with probability p, for each channel of each sample.

    Shapes: (N, C, L) or (C, L), kept. Raises: ShapeError for others. As a layer: `nn.Dropout1d`.
    """
    return _channels(1, input, p, training, generator)


@checked_call
def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Any = None
) -> Tensor:
    """`dropout` with one m, 0 with probability p, for each channel of each sample.

    Shapes: (N, C, H, W) or (C, H, W), kept. Raises: ShapeError for others. As a layer: `nn.Dropout2d`.
    """
    return _channels(2, input, p, training, generator)


@checked_call
def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Any = None
) -> Tensor:
    """`dropout` with one m, 0 with probability p, for each channel of each sample.

    Shapes: (N, C, D, H, W) or (C, D, H, W), kept. Raises: ShapeError for others. As a layer: `nn.Dropout3d`.
    """
    return _channels(3, input, p, training, generator)


@checked_call
def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, *, generator: Any = None
) -> Tensor:
    """In training elements put to a SELU's least value s at random, scaled and shifted to keep mean 0 and variance 1.

        y = a (x m + s (1 - m)) + b        m = 0 with probability p, else 1; s = -1.7581
        a = 1 / sqrt((1 - p) (1 + p s**2)),  b = -a p s

    Shapes: any, kept. Raises: ArgumentError unless p is a probability. As a layer: `nn.AlphaDropout`.
    """
    probability("alpha_dropout", p)
    input = checked("alpha_dropout", input)
    if not training or p == 0:
        return input
    return apply(d.alpha_dropout, input, random_bits(input.shape, generator), p)


@checked_call
def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, *, generator: Any = None
) -> Tensor:
    """`alpha_dropout` with one m, 0 with probability p, for each channel of each sample.

    Shapes: (N, C, ...), kept. Raises: ShapeError for others. As a layer: `nn.FeatureAlphaDropout`.
    """
    probability("feature_alpha_dropout", p)
    input = checked("feature_alpha_dropout", input)
    if input.ndim < 2:
        raise ShapeError(
            f"feature_alpha_dropout takes (batch, channels, ...), got shape {show_shape(input.shape)}"
        )
    if not training or p == 0:
        return input
    bits = random_bits((*input.shape[:2], *[1] * (input.ndim - 2)), generator)
    return apply(d.alpha_dropout, input, bits, p)
