"""Progress of a run: a bar for each epoch in a terminal or notebook, a line for each epoch elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from .callbacks import Callback

if TYPE_CHECKING:
    from .trainer import Trainer

#: Seconds between two looks at the running loss: looking makes the device catch up.
_LOOK_EVERY = 0.5
#: A short bar, so that the figures have room.
_FORMAT = "{desc} {bar:16} {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


class Progress:
    """The display of one pass over the data."""

    def __init__(self, show: bool, title: str, total: int | None) -> None:
        self.lines = show and not (_in_terminal() or _in_notebook())
        self.title = title
        self.bar = None
        self._looked = time.monotonic()
        if show and not self.lines:
            self.bar = tqdm(total=total, desc=title, leave=True, dynamic_ncols=True, bar_format=_FORMAT)

    def step(self, figures: Callable[[], Mapping[str, Any]], done: int) -> None:
        """`done` batches are done; `figures()` is asked for now and then."""
        if self.bar is None:
            return
        now = time.monotonic()
        if now - self._looked > _LOOK_EVERY:
            self._looked = now
            self.bar.set_postfix_str(show_figures(figures()), refresh=False)
        self.bar.update(done - self.bar.n)

    def close(self, figures: Mapping[str, Any], seconds: float) -> None:
        """The pass is over."""
        if self.bar is not None:
            self.bar.set_postfix_str(show_figures(figures), refresh=True)
            self.bar.close()
        elif self.lines:
            print(f"{self.title}: {show_figures(figures)} ({seconds:.1f} s)", file=sys.stderr, flush=True)

    def abandon(self) -> None:
        """The pass was broken off."""
        if self.bar is not None:
            self.bar.close()


class ProgressBar(Callback):
    """Show how far an epoch is and its running loss, and its figures at the end. `fit` adds one unless told not to."""

    def __init__(self) -> None:
        self._shown: Progress | None = None
        self._began = 0.0

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        title = f"epoch {epoch}/{trainer.last_epoch}"
        self._shown, self._began = Progress(True, title, trainer.batches_per_epoch), time.perf_counter()

    def on_batch_end(self, trainer: Trainer, batch: int, loss: Any) -> None:
        if self._shown is not None:
            self._shown.step(trainer.running_figures, batch)

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: dict[str, Any]) -> None:
        if self._shown is not None:
            self._shown.close(figures, time.perf_counter() - self._began)
            self._shown = None

    def on_fit_end(self, trainer: Trainer) -> None:
        if self._shown is not None:
            self._shown.abandon()
            self._shown = None


def show_figures(figures: Mapping[str, Any]) -> str:
    """`loss=0.1234, accuracy=0.98`; arrays are left out."""
    return ", ".join(f"{k}={v:.4g}" for k, v in figures.items() if isinstance(v, (int, float)))


def _in_terminal() -> bool:
    """Whether stderr is a terminal on which a bar has a width; some recorded sessions have none."""
    if not sys.stderr.isatty():
        return False
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        return False


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules
