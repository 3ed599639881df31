"""The softmax and its kin as modules."""

from __future__ import annotations

from ..arrays.tensor import Tensor
from . import functional as F
from .activation import _Activation


class Softmax(_Activation):
    """Positive numbers that sum to 1 along an axis.

        y_i = e**x_i / sum_j e**x_j

    Computed with the largest element taken off first, so that nothing overflows.

    Args:
        dim: the axis; without one a call raises `ArgumentError`.

    Shapes: any with one axis or more, kept.
    """

    _function = F.softmax
    _settings = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim


class Softmin(Softmax):
    """`Softmax` of the negated input: the smallest element has the largest share.

        y_i = e**-x_i / sum_j e**-x_j

    Args:
        dim: the axis; without one a call raises `ArgumentError`.

    Shapes: any with one axis or more, kept.
    """

    _function = F.softmin


class LogSoftmax(Softmax):
    """The logarithm of `Softmax`, accurate where the softmax itself would be 0.

        y_i = x_i - log sum_j e**x_j

    Args:
        dim: the axis; without one a call raises `ArgumentError`.

    Shapes: any with one axis or more, kept.
    """

    _function = F.log_softmax


class Softmax2d(_Activation):
    """`Softmax` over the channels at each position of an image.

        y_c = e**x_c / sum_k e**x_k

    Shapes: (N, C, H, W) or (C, H, W), kept.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, -3)
