"""Normalisation of channels, with statistics that run along: over the batch, or sample by sample."""

from __future__ import annotations

from typing import Any

from ..arrays.creation import tensor
from ..arrays.grad import no_grad
from ..arrays.tensor import Tensor
from ..base.errors import ShapeError
from ..ir.dtype import DEFAULT_FLOAT, int64
from ..ir.shape import show_shape
from ..ops.elementwise import cast
from ..ops.movement import reshape
from . import functional as F
from . import init
from .factory import check_device, empty, outside_traces, positive_int
from .functional.operands import checked
from .module import Module
from .normalization import reset_affine
from .parameter import Parameter, UninitializedBuffer, UninitializedParameter


class _Norm(Module):
    """Normalisation of each channel with statistics of the batch, or with running ones.

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
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        check_device(device)
        self._options = (dtype, bool(bias), device)
        self._start(num_features)

    def _start(self, num_features: int) -> None:
        self._make(positive_int(type(self).__name__, "num_features", num_features))

    def _make(self, num_features: int) -> None:
        """Make parameters and statistics for so many channels."""
        dtype, bias, device = self._options
        del self._options
        self.num_features = num_features
        one = (num_features,)
        tracked = self.track_running_stats
        for name, wanted in (("weight", self.affine), ("bias", self.affine and bias)):
            self.register_parameter(name, Parameter(empty(one, dtype, device)) if wanted else None)
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, empty(one, dtype, device) if tracked else None)
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
        reset_affine(self.weight, self.bias)

    def _checked(self, x: Tensor) -> Tensor:
        x = checked(type(self).__name__, x)
        if x.ndim not in self._ranks:
            ranks = " or ".join(map(str, self._ranks))
            raise ShapeError(
                f"{type(self).__name__} takes a tensor of {ranks} axes, got shape {show_shape(x.shape)}"
            )
        return x

    def _step(self) -> float | Tensor:
        """How far the running statistics move; in training one more batch is counted."""
        momentum: float | Tensor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            with no_grad():
                seen = self.num_batches_tracked + 1
                self.num_batches_tracked._cell.rebind(seen._node)
                if self.momentum is None:
                    momentum = 1.0 / Tensor(cast(seen._node, dtype=DEFAULT_FLOAT))
        return momentum

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Norm):
    def forward(self, x: Tensor) -> Tensor:
        x, momentum = self._checked(x), self._step()
        by_batch = self.training or self.running_mean is None
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, by_batch, momentum, self.eps
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of vectors or sequences, channel by channel.

        y = (x - mean) / sqrt(var + eps) * weight + bias        mean and var of each channel over batch and length

    Arguments and statistics are those of `BatchNorm2d`.

    Shapes: (N, C) or (N, C, L), kept.
    """

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images: each channel over batch and space.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    In training mean and (biased) variance are the batch's own, and the running ones move towards them:
    running = (1 - momentum) running + momentum batch (the variance is then the unbiased one). In evaluation the running
    ones are used.

    Args:
        num_features: the number of channels C.
        eps: added to the variance.
        momentum: how far the running statistics move towards each batch; None averages all batches.
        affine: whether weight and bias are there.
        bias: whether there is a bias beside the weight.
        track_running_stats: False uses the batch's statistics in evaluation too.

    Shapes: (N, C, H, W), kept; weight (C) starts as 1, bias (C) as 0, running_mean (C) as 0, running_var (C) as 1.

    Raises: ShapeError when called, for other shapes; ArgumentError in training with a single value for each channel.

    Reference: S. Ioffe, C. Szegedy, "Batch Normalization", 2015, https://arxiv.org/abs/1502.03167
    """

    _ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of volumes: each channel over batch and space.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    Arguments and statistics are those of `BatchNorm2d`.

    Shapes: (N, C, D, H, W), kept.
    """

    _ranks = (5,)


class _InstanceNorm(_Norm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, bias=bias, device=device, dtype=dtype
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self._checked(x)
        lone = x.ndim == self._ranks[0]
        channels = x.shape[0 if lone else 1]
        if self.affine and channels != self.num_features:
            raise ShapeError(
                f"{type(self).__name__} of {self.num_features} channels got {channels} of them: {show_shape(x.shape)}"
            )
        if lone:
            x = Tensor(reshape(x._node, shape=(1, *x.shape)))
        by_sample = self.training or self.running_mean is None
        momentum = 0.0 if self.momentum is None else self.momentum
        y = F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, by_sample, momentum, self.eps
        )
        return Tensor(reshape(y._node, shape=y.shape[1:])) if lone else y


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of sequences: each channel of each sample over its length.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    Arguments are those of `InstanceNorm2d`.

    Shapes: (N, C, L) or (C, L), kept.
    """

    _ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of images: each channel of each image to mean 0 and variance 1 over its positions.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    Unlike `BatchNorm2d` it computes the same in training and evaluation, unless `track_running_stats`: then running
    means (over the batch) of the statistics are used in evaluation.

    Args:
        num_features: the number of channels C.
        eps: added to the variance.
        momentum: how far running statistics move towards each batch.
        affine: whether weight and bias are there.
        track_running_stats: whether there are running statistics.

    Shapes: (N, C, H, W) or (C, H, W), kept; weight (C) starts as 1, bias (C) as 0.

    Reference: D. Ulyanov et al., "Instance Normalization", 2016, https://arxiv.org/abs/1607.08022
    """

    _ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of volumes: each channel of each sample over its positions.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    Arguments are those of `InstanceNorm2d`.

    Shapes: (N, C, D, H, W) or (C, D, H, W), kept.
    """

    _ranks = (4, 5)


class _LazyNorm(_Norm):
    """A norm that takes `num_features` from its first input, and is an ordinary one from then on."""

    _final: type[_Norm] = _Norm

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        _Norm.__init__(
            self, 0, eps, momentum, affine, track_running_stats, bias=bias, device=device, dtype=dtype
        )

    def _start(self, num_features: int) -> None:
        owner = type(self).__name__
        self.num_features = 0
        for name, wanted in (("weight", self.affine), ("bias", self.affine and self._options[1])):
            self.register_parameter(name, UninitializedParameter(owner) if wanted else None)
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, UninitializedBuffer(owner) if self.track_running_stats else None)

    def _materialize(self, num_features: int) -> None:
        with outside_traces():
            self.__class__ = self._final  # type: ignore[assignment]
            self._make(num_features)

    def _unborn_dtype(self, dtype: Any) -> None:
        """What `to` does before there are parameters."""
        self._options = (dtype, *self._options[1:])

    def _prepare_load(self, prefix: str, state: Any) -> None:
        """Take the number of channels from saved state."""
        found = state.get(prefix + "weight", state.get(prefix + "running_mean"))
        if found is not None and len(found.shape) == 1:
            self._materialize(int(found.shape[0]))

    def forward(self, x: Tensor) -> Tensor:
        x = self._checked(x)
        lone = issubclass(self._final, _InstanceNorm) and x.ndim == self._ranks[0]
        self._materialize(int(x.shape[0 if lone else 1]))  # type: ignore[arg-type]
        return self(x)


class LazyBatchNorm1d(_LazyNorm, _BatchNorm):
    """A `BatchNorm1d` that takes `num_features` from its first input, and is a `BatchNorm1d` from then on.

    Others are those of `BatchNorm1d`.

    Shapes: those of `BatchNorm1d`. Raises: StateError where its tensors are used before.
    """

    _ranks = (2, 3)
    _final = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, _BatchNorm):
    """A `BatchNorm2d` that takes `num_features` from its first input, and is a `BatchNorm2d` from then on.

    Others are those of `BatchNorm2d`.

    Shapes: those of `BatchNorm2d`. Raises: StateError where its tensors are used before.
    """

    _ranks = (4,)
    _final = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, _BatchNorm):
    """A `BatchNorm3d` that takes `num_features` from its first input, and is a `BatchNorm3d` from then on.

    Others are those of `BatchNorm3d`.

    Shapes: those of `BatchNorm3d`. Raises: StateError where its tensors are used before.
    """

    _ranks = (5,)
    _final = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, _InstanceNorm):
    """An `InstanceNorm1d` that takes `num_features` from its first input, and is an `InstanceNorm1d` from then on.

    Others are those of `InstanceNorm1d`.

    Shapes: those of `InstanceNorm1d`. Raises: StateError where its tensors are used before.
    """

    _ranks = (2, 3)
    _final = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, _InstanceNorm):
    """An `InstanceNorm2d` that takes `num_features` from its first input, and is an `InstanceNorm2d` from then on.

    Others are those of `InstanceNorm2d`.

    Shapes: those of `InstanceNorm2d`. Raises: StateError where its tensors are used before.
    """

    _ranks = (3, 4)
    _final = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, _InstanceNorm):
    """An `InstanceNorm3d` that takes `num_features` from its first input, and is an `InstanceNorm3d` from then on.

    Others are those of `InstanceNorm3d`.

    Shapes: those of `InstanceNorm3d`. Raises: StateError where its tensors are used before.
    """

    _ranks = (4, 5)
    _final = InstanceNorm3d
