"""Batch normalisation over the processes of a training run."""

from __future__ import annotations

from typing import Any

from .module import Module
from .statistics import _BatchNorm, _LazyNorm


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over all processes of a training run: y = (x - mean) / sqrt(var + eps) * weight + bias.

    In one process, which is all that there is so far, it is the plain `BatchNorm` of its input.

    Args:
        process_group: accepted and means nothing.

    Others are those of `BatchNorm2d`.

    Shapes: (N, C, ...), kept.
    """

    _ranks = tuple(range(2, 65))

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        *,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, bias=bias, device=device, dtype=dtype
        )

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module with all its `BatchNorm` layers replaced by ones of this class, with the same tensors.

        Returns the module itself, changed in place, unless it is such a layer.

        >>> net = SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)))
        >>> net[1]
        SyncBatchNorm(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
        """
        if isinstance(module, _BatchNorm) and not isinstance(module, (SyncBatchNorm, _LazyNorm)):
            new = cls(
                module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats
            )
            for name in ("weight", "bias"):
                new.register_parameter(name, getattr(module, name))
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                new.register_buffer(name, getattr(module, name))
            return new.train(module.training)
        for name, child in list(module.named_children()):
            new = cls.convert_sync_batchnorm(child, process_group)
            if new is not child:
                module.register_module(name, new)
        return module
