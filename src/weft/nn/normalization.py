"""Normalisation layers without running statistics."""

from __future__ import annotations

from typing import Any

from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError
from ..ir.shape import check_shape
from . import functional as F
from . import init
from .factory import empty, positive_int
from .module import Module
from .parameter import Parameter


def reset_affine(weight: Parameter | None, bias: Parameter | None) -> None:
    """Weight 1, bias 0."""
    if weight is not None:
        init.ones_(weight)
    if bias is not None:
        init.zeros_(bias)


class LayerNorm(Module):
    """Each sample's trailing axes to mean 0 and variance 1, then scaled and shifted.

        y = (x - mean) / sqrt(var + eps) * weight + bias        mean and (biased) var over the trailing axes

    Args:
        normalized_shape: the shape of the trailing axes that are normalised together, or the last axis' size.
        eps: added to the variance.
        elementwise_affine: whether weight and bias are there.
        bias: whether there is a bias beside the weight.

    Shapes: (..., *normalized_shape), kept; weight (normalized_shape) starts as 1, bias (normalized_shape) as 0.

    Raises: ArgumentError without an axis to normalise; ShapeError when called, for another trailing shape.

    Reference: J. L. Ba, J. R. Kiros, G. Hinton, "Layer Normalization", 2016, https://arxiv.org/abs/1607.06450
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = check_shape(normalized_shape)
        if not self.normalized_shape:
            raise ArgumentError("LayerNorm needs at least one axis to normalise")
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        shape: Any = self.normalized_shape
        self.register_parameter(
            "weight", Parameter(empty(shape, dtype, device)) if elementwise_affine else None
        )
        self.register_parameter(
            "bias", Parameter(empty(shape, dtype, device)) if elementwise_affine and bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        reset_affine(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Each sample's trailing axes divided by their root mean square, then scaled.

        y = x / sqrt(mean(x**2) + eps) * weight

    Args:
        normalized_shape: the shape of the trailing axes that are normalised together, or the last axis' size.
        eps: None: the spacing of numbers at 1 in the input's dtype.
        elementwise_affine: whether the weight is there.

    Shapes: (..., *normalized_shape), kept; weight (normalized_shape) starts as 1.

    Reference: B. Zhang, R. Sennrich, "Root Mean Square Layer Normalization", 2019, https://arxiv.org/abs/1910.07467
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = check_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        shape: Any = self.normalized_shape
        self.register_parameter(
            "weight", Parameter(empty(shape, dtype, device)) if elementwise_affine else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1."""
        reset_affine(self.weight, None)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Each of `num_groups` groups of channels of each sample to mean 0 and variance 1, then scaled and shifted.

        y = (x - mean) / sqrt(var + eps) * weight + bias        mean and (biased) var over a group's channels and places

    Args:
        num_groups: how many runs of channels; 1 normalises all together, C each alone.
        num_channels: C, a multiple of it.
        eps: added to the variance.
        affine: whether weight and bias are there.
        bias: whether there is a bias beside the weight.

    Shapes: (N, C, ...), kept; weight (C) starts as 1, bias (C) as 0.

    Reference: Y. Wu, K. He, "Group Normalization", 2018, https://arxiv.org/abs/1803.08494
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_groups = positive_int("GroupNorm", "num_groups", num_groups)
        self.num_channels = positive_int("GroupNorm", "num_channels", num_channels)
        if num_channels % num_groups:
            raise ArgumentError(f"GroupNorm: {num_channels} channels do not divide into {num_groups} groups")
        self.eps = eps
        self.affine = affine
        self.register_parameter(
            "weight", Parameter(empty((num_channels,), dtype, device)) if affine else None
        )
        self.register_parameter(
            "bias", Parameter(empty((num_channels,), dtype, device)) if affine and bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        reset_affine(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """Each element divided by a power of the mean square of the channels around it.

        y = x / (k + alpha * s)**beta        s: the mean of x**2 over `size` channels around each one, zeros outside

    Shapes: (N, C, ...), kept.

    Reference: A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet Classification with Deep Convolutional Neural
    Networks", 2012.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = positive_int(type(self).__name__, "size", size)
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
