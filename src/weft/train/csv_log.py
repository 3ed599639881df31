"""`CSVLogger`: the figures of every epoch as a line of a file."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.atomic import file_error, replacing
from .callbacks import Callback

if TYPE_CHECKING:
    from .trainer import Trainer


class CSVLogger(Callback):
    """Write the figures of every epoch as a line of a CSV file.

    The columns are the figures of the first epoch that are numbers. A run that is resumed keeps the lines of its
    epochs up to where it goes on, and drops those that it will write again.
    """

    needed = False

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._rows: list[dict[str, Any]] = []
        self._fresh = True

    def on_fit_begin(self, trainer: Trainer) -> None:
        self._rows, self._fresh = [], True

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: dict[str, Any]) -> None:
        row = {"epoch": epoch, **{k: v for k, v in figures.items() if isinstance(v, (int, float))}}
        self._rows.append(row)
        if self._fresh:
            with replacing(self.path) as file:
                file.write(self._lines(self._rows, header=True).encode())
            self._fresh = False
            return
        before = None
        try:
            with self.path.open("a", newline="") as file:
                before = file.tell()
                file.write(self._lines([row], header=False))
        except OSError as e:
            if before is not None:
                with contextlib.suppress(OSError):
                    os.truncate(self.path, before)  # no half of a line
            raise file_error("write", os.fspath(self.path), e) from None

    def _lines(self, rows: list[dict[str, Any]], header: bool) -> str:
        out = io.StringIO()
        writer = csv.DictWriter(out, list(self._rows[0]), extrasaction="ignore", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()

    def state_dict(self) -> dict[str, Any]:
        return {"rows": [dict(r) for r in self._rows]}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self._rows = [dict(r) for r in saved["rows"]]
        self._fresh = True  # what stands there may be of epochs that come again: written anew, whole
