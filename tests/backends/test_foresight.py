"""Memory that a program will need is handed out beside its making, and what is written there meanwhile stays."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from weft.backends.cpu import foresight, memory
from weft.backends.cpu.foresight import foresee
from weft.backends.cpu.threads import touch_function

SIZE = 3 << 20


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    monkeypatch.setattr(foresight, "get_num_threads", lambda: 2)
    monkeypatch.setattr(memory, "POISONED", False)
    memory.trim()
    yield
    memory.trim()


def test_touched_memory_holds_what_it_held():
    held = np.random.default_rng(0).integers(0, 3, 5 * 4096 + 24, np.uint8)
    want = held.copy()
    touch_function()(held.ctypes.data, held.size)
    np.testing.assert_array_equal(held, want)
    touch_function()(held.ctypes.data, 0)


def test_blocks_are_idle_at_once_and_may_be_written_to():
    thread = foresee([SIZE, 100, SIZE, 2 * SIZE])
    assert thread is not None
    assert (memory.idle(SIZE), memory.idle(2 * SIZE), memory.idle(4096)) == (2, 1, 0)
    raw, address, _ = block = memory.take_block(SIZE)
    assert address % memory.ALIGNMENT == 0 and memory.idle(SIZE) == 1
    raw[:] = np.arange(len(raw), dtype=np.uint8)
    thread.join()
    np.testing.assert_array_equal(raw, np.arange(len(raw), dtype=np.uint8))
    memory.give_back(block)


def test_what_is_idle_counts():
    first = foresee([SIZE])
    assert first is not None
    first.join()
    assert foresee([SIZE]) is None
    assert foresee([SIZE, SIZE]) is not None and memory.idle(SIZE) == 2


@pytest.mark.parametrize("sizes", [[], [4096, 1000], [1 << 60], [foresight._MOST + 1]])
def test_little_memory_and_too_much_are_left_to_who_takes_it(sizes):
    assert foresee(sizes) is None


def test_not_more_than_so_much_in_all(monkeypatch):
    monkeypatch.setattr(foresight, "_MOST", 4 * SIZE)
    assert foresee([SIZE] * 9) is not None and memory.idle(SIZE) == 4


def test_one_thread_has_no_other_to_do_it(monkeypatch):
    monkeypatch.setattr(foresight, "get_num_threads", lambda: 1)
    assert foresee([SIZE]) is None and memory.idle(SIZE) == 0


def test_a_system_without_memory_is_noticed_by_who_takes_it(monkeypatch):
    def none_left(size):
        raise MemoryError

    monkeypatch.setattr(memory, "fresh", none_left)
    assert foresee([SIZE]) is None


def test_programs_find_their_memory_ready(monkeypatch):
    seen = []
    monkeypatch.setattr("weft.backends.cpu.program.foresee", lambda sizes: seen.extend(sizes))
    n = 1 << 18

    @wf.compile
    def step(x):
        y = wf.cumulative_sum(x)
        return wf.cumulative_sum(wf.sort(y) * 2.0), y

    with wf.config(backend="cpu"):
        step(wf.ones(n))[0].numpy()
    assert seen[-3:-1] == [4 * n, 4 * n] and seen[-1] >= 4 * n  # two results, and what lies between
