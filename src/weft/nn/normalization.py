"""Normalisation layers."""

from __future__ import annotations

from typing import Any

from ..arrays.creation import tensor
from ..arrays.grad import no_grad
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, ShapeError
from ..ir.dtype import DEFAULT_FLOAT, int64
from ..ir.shape import check_shape, show_shape
from ..ops.elementwise import cast
from . import functional as F
from . import init
from .factory import empty, positive_int
from .functional.operands import checked
from .module import Module
from .parameter import Parameter


def _reset(weight: Parameter | None, bias: Parameter | None) -> None:
    if weight is not None:
        init.ones_(weight)
    if bias is not None:
        init.zeros_(bias)


class _BatchNorm(Module):
    """Normalisation of each channel over batch and space.

    In training the statistics are those of the batch, and `running_mean` and `running_var` move towards them:
    running = (1 - momentum) * running + momentum * batch (with momentum None: the plain average of all batches). In
    evaluation, or wherever there are running statistics and `training` is False, those are used.
    """

    _ranks: tuple[int, ...] = ()
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_features = positive_int(type(self).__name__, "num_features", num_features)
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        one = (self.num_features,)
        self.register_parameter("weight", Parameter(empty(one, dtype)) if affine else None)
        self.register_parameter("bias", Parameter(empty(one, dtype)) if affine and bias else None)
        tracked = track_running_stats
        self.register_buffer("running_mean", empty(one, dtype) if tracked else None)
        self.register_buffer("running_var", empty(one, dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", tensor(0, dtype=int64) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Mean 0, variance 1, no batch seen."""
        if (
            self.running_mean is not None
            and self.running_var is not None
            and self.num_batches_tracked is not None
        ):
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, statistics as at the start."""
        self.reset_running_stats()
        _reset(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = checked(type(self).__name__, x)
        if x.ndim not in self._ranks:
            ranks = " or ".join(map(str, self._ranks))
            raise ShapeError(
                f"{type(self).__name__} takes a tensor of {ranks} axes, got shape {show_shape(x.shape)}"
            )
        momentum: float | Tensor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            with no_grad():
                seen = self.num_batches_tracked + 1
                self.num_batches_tracked._cell.rebind(seen._node)
                if self.momentum is None:
                    momentum = 1.0 / Tensor(cast(seen._node, dtype=DEFAULT_FLOAT))
        by_batch = self.training or self.running_mean is None
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, by_batch, momentum, self.eps
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L), channel by channel. See `BatchNorm2d`."""

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images (N, C, H, W): each channel over batch and space.

    y = (x - mean) / sqrt(var + eps) * weight + bias, with the batch's own mean and (biased) variance in training and
    the running ones in evaluation. Training moves the running statistics (the variance is then the unbiased one).

    Args:
        num_features: the number of channels C.
        momentum: how far the running statistics move towards each batch; None averages all batches.
        affine: whether weight and bias are there.
        bias: whether there is a bias beside the weight.
        track_running_stats: False uses the batch's statistics in evaluation too.
    """

    _ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of volumes (N, C, D, H, W). See `BatchNorm2d`."""

    _ranks = (5,)


class LayerNorm(Module):
    """Each sample's trailing axes to mean 0 and variance 1, then times weight, plus bias.

    Args:
        normalized_shape: the shape of the trailing axes that are normalised together, or the last axis' size.
        eps: added to the variance.
        elementwise_affine: whether weight and bias (of the normalised shape) are there.
        bias: whether there is a bias beside the weight.
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
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = check_shape(normalized_shape)
        if not self.normalized_shape:
            raise ArgumentError("LayerNorm needs at least one axis to normalise")
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        shape: Any = self.normalized_shape
        self.register_parameter("weight", Parameter(empty(shape, dtype)) if elementwise_affine else None)
        self.register_parameter(
            "bias", Parameter(empty(shape, dtype)) if elementwise_affine and bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        _reset(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """x / sqrt(mean(x**2) + eps) over the trailing axes, times weight."""

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = check_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        shape: Any = self.normalized_shape
        self.register_parameter("weight", Parameter(empty(shape, dtype)) if elementwise_affine else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1."""
        _reset(self.weight, None)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Each of `num_groups` groups of channels of each sample to mean 0 and variance 1, then scaled and shifted."""

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
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_groups = positive_int("GroupNorm", "num_groups", num_groups)
        self.num_channels = positive_int("GroupNorm", "num_channels", num_channels)
        if num_channels % num_groups:
            raise ArgumentError(f"GroupNorm: {num_channels} channels do not divide into {num_groups} groups")
        self.eps = eps
        self.affine = affine
        self.register_parameter("weight", Parameter(empty((num_channels,), dtype)) if affine else None)
        self.register_parameter("bias", Parameter(empty((num_channels,), dtype)) if affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        _reset(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )
