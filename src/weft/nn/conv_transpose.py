"""Transposed convolution layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError
from . import functional as F
from .conv import _Conv, _LazyConv
from .functional.conv import sizes
from .functional.operands import checked


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
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if isinstance(padding, str):
            raise ArgumentError(f"{type(self).__name__}: padding must be integers, got {padding!r}")
        if padding_mode != "zeros":
            raise ArgumentError(
                f"{type(self).__name__}: padding_mode is 'zeros' for transposed convolutions, got {padding_mode!r}"
            )
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            device=device,
            dtype=dtype,
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
    """The transpose of `Conv1d` as a linear map: every element of the input lays a copy of the kernel into the result.

        y[o, i * stride - padding + k * dilation] += weight[c, o, k] x[c, i]        y begins as bias[o]

    Arguments are those of `ConvTranspose2d`.

    Shapes: (N, C, L) or (C, L) to (..., out_channels, L'), weight (C, out_channels / groups, K), bias (out_channels),
    L' = (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1.
    """

    _rank = 1
    _function = F.conv_transpose1d


class ConvTranspose2d(_ConvTranspose):
    """The transpose of `Conv2d` as a linear map: every pixel of the input lays a copy of the kernel into the result.

        y[o, i' + k * dilation, j' + l * dilation] += weight[c, o, k, l] x[c, i, j]        y begins as bias[o]

    with i' = i * stride - padding, and j' likewise.

    Args:
        in_channels, out_channels, kernel_size, dilation, groups, bias: as in `Conv2d`.
        stride: steps between the copies.
        padding: so many rows and columns at each side of the result are left out.
        output_padding: so many more at the end, less than the stride or the dilation.

    Called with `output_size` as well, it chooses among the sizes that the stride leaves open.

    Shapes: (N, C, H, W) or (C, H, W) to (..., out_channels, H', W'), W' like H' = (H - 1) stride - 2 padding + dilation
    (kernel - 1) + output_padding + 1; weight (C, out_channels / groups, height, width), bias (out_channels). Both are
    drawn uniformly from [-b, b] with b = 1 / sqrt(out_channels / groups * height * width).

    Raises: ArgumentError for a padding_mode other than "zeros", or an `output_size` that the stride cannot give.
    """

    _rank = 2
    _function = F.conv_transpose2d


class ConvTranspose3d(_ConvTranspose):
    """The transpose of `Conv3d` as a linear map: every element of the input lays a copy of the kernel into the result.

        y[o, i * stride - padding + k * dilation] += weight[c, o, k] x[c, i],  i and k triples; y begins as bias[o]

    Arguments are those of `ConvTranspose2d`, with one integer or (depth, height, width).

    Shapes: (N, C, D, H, W) or (C, D, H, W) to (..., out_channels, D', H', W'), each size as in `ConvTranspose2d`;
    weight (C, out_channels / groups, KD, KH, KW), bias (out_channels).
    """

    _rank = 3
    _function = F.conv_transpose3d


class _LazyConvTranspose(_LazyConv, _ConvTranspose):
    def _prepare_load(self, prefix: str, state: Any) -> None:
        weight = state.get(prefix + "weight")
        if weight is not None and len(weight.shape) == self._rank + 2:
            self._materialize(int(weight.shape[0]))


class LazyConvTranspose1d(_LazyConvTranspose):
    """A `ConvTranspose1d` that takes `in_channels` from its first input, and is a `ConvTranspose1d` from then on.

    Others are those of `ConvTranspose1d`.

    Shapes: those of `ConvTranspose1d`. Raises: StateError where its parameters are used before.
    """

    _rank = 1
    _final = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose):
    """A `ConvTranspose2d` that takes `in_channels` from its first input, and is a `ConvTranspose2d` from then on.

    Others are those of `ConvTranspose2d`.

    Shapes: those of `ConvTranspose2d`. Raises: StateError where its parameters are used before.
    """

    _rank = 2
    _final = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose):
    """A `ConvTranspose3d` that takes `in_channels` from its first input, and is a `ConvTranspose3d` from then on.

    Others are those of `ConvTranspose3d`.

    Shapes: those of `ConvTranspose3d`. Raises: StateError where its parameters are used before.
    """

    _rank = 3
    _final = ConvTranspose3d
