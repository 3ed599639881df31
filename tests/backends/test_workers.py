"""Helper processes: the same code, and whatever happens to a helper, the work is done and nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import cache

import pytest

from weft.backends.cpu import compiling, workers
from weft.backends.cpu.instructions import FloatType, Function, FunctionType, IRBuilder, Module
from weft.backends.cpu.jit import compiler
from weft.backends.cpu.processor import host_target
from weft.backends.cpu.workers import Job, compile_all

TARGET = host_target()
OBJECT_CODE = compiling.Compiler.object_code


def job(n: int) -> Job:
    """A function of n additions."""
    module = Module("test")
    f = Function(module, FunctionType(FloatType(), [FloatType()]), f"f{n}")
    b = IRBuilder(f.append_basic_block())
    x = f.args[0]
    for _ in range(n):
        x = b.fadd(x, f.args[0])
    b.ret(x)
    return Job(f"f{n}", str(module), (compiling.WRITTEN, compiling.LOOPS, compiling.ONCE)[n % 3])


JOBS = [job(n) for n in range(1, 30)]


@pytest.fixture
def helpers(monkeypatch):
    """Two helpers for any batch; the list of all that were started."""
    started = []
    start = subprocess.Popen

    def popen(*args, **kwargs):
        started.append(start(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(workers, "_WORTH", 1)
    monkeypatch.setattr(workers, "get_num_threads", lambda: 3)
    monkeypatch.setattr(workers.subprocess, "Popen", popen)
    return started


@pytest.fixture
def slowly(monkeypatch):
    """This process compiles so slowly that helpers get their share."""
    make = compiling.Compiler.object_code

    def slow(self, *args):
        time.sleep(0.05)
        return make(self, *args)

    monkeypatch.setattr(compiling.Compiler, "object_code", slow)


def ended(helpers):
    return all(h.returncode is not None and h.stdin.closed and h.stdout.closed for h in helpers)


@cache
def wanted():
    make = compiler(TARGET)
    return {j.key: OBJECT_CODE(make, j.text, j.effort) for j in JOBS}


def test_helpers_make_the_same_code(helpers, slowly, monkeypatch):
    own = []
    make = compiling.Compiler.object_code
    monkeypatch.setattr(compiling.Compiler, "object_code", lambda self, *a: own.append(1) or make(self, *a))
    done = compile_all(JOBS, TARGET)
    assert len(own) < len(JOBS)  # helpers had their share
    assert done == wanted()
    assert len(helpers) == 2 and ended(helpers)


def test_small_batches_need_none(monkeypatch):
    monkeypatch.setattr(workers.subprocess, "Popen", lambda *a, **k: pytest.fail("started a helper"))
    assert compile_all(JOBS[:3], TARGET).keys() == {j.key for j in JOBS[:3]}
    assert compile_all([], TARGET) == {}


BROKEN = {
    "dies at once": "",
    "answers and dies": "import sys; sys.stdin.buffer.read(6); sys.stdout.buffer.write(bytes(4))",
    "dies in the middle": "import sys; sys.stdin.buffer.read(6); sys.stdout.buffer.write(bytes([9, 0, 0, 0, 1]))",
    "is killed": "import os, signal, time; time.sleep(0.3); os.kill(os.getpid(), signal.SIGTERM)",
    "closes its input": "import os, time; os.close(0); time.sleep(30)",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_helper_that_fails_is_replaced(helpers, slowly, monkeypatch, tmp_path, what):
    script = tmp_path / "helper.py"
    script.write_text(BROKEN[what])
    monkeypatch.setattr(compiling, "__file__", str(script))
    monkeypatch.setattr(workers, "_PATIENCE", 1.0)
    assert compile_all(JOBS, TARGET) == wanted()
    assert len(helpers) == 2 and ended(helpers)


def test_without_a_python_to_start(monkeypatch, helpers):
    monkeypatch.setattr(sys, "executable", "/usr/bin/true")
    assert compile_all(JOBS, TARGET) == wanted()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert compile_all(JOBS, TARGET) == wanted()
    assert helpers == []


def test_an_interrupt_leaves_nobody(helpers, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(compiling.Compiler, "object_code", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compile_all(JOBS, TARGET)
    assert len(helpers) == 2 and ended(helpers)


def test_code_that_cannot_be_compiled_raises_here(helpers):
    with pytest.raises(RuntimeError, match="expected"):
        compile_all([*JOBS, Job("wrong", "define nonsense " * 100, compiling.LOOPS)], TARGET)
    assert ended(helpers)


SCRIPT = """
import os, subprocess, sys, time
import numpy as np
import weft as wf
from weft.backends.cpu import workers
print("begun", flush=True)
workers._WORTH = 1
workers.get_num_threads = lambda: 2
start = subprocess.Popen
def popen(*args, **kwargs):
    made = start(*args, **kwargs)
    print(made.pid, flush=True)
    return made
subprocess.Popen = popen
if "stay" in sys.argv:
    workers._Batch._take_all = lambda self: time.sleep(60)
x = wf.tensor(np.ones((9, 5), np.float32))
print(float(wf.sum(wf.exp(x @ x.T) + 1) + wf.max(wf.tanh(x))), flush=True)
"""


def start(tmp_path, *arguments):
    script = tmp_path / "unguarded.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "WEFT_BACKEND": "cpu", "WEFT_CACHE": "0"}
    return subprocess.Popen(
        [sys.executable, str(script), *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )


def test_a_script_without_a_guard_runs_once(tmp_path):
    out, _ = start(tmp_path).communicate(timeout=120)
    first, *pids, result = out.split()
    assert first == "begun" and pids and out.count("begun") == 1
    assert float(result) == pytest.approx(
        81 * (1 + float.fromhex("0x1.28d389970338fp+7")) + 0.761594, rel=1e-5
    )
    assert not any(_is_alive(int(p)) for p in pids)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="processes are looked up in /proc")
def test_helpers_end_when_their_process_is_killed(tmp_path):
    process = start(tmp_path, "stay")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    pid = int(process.stdout.readline())
    assert _is_alive(pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    end = time.monotonic() + 30
    while _is_alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
