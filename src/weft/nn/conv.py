"""Convolution layers."""

from __future__ import annotations

import math
from typing import Any

from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, ShapeError
from ..ir.shape import show_shape
from ..ops.composite.padding import MODES
from . import functional as F
from . import init
from .factory import check_device, empty, outside_traces, positive_int
from .functional.conv import paddings, sizes
from .functional.operands import checked
from .module import Module
from .parameter import Parameter, UninitializedParameter


class _Conv(Module):
    """What all convolutions share: weight, bias, and their initial values."""

    _rank = 0
    _transposed = False
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name, rank = type(self).__name__, self._rank
        self.out_channels = positive_int(name, "out_channels", out_channels)
        self.kernel_size = sizes("kernel_size", kernel_size, rank)
        self.stride = sizes("stride", stride, rank)
        self.dilation = sizes("dilation", dilation, rank)
        self.groups = positive_int(name, "groups", groups)
        modes = ("zeros", *MODES)
        if padding_mode not in modes:
            raise ArgumentError(f"{name}: padding_mode must be one of {modes}, got {padding_mode!r}")
        self.padding_mode = padding_mode
        pads = paddings(padding, self.kernel_size, self.stride, self.dilation)
        self.padding = padding if isinstance(padding, str) else sizes("padding", padding, rank, least=0)
        self._around = tuple([width for pair in reversed(pads) for width in pair])
        if out_channels % groups:
            raise ArgumentError(f"{name}: {out_channels} output channels do not divide into {groups} groups")
        check_device(device)
        self._options = (dtype, bool(bias), device)
        self._start(in_channels)

    def _start(self, in_channels: int) -> None:
        self._make(positive_int(type(self).__name__, "in_channels", in_channels))

    def _make(self, in_channels: int) -> None:
        """Make the parameters for so many input channels."""
        if in_channels % self.groups:
            raise ArgumentError(
                f"{type(self).__name__}: {in_channels} input channels do not divide into {self.groups} groups"
            )
        self.in_channels = in_channels
        dtype, bias, device = self._options
        del self._options
        first, second = in_channels, self.out_channels
        if not self._transposed:
            first, second = second, first
        self.weight = Parameter(empty((first, second // self.groups, *self.kernel_size), dtype, device))
        if bias:
            self.bias = Parameter(empty((self.out_channels,), dtype, device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, uniformly from [-b, b] with b = 1 / sqrt(fan in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))  # type: ignore[arg-type]
            init.uniform_(self.bias, -bound, bound)

    def _padded(self, x: Tensor) -> tuple[Tensor, Any]:
        """The input padded as the mode asks, and the zeros that are still to be put around it."""
        if self.padding_mode == "zeros":
            return x, self.padding
        return F.pad(x, self._around, self.padding_mode), 0

    def extra_repr(self) -> str:
        shown = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        )
        if self.padding not in ("valid", (0,) * self._rank):
            shown += f", padding={self.padding}"
        if any(d != 1 for d in self.dilation):
            shown += f", dilation={self.dilation}"
        if self.groups != 1:
            shown += f", groups={self.groups}"
        if self.bias is None:
            shown += ", bias=False"
        return shown if self.padding_mode == "zeros" else f"{shown}, padding_mode={self.padding_mode}"


class Conv1d(_Conv):
    """Cross-correlation of sequences with learned kernels.

        y[o, i] = bias[o] + sum over c, k of weight[o, c, k] x[c, i * stride - padding + k * dilation]

    Arguments and initial values are those of `Conv2d`.

    Shapes: (N, C, L) or (C, L) to (..., out_channels, L'), weight (out_channels, C / groups, K), bias (out_channels),
    L' = floor((L + 2 padding - dilation (K - 1) - 1) / stride) + 1.
    """

    _rank = 1

    def forward(self, x: Tensor) -> Tensor:
        x, padding = self._padded(x)
        return F.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv2d(_Conv):
    """Cross-correlation of images with learned kernels.

        y[o, i, j] = bias[o] + sum over c, k, l of weight[o, c, k, l] x[c, i' + k * dilation, j' + l * dilation]

    with i' = i * stride - padding, and j' likewise.

    Args:
        in_channels: C.
        out_channels: channels of the result.
        kernel_size: an integer or (height, width).
        stride: steps between windows.
        padding: zeros around the image, or "valid" (none) or "same" (the result has the input's size).
        dilation: steps between the elements of the kernel.
        groups: the channels are cut into so many runs that do not see each other.
        bias: whether a number is added to each output channel.
        padding_mode: "zeros", or "reflect", "replicate", "circular" to pad with the image itself.

    Shapes: (N, C, H, W) or (C, H, W) to (..., out_channels, H', W'), W' like H' = floor((H + 2 padding - dilation
    (kernel - 1) - 1) / stride) + 1; weight (out_channels, C / groups, height, width), bias (out_channels). Both are
    drawn uniformly from [-b, b] with b = 1 / sqrt(C / groups * height * width).

    Raises: ArgumentError for sizes that make no sense, "same" with a stride, channels that do not divide into `groups`;
    ShapeError when called, for other channels or images smaller than a window.

    Reference: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016,
    https://arxiv.org/abs/1603.07285
    """

    _rank = 2

    def forward(self, x: Tensor) -> Tensor:
        x, padding = self._padded(x)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv3d(_Conv):
    """Cross-correlation of volumes with learned kernels.

        y[o, i] = bias[o] + sum over c, k of weight[o, c, k] x[c, i * stride - padding + k * dilation],  i and k triples

    Arguments and initial values are those of `Conv2d`, with one integer or (depth, height, width).

    Shapes: (N, C, D, H, W) or (C, D, H, W) to (..., out_channels, D', H', W'), each size as in `Conv2d`; weight
    (out_channels, C / groups, KD, KH, KW), bias (out_channels).
    """

    _rank = 3

    def forward(self, x: Tensor) -> Tensor:
        x, padding = self._padded(x)
        return F.conv3d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class _LazyConv(_Conv):
    """A convolution that takes `in_channels` from its first input, and is an ordinary one from then on."""

    _final: type[_Conv] = _Conv

    def __init__(self, out_channels: int, kernel_size: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(0, out_channels, kernel_size, *args, **kwargs)

    def _start(self, in_channels: int) -> None:
        self.in_channels = 0
        self.weight = UninitializedParameter(type(self).__name__)
        bias = UninitializedParameter(type(self).__name__) if self._options[1] else None
        self.register_parameter("bias", bias)

    def _materialize(self, in_channels: int) -> None:
        with outside_traces():
            self.__class__ = self._final  # type: ignore[assignment]
            self._make(in_channels)

    def _unborn_dtype(self, dtype: Any) -> None:
        """What `to` does before there are parameters."""
        self._options = (dtype, *self._options[1:])

    def _prepare_load(self, prefix: str, state: Any) -> None:
        """Take the shape from saved state."""
        weight = state.get(prefix + "weight")
        if weight is not None and len(weight.shape) == self._rank + 2:
            self._materialize(int(weight.shape[1]) * self.groups)

    def forward(self, x: Tensor, *rest: Any) -> Tensor:
        x = checked(type(self).__name__, x)
        if x.ndim not in (self._rank + 1, self._rank + 2):
            raise ShapeError(
                f"{type(self).__name__} takes (batch, channels, ...), got shape {show_shape(x.shape)}"
            )
        self._materialize(int(x.shape[x.ndim - self._rank - 1]))  # type: ignore[arg-type]
        return self(x, *rest)

    def extra_repr(self) -> str:
        return f"?, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"


class LazyConv1d(_LazyConv):
    """A `Conv1d` that takes `in_channels` from its first input, and is a `Conv1d` from then on.

    Others are those of `Conv1d`.

    Shapes: those of `Conv1d`. Raises: StateError where its parameters are used before.
    """

    _rank = 1
    _final = Conv1d


class LazyConv2d(_LazyConv):
    """A `Conv2d` that takes `in_channels` from its first input, and is a `Conv2d` from then on.

    Others are those of `Conv2d`.

    Shapes: those of `Conv2d`. Raises: StateError where its parameters are used before.
    """

    _rank = 2
    _final = Conv2d


class LazyConv3d(_LazyConv):
    """A `Conv3d` that takes `in_channels` from its first input, and is a `Conv3d` from then on.

    Others are those of `Conv3d`.

    Shapes: those of `Conv3d`. Raises: StateError where its parameters are used before.
    """

    _rank = 3
    _final = Conv3d
