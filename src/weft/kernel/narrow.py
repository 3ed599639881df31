"""16-bit floats are for storage: operations on them are done in float32, and each rounds its result."""

from __future__ import annotations

from ..ir.dtype import float32, int16
from ..ir.graph import Graph
from ..ir.node import Node
from ..ops.arithmetic import nextafter
from ..ops.bits import bitcast
from ..ops.comparison import equal, isnan, less
from ..ops.define import constant
from ..ops.movement import identity, permute
from ..ops.selection import cast, where
from ..passes.rewrite import rewrite
from .pixels import is_kernel_gradient
from .wide import is_wide, is_wide_conv


def widen_storage(graph: Graph, wide_products: bool = False) -> Graph:
    """`graph` with every operation that computes on bfloat16 or float16 between casts from and to them.

    What merely moves elements is left as it is, and so are `wide_products` where the processor makes them by itself.
    This is what the types mean, so no result changes.
    """

    def widen(old: Node, args: tuple[Node, ...]) -> Node | None:
        prim = old.prim
        if prim is nextafter and old.dtype.storage_only:
            return _neighbour(*args)
        if not prim.computes or prim.higher_order or type(old.sig.out) is tuple:
            return None
        if not any(a.dtype.storage_only for a in old.sig.inputs):
            return None
        if wide_products and (is_wide(old.sig) or is_wide_conv(old.sig)):
            return None
        wide = tuple([cast(a, dtype=float32) if a.dtype.storage_only else a for a in args])
        if prim.name == "conv":  # it reads every element for many taps: widened in memory, once
            wide = _copied_operands(old, args)
        new = prim(*wide, **old.attrs)
        new.site = old.site
        return new if new.dtype is old.dtype else cast(new, dtype=old.dtype)

    return rewrite(graph, widen)


def _copied_operands(conv: Node, operands: tuple[Node, ...]) -> tuple[Node, ...]:
    """The operands of a convolution in float32. Kernels are copied by it anyway.

    Images with batch and channels exchanged, as the gradient of a kernel has them, are copied as images.
    """
    images, kernel = [cast(x, dtype=float32) for x in operands]
    if not is_kernel_gradient(conv):
        return identity(images), kernel
    axes = (1, 0, *range(2, images.ndim))
    return tuple([permute(identity(permute(x, axes=axes)), axes=axes) for x in (images, kernel)])


def _neighbour(x: Node, y: Node) -> Node:
    """The number of a 16-bit type next to x on the way to y: one up or down in the order of the bits."""
    wide_x, wide_y = cast(x, dtype=float32), cast(y, dtype=float32)
    bits = bitcast(x, dtype=int16)
    away = equal(less(wide_x, wide_y), less(0, wide_x))
    moved = where(away, bits + 1, bits - 1)
    least = where(less(0, wide_y), constant(1, int16), constant(-0x7FFF, int16))
    found = bitcast(where(equal(wide_x, 0), least, moved), dtype=x.dtype)
    found = where(equal(wide_x, wide_y), y, found)
    return where(isnan(wide_x), x, where(isnan(wide_y), y, found))
