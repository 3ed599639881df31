"""Which convolutions there are, and what the rows of their tiles are: pixels of one image, or images at one pixel."""

from __future__ import annotations

import math

from ..ir.node import Node
from .target import WAY

#: With fewer images than this, the rows of a tile are pixels of one image instead of one pixel of many images.
FEW = 24

#: Pixels that are enough for the rows of a tile, however many images there are.
_WIDE = 12


def by_pixels(conv: Node) -> bool:
    """Whether the rows of tiles are pixels of one image, not images at one pixel: where these are few, or where they
    lie so that the cache has few places for them all."""
    images, width = conv.shape[0], conv.shape[-1]
    if is_depthwise(conv):
        return width > 1  # type: ignore[operator]
    x = conv.args[0]
    collide = math.prod(x.shape[1:]) * x.dtype.itemsize % WAY == 0  # type: ignore[operator, arg-type]
    if images < FEW:  # type: ignore[operator]
        return (4 if collide else 2) * width > images  # type: ignore[operator]
    return collide and width >= _WIDE  # type: ignore[operator]


def is_kernel_gradient(node: Node) -> bool:
    """Whether a convolution's kernel is larger than what comes out of it.

    So is the gradient of a kernel: it contracts over images and pixels, and its operands are views of images.
    """
    return math.prod(node.args[1].shape[2:]) > math.prod(node.shape[2:])  # type: ignore[arg-type]


def is_depthwise(node: Node) -> bool:
    """Whether every channel of a convolution of floats is a group of its own: vectors run along these."""
    a, (x, w) = node.attrs, node.args
    if node.dtype.name not in ("float32", "float64") or not math.prod((*node.shape, *x.shape, *w.shape)):  # type: ignore[arg-type]
        return False
    plain = all(k == 1 or i == 1 for k, i in zip(a["kernel_dilation"], a["input_dilation"], strict=True))
    channels = node.shape[1]
    forward = a["batch_groups"] == 1 and a["feature_groups"] == channels == x.shape[1]
    backward = a["feature_groups"] == 1 and a["batch_groups"] == channels == x.shape[0]
    return plain and channels != 1 and (forward or backward)
