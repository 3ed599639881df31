"""Gradients of small kernels as sums of parts: each part goes over some images only, and all can be made at a time.

The gradient of a kernel of few channels has few elements, so there are few tiles to go round; but each is a long sum
over all pixels of all images. It is cut into sums over some images each, which are added up in their order. How many
there are follows from the shapes alone.
"""

from __future__ import annotations

import math

from ..ir.node import Node
from ..ops.conv import dilated
from ..ops.movement import flip, permute, reshape
from ..ops.reduce import sum_
from .shapes import shape_of

#: Parts, at most.
_MOST = 16

#: Multiplications that are worth a part of their own, and elements of all parts together, at most.
_LEAST, _ELEMENTS = 1 << 20, 1 << 18


def parts_of(gradient: Node) -> int:
    """Into how many parts, each of as many images, the gradient of a kernel is cut."""
    images = gradient.args[0].shape[1]
    size = math.prod(gradient.shape)  # type: ignore[arg-type]
    work = size * math.prod(gradient.args[1].shape[1:])  # type: ignore[arg-type]
    most = min(_MOST, work // _LEAST, _ELEMENTS // max(size, 1))  # type: ignore[operator]
    return max([n for n in range(1, most + 1) if images % n == 0], default=1)  # type: ignore[operator]


def in_parts(gradient: Node) -> Node:
    """The gradient of a kernel, a convolution over images as its channels, as the sum of its parts.

    Each is a group of channels, of which there are as many as images in a part.
    """
    parts = parts_of(gradient)
    if parts == 1:
        return gradient
    x, w = gradient.args
    (inputs, images), (outputs, *sizes) = x.shape[:2], (w.shape[0], *w.shape[2:])
    some = images // parts  # type: ignore[operator]
    cut = permute(reshape(w, shape=(outputs, parts, some, *sizes)), axes=(1, 0, *range(2, w.ndim + 1)))
    groups = reshape(cut, shape=(parts * outputs, some, *sizes))  # type: ignore[operator]
    found = gradient.prim(x, groups, **{**gradient.attrs, "feature_groups": parts})
    return sum_(reshape(found, shape=(inputs, parts, outputs, *found.shape[2:])), axes=(1,))


#: Output channels that leave most of a vector empty.
_FEW = 8


def turned_around(gradient: Node, x: Node, w: Node) -> Node | None:
    """The gradient of a kernel with few output channels and more input channels, these two exchanged: it is that of a
    convolution of the outputs' cotangents, with zeros around, by the images. Its taps come out in reverse.

    Tap k is the sum over pixels q of x[q] ct[(e q + p - k) / d], for gaps e in the images, d in the cotangents and
    padding p. Gaps in images are better taken for those of a kernel: only some taps would meet a pixel otherwise."""
    a = gradient.attrs
    inputs, outputs, *taps = shape_of(gradient)
    gaps, apart = a["input_dilation"], a["kernel_dilation"]
    spread = any(n > 1 for n in gaps)
    better = inputs >= outputs if spread else outputs < _FEW and inputs >= 2 * outputs
    if not better or any(n > 1 for n in a["stride"]) or (spread and any(n > 1 for n in apart)):
        return None
    images = [dilated(n, d) for n, d in zip(shape_of(x)[2:], gaps, strict=True)]
    outs = [dilated(n, d) for n, d in zip(shape_of(w)[2:], apart, strict=True)]
    low = [k - 1 - p for k, (p, _) in zip(taps, a["padding"], strict=True)]
    high = [k + n - 1 - m - p for k, n, m, p in zip(taps, images, outs, low, strict=True)]
    if min(*low, *high, 0) < 0:
        return None
    attrs = {"padding": tuple(zip(low, high, strict=True)), "input_dilation": apart, "kernel_dilation": gaps}
    return gradient.prim(w, x, **{**a, **attrs})


def turned_back(gradient: Node) -> Node:
    """The gradient of a kernel from that of a convolution `turned_around`."""
    spatial = tuple(range(2, gradient.ndim))
    return flip(permute(gradient, axes=(1, 0, *spatial)), axes=spatial)


def gradient_in_parts(node: Node) -> Node:
    """The convolution whose parts a node is the sum of, or else the node itself."""
    if node.prim is not sum_ or node.attrs["axes"] != (1,):
        return node
    x = node.args[0]
    found = x.args[0] if x.value is None and x.prim is reshape else x
    parts = found.value is None and found.prim.name == "conv" and x.ndim == found.ndim + 1
    return found if parts and x.shape[1] == found.attrs["feature_groups"] else node
