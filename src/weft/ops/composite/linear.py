"""Affine maps."""

from __future__ import annotations

from ...base.errors import ShapeError
from ...ir.node import Node
from ...ir.shape import show_shape
from ..contraction import dot_general
from .common import floating
from .define import composite


def check_features(name: str, x: Node, weight: Node, bias: Node | None) -> None:
    """Raise unless x (..., in), weight (out, in) and bias (out) fit together."""
    if weight.ndim != 2:
        raise ShapeError(f"{name} takes a weight of shape (out, in), got {show_shape(weight.shape)}")
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        got = "is a single number" if x.ndim == 0 else f"has {x.shape[-1]} features in its last axis"
        hint = ""
        if x.ndim > 2 and _product(x.shape[1:]) == weight.shape[1]:
            hint = "; nn.Flatten() before it would make them fit"
        raise ShapeError(
            f"{name}: the input of shape {show_shape(x.shape)} {got}, but the weight of shape "
            f"{show_shape(weight.shape)} takes {weight.shape[1]}{hint}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(
            f"{name}: the weight of shape {show_shape(weight.shape)} wants a bias of shape "
            f"({weight.shape[0]},), got {show_shape(bias.shape)}"
        )


def _product(sizes):
    out = 1
    for s in sizes:
        out = out * s
    return out


@composite
def linear(x, weight, bias):
    """x @ weight.T + bias for x (..., in), weight (out, in) and, unless None, bias (out)."""
    floating("linear", input=x, weight=weight, bias=bias)
    check_features("linear", x, weight, bias)
    out = dot_general(x, weight, contract=((x.ndim - 1,), (1,)), batch=((), ()))
    return out if bias is None else out + bias


@composite
def bilinear(x, y, weight, bias):
    """out[..., o] = sum over i, j of x[..., i] * weight[o, i, j] * y[..., j], plus bias."""
    floating("bilinear", input1=x, input2=y, weight=weight, bias=bias)
    if weight.ndim != 3 or x.shape[:-1] != y.shape[:-1] or x.shape[-1:] + y.shape[-1:] != weight.shape[1:]:
        raise ShapeError(
            f"bilinear takes inputs (..., i) and (..., j) and a weight (out, i, j), got {show_shape(x.shape)}, "
            f"{show_shape(y.shape)} and {show_shape(weight.shape)}"
        )
    left = dot_general(x, weight, contract=((x.ndim - 1,), (1,)), batch=((), ()))  # (..., out, j)
    lead = tuple(range(y.ndim - 1))
    out = dot_general(left, y, contract=((left.ndim - 1,), (y.ndim - 1,)), batch=(lead, lead))
    return out if bias is None else out + bias
