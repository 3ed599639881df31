"""Gradients of small kernels as sums of parts: each part goes over some images only, and all can be made at a time.

The gradient of a kernel of few channels has few elements, so there are few tiles to go round; but each is a long sum
over all pixels of all images. It is cut into sums over some images each, which are added up in their order. How many
there are follows from the shapes alone.
"""

from __future__ import annotations

import math

from ..ir.node import Node
from ..ops.movement import permute, reshape
from ..ops.reduce import sum_

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


def gradient_in_parts(node: Node) -> Node:
    """The convolution whose parts a node is the sum of, or else the node itself."""
    if node.prim is not sum_ or node.attrs["axes"] != (1,):
        return node
    x = node.args[0]
    found = x.args[0] if x.value is None and x.prim is reshape else x
    parts = found.value is None and found.prim.name == "conv" and x.ndim == found.ndim + 1
    return found if parts and x.shape[1] == found.attrs["feature_groups"] else node
