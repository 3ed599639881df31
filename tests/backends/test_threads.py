"""Programs on several threads: the same bits for any number, under contention, and from several callers at once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import weft.ops  # noqa: F401
from weft.backends.cpu import threads as pool_threads
from weft.backends.cpu.backend import CpuBackend
from weft.base.errors import ArgumentError
from weft.ir.dtype import float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.ops.elementwise import exp, tanh
from weft.ops.movement import permute
from weft.ops.reduce import sum_
from weft.runtime import threads
from weft.runtime.buffer import Buffer


@pytest.fixture(autouse=True)
def _restore():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


def program():
    def f(x, w):
        h = tanh(x @ w)
        e = exp(h)
        return e / sum_(e, axes=(0,)), sum_(h * h, axes=(0, 1)), h @ permute(h, axes=(1, 0))

    return CpuBackend().compile(trace_graph(f, (Aval((200, 200), float32), Aval((200, 200), float32))))


def inputs():
    rng = np.random.default_rng(0)
    return [Buffer(rng.normal(size=(200, 200)).astype(np.float32)) for _ in range(2)]


def bits(made, args):
    return [b.array.tobytes() for b in made.run(args)]


def test_the_bits_do_not_depend_on_the_number_of_threads():
    made, args = program(), inputs()
    found = []
    for count in (1, 2, 3, 4, 8):
        threads.set_num_threads(count)
        found += [bits(made, args) for _ in range(20)]
    assert all(f == found[0] for f in found)


def test_workers_have_the_scratch_memory_that_a_program_needs(monkeypatch):
    made, args = program(), inputs()
    assert made.scratch_bytes > 4096
    threads.set_num_threads(1)
    want = bits(made, args)
    monkeypatch.setattr(pool_threads, "_SCRATCH", 4096)
    threads.set_num_threads(5)
    small = pool_threads.pool()
    assert small is not None and small.scratch == 4096
    assert all(bits(made, args) == want for _ in range(20))
    large = pool_threads.pool()
    assert large is not None and large is not small and large.scratch == made.scratch_bytes
    threads.set_num_threads(1)
    pool_threads.pool()  # that of five is not for other tests


def test_where_threads_cannot_be_woken_they_nap(monkeypatch):
    """As on systems without futexes: the same bits, and idle threads leave the processors alone."""
    made, args = program(), inputs()
    want = bits(made, args)
    monkeypatch.setattr(pool_threads, "sleep_calls", lambda: None)
    threads.set_num_threads(5)
    try:
        assert all(bits(made, args) == want for _ in range(20))
        time.sleep(0.05)
        began = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - began < 0.12
        assert bits(made, args) == want
    finally:
        threads.set_num_threads(2)
        bits(made, args)  # the napping threads leave


def test_a_system_that_allows_no_more_threads(monkeypatch):
    made, args = program(), inputs()
    want = bits(made, args)
    started = []
    start = threading.Thread.start

    def refuse(thread):
        if len(started) == 1:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads.set_num_threads(6)
    assert bits(made, args) == want
    assert len(started) == 1


def test_several_callers_at_once():
    threads.set_num_threads(3)
    made, args = program(), inputs()
    want = bits(made, args)
    wrong = []

    def call():
        for _ in range(30):
            if bits(made, args) != want:
                wrong.append(1)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for c in callers:
        c.start()
    for c in callers:
        c.join()
    assert not wrong


def test_the_number_of_threads_is_checked():
    for bad in (0, -1, 1.5, "two", True, 10**6):
        with pytest.raises(ArgumentError, match="positive integer"):
            threads.set_num_threads(bad)


def test_a_forked_child_and_the_end_of_the_process_are_safe():
    code = """
import os, sys
sys.path.insert(0, {tests!r})
from test_threads import bits, inputs, program, threads
threads.set_num_threads(2)
made, args = program(), inputs()
want = bits(made, args)
child = os.fork()
if child == 0:
    os._exit(0 if bits(made, args) == want else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert bits(made, args) == want
print("fine")
"""
    here = str(__import__("pathlib").Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code.format(tests=here)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip() == "fine", done.stderr
