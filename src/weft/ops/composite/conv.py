"""Convolution with bias, and its transpose."""

from __future__ import annotations

from ...base.errors import ShapeError
from ...ir.node import Node
from ...ir.shape import divide, show_shape
from ..conv import conv as correlate
from ..movement import flip, permute, reshape
from .common import alike, along, floating
from .define import composite

_NAMES = {1: "length", 2: "height, width", 3: "depth, height, width"}


def _check_rank(name: str, x: Node, weight: Node) -> None:
    rank = weight.ndim - 2
    if x.ndim != weight.ndim:
        hint = ""
        if x.ndim == weight.ndim - 1:
            hint = "; add the missing axis with x[None] (a batch of one) or x[:, None] (one channel)"
        raise ShapeError(
            f"{name} takes an input (batch, channels, {_NAMES.get(rank, 'spatial')}), got shape "
            f"{show_shape(x.shape)}{hint}"
        )


def _shifted(out: Node, bias: Node | None) -> Node:
    if bias is None:
        return out
    if bias.shape != out.shape[1:2]:
        raise ShapeError(
            f"the bias needs one entry for each of the {out.shape[1]} channels, got {show_shape(bias.shape)}"
        )
    return out + along(bias, out, 1)


@composite
def convolution(x, weight, bias, *, stride, padding, dilation, groups):
    """Cross-correlation of x (N, C, *spatial) with weight (O, C / groups, *kernel), plus bias (O).

    `padding` is one pair (low, high) of numbers of zeros for each spatial axis. Integers wrap around: those of 8 and 16
    bits are summed as int32 if they are cast to it.
    """
    name = f"conv{weight.ndim - 2}d"
    integers = [v is None or v.dtype.kind in "iu" for v in (x, weight, bias)]
    (alike if all(integers) else floating)(name, input=x, weight=weight, bias=bias)
    _check_rank(name, x, weight)
    if divide(x.shape[1], groups) != weight.shape[1]:
        hint = ""
        if x.shape[-1] == weight.shape[1] * groups:
            hint = "; the channels come second, not last: x.permute(0, 3, 1, 2)" if x.ndim == 4 else ""
        raise ShapeError(
            f"{name}: the weight of shape {show_shape(weight.shape)} takes {weight.shape[1] * groups} input channels, "
            f"but the input of shape {show_shape(x.shape)} has {x.shape[1]}{hint}"
        )
    out = correlate(
        x,
        weight,
        stride=stride,
        padding=padding,
        input_dilation=(1,) * len(stride),
        kernel_dilation=dilation,
        feature_groups=groups,
        batch_groups=1,
    )
    return _shifted(out, bias)


@composite
def convolution_transpose(x, weight, bias, *, stride, padding, output_padding, dilation, groups):
    """The transpose of `convolution` as a map of x (N, C, *spatial), for weight (C, O / groups, *kernel).

    The result has (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1 positions.
    """
    rank = weight.ndim - 2
    name = f"conv_transpose{rank}d"
    floating(name, input=x, weight=weight, bias=bias)
    _check_rank(name, x, weight)
    if x.shape[1] != weight.shape[0] or divide(x.shape[1], groups) is None:
        raise ShapeError(
            f"{name}: the weight of shape {show_shape(weight.shape)} takes {weight.shape[0]} input channels in "
            f"{groups} groups, but the input of shape {show_shape(x.shape)} has {x.shape[1]}"
        )
    kernel = weight.shape[2:]
    # (C, O / g, k) -> (g, C / g, O / g, k) -> (g, O / g, C / g, k) -> (O, C / g, k), turned around
    each, outs = weight.shape[0] // groups, weight.shape[1]
    w = reshape(weight, shape=(groups, each, outs, *kernel))
    w = permute(w, axes=(0, 2, 1, *range(3, 3 + rank)))
    w = flip(reshape(w, shape=(groups * outs, each, *kernel)), axes=tuple(range(2, 2 + rank)))
    pads = []
    for k, p, extra, d in zip(kernel, padding, output_padding, dilation, strict=True):
        reach = d * (k - 1) - p
        pads.append((reach, reach + extra))
    out = correlate(
        x,
        w,
        stride=(1,) * rank,
        padding=tuple(pads),
        input_dilation=stride,
        kernel_dilation=dilation,
        feature_groups=groups,
        batch_groups=1,
    )
    return _shifted(out, bias)
