"""Rearranging images: windows as columns and back, channels as pixels and back."""

from __future__ import annotations

from ...base.errors import ShapeError
from ...ir.node import Node
from ...ir.shape import divide, show_shape, size_of
from ..define import constant
from ..movement import pad, permute, reshape, slice_axis
from ..window import windows, windows_add
from .define import composite

Sizes = tuple[int, ...]


def _around(x: Node, padding: Sizes) -> Node:
    """x with so many zeros before and after each of its last axes."""
    lead = (0,) * (x.ndim - len(padding))
    return pad(x, constant(0, x.dtype), low=(*lead, *padding), high=(*lead, *padding), interior=(0,) * x.ndim)


@composite
def unfold(x, *, kernel, dilation, padding, stride):
    """The windows of x (N, C, *spatial) as columns: (N, C * elements of a window, windows)."""
    rank = len(kernel)
    if x.ndim != rank + 2:
        raise ShapeError(f"unfold over {rank} axes takes (N, C, ...), got shape {show_shape(x.shape)}")
    w = windows(_around(x, padding), kernel=kernel, stride=stride, dilation=dilation)
    places = w.shape[2 : 2 + rank]
    w = permute(w, axes=(0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank)))
    return reshape(w, shape=(x.shape[0], x.shape[1] * size_of(kernel), size_of(places)))


@composite
def fold(x, *, size, kernel, dilation, padding, stride):
    """The sum of overlapping windows, which are the columns of x (N, C * elements, windows): (N, C, *size)."""
    rank = len(kernel)
    whole = tuple([n + 2 * p for n, p in zip(size, padding, strict=True)])
    places = tuple(
        [(n - d * (k - 1) - 1) // s + 1 for n, k, d, s in zip(whole, kernel, dilation, stride, strict=True)]
    )
    channels = divide(x.shape[1], size_of(kernel)) if x.ndim == 3 else None
    if channels is None or min(places) < 1 or x.shape[2] != size_of(places):
        raise ShapeError(
            f"fold: windows {kernel} with stride {stride}, padding {padding} and dilation {dilation} cut {size} into "
            f"{places}, so that an input (N, C * {size_of(kernel)}, {size_of(places)}) is expected, got "
            f"{show_shape(x.shape)}"
        )
    w = reshape(x, shape=(x.shape[0], channels, *kernel, *places))
    w = permute(w, axes=(0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank)))
    out = windows_add(w, size=whole, stride=stride, dilation=dilation)
    for axis, (p, n) in enumerate(zip(padding, size, strict=True), 2):
        out = slice_axis(out, axis, p, p + n)
    return out


def _image(name: str, x: Node) -> tuple:
    if x.ndim < 3:
        raise ShapeError(f"{name} takes (..., C, H, W), got shape {show_shape(x.shape)}")
    return x.shape[:-3], *x.shape[-3:]


@composite
def pixel_shuffle(x, *, factor):
    """Channels as finer pixels: (..., C r r, H, W) to (..., C, H r, W r), r the factor."""
    lead, channels, height, width = _image("pixel_shuffle", x)
    each = divide(channels, factor * factor)
    if each is None:
        raise ShapeError(
            f"pixel_shuffle: the {channels} channels of {show_shape(x.shape)} do not divide by {factor} x {factor}"
        )
    n = len(lead)
    x = reshape(x, shape=(*lead, each, factor, factor, height, width))
    x = permute(x, axes=(*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return reshape(x, shape=(*lead, each, height * factor, width * factor))


@composite
def pixel_unshuffle(x, *, factor):
    """Pixels as channels: (..., C, H r, W r) to (..., C r r, H, W), r the factor; undoes `pixel_shuffle`."""
    lead, channels, height, width = _image("pixel_unshuffle", x)
    rows, columns = divide(height, factor), divide(width, factor)
    if rows is None or columns is None:
        raise ShapeError(
            f"pixel_unshuffle: height and width of {show_shape(x.shape)} do not divide by {factor}"
        )
    n = len(lead)
    x = reshape(x, shape=(*lead, channels, rows, factor, columns, factor))
    x = permute(x, axes=(*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return reshape(x, shape=(*lead, channels * factor * factor, rows, columns))


@composite
def channel_shuffle(x, *, groups):
    """The channels (axis 1) dealt out: channel i of group g comes to place i * groups + g."""
    each = divide(x.shape[1], groups) if x.ndim > 2 else None
    if each is None:
        raise ShapeError(
            f"channel_shuffle takes (N, C, ...) whose channels divide into {groups} groups, got {show_shape(x.shape)}"
        )
    rest = x.shape[2:]
    x = reshape(x, shape=(x.shape[0], groups, each, *rest))
    x = permute(x, axes=(0, 2, 1, *range(3, 3 + len(rest))))
    return reshape(x, shape=(x.shape[0], groups * each, *rest))
