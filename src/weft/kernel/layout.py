"""In which order the axes of intermediate values lie in memory, and the copies that put operands in order.

Users write images as (batch, channels, height, width). Kernels want the channels innermost: they run along vectors,
and the taps of a convolution read whole runs of them. So the values between convolutions, which nobody outside can
see, are stored channels-last; what comes in or goes out keeps its order, and is copied where that pays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir.dtype import int32
from ..ir.graph import Graph
from ..ir.node import Node
from ..ops.define import constant
from ..ops.movement import identity, pad, permute, reshape
from ..ops.resample import resample
from ..ops.selection import cast
from ..passes.cse import eliminate_common
from ..passes.rewrite import rewrite
from .borders import inside_of, read_inside
from .parts import gradient_in_parts, in_parts, turned_around, turned_back
from .pixels import FEW, by_pixels, is_depthwise, is_kernel_gradient
from .winograd import suits
from .winograd_gradient import suits_gradient

#: Axes from outermost to innermost.
Order = tuple[int, ...]

#: Channels that are too few for the rows of a tile.
_THIN = 12

#: So few channels of an image are copied into a border as they come, plane by plane: put next to each other they make
#: runs too short for vectors, and a tile reads single elements in either order.
_PLANES = 4

#: Rows -> output channels that lie next to each other in the copy of a kernel which meets at least so many: a tile is
#: so wide, or half or a quarter of it, and those of many rows are the widest. Rows are images or the pixels of a row of
#: one, or, where these are fewer than any number here, all its pixels.
_PANELS = {16: 64, 4: 32}


def channels_last(rank: int) -> Order:
    return (0, *range(2, rank), 1)


def weight_order(rank: int) -> Order:
    """(out, in, *taps) stored as taps, in, out."""
    return (*range(2, rank), 1, 0)


def panel_order(rank: int) -> Order:
    """(panel, out, in, *taps) stored as panel, taps, in, out: a tile reads one panel, from its begin to its end."""
    return (0, *range(3, rank), 2, 1)


def kernel_order(rank: int) -> Order:
    """(in, out, *taps), as the gradient of a kernel comes out, stored as taps, in, out: rows go on from tap to tap."""
    return (*range(2, rank), 0, 1)


def separate_operands(graph: Graph) -> Graph:
    """`graph` with a copy in front of every operand of a convolution that is not in the right order by itself.

    A copy is an `identity` node, which is then given a layout of its own. With few images the copy of the input
    also carries the padding, so that all pixels of a row have the same taps, and others read it there (`borders`).
    """
    inputs = set(graph.inputs)

    def separate(old: Node, args: tuple[Node, ...]) -> Node | None:
        if old.prim.name == "dot_general":
            columns = _flat_columns(old, args)
            return None if columns == args else old.prim(*columns, **old.attrs)
        if old.prim.name != "conv" or old.dtype.name not in ("float32", "float64"):
            return None
        attrs = dict(old.attrs)
        x, w = args
        if _is_copied(w):
            return None
        if is_kernel_gradient(old):
            x, w = args = _in_memory(x), _in_memory(w)
            if not (is_depthwise(old) or suits_gradient(old)):
                return _kernel_gradient(old, x, w)
            x, w = (_copied_input(new, a, inputs) for new, a in zip(args, old.args, strict=True))
            found = _kernel_gradient(old, x, w)
            return old.prim(x, w, **attrs) if found is None else found
        few = (old.shape[0] < FEW or by_pixels(old)) and not suits(old)  # type: ignore[operator]
        if few and all(d == 1 for d in attrs["input_dilation"]) and _widens(attrs["padding"]):
            x = _pad_images(x, attrs["padding"])
            attrs["padding"] = ((0, 0),) * len(attrs["padding"])
        if old.args[0] in inputs or old.args[0].value is not None or x is not args[0] or _is_reshaped(x):
            x = identity(x)
        return old.prim(x, _copied_kernel(old, w), **attrs)

    return read_inside(eliminate_common(rewrite(graph, separate, ("conv", "dot_general"))))


def _is_reshaped(x: Node) -> bool:
    """Whether an image is a view that strides may not describe: of pixels put where channels were, say."""
    while x.value is None and x.prim.movement and len(x.args) == 1 and x.prim is not reshape:
        x = x.args[0]
    return x.value is None and x.prim is reshape


def _flat_columns(product: Node, args: tuple[Node, ...]) -> tuple[Node, ...]:
    """The operands of a matrix product, copies of those whose columns are flattened images: the gradient of the weight
    of a linear layer behind convolutions. Where its columns lie pixel by pixel, its results would be written so. And of
    a single image, which that layer reads for each of its results, along the sum."""

    def column(x: Node, contracted: tuple[int, ...]) -> Node:
        flat = x.value is None and x.prim is reshape and x.ndim == 2
        wanted = contracted == ((1,) if x.shape[0] == 1 else (0,))
        return identity(x) if flat and wanted and _is_convolved(x.args[0]) else x

    return tuple([column(x, a) for x, a in zip(args, product.attrs["contract"], strict=True)])


def _is_convolved(x: Node) -> bool:
    """Whether a value is computed from a convolution, as an image of several channels and pixels."""
    if x.ndim < 3 or min(x.shape[1], math.prod(x.shape[2:])) < 2:  # type: ignore[type-var, arg-type]
        return False
    stack, seen = [x], {x}
    while stack:
        node = stack.pop()
        if node.value is not None:
            continue
        if node.prim.name == "conv":
            return True
        stack += [a for a in node.args if type(a.sig.out) is not tuple and a.ndim == x.ndim and a not in seen]
        seen.update(node.args)
    return False


def _in_memory(x: Node) -> Node:
    """An operand of a kernel's gradient, copied if it is such a view."""
    if not _is_reshaped(x):
        return x
    return permute(identity(x.args[0]), **x.attrs) if x.prim is permute else identity(x)


def _copied_kernel(conv: Node, w: Node) -> Node:
    """A copy of a kernel, in panels if all of them are full and meet enough rows."""
    if suits(conv):
        return w  # which is transformed from where it lies
    pixels = math.prod(conv.shape[2:])  # type: ignore[arg-type]
    rows = max(conv.shape[0], conv.shape[-1], min(pixels, min(_PANELS)))  # type: ignore[type-var]
    columns = w.shape[0] // conv.attrs["feature_groups"]  # type: ignore[operator]
    width = next((n for least, n in _PANELS.items() if rows >= least and columns % n == 0), columns)  # type: ignore[operator]
    if width == columns:
        return identity(w)
    return reshape(identity(reshape(w, shape=(w.shape[0] // width, width, *w.shape[1:]))), shape=w.shape)  # type: ignore[operator]


def _is_copied(w: Node) -> bool:
    """Whether a kernel is a copy already."""
    while w.value is None and w.prim in (reshape, permute):
        w = w.args[0]
    return w.value is None and w.prim is identity


def _copied_input(x: Node, old: Node, inputs: set[Node]) -> Node:
    """Images that are an input, with the axes of the batch and of the channels exchanged, as a view of a copy."""
    swapped = (1, 0, *range(2, x.ndim))
    if (
        old.value is not None
        or old.prim is not permute
        or old.args[0] not in inputs
        or x.attrs["axes"] != swapped
    ):
        return x
    return permute(identity(x.args[0]), axes=swapped)


def _has_thin_rows(node: Node) -> bool:
    """Whether a contraction is the gradient of a kernel with few channels, which alone make no rows of a tile."""
    return node.prim.name == "conv" and is_kernel_gradient(node) and node.shape[0] < _THIN  # type: ignore[operator]


def _kernel_gradient(old: Node, x: Node, w: Node) -> Node | None:
    """The gradient of a kernel: where it has few channels, from padded images and in parts."""
    if suits_gradient(old):
        return None  # images are read as they lie
    padded = _of_padded_images(old, x, w)
    if old.attrs["feature_groups"] > 1 or old.attrs["batch_groups"] > 1:
        return padded
    turned = turned_around(old, x, w)
    if turned is not None:
        found = _kernel_gradient(turned, *turned.args)
        return turned_back(turned if found is None else found)
    if not _has_thin_rows(old):
        return padded
    return in_parts(old.prim(x, w, **old.attrs) if padded is None else padded)


def _of_padded_images(old: Node, x: Node, w: Node) -> Node | None:
    """The gradient of a kernel from the padded images that the convolution itself has read."""
    padding = old.attrs["padding"]
    swapped = (1, 0, *range(2, x.ndim))
    images = x.args[0] if x.value is None and x.prim is permute and x.attrs["axes"] == swapped else None
    if images is None and _has_thin_rows(old):
        images = permute(x, axes=swapped)
    if images is None or (images.shape[0] >= FEW and not _has_thin_rows(old)):  # type: ignore[operator]
        return None
    if not _widens(padding) or any(d > 1 for d in old.attrs["input_dilation"]):
        return None
    padded = permute(identity(_pad_images(images, padding)), axes=swapped)
    return old.prim(padded, w, **{**old.attrs, "padding": ((0, 0),) * len(padding)})


def _widens(padding: Sequence[tuple[int, int]]) -> bool:
    return any(any(p) for p in padding) and all(p >= 0 for ps in padding for p in ps)


def _pad_images(x: Node, widths: Sequence[tuple[int, int]]) -> Node:
    low, high = ((0, 0, *[p[k] for p in widths]) for k in (0, 1))
    return pad(x, constant(0.0, x.dtype), low=low, high=high, interior=(0,) * x.ndim)


def assign_layouts(
    graph: Graph, stored: set[Node], anchor: dict[Node, Node], hosted: set[Node]
) -> dict[Node, Order]:
    """The order of the axes of every intermediate value that is not stored in the order of its shape.

    Those that are seen from outside or by the host (`hosted`) keep their order.
    """
    inputs = set(graph.inputs)
    outside = {*inputs, *graph.outputs, *hosted}
    layouts: dict[Node, Order] = {}
    for node in graph.nodes:
        if node.value is None and node.prim.name == "conv":
            for operand, order in _operand_orders(node):
                if operand not in stored or operand in outside:
                    continue
                if operand.prim is identity:
                    layouts[operand] = tuple(range(operand.ndim)) if _in_planes(operand, inputs) else order
                elif is_depthwise(node) and operand.value is None and order == channels_last(node.ndim):
                    layouts[operand] = order
    for node in graph.nodes:
        if node not in stored or node in outside or node.value is not None or type(node.sig.out) is tuple:
            continue
        if node.ndim <= 2 or node in layouts:
            continue
        if node in anchor and _has_thin_rows(gradient_in_parts(anchor[node])):
            layouts[node] = kernel_order(node.ndim)
        else:
            order = _image_order(node, stored, anchor, layouts)
            if order is not None and order != tuple(range(node.ndim)):
                layouts[node] = order
    return layouts


def _in_planes(copy: Node, inputs: set[Node]) -> bool:
    """Whether a copy is one of few channels of an input between zeros."""
    x = inside_of(copy)
    return x is not None and x in inputs and x.shape[1] <= _PLANES  # type: ignore[operator]


def _operand_orders(conv: Node) -> list[tuple[Node, Order]]:
    """The copies that a convolution reads, and the order of their axes in memory."""
    rank = conv.ndim
    images, kernel = conv.args
    if conv.dtype is int32:  # cast from small integers, which are read as words of neighbouring channels
        orders = (channels_last(rank), kernel_order(rank))
        return [(a.args[0], order) for a, order in zip(conv.args, orders, strict=True) if a.prim is cast]
    if images.prim is permute and is_kernel_gradient(conv):
        images = images.args[0]
    copies = [(images, channels_last(rank)), (kernel, weight_order(rank))]
    if is_kernel_gradient(conv):
        while kernel.value is None and kernel.prim in (reshape, permute):
            kernel = kernel.args[0]
        copies[1] = (kernel, channels_last(kernel.ndim))
    elif kernel.prim is reshape:
        copies[1] = (kernel.args[0], panel_order(rank + 1))
    return copies


def _image_order(
    node: Node, stored: set[Node], anchor: dict[Node, Node], layouts: dict[Node, Order]
) -> Order | None:
    """The order of the axes of a value that comes out of a convolution, or is computed from one of its rank that does:
    that of the image, whichever of its axes these are by now."""
    if node in anchor and anchor[node].prim.name in ("conv", "wide_conv"):
        return channels_last(node.ndim)
    for source, axes in _sources(node, stored):
        order = layouts.get(source, tuple(range(source.ndim)))
        # An image on its way to another size stays as it is, channels-last, say, by the user's own hand.
        if source.ndim == node.ndim and (order == channels_last(node.ndim) or node.prim is resample):
            return tuple([axes.index(a) for a in order])
    return None


def _sources(root: Node, stored: set[Node]) -> list[tuple[Node, Order]]:
    """The stored nodes that `root` is computed from, and which of their axes, if they have as many, its own are."""
    found: list[tuple[Node, Order]] = []
    seen: set[Node] = set()
    stack = [(root, tuple(range(root.ndim)))]
    while stack:
        node, axes = stack.pop()
        if node.prim is permute and node.ndim == root.ndim:
            axes = tuple([node.attrs["axes"][a] for a in axes])
        for arg in node.args:
            if arg in seen or arg.value is not None:
                continue
            seen.add(arg)
            (found if arg in stored else stack).append((arg, axes))
    return found
