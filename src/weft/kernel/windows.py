"""Windows that are added up where they overlap."""

from __future__ import annotations

import itertools
import math

from ..ir.node import Node
from .anchors import Common, accumulate, anchor, in_order
from .index import as_index, quotient, remainder
from .loops import Apply, Expr, Kernel, Reduction, Stage, Store
from .lower import inside, variables, zero
from .shapes import shape_of

#: Taps of a window, at most, for which each gets an expression of its own.
_FEW_TAPS = 16


@anchor("windows_add")
def _windows_add(c: Common) -> Kernel:
    """Each element of the result adds up the windows that cover it, tap by tap."""
    assert c.anchor is not None
    x = c.anchor.args[0]
    size, stride, dilation = (c.anchor.attrs[k] for k in ("size", "stride", "dilation"))
    if _goes_by_steps(c.anchor):
        return _by_steps(c)
    rank = len(size)
    lead = x.ndim - 2 * rank
    outer, at = c.loops()
    kernel = shape_of(x)[lead + rank :]
    dense = all(d == 1 for d in dilation)
    # Without dilation the taps of the windows that cover an element are `stride` apart.
    counts = [-(-k // s) for k, s in zip(kernel, stride, strict=True)] if dense else kernel
    turns = variables(tuple(counts), "k")
    conditions, windows, taps = [], [], []
    for d in range(rank):
        place, turn = at[lead + d], as_index(turns[d])
        tap = remainder(place, stride[d]) + turn * stride[d] if dense else turn
        from_ = place - tap * dilation[d]
        conditions.append((from_, 0, (shape_of(x)[lead + d] - 1) * stride[d] + 1))
        if dense:
            conditions.append((tap, 0, kernel[d]))
        elif stride[d] > 1:
            conditions.append((remainder(from_, stride[d]), 0, 1))
        windows.append(quotient(place, stride[d]) - turn if dense else quotient(from_, stride[d]))
        taps.append(tap)
    indices = (*at[:lead], *windows, *taps)
    value = inside(conditions, lambda: c.lowering.value(x, indices), zero(x.dtype))
    return c.kernel(outer, accumulate(c, turns, Reduction("sum", value, x.dtype), at), True)


def _goes_by_steps(node: Node) -> bool:
    """Whether the results are made in groups, one for each place within a step of the windows."""
    size, stride, dilation = (node.attrs[k] for k in ("size", "stride", "dilation"))
    kernel = shape_of(node.args[0])[-len(size) :]
    plain = all(d == 1 for d in dilation) and all(n % s == 0 for n, s in zip(size, stride, strict=True))
    return plain and max(stride) > 1 and math.prod(kernel) <= _FEW_TAPS


def _by_steps(c: Common) -> Kernel:
    """Results that lie at the same place within a step are sums of the same taps of neighbouring windows."""
    assert c.anchor is not None
    x = c.anchor.args[0]
    stride = c.anchor.attrs["stride"]
    rank = len(stride)
    lead = x.ndim - 2 * rank
    counts, kernel = shape_of(x)[lead : lead + rank], shape_of(x)[lead + rank :]
    shape = (*c.shape[:lead], *[n // s for n, s in zip(c.shape[lead:], stride, strict=True)])
    outer, steps = in_order(shape, c.order, "i")
    along = c.order[-1] - lead  # vectors run along this axis
    stages: dict[tuple[int, ...], list[Store]] = {}
    for places in itertools.product(*[range(s) for s in stride]):
        value: Expr = zero(x.dtype)
        turns = [range(-(-(k - r) // s)) for k, r, s in zip(kernel, places, stride, strict=True)]
        for turn in itertools.product(*turns):
            windows = [i - t for i, t in zip(steps[lead:], turn, strict=True)]
            taps = [as_index(r + t * s) for r, t, s in zip(places, turn, stride, strict=True)]
            conditions = [(w, 0, n) for w, n in zip(windows, counts, strict=True)]
            at = (*steps[:lead], *windows, *taps)
            part = inside(conditions, lambda at=at: c.lowering.value(x, at), zero(x.dtype))
            value = Apply("add", (value, part), x.dtype)
        at = (*steps[:lead], *[i * s + r for i, r, s in zip(steps[lead:], places, stride, strict=True)])
        c.lowering.give(c.anchor, at, value)
        store = c.store(at, c.lowering.value(c.inner, at))
        stages.setdefault(places[:along] + places[along + 1 :] if along >= 0 else places, []).append(store)
    return c.kernel(outer, tuple([Stage((), stores=tuple(s)) for s in stages.values()]), True)
