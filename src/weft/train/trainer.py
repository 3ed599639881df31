"""`Trainer`: fit, evaluate, predict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np

from .. import nn
from ..arrays.grad import no_grad
from ..arrays.random import default_generator
from ..arrays.tensor import Tensor
from ..base.checked import checked
from ..base.errors import ArgumentError, DataError, StateError, WeftError
from ..base.pytree import flatten
from ..formats import load
from ..ir.dtype import DEFAULT_FLOAT, DType
from ..ir.shape import show_shape
from ..metrics.streaming import as_tensor
from ..optim import LBFGS
from .callbacks import Callback, GradientClipping, check_callbacks, overrides, snapshot
from .checkpoint import ModelCheckpoint
from .feed import Feed
from .history import History
from .inputs import Checks, batch_length, describe_batch, refuse_texts
from .names import find_loss, find_metrics, find_optimizer
from .prediction import inputs_of, joined
from .progress import Progress, ProgressBar
from .run import LossSum, Run
from .sources import Sources
from .status import Status
from .steps import Evaluation, Training
from .weighing import WeightedLoss, class_table, weighs_by_class


class Trainer(Status):
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
        clip_value: move every element of the gradients into [-clip_value, clip_value].
        accumulate: make a step after so many batches (and after the last of an epoch), with the mean of the
            gradients over all their samples: as if they had been one batch, in less memory.
        compile: run each step as one compiled program. None: do so, and go on without if the model cannot be traced.

    Example::

        trainer = Trainer(model, "cross_entropy", "adam", metrics=["accuracy"])
        history = trainer.fit(train, epochs=5, validation_data=test)
        trainer.evaluate(test)
    """

    @checked
    def __init__(
        self,
        model: nn.Module,
        loss: Any,
        optimizer: Any = "adam",
        metrics: Iterable[Any] = (),
        callbacks: Sequence[Callback] = (),
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
        compile: bool | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ArgumentError(f"the model must be an nn.Module, got {type(model).__name__}")
        if not hasattr(accumulate, "__index__") or accumulate < 1:
            raise ArgumentError(f"accumulate must be a positive integer, got {accumulate!r}")
        self.model = model
        self.loss = find_loss(loss)
        self.optimizer = find_optimizer(optimizer)
        self.metrics = find_metrics(metrics, self.loss)
        self.callbacks = check_callbacks(callbacks)
        if isinstance(self.optimizer, LBFGS) and (accumulate > 1 or clip_norm or clip_value):
            raise ArgumentError(
                "LBFGS makes its steps by itself: it goes without accumulate, clip_norm and clip_value"
            )
        clips = clip_norm is not None or clip_value is not None
        self._clipping = [GradientClipping(clip_norm, clip_value)] if clips else []
        self.accumulate = int(accumulate)
        self.compile = compile
        self.traceable = (
            compile is not False
        )  #: whether steps are compiled; not if the model cannot be traced
        self.epochs = 0  #: how many epochs it has been trained so far
        self.history = History()  #: of the last `fit`
        self.stopped: str | None = None  #: why the last `fit` ended before its last epoch, if it did
        self.figure_names: list[str] = []  #: what the run measures
        self._run: Run | None = None
        self._tried: tuple[Any, Checks] | None = None
        self._programs: dict[Any, Training | Evaluation] = {}

    # -- training -------------------------------------------------------------------------------------------

    @checked
    def fit(
        self,
        data: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int | None = None,
        batches_per_epoch: int | None = None,
        validation_data: Any = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        class_weight: Any = None,
        shuffle: bool | None = None,
        callbacks: Sequence[Callback] = (),
        seed: int | None = None,
        progress: bool = True,
        resume: Any = None,
    ) -> History:
        """Train for a number of epochs.

        Args:
            data: inputs (n, ...) as an array or tensor (or a tuple of several) with the targets `y`; or a dataset
                of (input, target) samples; or a `DataLoader`.
            batch_size: samples in a batch, 32 by default; the last one may be smaller.
            batches_per_epoch: after how many batches an epoch is over; for streams without an end. The next one goes on
                from there, and the data begin anew where they end. By default an epoch is all of the data.
            validation_data: the same as `data` (arrays as a pair), measured after every epoch.
            validation_split: instead, the share of the samples that is held out for it, chosen at random.
            sample_weight: one number for each sample: how much its loss counts.
            class_weight: how much the losses of each class count: a dict {label: weight}, an array, or "balanced"
                (all classes alike, however many samples they have). Validation is without it.
            shuffle: a new order in every epoch (the default).
            callbacks: besides those of the trainer.
            seed: fixes the order of the samples.
            progress: show a bar for each epoch.
            resume: go on with a run that was saved by `ModelCheckpoint(path, whole=True)`: its path, or what `load`
                gave for it; or True for the newest file of this run's own checkpoint, and from the beginning if there
                is none yet. All other arguments are those of the first time; the result has the bits of a run that
                was never interrupted.

        Returns:
            the figures of every epoch. Calling `fit` again goes on training.

        Raises:
            DataError: for data that cannot be learnt from, before the first step.
            StateError: for a saved run that does not fit.
        """
        if not isinstance(epochs, (int, np.integer)) or epochs < 1:
            raise ArgumentError(f"epochs must be a positive integer, got {epochs!r}")
        if batches_per_epoch is not None and not (
            isinstance(batches_per_epoch, (int, np.integer)) and batches_per_epoch >= 1
        ):
            raise ArgumentError(f"batches_per_epoch must be a positive integer, got {batches_per_epoch!r}")
        everyone = [*self.callbacks, *check_callbacks(callbacks)]
        if progress and not any(isinstance(c, ProgressBar) for c in everyone):
            everyone.append(ProgressBar())
        saved = self._saved_run(resume, everyone)
        sources = Sources(self._dtype(), batch_size, shuffle, seed)
        feed, held_out = sources.training(
            data, y, sample_weight, validation_data, validation_split, batches_per_epoch
        )
        feed.at(self.epochs)
        checks = self._prepare(feed)
        self._bind()
        unchecked = not sources.check(checks, feed, "the training data")
        ignored = checks.ignored
        if held_out is not None:
            sources.check(checks, held_out, "the validation data")
        table = None
        if class_weight is not None:
            table = class_table(class_weight, checks.classes, lambda: sources.labels(feed))
        names = ["loss", *[m.name for m in self.metrics]]
        self.figure_names = names + ([f"val_{n}" for n in names] if held_out is not None else [])
        self.history, self.stopped = History(), None
        steps = self._training(feed.weighted, table, everyone, ignored)
        evaluation = self._evaluation(held_out is not None and held_out.weighted)
        run = Run(
            self, steps, evaluation, feed, held_out, everyone, int(epochs), checks if unchecked else None
        )
        return self._train(run, saved)

    def _train(self, run: Run, saved: Mapping[str, Any] | None) -> History:
        if self._run is not None:
            raise StateError("fit is running already; a callback cannot call it again")
        self._run = run
        try:
            with self._mode(training=True):
                run.go(saved)
        except KeyboardInterrupt:
            self.stopped = "interrupted"
            raise
        finally:
            self.history.stopped = self.stopped
            try:
                run.end()
            finally:
                self._run = None
        return self.history

    def _saved_run(self, resume: Any, callbacks: Sequence[Callback]) -> Mapping[str, Any] | None:
        """The state to go on from."""
        if resume is None or resume is False:
            return None
        if resume is True:
            own = [c for c in callbacks if isinstance(c, ModelCheckpoint) and c.whole]
            if not own:
                raise ArgumentError(
                    "resume=True goes on from the file of a ModelCheckpoint(path, whole=True) among the callbacks, "
                    "and there is none; add one, or give the path of a file"
                )
            resume = own[0].newest()
            if resume is None:
                return None
        saved = load(resume) if isinstance(resume, (str, PathLike)) else resume
        if not isinstance(saved, Mapping) or saved.get("run") is None:
            raise StateError(
                "this is not the state of a run: ModelCheckpoint(path, whole=True) writes one. For a model or a "
                "trainer that was saved by itself use load_state_dict, and fit without resume"
            )
        return saved

    def _training(
        self, weighted: bool, table: np.ndarray | None, callbacks: Sequence[Callback], ignored: bool = False
    ) -> Training:
        """The programs of the training step, those of the last time if nothing has changed."""
        within = [
            c
            for c in (*self._clipping, *callbacks)
            if overrides(c, "on_gradients") or overrides(c, "on_step")
        ]
        uneven = self.accumulate > 1 or ignored or getattr(self.loss, "weight", None) is not None
        weighs = weighted or table is not None or (uneven and weighs_by_class(self.loss))
        loss = WeightedLoss(self.loss, table) if weighs else self.loss
        kind = (
            weighs,
            weighted,
            None if table is None else table.tobytes(),
            self.accumulate,
            *map(id, within),
        )
        return self._kept("training", kind, lambda: Training(self, loss, weighted, within))

    def _evaluation(self, weighted: bool) -> Evaluation:
        loss = WeightedLoss(self.loss) if weighted or weighs_by_class(self.loss) else self.loss
        return self._kept("evaluation", (weighted,), lambda: Evaluation(self, loss, weighted))

    def _kept(self, name: str, kind: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        parts = (self.model, self.loss, self.optimizer, *self.metrics)
        key = (name, kind, *map(id, parts))
        for other in [k for k in self._programs if k[0] == name and k != key]:
            del self._programs[other]
        if key not in self._programs:
            self._programs[key] = make()
        return self._programs[key]

    # -- preparing ------------------------------------------------------------------------------------------

    def _dtype(self) -> DType:
        """The model's floating type."""
        for p in self.model.parameters():
            if not isinstance(p, nn.UninitializedParameter):
                return p.dtype
        return DEFAULT_FLOAT

    def _prepare(self, feed: Feed) -> Checks:
        """Try the model on the first batch without computing anything: shapes must fit, lazy layers take theirs."""
        batch = feed.first()
        last = -1 - feed.weighted
        inputs, target = batch[:last], batch[last]
        leaves, structure = flatten((inputs, target))
        kinds = [leaf._cell.node.aval if isinstance(leaf, Tensor) else type(leaf) for leaf in leaves]
        key = (structure, kinds, id(self.model), id(self.loss))
        if self._tried is None or self._tried[0] != key or self._lazy():
            self._tried = None
            self._tried = (key, self._try(inputs, target))
        checks = self._tried[1]
        checks.begin(target)
        return checks

    def _try(self, inputs: tuple[Any, ...], target: Any) -> Checks:
        try:
            with no_grad(), self._mode(training=False):
                predictions = self.model(*inputs)
                checks = Checks(self.loss, predictions, target)
                loss = self.loss(predictions, target)
                for m in self.metrics:
                    m.batch(as_tensor(predictions), as_tensor(target))
        except WeftError as e:
            refuse_texts(target)
            e.add_note(f"while the model and its loss were tried on {describe_batch(inputs, target)}")
            raise
        if not isinstance(loss, Tensor) or loss.size != 1:
            got = (
                f"a tensor of shape {show_shape(loss.shape)}"
                if isinstance(loss, Tensor)
                else type(loss).__name__
            )
            raise ArgumentError(f"the loss must be one number, it is {got}; take its mean or sum")
        return checks

    def __getstate__(self) -> dict[str, Any]:
        # Programs, and the run that a copy is not in, stay where they are.
        return {**self.__dict__, "_programs": {}, "_tried": None, "_run": None}

    def _bind(self) -> None:
        """Give the optimiser the model's parameters, if it has none; what it has must be the model's."""
        if not any(p.requires_grad for p in self.model.parameters()):
            raise ArgumentError(
                f"{type(self.model).__name__} has no parameters that could be trained: it has none, or requires_grad "
                "is False for all of them"
            )
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

    @checked
    def evaluate(
        self,
        data: Any,
        y: Any = None,
        *,
        batch_size: int | None = None,
        sample_weight: Any = None,
        progress: bool = False,
    ) -> dict[str, Any]:
        """The loss and all metrics on other data, given as for `fit`."""
        sources = Sources(self._dtype(), batch_size, None, None)
        feed = sources.held_out(data, y, sample_weight, "evaluate")
        checks = self._prepare(feed)
        sources.check(checks, feed, "the data")
        midway = self._run is not None and self._run.inside
        before = [m.state_dict() for m in self.metrics] if midway else []
        try:
            return self.measure(feed, self._evaluation(feed.weighted), progress)
        finally:
            for m, state in zip(self.metrics, before, strict=False):
                m.load_state_dict(state)

    def measure(self, feed: Feed, evaluation: Evaluation, progress: bool = False) -> dict[str, Any]:
        """The figures of one pass over a feed, in evaluation mode."""
        self.reset_metrics()
        mean, began = LossSum(), time.perf_counter()
        bar = Progress(progress, "evaluation", feed.length)
        last = -1 - feed.weighted
        with self._mode(training=False):
            for done, batch in enumerate(feed.epoch(keep=evaluation.traceable), 1):
                loss, weight = evaluation(batch)
                mean.add(loss, batch_length(batch[last]) if weight is None else weight)
                bar.step(lambda: {"loss": mean.mean()}, done)
        figures = self.figures(mean, "the data")
        bar.close(figures, time.perf_counter() - began)
        return figures

    def reset_metrics(self) -> None:
        """Begin to measure anew."""
        for m in self.metrics:
            m.reset()

    def figures(self, loss: LossSum, what: str) -> dict[str, Any]:
        """The figures of the batches seen since the last reset."""
        try:
            out: dict[str, Any] = {"loss": loss.mean()}
            for m in self.metrics:
                out[m.name] = m.compute()
        except DataError as e:
            e.add_note(f"while the figures of {what} were worked out")
            raise
        return out

    @checked
    def predict(self, data: Any, *, batch_size: int = 256) -> Any:
        """The model's outputs, in evaluation mode, for inputs (n, ...) or a dataset whose targets are left aside.

        Returns what the model returns, its tensors joined along the first axis.
        """
        with no_grad(), self._mode(training=False):
            return joined(self.model(*inputs) for inputs in inputs_of(data, batch_size, self._dtype()))

    # -- state ----------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Model, optimiser, number of epochs, and the state of the default generator.

        `weft.save(trainer, path)` writes it. A `fit` that follows `load_state_dict` with the same `seed` gives the bits
        of one that followed at once. While `fit` is running there is also what it needs to go on from this very batch
        (`fit(..., resume=...)`): the order of the data, figures, history, and the states of callbacks and of Python's
        and NumPy's random numbers.
        """
        return {
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict() if self.optimizer.bound else None,
            "epochs": self.epochs,
            "generator": default_generator().state,
            "run": self._run.state_dict() if self._run is not None else None,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; sets the state of the default generator too.

        If model or optimiser do not fit, `StateError` says why, and nothing is changed.
        """
        if not isinstance(saved, Mapping):
            raise StateError(f"this is not the state of a trainer: it is {type(saved).__name__}")
        missing = {"model", "optimizer", "epochs", "generator"} - saved.keys()
        if missing:
            raise StateError(f"this is not the state of a trainer: it lacks {', '.join(sorted(missing))}")
        if not hasattr(saved["epochs"], "__index__"):
            raise StateError(f"epochs of a trainer's state is an integer, got {saved['epochs']!r}")
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
