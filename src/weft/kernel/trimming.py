"""Convolutions without the taps that never meet their image, and without the results that no tap makes.

Of a window of 3 x 3 over an image of one pixel, with zeros around, only the tap in the middle meets that pixel; and so
do windows that are dilated by more than the image is long. The gradient of such a kernel is zero but there.
"""

from __future__ import annotations

from ..ir.graph import Graph
from ..ir.node import Node
from ..ops.conv import dilated
from ..ops.define import constant
from ..ops.movement import pad, slice_
from ..passes.rewrite import rewrite
from .shapes import shape_of


def trim_convolutions(graph: Graph) -> Graph:
    """`graph` with every convolution of floats as one of the taps and results that meet its image, if not all do."""
    return rewrite(
        graph, lambda old, args: _trimmed(old, *args) if old.prim.name == "conv" else None, ("conv",)
    )


def _trimmed(old: Node, x: Node, w: Node) -> Node | None:
    """The convolution that is left; None where all of it is, or nothing."""
    taps, results, a = shape_of(w)[2:], shape_of(old)[2:], old.attrs
    if old.dtype.kind != "f" or 0 in (*old.shape, *x.shape, *w.shape):
        return None
    kept = [_meeting(old, d) for d in range(len(taps))]
    left = [n for pair in kept for n in map(len, pair)]
    if 0 in left or left == [n for pair in zip(taps, results, strict=True) for n in pair]:
        return None
    padding = []
    for d, (t, r) in enumerate(kept):
        (low, high), stride, step = a["padding"][d], a["stride"][d], a["kernel_dilation"][d]
        low -= t.start * step + r.start * stride
        padding.append((low, high - (taps[d] - t.stop) * step - (results[d] - r.stop) * stride))
    start, limit = (0, 0, *[t.start for t, _ in kept]), (*w.shape[:2], *[t.stop for t, _ in kept])
    part = slice_(w, start=start, limit=limit, stride=(1,) * w.ndim)
    found = old.prim(x, part, **{**a, "padding": tuple(padding)})
    before = (0, 0, *[r.start for _, r in kept])
    behind = (0, 0, *[n - r.stop for n, (_, r) in zip(results, kept, strict=True)])
    return pad(found, constant(0.0, old.dtype), low=before, high=behind, interior=(0,) * old.ndim)


def _meeting(conv: Node, d: int) -> tuple[range, range]:
    """The taps along an axis that meet the image in some result, and the results in which some tap does."""
    x, w = conv.args
    a, low = conv.attrs, conv.attrs["padding"][d][0]
    end = low + dilated(shape_of(x)[2 + d], a["input_dilation"][d])
    step, stride = a["kernel_dilation"][d], a["stride"][d]
    taps, results = range(shape_of(w)[2 + d]), range(shape_of(conv)[2 + d])
    seen = None
    while taps and results and seen != (taps, results):
        # Tap t of result r meets element t * step + r * stride of the padded image, which has the image in [low, end).
        seen = taps, results
        taps = _between(taps, step, low - results[-1] * stride, end - results[0] * stride)
        if taps:
            results = _between(results, stride, low - taps[-1] * step, end - taps[0] * step)
    return taps, results


def _between(numbers: range, step: int, low: int, end: int) -> range:
    """Those of some numbers whose multiples are in [low, end)."""
    return range(max(numbers.start, -(-low // step)), min(numbers.stop, -(-end // step)))
