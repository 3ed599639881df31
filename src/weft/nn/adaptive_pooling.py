"""Pooling to a given size: the input is cut into so many cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arrays.tensor import Tensor
from . import functional as F
from .module import Module


class _Adaptive(Module):
    _function: Callable[..., Any]

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return type(self)._function(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveMax(_Adaptive):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, x: Tensor) -> Any:
        return type(self)._function(x, self.output_size, self.return_indices)


class AdaptiveAvgPool1d(_Adaptive):
    """The mean of each of `output_size` cells that a sequence is cut into.

        y[i] = mean of x[floor(i L / n)] .. x[ceil((i + 1) L / n) - 1],  n = output_size

    Shapes: (N, C, L) or (C, L) to (..., n).
    """

    _function = F.adaptive_avg_pool1d


class AdaptiveAvgPool2d(_Adaptive):
    """The mean of each cell of a grid laid over an image; with `output_size` 1 it is global average pooling.

        y[i, j] = mean of x over rows floor(i H / h) .. ceil((i + 1) H / h) - 1, and columns likewise

    Args:
        output_size: (h, w), or one integer for both; None keeps an axis.

    Shapes: (N, C, H, W) or (C, H, W) to (..., h, w).
    """

    _function = F.adaptive_avg_pool2d


class AdaptiveAvgPool3d(_Adaptive):
    """The mean of each cell of a grid of `output_size` laid over a volume; cells as in `AdaptiveAvgPool2d`.

        y[i, j, k] = mean of x over the cell (i, j, k)

    Shapes: (N, C, D, H, W) or (C, D, H, W) to (..., *output_size).
    """

    _function = F.adaptive_avg_pool3d


class AdaptiveMaxPool1d(_AdaptiveMax):
    """The largest element of each of `output_size` cells that a sequence is cut into.

        y[i] = max of x[floor(i L / n)] .. x[ceil((i + 1) L / n) - 1],  n = output_size

    Shapes: (N, C, L) or (C, L) to (..., n); with `return_indices` a pair, elements and positions.
    """

    _function = F.adaptive_max_pool1d


class AdaptiveMaxPool2d(_AdaptiveMax):
    """The largest element of each cell of a grid laid over an image.

        y[i, j] = max of x over rows floor(i H / h) .. ceil((i + 1) H / h) - 1, and columns likewise

    Args:
        output_size: (h, w), or one integer for both; None keeps an axis.
        return_indices: return a pair, the elements and their positions, counted row by row.

    Shapes: (N, C, H, W) or (C, H, W) to (..., h, w).
    """

    _function = F.adaptive_max_pool2d


class AdaptiveMaxPool3d(_AdaptiveMax):
    """The largest element of each cell of a grid of `output_size` laid over a volume; cells as in `AdaptiveMaxPool2d`.

        y[i, j, k] = max of x over the cell (i, j, k)

    Shapes: (N, C, D, H, W) or (C, D, H, W) to (..., *output_size); with `return_indices` a pair, elements and
    positions.
    """

    _function = F.adaptive_max_pool3d
