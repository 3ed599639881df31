"""Fractional max pooling layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError
from . import functional as F
from .functional.conv import sizes
from .functional.fractional import ratios
from .module import Module


class _FractionalMaxPool(Module):
    _rank = 0
    _function: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        name, rank = type(self).__name__, self._rank
        self.kernel_size = sizes("kernel_size", kernel_size, rank)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        if (output_size is None) == (output_ratio is None):
            raise ArgumentError(f"{name} takes either output_size or output_ratio")
        self.output_size = None if output_size is None else sizes("output_size", output_size, rank)
        self.output_ratio = None if output_ratio is None else ratios(output_ratio, rank)

    def forward(self, x: Tensor) -> Any:
        return type(self)._function(
            x,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    """The largest element of each of a given number of windows of (N, C, H, W), which begin at random distances.

    Along an axis window i begins at floor((i + u) a) - floor(u a) with a = (size - kernel) / (count - 1) and u drawn
    uniformly from [0, 1) for each channel; the last one ends where the axis ends.

    Args:
        kernel_size: the size of the windows, an integer or (height, width).
        output_size: how many windows there are along each axis; or
        output_ratio: how many, as a share of the input's size, between 0 and 1.
        return_indices: return a pair, the elements and their positions counted row by row (for `MaxUnpool2d`).

    Shapes: (N, C, H, W) or (C, H, W) to (..., *output_size).

    >>> FractionalMaxPool2d(2, output_ratio=0.7)(weft.ones((1, 1, 10, 10))).shape
    (1, 1, 7, 7)

    Reference: B. Graham, "Fractional Max-Pooling", 2014, https://arxiv.org/abs/1412.6071
    """

    _rank = 2
    _function = F.fractional_max_pool2d


class FractionalMaxPool3d(_FractionalMaxPool):
    """The largest element of each of a given number of windows of volumes, which begin at random distances.

        y[i] = max of x over window i

    Arguments are those of `FractionalMaxPool2d`, with one number or (depth, height, width).

    Shapes: (N, C, D, H, W) or (C, D, H, W) to (..., *output_size).
    """

    _rank = 3
    _function = F.fractional_max_pool3d
