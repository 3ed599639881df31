"""Pooling inside the kernel of the convolution before it: the greatest of windows that do not overlap."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..ir.node import Node
from ..ops.elementwise import maximum, minimum
from ..ops.movement import identity, pad, reshape, slice_
from ..ops.window import windows
from .pixels import FEW, is_kernel_gradient
from .shapes import shape_of
from .winograd import suits

#: Rows of a tile that are pixels of one pooled image: with fewer, the tile is too small.
_FEW_PIXELS = 4


def windows_reduced(root: Node) -> Node | None:
    """The windows of the trailing axes that a reduction goes over."""
    (x,) = root.args
    axes = root.attrs["axes"] if "axes" in root.attrs else (root.attrs["axis"],)
    found = x.args[0] if x.value is None and x.prim is reshape else x
    if found.value is not None or found.prim is not windows:
        return None
    kernel = found.attrs["kernel"]
    count = found.ndim - len(kernel)
    flat = (*found.shape[:count], math.prod(kernel))
    if (x.shape, axes) not in ((flat, (count,)), (found.shape, tuple(range(count, found.ndim)))):
        return None
    return found


def goes_over_taps(root: Node) -> bool:
    """Whether a node is the greatest, or smallest, of several parts of one value, perhaps with a border around it.

    Its kernel reads the value in many places: it is not to be computed there, in each of them."""
    while root.value is None and root.prim in (identity, pad):
        root = root.args[0]
    if root.value is not None or root.prim not in (maximum, minimum):
        return False
    parts = [a.args[1] if a.value is None and a.prim is root.prim else a for a in root.args]
    return all(a.value is None and a.prim is slice_ for a in parts) and parts[0].args == parts[1].args


def windows_of(root: Node) -> Node | None:
    """The windows of the trailing axes that `root` is the greatest of, each element in at most one of them."""
    if root.prim.name != "max" or root.value is not None:
        return None
    found = windows_reduced(root)
    if found is None:
        return None
    kernel = found.attrs["kernel"]
    apart = all(s >= k for s, k in zip(found.attrs["stride"], kernel, strict=True))
    return found if apart and all(d == 1 for d in found.attrs["dilation"]) else None


def _crops(node: Node) -> bool:
    """Whether a node is its operand without the ends of some axes: what no window covers."""
    return (
        node.value is None
        and node.prim is slice_
        and not any(node.attrs["start"])
        and set(node.attrs["stride"]) <= {1}
    )


def _uncropped(node: Node) -> Node:
    while _crops(node):
        node = node.args[0]
    return node


def pooling_after(conv: Node, end: Node, uses: Callable[[Node], Sequence[Node]]) -> Node | None:
    """The pooling that is the only use of `end`, which the epilogue of a convolution comes to."""
    node = end
    while len(uses(node)) == 1 and (node is end or node.prim in (windows, reshape) or _crops(node)):
        (node,) = uses(node)
    found = windows_of(node)
    if found is None or _uncropped(found.args[0]) is not end or found.ndim != 2 * conv.ndim - 2:
        return None
    images, width = shape_of(conv)[0], shape_of(node)[-1]
    rows = max(images, width) if images < FEW else images
    fits = not is_kernel_gradient(conv) and rows >= _FEW_PIXELS
    if suits(conv):  # whose tiles have 2 x 2 results
        fits = found.attrs["kernel"] == found.attrs["stride"] == (2, 2)
    return node if fits and conv.dtype.kind == "f" and end.dtype is conv.dtype is node.dtype else None
