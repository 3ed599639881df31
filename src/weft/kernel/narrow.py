"""16-bit floats are for storage: operations on them are done in float32, and each rounds its result."""

from __future__ import annotations

from ..ir.dtype import float32
from ..ir.graph import Graph
from ..ir.node import Node
from ..ops.movement import identity
from ..ops.selection import cast
from ..passes.rewrite import rewrite

#: Contractions: their operands are widened in memory, once, and not again for every product.
_CONTRACTIONS = ("dot_general", "conv")


def widen_storage(graph: Graph) -> Graph:
    """`graph` with every operation that computes on bfloat16 or float16 between casts from and to them.

    What merely moves elements is left as it is. This is what the types mean, so no result changes.
    """

    def widen(old: Node, args: tuple[Node, ...]) -> Node | None:
        prim = old.prim
        if not prim.computes or prim.higher_order or type(old.sig.out) is tuple:
            return None
        if not any(a.dtype.storage_only for a in old.sig.inputs):
            return None
        wide = tuple([cast(a, dtype=float32) if a.dtype.storage_only else a for a in args])
        if prim.name in _CONTRACTIONS:
            wide = tuple([identity(w) if w is not a else a for w, a in zip(wide, args, strict=True)])
        new = prim(*wide, **old.attrs)
        new.site = old.site
        return new if new.dtype is old.dtype else cast(new, dtype=old.dtype)

    return rewrite(graph, widen)
