"""Layers that rearrange and resize images."""

from __future__ import annotations

from typing import Any

from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError
from . import functional as F
from .factory import positive_int
from .module import Module


class Upsample(Module):
    """Images of another size, given as `size` or as a factor.

        y[i] = x at the place (i + 1/2) L / L' - 1/2        with align_corners at i (L - 1) / (L' - 1)

    along each axis of size L made L'; between pixels it takes the nearest one, or a line or a cubic through its
    neighbours, as `mode` says.

    Args:
        size: the new sizes of the spatial axes: an integer, or one for each axis.
        scale_factor: factors instead of sizes.
        mode: "nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear" or "area".
        align_corners: for smooth modes: the middles of the corner pixels stay where they are; else the outer edges do.
        recompute_scale_factor: take the scale from the rounded sizes instead of `scale_factor`.

    Shapes: (N, C, L), (N, C, H, W) or (N, C, D, H, W) to (N, C, *size), a size being floor(old size * factor).

    Raises: ArgumentError unless one of size and factor is given; ShapeError when called, for axes that the mode does
    not take.
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        if (size is None) == (scale_factor is None):
            raise ArgumentError(f"{type(self).__name__} takes either size or scale_factor")
        self.size = size
        if isinstance(scale_factor, (tuple, list)):
            self.scale_factor: Any = tuple([float(s) for s in scale_factor])
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(
            x, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        how = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{how}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` to the nearest pixel: y[i, j] = x[floor(i H / H'), floor(j W / W')].

    Called with `size` (H', W') or `scale_factor`, as `Upsample`.

    Shapes: (N, C, H, W) to (N, C, H', W').
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` along straight lines, the corners kept.

        y[i, j] = x at the place (i (H - 1) / (H' - 1), j (W - 1) / (W' - 1))

    Called with `size` (H', W') or `scale_factor`, as `Upsample`.

    Shapes: (N, C, H, W) to (N, C, H', W').
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


class PixelShuffle(Module):
    """Channels as finer pixels, r = upscale_factor.

        y[c, i r + k, j r + l] = x[c r r + k r + l, i, j]

    Shapes: (..., C r r, H, W) to (..., C, H r, W r). Raises: ShapeError when called, if the channels do not divide.

    Reference: W. Shi et al., "Real-Time Single Image and Video Super-Resolution", 2016,
    https://arxiv.org/abs/1609.05158
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = positive_int("PixelShuffle", "upscale_factor", upscale_factor)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels as channels, r = downscale_factor: undoes `PixelShuffle`.

        y[c r r + k r + l, i, j] = x[c, i r + k, j r + l]

    Shapes: (..., C, H r, W r) to (..., C r r, H, W). Raises: ShapeError when called, if the sizes do not divide.
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = positive_int("PixelUnshuffle", "downscale_factor", downscale_factor)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """The channels dealt out, so that groups see each other's: channel i of group g comes to place i * groups + g.

        y[i groups + g] = x[g C / groups + i]

    Shapes: (N, C, ...), kept. Raises: ShapeError when called, if the channels do not divide.

    Reference: X. Zhang et al., "ShuffleNet", 2017, https://arxiv.org/abs/1707.01083
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = positive_int("ChannelShuffle", "groups", groups)

    def forward(self, x: Tensor) -> Tensor:
        return F.channel_shuffle(x, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class Unfold(Module):
    """The windows of images as columns.

        y[c K + k, i] = x[c, place k of window i]        windows counted row by row, K places in each

    Args:
        kernel_size: size of the windows, an integer or (height, width).
        dilation: steps between a window's elements.
        padding: zeros around the image.
        stride: steps between windows.

    Shapes: (N, C, H, W) or (C, H, W) to (N, C K, windows), or without N.
    """

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """The sum of overlapping windows, the transpose of `Unfold`.

        y[c, place k of window i] += x[c K + k, i]

    Args:
        output_size: (H, W).
        kernel_size, dilation, padding, stride: as in `Unfold`.

    Shapes: (N, C K, windows) to (N, C, H, W), or both without N. Raises: ShapeError when called, if the windows are not
    those of the size.
    """

    def __init__(
        self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )
