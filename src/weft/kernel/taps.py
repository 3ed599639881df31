"""The greatest of windows that overlap, tap by tap: elementwise operations, which go where those go."""

from __future__ import annotations

import itertools
import math

from ..ir.graph import Graph, users_of
from ..ir.node import Node
from ..ops.elementwise import maximum, minimum
from ..ops.movement import identity, pad, slice_
from ..passes.rewrite import rewrite
from .pooling import windows_reduced

#: Elements of a window, at most, for which each gets an expression of its own.
_FEW_TAPS = 9


def spread_windows(graph: Graph) -> Graph:
    """`graph` with every maximum or minimum over small windows that overlap as one of slices, in the windows' order.

    Windows that lie apart stay: they may be pooled by the kernel of a convolution. So do those that something else goes
    over, too, such as the gradient: rows of them are gone through together.
    """
    users = users_of(graph)

    def goes_on(node: Node) -> bool:
        """Whether all that becomes of a node is a copy of it with a border: the kernel of that copy computes it."""
        after = users.get(node, [])
        while len(after) == 1 and after[0].prim is pad and node not in outputs:
            node, after = after[0], users.get(after[0], [])
        return len(after) == 1 and after[0].prim is identity and node.prim is pad and node not in outputs

    outputs = set(graph.outputs)

    def spread(old: Node, args: tuple[Node, ...]) -> Node | None:
        if old.prim.name not in ("max", "min") or old.dtype.kind != "f":
            return None
        found = windows_reduced(old)
        if found is None or len(users[found]) > 1 or len(users[old.args[0]]) > 1:
            return None
        kernel, stride, dilation = (found.attrs[k] for k in ("kernel", "stride", "dilation"))
        overlap = any(s < (k - 1) * d + 1 for k, s, d in zip(kernel, stride, dilation, strict=True))
        if not overlap or not 1 < math.prod(kernel) <= _FEW_TAPS or not old.size:
            return None
        (x,) = (args[0] if args[0].prim is found.prim else args[0].args[0]).args
        lead = x.ndim - len(kernel)
        counts = old.shape[lead:]
        total: Node | None = None
        for tap in itertools.product(*[range(k) for k in kernel]):
            first = [t * d for t, d in zip(tap, dilation, strict=True)]
            last = [a + (n - 1) * s + 1 for a, n, s in zip(first, counts, stride, strict=True)]  # type: ignore[operator]
            part = slice_(
                x, start=(*[0] * lead, *first), limit=(*x.shape[:lead], *last), stride=(*[1] * lead, *stride)
            )
            total = part if total is None else (maximum if old.prim.name == "max" else minimum)(total, part)
        assert total is not None
        return (
            total if goes_on(old) or old in outputs else identity(total)
        )  # once, whoever reads it how often

    return rewrite(graph, spread, ("max", "min"))
