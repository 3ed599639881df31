"""`Trainer`: fit, evaluate, predict."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import nn
from ..arrays.cell import flush
from ..arrays.compile import compile as compiled
from ..arrays.grad import enable_grad, no_grad
from ..arrays.random import default_generator
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, DataError, StateError, TraceError, WeftError
from ..base.pytree import flatten, unflatten
from ..data import DataLoader, Dataset, TensorDataset, random_split
from ..data.dataset import host_array, to_tensor
from ..ir.dtype import DEFAULT_FLOAT, DType
from ..ir.shape import show_shape
from ..metrics import Mean
from ..optim import clip_grad_norm_
from ..optim.group import is_number
from .callbacks import Callback, snapshot
from .history import History
from .inputs import (
    Checks,
    as_dataset,
    as_loader,
    batch_length,
    batches,
    describe_batch,
    floats_as,
    split_batch,
)
from .names import find_loss, find_metrics, find_optimizer
from .progress import Progress


class _StopNow(Exception):
    """Ends an epoch at once."""


class Trainer:
    """A model with all that is needed to train it.

    Args:
        model: an `nn.Module`.
        loss: a function or module of (predictions, targets) that gives one number, or a name: "cross_entropy",
            "mse", "bce_with_logits", ...
        optimizer: an optimiser, with the model's parameters or (`optim.Adam(lr=1e-3)`) without any: then it is
            given them; or a name: "adam", "adamw", "sgd".
        metrics: names ("accuracy", "f1", "mae", ...) or metrics, measured beside the loss.
        callbacks: what else happens between batches and epochs.
        clip_norm: scale the gradients of a step down to this norm where theirs is larger.
        compile: run each step as one compiled program. None: do so, and go on without if the model cannot be traced.

    Example::

        trainer = Trainer(model, "cross_entropy", "adam", metrics=["accuracy"])
        history = trainer.fit(train, epochs=5, validation_data=test)
        trainer.evaluate(test)
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Any,
        optimizer: Any = "adam",
        metrics: Iterable[Any] = (),
        callbacks: Sequence[Callback] = (),
        *,
        clip_norm: float | None = None,
        compile: bool | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ArgumentError(f"the model must be an nn.Module, got {type(model).__name__}")
        self.model = model
        self.loss = find_loss(loss)
        self.optimizer = find_optimizer(optimizer)
        self.metrics = find_metrics(metrics, self.loss)
        self.callbacks = _check_callbacks(callbacks)
        if clip_norm is not None and not (is_number(clip_norm) and clip_norm > 0):
            raise ArgumentError(f"clip_norm must be a positive number or None, got {clip_norm!r}")
        self.clip_norm = clip_norm
        self.compile = compile
        self.epochs = 0  #: how many epochs it has been trained so far
        self.history = History()  #: of the last `fit`
        self.figure_names: list[str] = []
        self._mean_loss = Mean("loss")
        self._stop: str | None = None
        self._in_batches = False
        self._traceable = compile is not False
        self._train_program = compiled(self._train_step)
        self._evaluation_program = compiled(self._evaluation_step)

    # -- training -------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int | None = None,
        validation_data: Any = None,
        validation_split: float = 0.0,
        shuffle: bool | None = None,
        callbacks: Sequence[Callback] = (),
        seed: int | None = None,
        progress: bool = True,
    ) -> History:
        """Train for a number of epochs.

        Args:
            data: inputs (n, ...) as an array or tensor (or a tuple of several) with the targets `y`; or a dataset
                of (input, target) samples; or a `DataLoader`.
            batch_size: samples in a batch, 32 by default; the last one may be smaller.
            validation_data: the same as `data` (arrays as a pair), measured after every epoch.
            validation_split: instead, the share of the samples that is held out for it, chosen at random.
            shuffle: a new order in every epoch (the default).
            callbacks: besides those of the trainer.
            seed: fixes the order of the samples.
            progress: show a bar for each epoch.

        Returns:
            the figures of every epoch. Calling `fit` again goes on training.

        Raises:
            DataError: for data that cannot be learnt from, before the first step.
        """
        if not isinstance(epochs, (int, np.integer)) or epochs < 1:
            raise ArgumentError(f"epochs must be a positive integer, got {epochs!r}")
        loader, held_out = self._sources(
            data, y, validation_data, validation_split, batch_size, shuffle, seed
        )
        checks = self._prepare(loader)
        unchecked = not _check(checks, loader, "the training data")
        if held_out is not None:
            _check(checks, held_out, "the validation data")
        if isinstance(loader, DataLoader) and loader is not data:
            loader.epoch = self.epochs
        everyone = [*self.callbacks, *_check_callbacks(callbacks)]
        names = ["loss", *[m.name for m in self.metrics]]
        self.figure_names = names + ([f"val_{n}" for n in names] if held_out is not None else [])
        self.history, self._stop = History(), None
        for c in everyone:
            c.on_fit_begin(self)
        try:
            for i in range(epochs):
                title = f"epoch {self.epochs + 1}/{self.epochs - i + epochs}"
                self._epoch(
                    loader, held_out, everyone, title, progress, checks if unchecked and i == 0 else None
                )
                if self._stop is not None:
                    break
        except KeyboardInterrupt:
            self._stop = "interrupted"
            raise
        finally:
            self.history.stopped = self._stop
            for c in everyone:
                c.on_fit_end(self)
        return self.history

    def stop(self, why: str = "stopped", *, now: bool = False) -> None:
        """End the run after the present epoch, or (`now`) at once. For callbacks."""
        self._stop = why
        if now and self._in_batches:
            raise _StopNow

    def _epoch(
        self,
        loader: Any,
        held_out: Any,
        callbacks: list[Callback],
        title: str,
        progress: bool,
        checks: Checks | None,
    ) -> None:
        epoch, began = self.epochs + 1, time.perf_counter()
        for c in callbacks:
            c.on_epoch_begin(self, epoch)
        self._reset()
        bar = Progress(progress, title, len(loader) if hasattr(loader, "__len__") else None)
        try:
            self._batches(loader, callbacks, bar, checks)
            figures = self._figures("the training data")
            if held_out is not None:
                found = self._measure(held_out)
                figures |= {f"val_{k}": v for k, v in found.items()}
        except BaseException:
            bar.abandon()
            raise
        self.epochs = epoch
        for c in callbacks:
            c.on_epoch_end(self, epoch, figures)
        seconds = time.perf_counter() - began
        bar.close(figures, seconds)
        self.history.append(epoch, figures, seconds)

    def _batches(self, loader: Any, callbacks: list[Callback], bar: Progress, checks: Checks | None) -> None:
        """One step for each batch."""
        self._in_batches = True
        try:
            with self._mode(training=True):
                for number, (inputs, target) in enumerate(batches(loader), 1):
                    if checks is not None:
                        checks.batch(inputs, target, f"batch {number} of the training data")
                    loss = self._run(self._train_program, self._train_step, inputs, target)
                    bar.step(lambda: {"loss": self._mean_loss.compute()})
                    for c in callbacks:
                        c.on_batch_end(self, number, loss)
        except _StopNow:
            pass
        finally:
            self._in_batches = False

    def _train_step(self, inputs: tuple[Any, ...], target: Any) -> Tensor:
        with enable_grad():
            predictions = self.model(*inputs)
            loss = self.loss(predictions, target)
        loss.backward()
        self._note(predictions, target, loss)
        if self.clip_norm is not None:
            clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss

    def _evaluation_step(self, inputs: tuple[Any, ...], target: Any) -> None:
        with no_grad():
            predictions = self.model(*inputs)
            self._note(predictions, target, self.loss(predictions, target))

    def _note(self, predictions: Any, target: Any, loss: Tensor) -> None:
        """Add a batch to the sums behind the figures; nothing is looked at."""
        self._mean_loss.update(loss, batch_length(target))
        for m in self.metrics:
            m.update(predictions, target)

    def _run(self, program: Callable[..., Any], step: Callable[..., Any], inputs: Any, target: Any) -> Any:
        try:
            if self._traceable:
                try:
                    return program(inputs, target)
                except TraceError as e:
                    if self.compile:
                        raise
                    self._traceable = False
                    warnings.warn(
                        f"the step cannot be compiled and runs operation by operation: {e}",
                        RuntimeWarning,
                        stacklevel=2,
                    )
            out = step(inputs, target)
            flush()
            return out
        except WeftError as e:
            e.add_note(f"in a step on {describe_batch(inputs, target)}")
            raise

    # -- preparing ------------------------------------------------------------------------------------------

    def _sources(
        self, data: Any, y: Any, validation: Any, split: float, batch_size: Any, shuffle: Any, seed: Any
    ) -> tuple[Any, Any]:
        """The loaders of the training and of the validation data."""
        if not isinstance(data, DataLoader):
            data = self._dataset(data, y, "fit")
        elif y is not None:
            raise ArgumentError("fit: a DataLoader brings its labels along; leave out y")
        if split:
            if validation is not None:
                raise ArgumentError("give validation_data or validation_split, not both")
            if not 0 < split < 1 or isinstance(data, DataLoader) or not hasattr(data, "__getitem__"):
                raise ArgumentError(
                    f"validation_split is a fraction of a dataset or of arrays, got {split!r}"
                )
            data, validation = random_split(data, [1 - split, split], seed=0 if seed is None else seed)
        loader = as_loader(data, batch_size, shuffle, seed, True)
        if validation is None:
            return loader, None
        if not isinstance(validation, DataLoader):
            validation = self._dataset(validation, None, "validation_data")
            # Figures do not depend on the size of the batches, and larger ones are quicker.
            size = max(256, getattr(loader, "batch_size", 0)) if hasattr(validation, "__getitem__") else None
            validation = as_loader(validation, size, None, None, False)
        return loader, validation

    def _dataset(self, data: Any, y: Any, what: str) -> Any:
        if y is None and not isinstance(data, (Dataset, tuple, list)) and not hasattr(data, "__getitem__"):
            if not hasattr(data, "__iter__"):
                raise DataError(f"{what}: arrays, a dataset or a loader expected, got {type(data).__name__}")
            return data  # an iterable of batches
        return as_dataset(data, y, self._dtype(), what)

    def _dtype(self) -> DType:
        """The model's floating type."""
        for p in self.model.parameters():
            if not isinstance(p, nn.UninitializedParameter):
                return p.dtype
        return DEFAULT_FLOAT

    def _prepare(self, loader: Any) -> Checks:
        """Try the model on the first batch without computing anything: shapes must fit, lazy layers take theirs."""
        epoch = getattr(loader, "epoch", None)
        inputs, target = split_batch(next(iter(loader), None))
        if epoch is not None:
            loader.epoch = epoch
        try:
            with no_grad(), self._mode(training=False):
                predictions = self.model(*inputs)
                checks = Checks(self.loss, predictions, target)
                loss = self.loss(predictions, target)
        except WeftError as e:
            e.add_note(f"while the model and its loss were tried on {describe_batch(inputs, target)}")
            raise
        if not isinstance(loss, Tensor) or loss.size != 1:
            got = (
                f"a tensor of shape {show_shape(loss.shape)}"
                if isinstance(loss, Tensor)
                else type(loss).__name__
            )
            raise ArgumentError(f"the loss must be one number, it is {got}; take its mean or sum")
        self._bind()
        return checks

    def _bind(self) -> None:
        """Give the optimiser the model's parameters, if it has none; what it has must be the model's."""
        if not self.optimizer.bound:
            self.optimizer.bind(self.model.named_parameters())
            return
        own = {id(p) for p in self.model.parameters()}
        if not any(id(p) in own for group in self.optimizer.param_groups for p in group["params"]):
            raise ArgumentError(
                "none of the optimizer's parameters is the model's: it was made for another model. Make it with "
                "this model's parameters(), or without any"
            )

    @contextmanager
    def _mode(self, *, training: bool) -> Iterator[None]:
        """The model in training or evaluation mode; afterwards every module is as it was."""
        before = [(m, m.training) for m in self.model.modules()]
        if any(was != training for _, was in before):
            self.model.train(training)
        try:
            yield
        finally:
            for m, was in before:
                if m.training != was:
                    m.training = was

    # -- measuring ------------------------------------------------------------------------------------------

    def evaluate(
        self, data: Any, y: Any = None, *, batch_size: int | None = None, progress: bool = False
    ) -> dict[str, Any]:
        """The loss and all metrics on other data, given as for `fit`."""
        if isinstance(data, DataLoader):
            loader = as_loader(data, batch_size, None, None, False)
        else:
            data = self._dataset(data, y, "evaluate")
            if batch_size is None and hasattr(data, "__getitem__"):
                batch_size = 256
            loader = as_loader(data, batch_size, None, None, False)
        checks = self._prepare(loader)
        _check(checks, loader, "the data")
        return self._measure(loader, progress)

    def _measure(self, loader: Any, progress: bool = False) -> dict[str, Any]:
        self._reset()
        began = time.perf_counter()
        bar = Progress(progress, "evaluation", len(loader) if hasattr(loader, "__len__") else None)
        with self._mode(training=False):
            for inputs, target in batches(loader):
                self._run(self._evaluation_program, self._evaluation_step, inputs, target)
                bar.step(lambda: {"loss": self._mean_loss.compute()})
        figures = self._figures("the data")
        bar.close(figures, time.perf_counter() - began)
        return figures

    def _reset(self) -> None:
        self._mean_loss.reset()
        for m in self.metrics:
            m.reset()

    def _figures(self, what: str) -> dict[str, Any]:
        try:
            return {m.name: m.compute() for m in (self._mean_loss, *self.metrics)}
        except DataError as e:
            e.add_note(f"while the figures of {what} were worked out")
            raise

    def predict(self, data: Any, *, batch_size: int = 256) -> Any:
        """The model's outputs, in evaluation mode, for inputs (n, ...) or a dataset whose targets are left aside.

        Returns what the model returns, its tensors joined along the first axis.
        """
        parts: list[list[np.ndarray]] = []
        structure = None
        with no_grad(), self._mode(training=False):
            for inputs in self._inputs(data, batch_size):
                leaves, structure = flatten(self.model(*inputs))
                parts.append([host_array(leaf) for leaf in leaves])
        if structure is None:
            raise DataError("predict got no data")
        return unflatten(
            structure, [to_tensor(np.concatenate(column)) for column in zip(*parts, strict=True)]
        )

    def _inputs(self, data: Any, batch_size: int) -> Iterator[tuple[Any, ...]]:
        """The inputs of every batch, targets dropped."""
        if isinstance(data, (Tensor, np.ndarray, list, tuple)):
            given = data if isinstance(data, tuple) else (data,)
            dtype = self._dtype()
            arrays = [host_array(a, "predict's x") for a in given]
            arrays = [floats_as(a, dtype) for a in arrays]
            if any(len(a) == 0 for a in arrays):
                raise DataError("predict got no samples")
            yield from DataLoader(TensorDataset(*arrays), batch_size)
            return
        loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size)
        for batch in loader:
            parts = batch if isinstance(batch, (tuple, list)) else (batch,)
            yield tuple(parts[:-1]) if len(parts) > 1 else tuple(parts)

    # -- state ----------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that a run needs to go on: model, optimiser, number of epochs, and the state of the default generator.

        `weft.save(trainer, path)` writes it. A run that goes on from it with the same `seed` gives the bits of one that
        was never interrupted.
        """
        return {
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict() if self.optimizer.bound else None,
            "epochs": self.epochs,
            "generator": default_generator().state,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; sets the state of the default generator too.

        If model or optimiser do not fit, `StateError` says why, and nothing is changed.
        """
        missing = {"model", "optimizer", "epochs", "generator"} - saved.keys()
        if missing:
            raise StateError(f"this is not the state of a trainer: it lacks {', '.join(sorted(missing))}")
        before = None if self._lazy() else snapshot(self.model)
        self.model.load_state_dict(saved["model"])
        try:
            if saved["optimizer"] is not None:
                self._bind()
                self.optimizer.load_state_dict(saved["optimizer"])
        except StateError:
            if before is not None:
                self.model.load_state_dict(before)
            raise
        self.epochs = int(saved["epochs"])
        default_generator().state = saved["generator"]

    def _lazy(self) -> bool:
        """Whether a layer waits for its shape."""
        return any(isinstance(p, nn.UninitializedParameter) for p in self.model.parameters())

    def __repr__(self) -> str:
        return f"<trainer of {type(self.model).__name__}, {self.epochs} epochs so far>"


def _check(checks: Checks, loader: Any, what: str) -> bool:
    return (
        isinstance(loader, DataLoader) and loader.collate_fn is None and checks.dataset(loader.dataset, what)
    )


def _check_callbacks(callbacks: Sequence[Callback]) -> list[Callback]:
    for c in callbacks:
        if not isinstance(c, Callback):
            kind = (
                f"the class {c.__name__}; write {c.__name__}()" if isinstance(c, type) else type(c).__name__
            )
            raise ArgumentError(f"a callback is an object of a subclass of Callback, got {kind}")
    return list(callbacks)
