"""Which convolutions there are, and what the rows of their tiles are: pixels of one image, or images at one pixel."""

from __future__ import annotations

import math

from ..ir.node import Node
from .shapes import shape_of
from .target import WAY

#: With fewer images than this, the rows of a tile are pixels of one image instead of one pixel of many images.
FEW = 24

#: Windows of no more along each axis are kernels, however few pixels come out.
_SMALL = 3

#: Pixels that are enough for the rows of a tile, however many images there are.
_WIDE = 12


def by_pixels(conv: Node) -> bool:
    """Whether the rows of tiles are pixels of one image, not images at one pixel: where these are few, or where they
    lie so that the cache has few places for them all."""
    (images, *_, width), x = shape_of(conv), conv.args[0]
    if is_depthwise(conv):
        return width > 1
    collide = math.prod(shape_of(x)[1:]) * x.dtype.itemsize % WAY == 0
    if images < FEW:
        return (4 if collide else 2) * width > images
    return collide and width >= _WIDE


def is_kernel_gradient(node: Node) -> bool:
    """Whether a convolution's kernel is larger than what comes out of it.

    So is the gradient of a kernel: it contracts over images and pixels, and its operands are views of images. That of
    a depthwise convolution has groups of images, and is told from one of images smaller than its windows by these.
    """
    if is_depthwise(node):
        return node.attrs["batch_groups"] > 1
    window = shape_of(node.args[1])[2:]
    large = max(window) > _SMALL or node.prim.name != "conv"  # the others read images as any view shows them
    return large and math.prod(window) > math.prod(shape_of(node)[2:])


def is_dilated_once(conv: Node) -> bool:
    """Whether along no axis both the kernel and the image are dilated: then each tap meets elements a stride apart."""
    a = conv.attrs
    return all(k == 1 or i == 1 for k, i in zip(a["kernel_dilation"], a["input_dilation"], strict=True))


def is_depthwise(node: Node) -> bool:
    """Whether every channel of a convolution of floats is a group of its own: vectors run along these."""
    a, (x, w) = node.attrs, node.args
    if node.dtype.name not in ("float32", "float64") or not all((*node.shape, *x.shape, *w.shape)):
        return False
    channels = node.shape[1]
    forward = a["batch_groups"] == 1 and a["feature_groups"] == channels == x.shape[1]
    backward = a["feature_groups"] == 1 and a["batch_groups"] == channels == x.shape[0]
    return is_dilated_once(node) and channels != 1 and (forward or backward)
