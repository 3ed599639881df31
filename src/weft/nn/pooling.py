"""Pooling layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arrays.tensor import Tensor
from . import functional as F
from .functional.conv import sizes
from .module import Module


class _Pool(Module):
    _rank = 0

    def __init__(self, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool) -> None:
        super().__init__()
        # Kept as they were given; `sizes` only raises here on what they cannot be.
        sizes("kernel_size", kernel_size, self._rank)
        sizes("padding", padding, self._rank, least=0)
        if stride is not None:
            sizes("stride", stride, self._rank)
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode


class _MaxPool(_Pool):
    _function: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        sizes("dilation", dilation, self._rank)
        self.dilation = dilation
        self.return_indices = return_indices

    def forward(self, x: Tensor) -> Any:
        return type(self)._function(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest element of each window of a sequence.

        y[i] = max over k of x[i * stride - padding + k * dilation],  k = 0 .. kernel_size - 1

    Arguments are those of `MaxPool2d`.

    Shapes: (N, C, L) or (C, L) to (..., L'), L' = floor((L + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1.
    """

    _rank = 1
    _function = F.max_pool1d


class MaxPool2d(_MaxPool):
    """The largest element of each window of an image.

        y[i, j] = max over k, l of x[i * stride - padding + k * dilation, j * stride - padding + l * dilation]

    Args:
        kernel_size: size of the windows, an integer or (height, width).
        stride: steps between windows (default: the window's size).
        padding: how far windows may reach beyond the border, at most half their size.
        dilation: steps between a window's elements.
        return_indices: return a pair, the elements and where they were found (for `MaxUnpool2d`).
        ceil_mode: also count a last window that reaches over the end.

    Of several largest elements the first has the gradient.

    Shapes: (N, C, H, W) or (C, H, W) to (..., H', W'), W' like
    H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1 (with `ceil_mode` ceil).

    Raises: ArgumentError for windows that are not positive, or padding above half of them.
    """

    _rank = 2
    _function = F.max_pool2d


class MaxPool3d(_MaxPool):
    """The largest element of each window of a volume.

        y[i] = max over k of x[i * stride - padding + k * dilation],  i and k triples

    Arguments are those of `MaxPool2d`, with one integer or (depth, height, width).

    Shapes: (N, C, D, H, W) or (C, D, H, W) to (..., D', H', W'); each size as in `MaxPool2d`.
    """

    _rank = 3
    _function = F.max_pool3d


class _AvgPool(_Pool):
    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """The mean of each window of a sequence.

        y[i] = sum over k of x[i * stride - padding + k] / kernel_size,  k = 0 .. kernel_size - 1

    Arguments are those of `AvgPool2d`, but for `divisor_override`.

    Shapes: (N, C, L) or (C, L) to (..., L'), L' = floor((L + 2 padding - kernel_size) / stride) + 1.
    """

    _rank = 1

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.kernel_size = sizes("kernel_size", self.kernel_size, 1)
        self.stride = sizes("stride", self.stride, 1)
        self.padding = sizes("padding", self.padding, 1, least=0)
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool1d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )


class _AvgPoolBy(_AvgPool):
    """Average pooling whose divisor may be given."""

    _function: Callable[..., Tensor]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x: Tensor) -> Tensor:
        return type(self)._function(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool2d(_AvgPoolBy):
    """The mean of each window of an image.

        y[i, j] = sum over k, l of x[i * stride - padding + k, j * stride - padding + l] / (elements of a window)

    Args:
        kernel_size: size of the windows, an integer or (height, width).
        stride: steps between windows (default: the window's size).
        padding: how many zeros are laid around the image.
        ceil_mode: also count a last window that reaches over the end.
        count_include_pad: whether the zeros of the padding count in the mean.
        divisor_override: divides the sum of each window instead of the count.

    Shapes: (N, C, H, W) or (C, H, W) to (..., H', W'), H' = floor((H + 2 padding - kernel) / stride) + 1 (with
    `ceil_mode` ceil), W' likewise.
    """

    _rank = 2
    _function = F.avg_pool2d


class AvgPool3d(_AvgPoolBy):
    """The mean of each window of a volume.

        y[i] = sum over k of x[i * stride - padding + k] / (elements of a window),  i and k triples

    Arguments are those of `AvgPool2d`, with one integer or (depth, height, width).

    Shapes: (N, C, D, H, W) or (C, D, H, W) to (..., D', H', W'); each size as in `AvgPool2d`.
    """

    _rank = 3
    _function = F.avg_pool3d


class _LPPool(Module):
    _rank = 0
    _function: Callable[..., Tensor]

    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        sizes("kernel_size", kernel_size, self._rank)
        if stride is not None:
            sizes("stride", stride, self._rank)
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return type(self)._function(x, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """The p-norm of each window of a sequence, p = norm_type. Arguments are those of `LPPool2d`.

        y = (sum of x**p over the window)**(1 / p)

    Shapes: (N, C, L) or (C, L) to (..., L'), L' = floor((L - kernel_size) / stride) + 1.
    """

    _rank = 1
    _function = F.lp_pool1d


class LPPool2d(_LPPool):
    """The p-norm of each window of an image, p = norm_type.

        y = (sum of x**p over the window)**(1 / p)

    p = 1 is the sum; with p towards infinity it becomes `MaxPool2d` of positive numbers. Roots of negative sums, which
    an odd p can give, are NaN.

    Args:
        norm_type: p, not 0.
        kernel_size: size of the windows, an integer or (height, width).
        stride: steps between windows (default: the window's size).
        ceil_mode: also count a last window that reaches over the end.

    Shapes: (N, C, H, W) or (C, H, W) to (..., H', W'), H' = floor((H - kernel) / stride) + 1, W' likewise.
    """

    _rank = 2
    _function = F.lp_pool2d


class LPPool3d(_LPPool):
    """The p-norm of each window of a volume, p = norm_type. Arguments are those of `LPPool2d`.

        y = (sum of x**p over the window)**(1 / p)

    Shapes: (N, C, D, H, W) or (C, D, H, W) to (..., D', H', W'); each size as in `LPPool2d`.
    """

    _rank = 3
    _function = F.lp_pool3d


class _MaxUnpool(Module):
    _rank = 0
    _function: Callable[..., Tensor]

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size = sizes("kernel_size", kernel_size, self._rank)
        self.stride = self.kernel_size if stride is None else sizes("stride", stride, self._rank)
        self.padding = sizes("padding", padding, self._rank, least=0)

    def forward(self, x: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        return type(self)._function(x, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Puts the results of `MaxPool1d(..., return_indices=True)` back where they were found; zeros elsewhere.

        y[indices[i]] = x[i]

    Arguments are those of `MaxUnpool2d`.

    Shapes: two of (N, C, L) or (C, L) to (..., L'), L' = (L - 1) stride - 2 padding + kernel_size, or `output_size`.
    """

    _rank = 1
    _function = F.max_unpool1d


class MaxUnpool2d(_MaxUnpool):
    """Puts the results of `MaxPool2d(..., return_indices=True)` back where they were found; zeros elsewhere.

        y[indices[i, j]] = x[i, j]        indices count the places of y row by row

    kernel_size, stride and padding are those of the pooling. Called with the elements, their indices and, where the
    windows leave it open, the `output_size`.

    Shapes: two of (N, C, H, W) or (C, H, W) to (..., H', W'), H' = (H - 1) stride - 2 padding + kernel, W' likewise.

    Raises: ArgumentError for an `output_size` that is a stride or more from that.

    >>> pool, unpool = MaxPool2d(2, return_indices=True), MaxUnpool2d(2)
    >>> x = weft.tensor([[[1.0, 2.0], [4.0, 3.0]]])
    >>> unpool(*pool(x)).tolist()
    [[[0.0, 0.0], [4.0, 0.0]]]
    """

    _rank = 2
    _function = F.max_unpool2d


class MaxUnpool3d(_MaxUnpool):
    """Puts the results of `MaxPool3d(..., return_indices=True)` back where they were found; zeros elsewhere.

        y[indices[i, j, k]] = x[i, j, k]

    Arguments are those of `MaxUnpool2d`.

    Shapes: two of (N, C, D, H, W) or (C, D, H, W) to (..., D', H', W'); each size as in `MaxUnpool2d`.
    """

    _rank = 3
    _function = F.max_unpool3d
