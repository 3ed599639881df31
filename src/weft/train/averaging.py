"""Averages of weights over the course of training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .. import nn
from ..arrays.cell import flush
from ..arrays.creation import tensor
from ..arrays.elementwise import where
from ..arrays.grad import no_grad
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError
from ..base.state import state, version
from .callbacks import Callback

if TYPE_CHECKING:
    from .trainer import Trainer

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


class WeightAveraging(Callback):
    """Average the weights while the model trains, and leave the model with the average.

    Args:
        decay: of an exponential moving average, decay * average + (1 - decay) * weights. None: the plain average of
            all weights (stochastic weight averaging, https://arxiv.org/abs/1803.05407).
        start_epoch: the first epoch (of this run, from 1) whose weights count.
        every: "batch", after each step of the optimiser, as part of the compiled step; or "epoch".
        update_norms: where the model has batch norms, find their statistics anew at the end of the run, with the
            average: one more pass over the training data.
        validate: measure the average, which the run will leave, and not the weights that are being trained: from an
            epoch's validation until the next epoch begins the model has the average, so that callbacks such as
            `EarlyStopping` and `ModelCheckpoint` follow it and keep it.

    `averaged` is the `AveragedModel` (while the model has the average, what it holds are the weights that are trained);
    until the end the statistics of batch norms are those of the weights that are trained. Where norms are to be
    updated for the best weights that `EarlyStopping` goes back to, name that callback first.
    """

    def __init__(
        self,
        decay: float | None = 0.999,
        *,
        start_epoch: int = 1,
        every: str = "batch",
        update_norms: bool = True,
        validate: bool = True,
    ) -> None:
        if every not in ("batch", "epoch"):
            raise ArgumentError(f'every must be "batch" or "epoch", got {every!r}')
        if not hasattr(start_epoch, "__index__") or start_epoch < 1:
            raise ArgumentError(f"start_epoch must be a positive integer, got {start_epoch!r}")
        self.average = get_swa_avg_fn() if decay is None else get_ema_avg_fn(decay)
        self.start_epoch = start_epoch
        self.every = every
        self.update_norms = update_norms
        self.validate = validate
        self.averaged: AveragedModel | None = None
        self._active = False
        self._exchanged = False  # whether the model has the average, and the average the model's weights
        self._first = 1

    def on_fit_begin(self, trainer: Trainer) -> None:
        self.averaged = AveragedModel(trainer.model, avg_fn=self.average)
        self._exchanged = False
        self._first = trainer.epochs + self.start_epoch
        self._activate(False)

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        if self._exchanged:
            self._exchange(trainer.model)
        self._activate(epoch >= self._first)

    def _activate(self, active: bool) -> None:
        if active != self._active:
            self._active = active
            version.bump()  # a compiled step with the average is another program than one without

    def _assumptions(self) -> tuple[Any, ...]:
        """What a program of the step takes for granted."""
        return (self._active,)

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        return iter(())

    named_buffers = named_parameters

    def on_step(self, trainer: Trainer) -> None:
        for trace in reversed(state.traces):
            told = getattr(trace, "on_module", None)
            if told is not None:
                told(self)
                break
        if self.every == "batch" and self._active and self.averaged is not None:
            self.averaged.update_parameters(trainer.model)

    def on_validation_begin(self, trainer: Trainer) -> None:
        if self.averaged is None or not self._active:
            return
        if self.every == "epoch":
            self.averaged.update_parameters(trainer.model)
            flush()
        if self.validate and self.averaged.n_averaged.item():
            self._exchange(trainer.model)

    def _exchange(self, model: nn.Module) -> None:
        """Give the model the average, and keep its weights in its place; or the other way round."""
        assert self.averaged is not None
        with no_grad():
            for ours, its in zip(self.averaged.module.parameters(), model.parameters(), strict=True):
                average, weight = ours.detach()._node, its.detach()._node
                ours._cell.rebind(weight)
                its._cell.rebind(average)
        self._exchanged = not self._exchanged

    def on_fit_end(self, trainer: Trainer) -> None:
        if self.averaged is None or not self.averaged.n_averaged.item():
            return
        if not self._exchanged:
            trainer.model.load_state_dict(self.averaged.module.state_dict())
        if self.update_norms:
            update_bn(trainer.training_batches(), trainer.model)

    def state_dict(self) -> dict[str, Any]:
        if self.averaged is None:
            return {}
        return {
            "averaged": dict(self.averaged.state_dict()),
            "first": self._first,
            "active": self._active,
            "exchanged": self._exchanged,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        if self.averaged is not None and "averaged" in saved:
            self.averaged.load_state_dict(saved["averaged"])
            self._first, self._exchanged = saved["first"], saved.get("exchanged", False)
            self._activate(saved["active"])
