"""`TensorBoard`: figures as curves that TensorBoard draws while the run goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import ArgumentError
from .callbacks import Callback
from .events import EventFile, restart_event

if TYPE_CHECKING:
    from .trainer import Trainer


class TensorBoard(Callback):
    """Write the figures of every epoch for TensorBoard; nothing needs to be installed for that.

    Training and validation go to the folders `train` and `validation` under the same names, so that they share a
    picture: `tensorboard --logdir runs`. A run that is resumed writes a new file that takes the place of what was
    written after the point where it goes on.

    Args:
        folder: where to; one for each run.
        every: also write the loss of every so many batches, as `batch_loss` over the batches of the run. This looks at
            the loss.
    """

    def __init__(self, folder: str | Path, *, every: int | None = None) -> None:
        if every is not None and (not hasattr(every, "__index__") or every < 1):
            raise ArgumentError(f"every must be a positive integer or None, got {every!r}")
        self.folder = Path(folder)
        self.every = every
        self._files: dict[str, EventFile] = {}

    def on_fit_begin(self, trainer: Trainer) -> None:
        self._close()

    def on_batch_end(self, trainer: Trainer, batch: int, loss: Any) -> None:
        if self.every is not None and trainer.batches % self.every == 0:
            self._file("batches", trainer.batches).scalars(trainer.batches, {"batch_loss": loss.item()})

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: dict[str, Any]) -> None:
        sorted_out: dict[str, dict[str, float]] = {"train": {}, "validation": {}}
        for name, value in figures.items():
            if isinstance(value, (int, float)):
                held_out = name.startswith("val_")
                sorted_out["validation" if held_out else "train"][name.removeprefix("val_")] = value
        for where, found in sorted_out.items():
            if found:
                self._file(where, epoch).scalars(epoch, found)

    def on_fit_end(self, trainer: Trainer) -> None:
        self._close()

    def _file(self, name: str, step: int) -> EventFile:
        if name not in self._files:
            self._files[name] = EventFile(self.folder / name)
            # A file is new at the beginning, where there is nothing to drop, and when a run goes on.
            self._files[name].write(restart_event(time.time(), step))
        return self._files[name]

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
