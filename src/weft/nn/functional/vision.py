"""Images on tensors: other sizes, windows as columns, channels as pixels."""

from __future__ import annotations

import math
from typing import Any

from ...arrays.dispatch import apply, check_choice
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError, DTypeError, ShapeError
from ...ir.shape import show_shape
from ...ops.composite import grids as g
from ...ops.composite import images as c
from ...ops.composite import resize as r
from ...ops.composite.pooling import adaptive_avg_pool
from ...ops.movement import reshape
from ..factory import positive_int
from .conv import sizes
from .operands import checked

#: mode -> the spatial ranks that it takes
_RANKS = {
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3), "linear": (1,), "bilinear": (2,),
    "trilinear": (3,), "bicubic": (2,), "lanczos": (2,),
}  # fmt: skip
_SMOOTH = ("linear", "bilinear", "trilinear", "bicubic", "lanczos")
#: Modes whose weights can be spread over all the pixels that a new one covers.
_SPREAD = {"bilinear": "linear", "bicubic": "cubic", "lanczos": "lanczos"}


def _targets(
    x: Tensor, size: Any, scale_factor: Any, recompute: bool
) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
    """The new sizes, and how many old pixels a new one is wide along each axis (None where the sizes say it)."""
    rank = x.ndim - 2
    if (size is None) == (scale_factor is None):
        raise ArgumentError("interpolate takes either size or scale_factor")
    if size is not None:
        if recompute:
            raise ArgumentError("interpolate: recompute_scale_factor belongs to scale_factor, not to size")
        return sizes("size", size, rank), (None,) * rank
    items = tuple(scale_factor) if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * rank
    if len(items) != rank or any(
        isinstance(s, bool) or not isinstance(s, (int, float)) or s <= 0 for s in items
    ):
        raise ArgumentError(
            f"scale_factor must be one positive number or {rank} of them, got {scale_factor!r}"
        )
    if not all(isinstance(n, int) for n in x.shape[2:]):
        raise ShapeError(f"interpolate needs known spatial sizes, got {show_shape(x.shape)}")
    wanted = tuple([math.floor(n * s) for n, s in zip(x.shape[2:], items, strict=True)])
    exact = [recompute or n * s == w for n, s, w in zip(x.shape[2:], items, wanted, strict=True)]
    return wanted, tuple([None if e else 1 / s for e, s in zip(exact, items, strict=True)])


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Images (N, C, ...) of another size.

    Args:
        size: the new sizes of the spatial axes: an integer, or one for each axis.
        scale_factor: factors instead of sizes; the new size is floor(size * factor).
        mode: "nearest", "nearest-exact" (by the middle of each new pixel), "linear" (N, C, L), "bilinear" and "bicubic"
            (N, C, H, W), "trilinear" (N, C, D, H, W), "lanczos" (N, C, H, W; with antialias only), or "area" (means
            over cells).
        align_corners: for smooth modes: the middles of the corner pixels stay where they are; else the outer edges do.
        recompute_scale_factor: take the scale from the rounded sizes instead of `scale_factor`.
        antialias: for "bilinear", "bicubic" and "lanczos": when an image shrinks, average over all pixels that a new
            one covers.

    Shapes: (N, C, L), (N, C, H, W) or (N, C, D, H, W) to (N, C, *size). As a layer: `nn.Upsample`, which says the
    places.

    Raises: ArgumentError unless one of size and factor is given, or for options that the mode does not take.

    >>> interpolate(weft.tensor([[[1.0, 2.0]]]), scale_factor=2).tolist()
    [[[1.0, 1.0, 2.0, 2.0]]]
    >>> interpolate(weft.tensor([[[1.0, 2.0]]]), size=4, mode="linear").tolist()
    [[[1.0, 1.25, 1.75, 2.0]]]
    """
    x = checked("interpolate", input)
    check_choice("mode", mode, tuple(_RANKS))
    if x.ndim - 2 not in _RANKS[mode]:
        ranks = " or ".join(str(n + 2) for n in _RANKS[mode])
        raise ShapeError(
            f"interpolate: mode {mode!r} takes a tensor of {ranks} axes (N, C, ...), got {show_shape(x.shape)}"
        )
    if align_corners is not None and mode not in _SMOOTH:
        raise ArgumentError(f"interpolate: align_corners belongs to {', '.join(_SMOOTH)}, not to {mode!r}")
    if antialias and mode not in _SPREAD:
        raise ArgumentError(f"interpolate: antialias belongs to {', '.join(_SPREAD)}, not to {mode!r}")
    if mode == "lanczos" and not antialias:
        raise ArgumentError("interpolate: mode 'lanczos' needs antialias=True")
    wanted, ratios = _targets(x, size, scale_factor, bool(recompute_scale_factor))
    if mode == "area":
        return apply(adaptive_avg_pool, x, sizes=wanted)
    if mode.startswith("nearest"):
        return apply(r.resize_nearest, x, sizes=wanted, ratios=ratios, centred=mode == "nearest-exact")
    if x.dtype.kind != "f":
        raise DTypeError(f"interpolate: mode {mode!r} takes a floating tensor, got {x.dtype}")
    attrs = {"sizes": wanted, "ratios": ratios, "align": bool(align_corners)}
    if antialias:
        return apply(r.resize_antialiased, x, **attrs, curve=_SPREAD[mode])
    return apply(r.resize_cubic if mode == "bicubic" else r.resize_linear, x, **attrs)


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`interpolate` under its older name; arguments are those of `interpolate`.

    Shapes: (N, C, ...) to (N, C, *size).
    """
    return interpolate(input, size, scale_factor, mode, align_corners)


# -- windows ----------------------------------------------------------------------------------------------------


def _pairs(value: Any, name: str, least: int = 1) -> tuple[int, ...]:
    return sizes(name, value, 2, least=least)


def _lone(name: str, x: Tensor, rank: int) -> tuple[Tensor, bool]:
    """x with a batch axis."""
    x = checked(name, x)
    if x.ndim == rank - 1:
        return Tensor(reshape(x._node, shape=(1, *x.shape))), True
    return x, False


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The windows of images as columns: y[c K + k, i] = x[c, place k of window i], K places in a window.

    kernel_size, dilation, padding and stride are one integer or two, as in `conv2d`.

    Shapes: (N, C, H, W) or (C, H, W) to (N, C K, windows), or without N. As a layer: `nn.Unfold`.
    """
    x, lone = _lone("unfold", input, 4)
    out = apply(
        c.unfold,
        x,
        kernel=_pairs(kernel_size, "kernel_size"),
        dilation=_pairs(dilation, "dilation"),
        padding=_pairs(padding, "padding", 0),
        stride=_pairs(stride, "stride"),
    )
    return Tensor(reshape(out._node, shape=out.shape[1:])) if lone else out


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The sum of overlapping windows that are given as columns: y[c, place k of window i] += x[c K + k, i].

    kernel_size, dilation, padding and stride are those of `unfold`, whose transpose it is.

    Shapes: (N, C K, windows) to (N, C, *output_size), or both without N. As a layer: `nn.Fold`.
    """
    x, lone = _lone("fold", input, 3)
    out = apply(
        c.fold,
        x,
        size=_pairs(output_size, "output_size"),
        kernel=_pairs(kernel_size, "kernel_size"),
        dilation=_pairs(dilation, "dilation"),
        padding=_pairs(padding, "padding", 0),
        stride=_pairs(stride, "stride"),
    )
    return Tensor(reshape(out._node, shape=out.shape[1:])) if lone else out


# -- channels and pixels ----------------------------------------------------------------------------------------


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels as finer pixels: y[c, i r + k, j r + l] = x[c r r + k r + l, i, j], r = upscale_factor.

    Shapes: (..., C r r, H, W) to (..., C, H r, W r). Raises: ShapeError if the channels do not divide. As a layer:
    `nn.PixelShuffle`.
    """
    factor = positive_int("pixel_shuffle", "upscale_factor", upscale_factor)
    return apply(c.pixel_shuffle, checked("pixel_shuffle", input), factor=factor)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Pixels as channels: y[c r r + k r + l, i, j] = x[c, i r + k, j r + l], r = downscale_factor.

    Shapes: (..., C, H r, W r) to (..., C r r, H, W). Raises: ShapeError if the sizes do not divide. As a layer:
    `nn.PixelUnshuffle`.
    """
    factor = positive_int("pixel_unshuffle", "downscale_factor", downscale_factor)
    return apply(c.pixel_unshuffle, checked("pixel_unshuffle", input), factor=factor)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels dealt out: channel i of group g comes to place i * groups + g.

    Shapes: (N, C, ...), kept. Raises: ShapeError if the channels do not divide. As a layer: `nn.ChannelShuffle`.
    """
    groups = positive_int("channel_shuffle", "groups", groups)
    return apply(c.channel_shuffle, checked("channel_shuffle", input), groups=groups)


# -- grids ------------------------------------------------------------------------------------------------------


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Images read at the places of a grid.

    Args:
        input: (N, C, H, W), or volumes (N, C, D, H, W).
        grid: (N, H', W', 2) with (x, y), or (N, D', H', W', 3) with (x, y, z), from -1 to 1 across the image.
        mode: "bilinear" (linear along each axis), "nearest", or "bicubic" (images only).
        padding_mode: what is beyond the border: "zeros", "border" (its pixels), "reflection".
        align_corners: -1 and 1 are the middles of the outer pixels; else their outer edges.

    Shapes: the result is (N, C, H', W') or (N, C, D', H', W').
    """
    x, places = checked("grid_sample", input), checked("grid_sample", grid)
    check_choice("mode", mode, g.MODES)
    check_choice("padding_mode", padding_mode, g.PADDINGS)
    if mode == "bicubic" and x.ndim != 4:
        raise ShapeError(f"grid_sample: mode 'bicubic' takes images (N, C, H, W), got {show_shape(x.shape)}")
    return apply(g.grid_sample, x, places, mode=mode, padding=padding_mode, align=bool(align_corners))


def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """The grid for `grid_sample` that maps places by theta (N, 2, 3), for images of `size` (N, C, H, W).

        grid[n, i, j] = theta[n] @ (x_j, y_i, 1)        x and y evenly from -1 to 1; align_corners as in `grid_sample`

    Shapes: theta (N, 2, 3) to (N, H, W, 2); for volumes of size (N, C, D, H, W) theta (N, 3, 4) to (N, D, H, W, 3).

    >>> identity = weft.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> x = weft.rand(1, 2, 3, 4)
    >>> bool(weft.abs(grid_sample(x, affine_grid(identity, x.shape)) - x).max() < 1e-6)
    True
    """
    t = checked("affine_grid", theta)
    wanted = tuple(size)
    if len(wanted) not in (4, 5) or any(not isinstance(n, int) or n < 1 for n in wanted[2:]):
        raise ArgumentError(f"affine_grid takes a size (N, C, H, W) or (N, C, D, H, W), got {size!r}")
    if t.ndim and t.shape[0] != wanted[0]:
        raise ShapeError(f"affine_grid: theta {show_shape(t.shape)} is not for a batch of {wanted[0]}")
    return apply(g.affine_grid, t, sizes=wanted[2:], align=bool(align_corners))
