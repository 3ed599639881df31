"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, ShapeError
from ..ir.shape import show_shape
from ..ops.composite.padding import MODES
from . import functional as F
from . import init
from .factory import empty, outside_traces, positive_int
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
        self._options = (dtype, bool(bias))
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
        dtype, bias = self._options
        del self._options
        first, second = in_channels, self.out_channels
        if not self._transposed:
            first, second = second, first
        self.weight = Parameter(empty((first, second // self.groups, *self.kernel_size), dtype))
        if bias:
            self.bias = Parameter(empty((self.out_channels,), dtype))
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
    """Cross-correlation of sequences (N, C, L) with learned kernels. See `Conv2d`."""

    _rank = 1

    def forward(self, x: Tensor) -> Tensor:
        x, padding = self._padded(x)
        return F.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv2d(_Conv):
    """Cross-correlation of images (N, C, H, W) or (C, H, W) with learned kernels.

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

    Shapes: weight (out_channels, in_channels / groups, height, width), bias (out_channels); the result has
    floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1 positions along each axis. Parameters are
    drawn uniformly from [-b, b] with b = 1 / sqrt(fan in).
    """

    _rank = 2

    def forward(self, x: Tensor) -> Tensor:
        x, padding = self._padded(x)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv3d(_Conv):
    """Cross-correlation of volumes (N, C, D, H, W) with learned kernels. See `Conv2d`."""

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
        self._options = (dtype, self._options[1])

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
    """A `Conv1d` that takes `in_channels` from its first input."""

    _rank = 1
    _final = Conv1d


class LazyConv2d(_LazyConv):
    """A `Conv2d` that takes `in_channels` from its first input."""

    _rank = 2
    _final = Conv2d


class LazyConv3d(_LazyConv):
    """A `Conv3d` that takes `in_channels` from its first input."""

    _rank = 3
    _final = Conv3d


class _ConvTranspose(_Conv):
    _transposed = True
    _function: Callable[..., Tensor]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        *,
        dtype: Any = None,
    ) -> None:
        if isinstance(padding, str):
            raise ArgumentError(f"{type(self).__name__}: padding must be integers, got {padding!r}")
        if padding_mode != "zeros":
            raise ArgumentError(
                f"{type(self).__name__}: padding_mode is 'zeros' for transposed convolutions, got {padding_mode!r}"
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, dtype=dtype
        )
        self.output_padding = sizes("output_padding", output_padding, self._rank, least=0)

    def extra_repr(self) -> str:
        extra = f", output_padding={self.output_padding}" if any(self.output_padding) else ""
        return super().extra_repr() + extra

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """The transposed convolution; `output_size` chooses among the sizes that the stride makes ambiguous."""
        extra = self.output_padding if output_size is None else self._extra(x, output_size)
        return type(self)._function(
            x, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )

    def _extra(self, x: Tensor, wanted: Sequence[int]) -> tuple[int, ...]:
        """The output padding that gives the wanted spatial sizes."""
        own = checked(type(self).__name__, x).shape[-self._rank :]
        least = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1  # type: ignore[operator]
            for n, s, p, d, k in zip(
                own, self.stride, self.padding, self.dilation, self.kernel_size, strict=True
            )
        ]
        extra = tuple([w - a for w, a in zip(tuple(wanted)[-self._rank :], least, strict=False)])
        if len(extra) != self._rank or any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=False)):
            most = tuple([a + s - 1 for a, s in zip(least, self.stride, strict=True)])
            raise ArgumentError(
                f"{type(self).__name__}: output_size must lie between {tuple(least)} and {most}, got {tuple(wanted)}"
            )
        return extra  # type: ignore[return-value]


class ConvTranspose1d(_ConvTranspose):
    """The transpose of `Conv1d` as a map, with learned kernels (in_channels, out_channels / groups, K)."""

    _rank = 1
    _function = F.conv_transpose1d


class ConvTranspose2d(_ConvTranspose):
    """The transpose of `Conv2d` as a map, with learned kernels (in_channels, out_channels / groups, KH, KW).

    The result has (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1 positions along each
    axis. Other arguments are those of `Conv2d`.
    """

    _rank = 2
    _function = F.conv_transpose2d


class ConvTranspose3d(_ConvTranspose):
    """The transpose of `Conv3d` as a map, with learned kernels (in_channels, out_channels / groups, KD, KH, KW)."""

    _rank = 3
    _function = F.conv_transpose3d


class _LazyConvTranspose(_LazyConv, _ConvTranspose):
    def _prepare_load(self, prefix: str, state: Any) -> None:
        weight = state.get(prefix + "weight")
        if weight is not None and len(weight.shape) == self._rank + 2:
            self._materialize(int(weight.shape[0]))


class LazyConvTranspose1d(_LazyConvTranspose):
    """A `ConvTranspose1d` that takes `in_channels` from its first input."""

    _rank = 1
    _final = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose):
    """A `ConvTranspose2d` that takes `in_channels` from its first input."""

    _rank = 2
    _final = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose):
    """A `ConvTranspose3d` that takes `in_channels` from its first input."""

    _rank = 3
    _final = ConvTranspose3d
