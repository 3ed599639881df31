"""The same program has the same code in every process, whatever the order of sets and dictionaries there."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import hashlib
import weft as wf
from weft import nn
from weft.inspect import kernels

wf.config.backend = "reference"  # nothing is compiled, only written
model = nn.Sequential(
    nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
    nn.MaxPool2d(3, 2, 1), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
    nn.Linear(1024, 40), nn.LayerNorm(40), nn.GELU(), nn.Linear(40, 10),
)

@wf.compile
def step(x, y):
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    return loss

step(wf.randn(8, 3, 16, 16), wf.randint(0, 10, (8,)))
for row in kernels(step).rows:
    print(row.name, hashlib.sha256((row.loops + row.llvm).encode()).hexdigest())
"""


def test_code_does_not_depend_on_the_seed_of_hashes():
    found = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert len(found[0].splitlines()) > 20
    assert found[0] == found[1]
