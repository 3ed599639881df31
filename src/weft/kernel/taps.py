"""The greatest of windows that overlap, tap by tap: elementwise operations, which go where those go."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Collection, Mapping, Sequence

from ..ir.dtype import int32
from ..ir.graph import Graph, users_of
from ..ir.node import Node
from ..ops.comparison import equal, isnan, logical_or
from ..ops.define import constant
from ..ops.elementwise import maximum, minimum
from ..ops.movement import broadcast_to, identity, pad, reshape, slice_
from ..ops.reduce import argmax, argmin
from ..ops.selection import cast, where
from ..ops.window import windows_add
from ..passes.rewrite import rewrite
from .pooling import windows_reduced
from .shapes import shape_of

#: Elements of a window, at most, for which each gets an expression of its own.
_FEW_TAPS = 9

#: What goes over windows and is made tap by tap.
_SPREAD = ("max", "min", "argmax", "argmin")


def spread_windows(graph: Graph) -> Graph:
    """`graph` with every maximum or minimum over small windows that overlap as one of slices, in the windows' order.

    So is the place of the first such element, for the gradient. Windows that lie apart stay: they may be pooled by the
    kernel of a convolution. So do those that something else goes over, too: rows of them are gone through together.
    """
    users, outputs = users_of(graph), set(graph.outputs)
    extremes: dict[tuple[Node, bool], Node] = {}  #: of windows, the least ones if so

    def spread(old: Node, args: tuple[Node, ...]) -> Node | None:
        if old.prim is windows_add:
            return _rounded_up(old, args[0])
        found = windows_reduced(old) if old.args[0].dtype.kind == "f" and old.size else None
        if found is None or not _is_spread(found) or not _all_is_spread(found, users, outputs):
            return None
        (x,) = (args[0] if args[0].prim is found.prim else args[0].args[0]).args
        parts = _parts(x, found, shape_of(old)[x.ndim - len(found.attrs["kernel"]) :])
        first, smallest = old.prim in (argmax, argmin), old.prim.name in ("min", "argmin")
        total = extremes.get((found, smallest))
        if total is None:
            total = functools.reduce(minimum if smallest else maximum, parts)
            if first or not (_only_gets_a_border(old, users, outputs) or old in outputs):
                total = extremes[found, smallest] = identity(total)  # once, whoever reads it how often
        return cast(_first(parts, total, old in outputs), dtype=old.dtype) if first else total

    return rewrite(graph, spread, (*_SPREAD, windows_add.name))


def _is_spread(found: Node) -> bool:
    """Whether windows are few elements and overlap."""
    kernel, stride, dilation = (found.attrs[k] for k in ("kernel", "stride", "dilation"))
    overlap = any(s < (k - 1) * d + 1 for k, s, d in zip(kernel, stride, dilation, strict=True))
    return overlap and 1 < math.prod(kernel) <= _FEW_TAPS


def _all_is_spread(found: Node, users: Mapping[Node, Sequence[Node]], outputs: Collection[Node]) -> bool:
    """Whether all that goes over some windows is made tap by tap, too."""
    after = [u for v in users[found] for u in (users.get(v, []) if v.prim is reshape else [v])]
    return found not in outputs and all(u.prim.name in _SPREAD and windows_reduced(u) is found for u in after)


def _only_gets_a_border(node: Node, users: Mapping[Node, Sequence[Node]], outputs: Collection[Node]) -> bool:
    """Whether all that becomes of a node is a copy of it with a border: the kernel of that copy computes it."""
    after = users.get(node, [])
    while len(after) == 1 and after[0].prim is pad and node not in outputs:
        node, after = after[0], users.get(after[0], [])
    return len(after) == 1 and after[0].prim is identity and node.prim is pad and node not in outputs


def _parts(x: Node, windows: Node, counts: tuple[int, ...]) -> list[Node]:
    """The elements that each tap of some windows of x meets."""
    kernel, stride, dilation = (windows.attrs[k] for k in ("kernel", "stride", "dilation"))
    lead = x.ndim - len(kernel)
    parts = []
    for tap in itertools.product(*[range(k) for k in kernel]):
        first = [t * d for t, d in zip(tap, dilation, strict=True)]
        last = [a + (n - 1) * s + 1 for a, n, s in zip(first, counts, stride, strict=True)]
        start, limit = (*[0] * lead, *first), (*x.shape[:lead], *last)
        parts.append(slice_(x, start=start, limit=limit, stride=(*[1] * lead, *stride)))
    return parts


def _first(parts: list[Node], total: Node, seen: bool) -> Node:
    """Which of some numbers is the first that is their extreme, or the first NaN; stored once, unless it is `seen`."""
    place = broadcast_to(constant(len(parts) - 1, int32), total.shape)
    for k, part in reversed(list(enumerate(parts[:-1]))):
        place = where(logical_or(equal(part, total), isnan(part)), constant(k, int32), place)
    return place if seen else identity(place)


def _rounded_up(old: Node, x: Node) -> Node | None:
    """Windows added up to whole steps of theirs, if no more windows would fit in: see `windows`."""
    size, stride, dilation = (old.attrs[k] for k in ("size", "stride", "dilation"))
    kernel = shape_of(x)[-len(size) :]
    wanted = tuple([-(-n // s) * s for n, s in zip(size, stride, strict=True)])
    more = [(m - k) // s > (n - k) // s for m, n, k, s in zip(wanted, size, kernel, stride, strict=True)]
    if wanted == size or any(more) or any(d > 1 for d in dilation) or math.prod(kernel) > _FEW_TAPS:
        return None
    lead = old.ndim - len(size)
    whole = windows_add(x, size=wanted, stride=stride, dilation=dilation)
    return slice_(whole, start=(0,) * old.ndim, limit=(*whole.shape[:lead], *size), stride=(1,) * old.ndim)
