"""`WeftClassifier`, `WeftRegressor`: Weft's models as estimators of scikit-learn.

scikit-learn is an extra, so its base classes are known only when the estimators are first asked for: what they do is
in the mixins below, and `made` puts the two together.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import nn
from ..arrays.random import default_generator, manual_seed
from ..base.errors import ArgumentError, MissingExtraError, nearest
from .callbacks import Callback, EarlyStopping
from .names import find_optimizer
from .trainer import Trainer

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "identity": nn.Identity,
}


class Estimator:
    """What classifier and regressor share; the arguments are those of `Classifier`."""

    _loss = "mse"
    _outputs: int

    def __init__(
        self,
        module: Any = None,
        *,
        hidden_layer_sizes: Sequence[int] = (100,),
        activation: str = "relu",
        loss: Any = None,
        optimizer: Any = "adam",
        lr: float | None = 1e-3,
        epochs: int = 200,
        batch_size: int | str = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float | None = 1e-4,
        callbacks: Sequence[Callback] = (),
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.module = module
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.loss = loss
        self.optimizer = optimizer
        self.lr = lr
        self.epochs = epochs
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    # -- fitting --------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train a new network (or, with `warm_start`, the old one further).

        Args:
            X: samples (n, features), or of any shape that the module takes.
            y: labels or numbers (n,); a regressor also takes (n, outputs).
            sample_weight: one number for each sample.
        """
        again = self.warm_start and hasattr(self, "module_")
        X, targets = self._checked(X, y, reset=True, classes=None, again=again)
        weights = self._weights(sample_weight, X)
        if not again:
            self.__dict__.pop("_trainer", None)
            self.__dict__.pop("_trained", None)
        with self._seeded() as seed:
            if not again:
                self.module_ = self._network(X)
            data, held_out = self._split(X, targets, weights, seed)
            stopping: list[Callback] = []
            if held_out is not None:
                stopping = [EarlyStopping("val_loss", self.n_iter_no_change)]
            elif self.tol is not None:
                patience = self.n_iter_no_change
                stopping = [EarlyStopping("loss", patience, min_delta=self.tol, restore_best=False)]
            self._train(data, held_out, seed, self.epochs, [*copy.deepcopy(list(self.callbacks)), *stopping])
        return self

    def _partial_fit(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> Any:
        first = not hasattr(self, "module_")
        X, targets = self._checked(X, y, reset=first, classes=classes, again=not first)
        weights = self._weights(sample_weight, X)
        with self._seeded() as seed:
            if first:
                self.module_ = self._network(X)
            self._train((X, targets, weights), None, seed, 1, copy.deepcopy(list(self.callbacks)))
        return self

    def _train(self, data: Any, held_out: Any, seed: int, epochs: int, callbacks: Sequence[Callback]) -> None:
        X, targets, weights = data
        size = min(200, len(X)) if isinstance(self.batch_size, str) else self.batch_size
        if isinstance(self.batch_size, str) and self.batch_size != "auto":
            raise ArgumentError(f'batch_size must be a positive integer or "auto", got {self.batch_size!r}')
        trainer = self._made_trainer()
        history = trainer.fit(
            X, targets, epochs=epochs, batch_size=size, validation_data=held_out, sample_weight=weights,
            callbacks=callbacks, seed=seed, progress=bool(self.verbose), **self._options(),
        )  # fmt: skip
        self.module_.eval()
        self.history_ = history.history
        self.n_epochs_ = len(history.epochs)
        self.loss_ = history["loss"][-1]

    def _made_trainer(self) -> Trainer:
        """The trainer of the last fit; after a copy or a pickle another one with the state that it had."""
        trainer = self.__dict__.get("_trainer")
        if trainer is None:
            if isinstance(self.optimizer, str):
                optimizer = find_optimizer(self.optimizer)
                if self.lr is not None:
                    optimizer.defaults["lr"] = self.lr
            else:
                optimizer = find_optimizer(self.optimizer() if callable(self.optimizer) else self.optimizer)
            trainer = Trainer(self.module_, self.loss if self.loss is not None else self._loss, optimizer)
            state = self.__dict__.pop("_trained", None)
            if state is not None:
                optimizer.bind(self.module_.named_parameters())
                optimizer.load_state_dict(state["optimizer"])
                trainer.epochs = state["epochs"]
            self._trainer = trainer
        return trainer

    def _network(self, X: np.ndarray) -> nn.Module:
        if isinstance(self.module, nn.Module):
            return copy.deepcopy(self.module)
        features = int(np.prod(X.shape[1:]))
        if self.module is not None:
            found = self.module(features, self._outputs)
            if not isinstance(found, nn.Module):
                raise ArgumentError(f"module(...) must make an nn.Module, it made a {type(found).__name__}")
            return found
        if self.activation not in _ACTIVATIONS:
            raise ArgumentError(
                f"there is no activation {self.activation!r}. {nearest(self.activation, _ACTIVATIONS)}"
            )
        sizes = [features, *self.hidden_layer_sizes]
        layers: list[nn.Module] = []
        for inside, outside in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(inside, outside), _ACTIVATIONS[self.activation]()]
        out = nn.Sequential(*layers, nn.Linear(sizes[-1], self._outputs))
        return out.to(str(X.dtype))

    def _split(self, X: np.ndarray, targets: np.ndarray, weights: Any, seed: int) -> tuple[Any, Any]:
        """The data to train on, and those held out to stop by."""
        if not self.early_stopping:
            return (X, targets, weights), None
        from sklearn.model_selection import train_test_split

        order = np.arange(len(X))
        train, test = train_test_split(
            order,
            test_size=self.validation_fraction,
            random_state=seed % 2**32,
            stratify=self._strata(targets),
        )
        held_out: tuple[Any, ...] = (X[test], targets[test])
        if weights is None:
            return (X[train], targets[train], None), held_out
        if np.any(weights[test]):
            held_out = (*held_out, weights[test])
        return (X[train], targets[train], weights[train]), held_out

    def _strata(self, targets: np.ndarray) -> Any:
        return None

    def _options(self) -> dict[str, Any]:
        return {}

    @contextmanager
    def _seeded(self) -> Iterator[int]:
        """Draw what the fit draws from `random_state`, and leave Weft's generator as it was."""
        from sklearn.utils import check_random_state

        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        before = default_generator().state
        manual_seed(seed)
        try:
            yield seed
        finally:
            default_generator().state = before

    # -- data -----------------------------------------------------------------------------------------------

    def _checked(
        self, X: Any, y: Any, *, reset: bool, classes: Any, again: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """X and the targets, as scikit-learn's conventions have them."""
        raise NotImplementedError

    def _form(self) -> dict[str, Any]:
        """What X may be: of the perceptron floats in two dimensions, of modules anything numeric."""
        if self.module is None:
            return {"dtype": [np.float64, np.float32]}
        return {"dtype": "numeric", "allow_nd": True}

    def _weights(self, sample_weight: Any, X: np.ndarray) -> np.ndarray | None:
        if sample_weight is None:
            return None
        from sklearn.utils.validation import _check_sample_weight

        return _check_sample_weight(sample_weight, X, dtype=np.float64)

    def _predicted(self, X: Any) -> np.ndarray:
        """The module's outputs."""
        from sklearn.utils.validation import check_is_fitted, validate_data

        check_is_fitted(self, "module_")
        X = validate_data(self, X, reset=False, **self._form())
        trainer = self.__dict__.get("_trainer") or Trainer(self.module_, "mse")
        return trainer.predict(X).numpy()

    # -- copies ---------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        # Programs cannot be pickled; what the optimiser remembers can.
        state: dict[str, Any] = {**super().__getstate__()}  # type: ignore[misc]
        trainer = state.pop("_trainer", None)
        if trainer is not None and trainer.optimizer.bound:
            state["_trained"] = {"optimizer": trainer.optimizer.state_dict(), "epochs": trainer.epochs}
        return state

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_")


class Classifier(Estimator):
    """A network as a classifier of scikit-learn: `fit`, `predict`, `predict_proba`, `score`, `partial_fit`.

    Args:
        module: the network: an `nn.Module`, of which every `fit` trains a copy, or a function of (number of features,
            number of classes) that makes one. It gives one score (logit) for each class. None: a perceptron with the
            layers below.
        hidden_layer_sizes, activation: of that perceptron, which computes in the dtype of X: float64, or float32
            (which is quicker).
        loss: a function or module, or a name; "cross_entropy" by default.
        optimizer: a name, or a function without arguments that makes an optimiser.
        lr: the learning rate of an optimiser given by name; None: its own.
        epochs: at most so many.
        batch_size: samples in a batch; "auto": 200, or all where there are fewer.
        class_weight: how much the classes count: a dict {label: weight}, or "balanced".
        early_stopping: hold out `validation_fraction` of the data, stop when the loss on it has not become better for
            `n_iter_no_change` epochs, and go back to the best weights. Otherwise stop when the loss in training
            has not fallen by `tol` in so many epochs (tol=None: never).
        callbacks: of the `Trainer`; every fit takes copies.
        warm_start: `fit` goes on with the weights of the last one.
        random_state: an integer, a `numpy.random.RandomState`, or None.
        verbose: show the progress.

    `classes_` are the labels, `module_` is the network, `history_` holds the figures of every epoch, `loss_` the last
    loss in training, `n_epochs_` how many epochs there were.

    >>> from sklearn.datasets import load_iris
    >>> from weft.train import WeftClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = WeftClassifier(random_state=0, lr=0.01).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    """

    _loss = "cross_entropy"

    def __init__(
        self,
        module: Any = None,
        *,
        hidden_layer_sizes: Sequence[int] = (100,),
        activation: str = "relu",
        loss: Any = None,
        optimizer: Any = "adam",
        lr: float | None = 1e-3,
        epochs: int = 200,
        batch_size: int | str = "auto",
        class_weight: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float | None = 1e-4,
        callbacks: Sequence[Callback] = (),
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            module, hidden_layer_sizes=hidden_layer_sizes, activation=activation, loss=loss, optimizer=optimizer,
            lr=lr, epochs=epochs, batch_size=batch_size, early_stopping=early_stopping,
            validation_fraction=validation_fraction, n_iter_no_change=n_iter_no_change, tol=tol, callbacks=callbacks,
            warm_start=warm_start, random_state=random_state, verbose=verbose,
        )  # fmt: skip
        self.class_weight = class_weight

    def _checked(
        self, X: Any, y: Any, *, reset: bool, classes: Any, again: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.utils.multiclass import check_classification_targets
        from sklearn.utils.validation import column_or_1d, validate_data

        X, y = validate_data(self, X, y, reset=reset, **self._form())
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if not again:
            self.classes_ = np.unique(y if classes is None else classes)
            self._outputs = len(self.classes_)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ArgumentError(
                f"y has the classes {unknown.tolist()}, which were not there at first: {self.classes_.tolist()}; name "
                "all classes in the first call of partial_fit"
            )
        self._table = None
        if self.class_weight is not None:
            from sklearn.utils.class_weight import compute_class_weight

            found = np.unique(y)
            self._table = np.ones(len(self.classes_))
            known = compute_class_weight(self.class_weight, classes=found, y=y)
            self._table[np.searchsorted(self.classes_, found)] = known
        return X, np.searchsorted(self.classes_, y).astype(np.int64)

    def _strata(self, targets: np.ndarray) -> Any:
        return targets

    def _options(self) -> dict[str, Any]:
        return {} if self._table is None else {"class_weight": self._table}

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Train for one epoch on some of the data. `classes`: all labels there will be, in the first call."""
        return self._partial_fit(X, y, classes, sample_weight)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of every class, (n, classes)."""
        scores = self._predicted(X)
        scores = scores - scores.max(axis=1, keepdims=True)
        p = np.exp(scores, out=scores)
        return p / p.sum(axis=1, keepdims=True)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of the probability of every class, (n, classes)."""
        scores = self._predicted(X)
        scores = scores - scores.max(axis=1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest label of every sample."""
        scores = self._predicted(X)
        return self.classes_[scores.argmax(axis=1)]


class Regressor(Estimator):
    """A network as a regressor of scikit-learn: `fit`, `predict`, `score`, `partial_fit`.

    Its arguments are those of `WeftClassifier` but for `class_weight`; the loss is "mse" by default, and a module of
    one's own gives (n, outputs).

    >>> from weft.train import WeftRegressor
    >>> X = np.linspace(-1, 1, 100)[:, None]
    >>> model = WeftRegressor(random_state=0, lr=0.01).fit(X, X[:, 0] ** 2)
    >>> bool(model.score(X, X[:, 0] ** 2) > 0.95)
    True
    """

    def _checked(
        self, X: Any, y: Any, *, reset: bool, classes: Any, again: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.utils.validation import column_or_1d, validate_data

        X, y = validate_data(self, X, y, reset=reset, multi_output=True, y_numeric=True, **self._form())
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        targets = y.reshape(len(y), -1)
        if not again:
            self._outputs, self._flat = targets.shape[1], y.ndim == 1
        elif targets.shape[1] != self._outputs:
            raise ArgumentError(f"y has {targets.shape[1]} outputs, at first it had {self._outputs}")
        return X, targets.astype(X.dtype if X.dtype.kind == "f" else np.float32)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train for one epoch on some of the data."""
        return self._partial_fit(X, y, None, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """The predicted numbers, (n,), or (n, outputs) if y was so."""
        found = self._predicted(X)
        return found.reshape(len(found)) if self._flat else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.target_tags.multi_output = True
        return tags


@functools.cache
def made(name: str) -> type:
    """`WeftClassifier` or `WeftRegressor`, on scikit-learn's base classes."""
    try:
        from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    except ImportError:
        raise MissingExtraError(
            f"{name} needs scikit-learn; install it with: pip install 'weft[sklearn]'"
        ) from None
    own, mixin = (Classifier, ClassifierMixin) if name == "WeftClassifier" else (Regressor, RegressorMixin)
    # Pickles and documentation find the class under its public name.
    found = {"__doc__": own.__doc__, "__module__": "weft.train", "__qualname__": name}
    return type(name, (own, mixin, BaseEstimator), found)
