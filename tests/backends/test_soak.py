"""Very many steps: memory, open files and threads stay what they are."""

from __future__ import annotations

import gc
import os
import threading
import warnings

import numpy as np
import pytest

import weft as wf
from weft import nn, optim

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        not os.path.exists("/proc/self/statm"), reason="this system does not say how large a process is"
    ),
]

#: What may be added between the first look and the last, of what the allocator does: 21 bytes for each compiled step.
ALLOWED_KILOBYTES = 4096


def state() -> tuple[int, int, int]:
    """(kilobytes in memory, open files, threads)."""
    gc.collect()
    with open("/proc/self/statm") as f:
        pages = int(f.read().split()[1])
    return (
        pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
    )


@pytest.fixture
def compiled():
    before = wf.get_num_threads()
    wf.set_num_threads(2)
    with wf.config(backend="cpu"):
        yield
    wf.set_num_threads(before)


def regression():
    """A small model, its optimiser, and data."""
    wf.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)
    x = wf.tensor(rng.normal(size=(16, 4)).astype(np.float32))
    y = wf.tensor(rng.normal(size=(16, 1)).astype(np.float32))

    def step(x, y):
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step, x, y


def soak(step, x, y, warm, steps):
    first = step(x, y).item()
    for _ in range(warm):
        step(x, y)
    begin = state()
    seen = []
    for i in range(steps):
        loss = step(x, y)
        if i % (steps // 10) == 0:
            seen.append((loss.item(), *state()))
    last = loss.item()
    end = state()
    assert np.isfinite(last) and last < first
    assert end[0] - begin[0] < ALLOWED_KILOBYTES, (begin, seen, end)
    assert end[1:] == begin[1:], (begin, seen, end)


def test_compiled_steps(compiled):
    step, x, y = regression()
    soak(wf.compile(step), x, y, 5_000, 200_000)


def test_steps_that_are_not_compiled(compiled):
    step, x, y = regression()
    soak(step, x, y, 1_000, 20_000)


def test_steps_whose_loss_is_kept_and_looked_at(compiled):
    """What the user holds stays, and nothing else does."""
    step, x, y = regression()
    compiled_step = wf.compile(step)
    held = [compiled_step(x, y) for _ in range(100)]
    soak(
        lambda x, y: held.__setitem__(slice(None), [*held[1:], compiled_step(x, y)]) or held[-1],
        x,
        y,
        1_000,
        20_000,
    )


def test_shapes_that_keep_changing(compiled):
    """Programs that are not used any more go, with their code."""
    f = wf.compile(lambda x: wf.exp(x).sum(axis=0) * 2, max_programs=4)
    sizes = [3 + k % 40 for k in range(400)]

    def once():
        with warnings.catch_warnings():  # it is said once that the function is traced often
            warnings.simplefilter("ignore", RuntimeWarning)
            for n in sizes:
                f(wf.ones((n, n)))

    once()
    begin = state()
    for _ in range(3):
        once()
    end = state()
    assert end[0] - begin[0] < 3 * ALLOWED_KILOBYTES and end[1:] == begin[1:], (begin, end)
