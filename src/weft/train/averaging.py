"""Averages of weights over the course of training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from .. import nn
from ..arrays.creation import tensor
from ..arrays.elementwise import where
from ..arrays.grad import no_grad
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError

Average = Callable[[Tensor, Tensor, Tensor], Tensor]


def get_swa_avg_fn() -> Average:
    """The plain average of all weights so far: for `AveragedModel`."""

    def average(old: Tensor, new: Tensor, count: Tensor) -> Tensor:
        return old + (new - old) / (count + 1).astype(old.dtype)

    return average


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """decay * average + (1 - decay) * weights: for `AveragedModel`."""
    if not 0 <= decay <= 1:
        raise ArgumentError(f"the decay of a moving average lies between 0 and 1, got {decay}")

    def average(old: Tensor, new: Tensor, count: Tensor) -> Tensor:
        return old + (new - old) * (1 - decay)

    return average


class AveragedModel(nn.Module):
    """A copy of a model whose weights are an average of those that the model has had.

    Args:
        model: what is averaged; `module` is the copy, and calling the averaged model calls it.
        avg_fn: (average, weight, how many so far) -> average; `get_swa_avg_fn()` unless given. An exponential moving
            average is `get_ema_avg_fn(0.999)`.
        use_buffers: average floating buffers too; otherwise they are copied.

    `update_parameters(model)` takes the present weights in; the first time they are copied. It may stand in a compiled
    step. After averaging, statistics of batch norms belong to no weights: `update_bn` finds new ones.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> averaged = AveragedModel(model)
    >>> for value in (1.0, 2.0, 6.0):
    ...     _ = nn.init.constant_(model.weight, value)
    ...     averaged.update_parameters(model)
    >>> averaged.module.weight.item()
    3.0
    """

    n_averaged: Tensor
    module: nn.Module

    def __init__(
        self, model: nn.Module, device: Any = None, avg_fn: Average | None = None, use_buffers: bool = False
    ) -> None:
        super().__init__()
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, dtype="int64"))
        self.avg_fn = get_swa_avg_fn() if avg_fn is None else avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: nn.Module) -> None:
        """Take the present weights of `model` into the average."""
        pairs = list(zip(self.module.parameters(), model.parameters(), strict=True))
        buffers = list(zip(self.module.buffers(), model.buffers(), strict=True))
        with no_grad():
            first = self.n_averaged == 0
            for old, new in pairs + (buffers if self.use_buffers else []):
                if old.dtype.kind == "f":
                    mean = self.avg_fn(old, new, self.n_averaged)
                    old._cell.rebind(where(first, new, mean.astype(old.dtype))._node)
                else:
                    old._cell.rebind(new.detach()._node)
            if not self.use_buffers:
                for old, new in buffers:
                    old._cell.rebind(new.detach()._node)
            self.n_averaged._cell.rebind((self.n_averaged + 1)._node)


def update_bn(loader: Iterable[Any], model: nn.Module, device: Any = None) -> None:
    """Find the running statistics of all norms in `model` anew: the average over the batches of `loader`.

    A batch may be (inputs, targets): the first of a tuple or list goes to the model.
    """
    norms = [m for m in model.modules() if getattr(m, "running_mean", None) is not None]
    if not norms:
        return
    before = [(m, m.momentum) for m in norms]
    training = [(m, m.training) for m in model.modules()]
    try:
        model.train()
        for m in norms:
            m.reset_running_stats()
            m.momentum = None  # the plain average
        with no_grad():
            for batch in loader:
                model(batch[0] if isinstance(batch, (list, tuple)) else batch)
    finally:
        for m, momentum in before:
            m.momentum = momentum
        for m, mode in training:
            m.training = mode
