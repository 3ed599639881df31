"""What happens to one batch: training and evaluation steps, each of them one compiled program."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import nn, optim
from ..arrays.cell import flush
from ..arrays.compile import compile as compiled
from ..arrays.dispatch import apply
from ..arrays.grad import enable_grad, no_grad
from ..arrays.outer import outer_zeros
from ..arrays.tensor import Tensor
from ..base.errors import TraceError, WeftError
from ..ir.dtype import float64
from ..ir.node import Aval
from ..metrics import Metric
from ..metrics.streaming import Collected, as_tensor
from ..ops.composite.define import composite
from ..ops.elementwise import cast, equal, where
from ..optim.optimizer import slot_type
from .inputs import batch_length, describe_batch
from .weighing import WeightedLoss

if TYPE_CHECKING:
    from .callbacks import Callback
    from .trainer import Trainer


@composite
def gathered(total, gradient, weight):
    """total + weight * gradient."""
    return total + cast(gradient, dtype=total.dtype) * cast(weight, dtype=total.dtype)


@composite
def mean_gradient(total, weight, *, dtype):
    """total / weight, and total where no weight was gathered."""
    weight = where(equal(weight, 0), 1, weight)
    return cast(total / cast(weight, dtype=total.dtype), dtype=dtype)


class Gathered:
    """Gradients of several batches, until a step is made with their mean.

    The mean is over samples (by their weights): of batches that together are one larger batch, its gradient. For a
    loss that is a sum, it is their sum. Sums of gradients in bfloat16 and float16 are kept in float32.
    """

    def __init__(self, optimizer: optim.Optimizer, sums: bool) -> None:
        self.optimizer = optimizer
        self.sums = sums
        self.weight = outer_zeros(Aval((), float64))
        self.totals: dict[int, Tensor] = {}  #: by the running number of the parameter

    def parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def add(self, weight: Any) -> None:
        """Take the gradients that the parameters have, of a loss that is a mean over `weight`, away from them."""
        weight = as_tensor(1 if self.sums else weight)
        for i, p in enumerate(self.parameters()):
            gradient = p.grad
            if gradient is None:
                continue
            if i not in self.totals:
                self.totals[i] = outer_zeros(slot_type("total", gradient))
            held = self.totals[i]
            held._cell.rebind(apply(gathered, held, gradient, weight)._cell.node)
            p._cell.grad = None
        self.weight._cell.rebind((self.weight + weight)._cell.node)

    def hand_over(self) -> None:
        """Give the parameters the mean gradient, and begin anew."""
        params = self.parameters()
        weight = as_tensor(1.0) if self.sums else self.weight
        for i, held in self.totals.items():
            params[i]._cell.grad = apply(mean_gradient, held, weight, dtype=params[i].dtype)
        self.reset()

    def reset(self) -> None:
        for held in (self.weight, *self.totals.values()):
            held._cell.rebind(outer_zeros(held._cell.node.aval)._cell.node)

    def state_dict(self) -> dict[str, Any]:
        return {"weight": self.weight.detach(), "totals": {i: t.detach() for i, t in self.totals.items()}}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.weight._cell.rebind(saved["weight"]._cell.node)
        for i, total in saved["totals"].items():
            self.totals.setdefault(int(i), outer_zeros(total._cell.node.aval))
            self.totals[int(i)]._cell.rebind(total._cell.node)


class Steps:
    """What training and evaluation share: a compiled program is run, or the function itself if it cannot be traced.

    Args:
        weighted: whether batches end with sample weights.
    """

    compilable = True

    def __init__(self, trainer: Trainer, weighted: bool) -> None:
        self.trainer = trainer
        self.weighted = weighted
        self.collecting = [m for m in trainer.metrics if isinstance(m, Collected)]

    @property
    def traceable(self) -> bool:
        """Whether batches go to compiled programs."""
        return self.compilable and self.trainer.traceable

    def keep(self, found: Any) -> tuple[Tensor, Any]:
        """(loss, weight or None) of what a step gave; metrics that collect are given their part."""
        if type(found) is Tensor:
            return found, None
        loss, weight, kept = found
        for m, parts in zip(self.collecting, kept, strict=True):
            m.keep(parts)
        return loss, weight

    def run(self, program: _Program, batch: tuple[Any, ...]) -> Any:
        trainer = self.trainer
        try:
            if self.compilable and trainer.traceable:
                try:
                    return program.compiled(*batch)
                except TraceError as e:
                    if trainer.compile:
                        raise
                    trainer.traceable = False
                    warnings.warn(
                        f"the step cannot be compiled and runs operation by operation: {e}",
                        RuntimeWarning,
                        stacklevel=2,
                    )
            out = program.function(*batch)
            flush()
            return out
        except WeftError as e:
            if batch:
                last = -1 - self.weighted
                e.add_note(f"in a step on {describe_batch(batch[:last], batch[last])}")
            raise


class Training(Steps):
    """The training step, and the update for which gradients were gathered.

    Args:
        loss: gives (loss, sum of weights) if it is a `WeightedLoss`, else one number.
        within: callbacks with an `on_gradients` or `on_step`.
    """

    def __init__(self, trainer: Trainer, loss: Any, weighted: bool, within: Sequence[Callback]) -> None:
        super().__init__(trainer, weighted)
        self.compilable = not isinstance(trainer.optimizer, optim.LBFGS)
        sums = getattr(trainer.loss, "reduction", None) == "sum"
        self.gathered = Gathered(trainer.optimizer, sums) if trainer.accumulate > 1 else None
        measure = _measure(trainer.model, loss, trainer.metrics, weighted)
        update = _update(trainer, within)
        step = _train_step(measure, self.gathered, update)
        self._step = _Program(step if self.compilable else _closure_step(trainer, measure))
        self._update = _Program(_gathered_update(self.gathered, update)) if self.gathered else None

    @property
    def traces(self) -> int:
        """How often the training step was traced: once for each kind of batch."""
        return self._step.compiled.traces

    def __call__(self, batch: tuple[Any, ...]) -> tuple[Tensor, Any]:
        """One training step: (loss, sum of weights; None for the number of samples)."""
        return self.keep(self.run(self._step, batch))

    def update(self) -> None:
        """Make the step for which gradients were gathered."""
        if self._update is not None:
            self.run(self._update, ())


class Evaluation(Steps):
    """The loss and metrics of a batch, without learning."""

    def __init__(self, trainer: Trainer, loss: Any, weighted: bool) -> None:
        super().__init__(trainer, weighted)
        self._step = _Program(_evaluation_step(_measure(trainer.model, loss, trainer.metrics, weighted)))

    def __call__(self, batch: tuple[Any, ...]) -> tuple[Tensor, Any]:
        return self.keep(self.run(self._step, batch))


class _Program:
    """A function, and the same compiled."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.compiled = compiled(function)


def _measure(
    model: nn.Module, loss: Any, metrics: Sequence[Metric], weighted: bool
) -> Callable[..., tuple[Tensor, Any, Callable[[], list[tuple[Tensor, ...]]]]]:
    """From a batch to its loss, the loss's weight, and what is left to do: feeding the metrics."""
    by_weight = isinstance(loss, WeightedLoss)

    def measure(batch: tuple[Any, ...]) -> Any:
        if weighted:
            *inputs, target, sample_weight = batch
        else:
            *inputs, target = batch
            sample_weight = None
        predictions = model(*inputs)
        if by_weight:
            value, weight = loss(predictions, target, sample_weight)
        else:
            value, weight = loss(predictions, target), None

        def note() -> list[tuple[Tensor, ...]]:
            kept = []
            for m in metrics:
                if isinstance(m, Collected):
                    with no_grad():
                        kept.append(m.batch(as_tensor(predictions), as_tensor(target)))
                else:
                    m.update(predictions, target)
            return kept

        return value, weight, note

    return measure


def _outcome(value: Tensor, weight: Any, kept: list[tuple[Tensor, ...]]) -> Any:
    """As little as there is to give: a lone tensor is returned by the shortest way."""
    return value if weight is None and not kept else (value, weight, kept)


def _update(trainer: Trainer, within: Sequence[Callback]) -> Callable[[], None]:
    """From gradients to new parameters."""
    optimizer = trainer.optimizer
    on_gradients = [c.on_gradients for c in within]
    on_step = [c.on_step for c in within]

    def update() -> None:
        for hook in on_gradients:
            hook(trainer)
        optimizer.step()
        optimizer.zero_grad()
        for hook in on_step:
            hook(trainer)

    return update


def _train_step(
    measure: Callable[..., Any], gathered: Gathered | None, update: Callable[[], None]
) -> Callable[..., Any]:
    def step(*batch: Any) -> Any:
        with enable_grad():
            value, weight, note = measure(batch)
        value.backward()
        kept = note()
        if gathered is None:
            update()
        else:
            with no_grad():
                gathered.add(batch_length(batch[-1]) if weight is None else weight)
        return _outcome(value, weight, kept)

    return step


def _gathered_update(gathered: Gathered, update: Callable[[], None]) -> Callable[..., Any]:
    def step() -> None:
        with no_grad():
            gathered.hand_over()
        update()

    return step


def _closure_step(trainer: Trainer, measure: Callable[..., Any]) -> Callable[..., Any]:
    """For optimisers that evaluate the loss several times in a step: the figures are those of the first time."""
    optimizer = trainer.optimizer

    def step(*batch: Any) -> Any:
        first: list[Any] = []

        def closure() -> Tensor:
            optimizer.zero_grad()
            value, weight, note = measure(batch)
            value.backward()
            if not first:
                first.append(_outcome(value.detach(), weight, note()))
            return value

        optimizer.step(closure)
        optimizer.zero_grad()
        return first[0]

    return step


def _evaluation_step(measure: Callable[..., Any]) -> Callable[..., Any]:
    def step(*batch: Any) -> Any:
        with no_grad():
            value, weight, note = measure(batch)
            return _outcome(value, weight, note())

    return step
