"""What the tests of workers share: types that worker processes find by name, datasets, and looks at processes."""

from __future__ import annotations

import collections
import os
import time
from pathlib import Path

import numpy as np

from weft.arrays.tensor import Tensor
from weft.data import Dataset, item_rng

Pair = collections.namedtuple("Pair", "x y")


class Sums(Dataset):
    """Samples that draw random numbers in three ways."""

    def __init__(self, n=11):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        import random

        return {"i": i, "mine": item_rng().uniform()}, (random.random(), np.random.rand()), f"n{i}"  # noqa: NPY002


class Broken(Dataset):
    """Does something bad at sample 5."""

    def __init__(self, how):
        self.how = how

    def __len__(self):
        return 12

    def __getitem__(self, i):
        if i == 5:
            self.how()
        return i


def raising():
    raise KeyError("no such thing")


def plain(batch):
    """A batch as nested lists."""
    if isinstance(batch, Tensor):
        return batch.tolist()
    if isinstance(batch, dict):
        return {k: plain(v) for k, v in batch.items()}
    return [plain(v) for v in batch] if isinstance(batch, (tuple, list)) else batch


def children(pid=None):
    """Processes that are weft workers of this one and still run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parts = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parts[1]) == (pid or os.getpid()) and parts[0] != "Z" and b"weft.data.worker" in command:
            found.append(int(entry.name))
    return found


def gone(pid, seconds=20.0):
    """Whether a process ends in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False
