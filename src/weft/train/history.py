"""What a training run leaves behind: the figures of every epoch, and their picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..base.checked import checked
from ..base.errors import ArgumentError, MissingExtraError, nearest


class History(Mapping[str, list[Any]]):
    """The figures of every epoch: `history["val_loss"][-1]`. Figures of the validation data begin with `val_`."""

    def __init__(self) -> None:
        self._figures: dict[str, list[Any]] = {}
        self.epochs: list[int] = []  #: the numbers of the epochs, from 1
        self.seconds: list[float] = []  #: how long each took
        self.stopped: str | None = None  #: why the run ended before its last epoch, if it did

    @property
    def history(self) -> dict[str, list[Any]]:
        """The figures as a plain dict."""
        return dict(self._figures)

    def append(self, epoch: int, figures: Mapping[str, Any], seconds: float) -> None:
        """Note the figures of one more epoch."""
        self.epochs.append(epoch)
        self.seconds.append(seconds)
        for name, value in figures.items():
            self._figures.setdefault(name, []).append(value)

    def best(self, name: str, mode: str = "auto") -> tuple[int, float]:
        """(epoch, value) where a figure was best. mode: "min", "max", or "auto": by the figure's name."""
        values = np.asarray(self[name], dtype=np.float64)
        if not np.any(np.isfinite(values)):
            raise ArgumentError(f"{name} was never a finite number")
        at = int(np.nanargmin(values) if better_is(name, mode) == "min" else np.nanargmax(values))
        return self.epochs[at], float(values[at])

    @checked
    def plot(self, path: str | Path | None = None) -> Any:
        """Curves over epochs, one panel for each figure, training and validation together; returns the Figure.

        With a `path` the picture is written there. Needs matplotlib: `pip install matplotlib`.
        """
        figure = pyplot("history.plot()").figure(figsize=(1, 1))
        panels = [n for n in self._figures if not n.startswith("val_") and _is_curve(self._figures[n])]
        figure.set_size_inches(max(4.5 * len(panels), 4.5), 3.4)
        for i, name in enumerate(panels):
            self.draw(figure.add_subplot(1, len(panels), i + 1), name)
        figure.tight_layout()
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure

    def draw(self, axes: Any, name: str) -> None:
        """Draw one figure, and its `val_` twin, on matplotlib axes."""
        for key, label, style in ((name, "training", "-"), (f"val_{name}", "validation", "--")):
            if key in self._figures:
                axes.plot(self.epochs, self._figures[key], style, label=label, marker="o", markersize=3)
        axes.set_xlabel("epoch")
        axes.set_title(name.replace("_", " "))
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if f"val_{name}" in self._figures:
            axes.legend()

    def state_dict(self) -> dict[str, Any]:
        """All figures, for a file."""
        figures = {name: list(values) for name, values in self._figures.items()}
        return {"figures": figures, "epochs": list(self.epochs), "seconds": list(self.seconds)}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._figures = {
            name: [v.numpy() if hasattr(v, "numpy") else v for v in values]
            for name, values in saved["figures"].items()
        }
        self.epochs, self.seconds = list(saved["epochs"]), list(saved["seconds"])

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self._figures:
            raise KeyError(f"the history has no figure {name!r}. {nearest(name, self._figures)}")
        return self._figures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)

    def __repr__(self) -> str:
        last = ", ".join(f"{k}={v[-1]:.4g}" for k, v in self._figures.items() if _is_curve(v))
        return f"<history of {len(self.epochs)} epochs: {last}>"


def _is_curve(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(v, (int, float)) for v in values)


_LARGE_IS_GOOD = ("accuracy", "precision", "recall", "f1", "r2", "auc")


def better_is(name: str, mode: str) -> str:
    """ "min" or "max": in which direction a figure improves."""
    if mode in ("min", "max"):
        return mode
    if mode != "auto":
        raise ArgumentError(f'mode must be "min", "max" or "auto", got {mode!r}')
    return "max" if name.endswith(_LARGE_IS_GOOD) else "min"


def pyplot(what: str) -> Any:
    """matplotlib.pyplot, or an error that says how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise MissingExtraError(f"{what} needs matplotlib; install it with: pip install matplotlib") from None
    return plt
