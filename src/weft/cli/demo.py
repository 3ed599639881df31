"""The demo: a network learns to read handwritten digits, from data to a picture of what it learnt."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn, optim
from ..arrays.random import manual_seed
from ..arrays.tensor import Tensor
from ..base.atomic import file_error
from ..base.errors import MissingExtraError, WeftError
from ..data import Dataset, digits, random_split
from ..formats import load, save
from ..metrics import ConfusionMatrix, Precision, Recall
from ..train import EarlyStopping, History, LearningRateSchedule, Trainer
from .architectures import architecture
from .picture import draw


@dataclass(frozen=True)
class DemoResult:
    """What the demo found."""

    accuracy: float  #: on the held-out digits
    precision: np.ndarray  #: of each digit
    recall: np.ndarray
    confusion: np.ndarray  #: row: the digit, column: what it was read as
    history: History
    model: nn.Module
    seconds: float
    weights: Path  #: the saved model
    picture: Path | None  #: None where matplotlib is missing


def demo(
    arch: str = "cnn",
    *,
    epochs: int | None = None,
    batch_size: int = 64,
    lr: float | None = None,
    seed: int = 0,
    output: str | Path = "weft-demo",
    progress: bool = True,
) -> DemoResult:
    """Train a network on scanned digits and show all that belongs to it.

    Trains with a validation part and early stopping, measures accuracy, precision and recall on digits that no
    training touched, saves the model, loads it into a new object, compares the predictions of the two, and draws a
    picture.

    Args:
        arch: "softmax", "mlp", "cnn", "lstm" or "transformer".
        epochs: at most; by default what suits the architecture.
        output: the folder for the saved model and the picture.
        seed: fixes the first weights, the order of the samples and the dropout.
    """
    make, usual_epochs, usual_lr = architecture(arch)
    epochs, lr = epochs or usual_epochs, usual_lr if lr is None else lr
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise file_error("make the folder", folder, e) from None
    manual_seed(seed)
    began = time.perf_counter()

    everything, test = digits()
    train, validation = random_split(everything, [0.85, 0.15], seed=seed)
    print(
        f"{len(train)} digits to learn from, {len(validation)} for validation, {len(test)} held out for the test"
    )

    model = make()
    trainer = Trainer(model, "cross_entropy", optim.AdamW(lr=lr), metrics=["accuracy"])
    stopping = EarlyStopping("val_loss", patience=12)
    schedule = LearningRateSchedule(make=lambda o: optim.CosineAnnealingLR(o, epochs, eta_min=lr / 100))
    history = trainer.fit(
        train, epochs=epochs, batch_size=batch_size, validation_data=validation,
        callbacks=[stopping, schedule], seed=seed, progress=progress,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    count = len(history.epochs)
    print(
        f"trained for {count} epoch{'s' * (count != 1)} in {seconds:.1f} s; best was epoch {stopping.best_epoch}"
    )

    accuracy, precision, recall, confusion = _measure(trainer, test)
    _print_table(accuracy, precision, recall, confusion)
    weights = folder / f"{arch}.safetensors"
    _save_and_reload(trainer, make, test, weights)
    picture: Path | None = folder / f"{arch}.png"
    try:
        draw(
            picture,
            history,
            confusion,
            test,
            _labels(trainer.predict(test)),
            f"{arch}: {accuracy:.2%} of the test",
        )
        print(f"picture: {picture}")
    except MissingExtraError as e:
        picture = None
        print(f"no picture: {e}")
    return DemoResult(accuracy, precision, recall, confusion, history, model, seconds, weights, picture)


def _measure(trainer: Trainer, test: Dataset) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    judge = Trainer(
        trainer.model, trainer.loss, trainer.optimizer,
        metrics=["accuracy", Precision(None), Recall(None), ConfusionMatrix()],
    )  # fmt: skip
    found = judge.evaluate(test)
    return found["accuracy"], found["precision"], found["recall"], found["confusion_matrix"]


def _print_table(accuracy: float, precision: np.ndarray, recall: np.ndarray, confusion: np.ndarray) -> None:
    print("\ndigit  precision  recall  scans")
    for digit, (p, r, n) in enumerate(zip(precision, recall, confusion.sum(1), strict=True)):
        print(f"{digit:5}  {p:9.3f}  {r:6.3f}  {n:5}")
    print(f"\ntest accuracy: {accuracy:.2%} ({np.trace(confusion)} of {confusion.sum()} digits)")


def _labels(scores: Tensor) -> np.ndarray:
    return scores.numpy().argmax(1)


def _save_and_reload(trainer: Trainer, make: Any, test: Dataset, path: Path) -> None:
    """Save the model, load it into a new object, and compare the two bit by bit."""
    save(trainer.model, path)
    other = Trainer(make(), trainer.loss)
    other.model.load_state_dict(load(path))
    before, after = trainer.predict(test).numpy(), other.predict(test).numpy()
    if before.tobytes() != after.tobytes():
        raise WeftError("the model that was loaded predicts something else than the one that was saved")
    print(
        f"saved to {path} ({path.stat().st_size:,} bytes); a new model with these weights predicts the same, bit by bit"
    )
