"""Layers with the batch normalisation that follows them folded into their weights, for evaluation."""

from __future__ import annotations

import copy
from typing import Any

from ...arrays.elementwise import sqrt
from ...arrays.grad import no_grad
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError
from ..conv import _Conv
from ..conv_transpose import _ConvTranspose
from ..linear import Linear
from ..parameter import Parameter
from ..statistics import _BatchNorm


def _folded(
    weight: Tensor,
    bias: Tensor | None,
    mean: Tensor,
    var: Tensor,
    eps: float,
    scale: Any,
    shift: Any,
    axis: int,
) -> tuple[Parameter, Parameter]:
    """(x w + b - mean) s + shift = x (w s) + ((b - mean) s + shift), with s = scale / sqrt(var + eps)."""
    with no_grad():
        s = 1 / sqrt(var + eps)
        s = s if scale is None else s * scale
        moved = -mean * s if bias is None else (bias - mean) * s
        moved = moved if shift is None else moved + shift
        laid = [1] * weight.ndim
        laid[axis] = -1
        fused = (weight * s.reshape(tuple(laid))).astype(weight.dtype)
        return Parameter(fused, weight.requires_grad), Parameter(moved.astype(weight.dtype))


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a convolution that does what one followed by a batch normalisation does in evaluation.

        w' = w s,  b' = (b - mean) s + shift        s = scale / sqrt(var + eps) of each output channel

    Args:
        conv_w, conv_b: weight and bias (or None) of the convolution.
        bn_rm, bn_rv, bn_eps, bn_w, bn_b: mean, var, eps, scale and shift (None for 1 and 0).
        transpose: whether the convolution is a transposed one.

    Shapes: those of the convolution; all of the batch normalisation's (out).
    """
    return _folded(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 1 if transpose else 0)


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a linear layer that does what one followed by a batch normalisation does in evaluation.

        w' = w s,  b' = (b - mean) s + shift        s = scale / sqrt(var + eps) of each feature

    Args:
        linear_w, linear_b: weight and bias (or None) of the linear layer.
        bn_rm, bn_rv, bn_eps, bn_w, bn_b: mean, var, eps, scale and shift (None for 1 and 0).

    Shapes: linear_w (out, in), all others (out).
    """
    return _folded(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def _fused(layer: Any, bn: Any, transpose: bool) -> Any:
    if not isinstance(bn, _BatchNorm) or bn.running_mean is None or bn.running_var is None:
        raise ArgumentError("only a BatchNorm layer with running statistics can be folded into another layer")
    if layer.training or bn.training:
        raise ArgumentError("layers are folded together for evaluation: call eval() on both first")
    out = copy.deepcopy(layer)
    fused = fuse_conv_bn_weights(
        layer.weight, layer.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    for name, value in zip(("weight", "bias"), fused, strict=True):
        out.register_parameter(name, value)
    return out


def fuse_conv_bn_eval(conv: _Conv, bn: _BatchNorm, transpose: bool = False) -> Any:
    """A convolution that does what `conv` followed by `bn` does in evaluation, with one pass over the data fewer.

    `transpose` says that it is a transposed one, as its class does. See `fuse_conv_bn_weights`.

    >>> conv, bn = nn.Conv2d(3, 8, 3).eval(), nn.BatchNorm2d(8).eval()
    >>> x = weft.ones((1, 3, 5, 5))
    >>> bool(weft.max(abs(nn.utils.fuse_conv_bn_eval(conv, bn)(x) - bn(conv(x)))) < 1e-5)
    True
    """
    if not isinstance(conv, _Conv):
        raise ArgumentError(f"fuse_conv_bn_eval takes a convolution, got {type(conv).__name__}")
    if isinstance(conv, _ConvTranspose) and conv.groups != 1:
        raise ArgumentError("transposed convolutions in groups cannot be folded with a batch normalisation")
    return _fused(conv, bn, transpose or isinstance(conv, _ConvTranspose))


def fuse_linear_bn_eval(linear: Linear, bn: _BatchNorm) -> Any:
    """A linear layer that does what `linear` followed by `bn` does in evaluation: see `fuse_linear_bn_weights`.

    Raises: ArgumentError unless both are in evaluation and `bn` has running statistics.
    """
    if not isinstance(linear, Linear):
        raise ArgumentError(f"fuse_linear_bn_eval takes a linear layer, got {type(linear).__name__}")
    return _fused(linear, bn, False)
