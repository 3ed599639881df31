"""`ModelCheckpoint`: the model, or the whole run, in a file that is replaced whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import string
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.atomic import file_error
from ..base.errors import ArgumentError
from ..formats import save
from ..optim.group import is_number
from .callbacks import Monitor

if TYPE_CHECKING:
    from .trainer import Trainer

#: Seconds after which a part of a file that nobody has finished is taken to be nobody's.
_ABANDONED = 60.0


class ModelCheckpoint(Monitor):
    """Write the model's state, or the run's, to a file.

    The file is replaced whole or not at all: a process that is killed, or a disk that is full, leaves the old one.
    `{epoch}` and the names of figures in the path are filled in:
    `ModelCheckpoint("run/{epoch:03d}-{val_loss:.3f}.safetensors", best_only=False)`.

    Args:
        path: where to; folders are made.
        monitor: the figure that `best_only` follows.
        best_only: write only when the figure is better than ever before. The default: yes for a model written
            after epochs, no for the state of a run and for writing after batches.
        whole: write all that the run needs to go on, not the model alone: `trainer.fit(..., resume=path)` then gives
            the bits of a run that was never interrupted. Else load the file with
            `model.load_state_dict(weft.load(path))`.
        every: "epoch", or a number of batches.
        keep: how many files stay, where the path gives each its own name; older ones are deleted.
    """

    needed = False

    def __init__(
        self,
        path: str | Path,
        monitor: str = "val_loss",
        *,
        best_only: bool | None = None,
        mode: str = "auto",
        min_delta: float = 0.0,
        whole: bool = False,
        every: str | int = "epoch",
        keep: int | None = None,
    ) -> None:
        super().__init__(monitor, mode=mode, min_delta=min_delta)
        if every != "epoch" and not (is_number(every) and every == int(every) and int(every) >= 1):
            raise ArgumentError(f'every must be "epoch" or a number of batches, got {every!r}')
        if best_only and every != "epoch":
            raise ArgumentError('best_only follows the figures of epochs; it needs every="epoch"')
        if keep is not None and not (is_number(keep) and keep == int(keep) and keep >= 1):
            raise ArgumentError(f"keep must be a positive integer or None, got {keep!r}")
        self.path = str(path)
        self.best_only = best_only if best_only is not None else not whole and every == "epoch"
        self.whole = whole
        self.every = None if every == "epoch" else int(every)  #: batches; None for epochs
        self.keep = keep
        self.written: str | None = None  #: the file written last
        self._files: list[str] = []

    def on_fit_begin(self, trainer: Trainer) -> None:
        if self.best_only:
            super().on_fit_begin(trainer)
        known = {"epoch": 1, "batch": 1}
        if self.every is None:
            known |= dict.fromkeys(trainer.figure_names, 0.0)
        try:
            self.path.format(**known)
        except (KeyError, IndexError, ValueError) as e:
            raise ArgumentError(f"the checkpoint's path {self.path!r} cannot be filled in: {e!r}") from None
        self._clear_away()

    def _clear_away(self) -> None:
        """Delete what processes left that were killed while they wrote: parts of files, of which nothing is known."""
        folder, base = os.path.split(self.path)
        if "{" in base:
            return
        for part in glob.glob(
            os.path.join(glob.escape(folder), f".{glob.escape(base[:64])}.{'?' * 12}.part")
        ):
            with contextlib.suppress(OSError):
                if time.time() - os.stat(part).st_mtime > _ABANDONED:
                    os.unlink(part)

    def on_batch_end(self, trainer: Trainer, batch: int, loss: Any) -> None:
        if self.every is not None and trainer.batches % self.every == 0:
            trainer.when_settled(lambda: self._write(trainer, {"epoch": trainer.epochs + 1, "batch": batch}))

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: dict[str, Any]) -> None:
        if self.every is None and (not self.best_only or self.improved(epoch, figures)):
            batch = trainer.batch
            trainer.when_settled(lambda: self._write(trainer, {**figures, "epoch": epoch, "batch": batch}))

    def _write(self, trainer: Trainer, names: Mapping[str, Any]) -> None:
        path = self.path.format(**names)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise file_error("make the folder of", path, e) from None
        before = self._files
        self._files = [*[f for f in before if f != path], path]
        outdated = self._files[: -self.keep] if self.keep is not None else []
        self._files = self._files[len(outdated) :]
        try:
            save(trainer if self.whole else trainer.model, path)
        except BaseException:
            self._files = before
            raise
        self.written = path
        for old in outdated:  # after the new one is safe on the disk
            with contextlib.suppress(OSError):
                os.unlink(old)

    def newest(self) -> str | None:
        """The file from which a run can go on: the path, or of those that its pattern gives the newest; else None."""
        fields = [(text, name) for text, name, _, _ in string.Formatter().parse(self.path)]
        if all(name is None for _, name in fields):
            path = self.path.format()
            return path if os.path.exists(path) else None
        pattern = "".join(glob.escape(text) + ("" if name is None else "*") for text, name in fields)
        found = [f for f in glob.glob(pattern) if os.path.isfile(f)]
        return max(found, key=lambda f: (os.stat(f).st_mtime_ns, f), default=None)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "files": list(self._files)}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        super().load_state_dict(saved)
        self._files = list(saved["files"])
