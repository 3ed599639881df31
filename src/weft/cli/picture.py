"""The picture of the demo: curves, confusion matrix, and some digits with what they were read as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..data import TensorDataset
from ..train.history import History, pyplot

_SHOWN = 24


def draw(
    path: Path,
    history: History,
    confusion: np.ndarray,
    test: TensorDataset,
    predicted: np.ndarray,
    title: str,
) -> None:
    """Write the picture to `path`. Needs matplotlib."""
    plt = pyplot("the picture")
    figure = plt.figure(figsize=(13, 7.2), layout="constrained")
    figure.suptitle(title, fontsize=14)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.25, 1))
    loss, accuracy, matrix = top.subplots(1, 3)
    history.draw(loss, "loss")
    loss.set_yscale("log")
    history.draw(accuracy, "accuracy")
    _draw_matrix(matrix, confusion)
    images, labels = test.arrays
    _draw_digits(bottom, images, labels, predicted)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_matrix(axes: Any, confusion: np.ndarray) -> None:
    axes.imshow(confusion, cmap="Blues", vmin=0, vmax=max(int(confusion.max()), 1))
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            light = count > confusion.max() / 2
            axes.text(
                column, row, str(count), ha="center", va="center", fontsize=8, color="w" if light else "k"
            )
    axes.set_title("confusion matrix of the test")
    axes.set_xlabel("read as")
    axes.set_ylabel("digit")
    axes.set_xticks(range(len(confusion)))
    axes.set_yticks(range(len(confusion)))


def _draw_digits(figure: Any, images: np.ndarray, labels: np.ndarray, predicted: np.ndarray) -> None:
    """All mistakes first, as far as there is room, then others."""
    order = np.argsort(predicted == labels, kind="stable")[:_SHOWN]
    figure.suptitle("some digits of the test: read as (in red: wrong, and what it is)", fontsize=11)
    for axes, i in zip(figure.subplots(2, _SHOWN // 2).ravel(), order, strict=False):
        wrong = predicted[i] != labels[i]
        axes.imshow(images[i, 0], cmap="gray_r", vmin=0, vmax=1)
        text = f"{predicted[i]} ({labels[i]})" if wrong else str(predicted[i])
        axes.set_title(text, fontsize=10, color="crimson" if wrong else "black")
        axes.axis("off")
