"""Normalisation on tensors."""

from __future__ import annotations

from typing import Any

from ...arrays.cell import own_node
from ...arrays.dispatch import apply
from ...arrays.elementwise import maximum
from ...arrays.linalg import vector_norm
from ...arrays.remembered import remembered
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError
from ...ir.shape import check_shape, normalize_axis
from ...ops.composite import normalization as c
from ..factory import positive_int
from .operands import checked


@remembered
def layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Each trailing block of shape `normalized_shape` to mean 0 and variance 1, then scaled and shifted.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    Shapes: (..., *normalized_shape), kept; weight and bias (normalized_shape). Raises: ShapeError where they do not
    fit. As a layer: `nn.LayerNorm`.
    """
    return apply(
        c.layer_norm, checked("layer_norm", input), weight, bias, eps, shape=check_shape(normalized_shape)
    )


@remembered
def rms_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(mean(x**2) + eps) * weight over each trailing block. eps defaults to the spacing of numbers at 1.

    Shapes: (..., *normalized_shape), kept; weight (normalized_shape). Raises: ShapeError where they do not fit. As a
    layer: `nn.RMSNorm`.
    """
    input = checked("rms_norm", input)
    if eps is None:
        eps = {"float64": 2.0**-52, "bfloat16": 2.0**-7, "float16": 2.0**-10}.get(input.dtype.name, 2.0**-23)
    return apply(c.rms_norm, input, weight, eps, shape=check_shape(normalized_shape))


@remembered
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Each of `num_groups` groups of channels of each sample to mean 0 and variance 1, then scaled and shifted.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    Shapes: (N, C, ...), kept; weight and bias (C). Raises: ShapeError where the channels do not divide. As a layer:
    `nn.GroupNorm`.
    """
    groups = positive_int("group_norm", "num_groups", num_groups)
    return apply(c.group_norm, checked("group_norm", input), weight, bias, eps, groups=groups)


@remembered
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel: in training over this batch, moving the running statistics; else with those.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    In training `running_mean` and `running_var` are rebound to (1 - momentum) * old + momentum * batch, with the
    unbiased variance of the batch.

    Shapes: (N, C, ...), kept; all others (C). Raises: ArgumentError without running statistics outside training. As a
    layer: `nn.BatchNorm2d`.
    """
    input = checked("batch_norm", input)
    if not training:
        if running_mean is None or running_var is None:
            raise ArgumentError("batch_norm without training needs running_mean and running_var")
        return apply(c.batch_norm, input, weight, bias, running_mean, running_var, eps)
    y, mean, var = apply(c.batch_norm_train, input, weight, bias, running_mean, running_var, momentum, eps)
    if running_mean is not None and running_var is not None:
        running_mean._cell.rebind(own_node(mean._node))
        running_var._cell.rebind(own_node(var._node))
    return y


@remembered
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of each sample to mean 0 and variance 1, then scaled and shifted.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    Running statistics (running_mean, running_var), where given, are rebound to (1 - momentum) * old + momentum * batch,
    or, with `use_input_stats=False`, used instead of the input's own.

    Shapes: (N, C, ...), kept; all others (C). As a layer: `nn.InstanceNorm2d`.
    """
    input = checked("instance_norm", input)
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if running_mean is None or running_var is None:
        return apply(c.instance_norm, input, weight, bias, eps)
    y, mean, var = apply(c.instance_norm_train, input, weight, bias, running_mean, running_var, momentum, eps)
    running_mean._cell.rebind(own_node(mean._node))
    running_var._cell.rebind(own_node(var._node))
    return y


@remembered
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + alpha * s)**beta, s the mean square of the `size` channels around each one (zeros outside).

    Shapes: (N, C, ...), kept. As a layer: `nn.LocalResponseNorm`.
    """
    size = positive_int("local_response_norm", "size", size)
    return apply(c.local_response_norm, checked("local_response_norm", input), alpha, beta, k, size=size)


@remembered
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(norm(x), eps), with the p-norm along `dim`: vectors of length 1. What is shorter than eps stays short.

    Shapes: any with the axis `dim`, kept.
    """
    input = checked("normalize", input)
    axis = normalize_axis(dim, input.ndim, "dim")
    if p == 2:
        return apply(c.l2_normalize, input, eps, axis=axis)
    return input / maximum(vector_norm(input, axis=axis, keepdims=True, ord=p), eps)
