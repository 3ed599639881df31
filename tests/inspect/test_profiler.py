"""Profiles: what ran, for how long, how much work it was, and where the user asked for it."""

from __future__ import annotations

import json
import threading
from weakref import WeakValueDictionary

import numpy as np
import pytest

import weft as wf
from weft import nn, optim
from weft.backends.cpu import library, watch
from weft.backends.cpu import threads as pool_threads
from weft.backends.cpu.peak import memory_speeds, peak
from weft.backends.cpu.processor import host_target
from weft.base.errors import FileError, StateError
from weft.runtime import profile as recording

BACKENDS = ["cpu", "reference"]


@pytest.fixture(params=BACKENDS)
def backend(request):
    with wf.config(backend=request.param):
        yield request.param


class Training:
    """A small model, its optimiser and a step."""

    def __init__(self):
        wf.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 10))
        self.optimizer = optim.SGD(self.model.parameters(), lr=0.1)
        rng = np.random.default_rng(0)
        self.x = wf.tensor(rng.normal(size=(16, 40)).astype(np.float32))
        self.y = wf.tensor(rng.integers(0, 10, 16))

    def step(self, x, y):
        loss = nn.functional.cross_entropy(self.model(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def bits(self):
        return [p.numpy().tobytes() for p in self.model.parameters()]


def named(p, name):
    return [r for r in p.rows if name in r.names and r.kind in ("kernel", "node")]


def test_work_of_one_line_that_differs_has_rows_of_its_own(backend):
    """Products of one line with results of one shape, whose sums are of different lengths."""
    w = wf.ones((64, 16))
    with wf.profile() as p:
        for k in (16, 64):
            (wf.ones((8, k)) @ w[:k]).numpy()
    found = {r.flops: r.calls for r in named(p, "dot_general") or named(p, "matmul")}
    assert found == {2 * 8 * 16 * k: 1 for k in (16, 64)}


def test_a_compiled_step(backend):
    t = Training()
    step = wf.compile(t.step)
    step(t.x, t.y)
    with wf.profile() as p:
        for _ in range(3):
            step(t.x, t.y)
    linear = named(p, "linear")
    assert {r.detail for r in linear} == {"f32[16,30]", "f32[16,10]"}
    (first,) = [r for r in linear if r.detail == "f32[16,30]"]
    fused = backend == "cpu"  # the relu with its linear; the others count each primitive's own operands
    assert first.calls == 3 and first.flops == 2 * 16 * 30 * 40 + (3 if fused else 1) * 16 * 30
    if fused:
        assert first.names == ("linear", "relu")
        assert first.bytes == 4 * (16 * 40 + 30 * 40 + 30 + 16 * 30)
    assert len(first.lines) == 1 and "test_profiler.py:" in first.lines[0] and "in step" in first.lines[0]
    assert named(p, "cross_entropy") and named(p, "linear.vjp") and named(p, "sgd_step")
    assert all(r.seconds >= 0 and r.calls % 3 == 0 for r in p.rows)
    (running,) = [r for r in p.rows if r.kind == "program"]
    assert running.calls == 3 and running.names == ("step",)
    assert sum(r.seconds for r in p.rows) <= p.seconds * 1.001


def test_an_uncompiled_step_and_the_making_of_programs(backend):
    t = Training()
    with wf.profile() as p:
        t.step(t.x * 1.25, t.y).item()
    assert named(p, "linear") and named(p, "linear.vjp")
    making = [r for r in p.rows if r.kind == "compile"]
    assert making and all(r.seconds > 0 for r in making)
    assert all("test_profiler.py" in line for r in named(p, "linear") for line in r.lines)


def test_the_time_that_code_takes_to_be_found_or_compiled(monkeypatch):
    monkeypatch.setattr(library, "_loaded", WeakValueDictionary())  # this process has none yet
    with wf.config(backend="cpu"), wf.profile() as p:
        wf.exp(wf.tensor(np.ones((7, 5), np.float32)) * 1.5).sum().item()
    (row,) = [r for r in p.rows if r.names == ("kernels",)]
    assert row.kind == "compile" and row.seconds > 0 and row.calls >= 1


def test_results_are_the_same_and_nothing_is_measured_when_off(backend, monkeypatch):
    found = []
    for on in (False, True, False):
        t = Training()
        step = wf.compile(t.step)
        if on:
            with wf.profile():
                losses = [step(t.x, t.y).item() for _ in range(3)]
        else:
            with monkeypatch.context() as patch:
                patch.setattr(recording.Recorder, "count", None)
                patch.setattr(watch, "Watched", None)
                losses = [step(t.x, t.y).item() for _ in range(3)]
        found.append((losses, t.bits()))
    assert found[0] == found[1] == found[2]


def test_a_loop_is_not_counted_twice(backend):
    x = wf.tensor(np.ones((6, 50), np.float32))
    f = wf.compile(lambda x: wf.scan(lambda c, v: (wf.tanh(c + v), c.sum()), wf.zeros(50), x))
    f(x)
    with wf.profile() as p:
        f(x)
    total = sum(r.seconds for r in p.rows)
    assert 0 < total <= p.seconds * 1.001
    assert all(r.seconds >= 0 for r in p.rows)
    if backend == "cpu":
        (inside,) = [r for r in p.rows if r.names[0] == "scan: add"]
        assert "tanh" in inside.names and inside.calls == 6 and inside.flops == 2 * 50
        assert "test_profiler.py" in inside.lines[0]


def test_a_program_that_lets_python_look_up_between_units(monkeypatch):
    monkeypatch.setattr(pool_threads, "SLICE", 1)
    x = wf.tensor(np.ones((300, 300), np.float32))
    with wf.config(backend="cpu"):
        f = wf.compile(lambda x: wf.tanh(x @ x) + wf.exp(x).sum())
        f(x)
        with wf.profile() as p:
            f(x)
            f(x)
    kernels = [r for r in p.rows if r.kind == "kernel"]
    assert kernels and all(r.calls == 2 and r.seconds > 0 for r in kernels)


def test_one_profile_at_a_time_and_none_after_an_error():
    with pytest.raises(StateError, match="running already"), wf.profile(), wf.profile():
        pass
    with pytest.raises(ZeroDivisionError), wf.profile():
        raise ZeroDivisionError
    assert recording.recorder is None
    with pytest.raises(StateError, match="not been entered"):
        wf.profile().rows


def test_the_table(backend):
    t = Training()
    step = wf.compile(t.step)
    with wf.profile() as p:
        step(t.x, t.y)
    lines = str(p).splitlines()
    assert lines[0].startswith("profile: ") and "GFLOP/s" in lines[0]
    assert lines[1].split()[:3] == ["time", "ms", "%"]
    times = [float(line.split()[0]) for line in lines[2:]]
    assert times == sorted(times, reverse=True)
    assert any("linear" in line and "test_profiler.py:" in line for line in lines)
    assert p.table(1).splitlines()[-1].startswith("and ")
    assert "profile of" in repr(p)


@pytest.mark.skipif(not host_target().wide, reason="this processor multiplies no bfloat16 by itself")
def test_the_title_tells_what_products_of_bfloat16_are_held_against():
    titles = []
    for dtype in (wf.bfloat16, wf.float32):
        x = wf.ones((64, 64), dtype=dtype)
        with wf.profile() as p:
            (x @ x).numpy()
        titles.append(str(p).splitlines()[0])
    assert f"({peak().flops16 / 1e9:.0f} in products of bfloat16)" in titles[0]
    assert "bfloat16" not in titles[1]


def test_the_trace(backend, tmp_path):
    t = Training()
    step = wf.compile(t.step)
    step(t.x, t.y)

    def work():
        for _ in range(2):
            step(t.x, t.y)

    with wf.profile() as p:
        work()
        other = threading.Thread(target=lambda: wf.tensor([1.0, 2.0]).sum().item(), name="other")
        other.start()
        other.join()
    p.export(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    events = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    names = {e["tid"]: e["args"]["name"] for e in trace["traceEvents"] if e["ph"] == "M"}
    assert set(names.values()) == {threading.current_thread().name, "other"}
    assert all(e["dur"] >= 0 and e["ts"] >= 0 and e["ts"] <= p.seconds * 1e6 for e in events)
    runs = [e for e in events if e["cat"] == "program" and e["name"] == "running step"]
    assert len(runs) == 2
    inside = [e for e in events if e["cat"] in ("kernel", "node") and e["name"].split(", ")[0] == "linear"]
    assert len(inside) == 4 and all("test_profiler.py" in e["args"]["lines"] for e in inside)
    slack = 200.0  # microseconds: kernels are timed by the processor's clock, programs by Python's
    for e in inside:
        assert any(
            r["ts"] - slack <= e["ts"] and e["ts"] + e["dur"] <= r["ts"] + r["dur"] + slack for r in runs
        )
    with pytest.raises(FileError):
        p.export(tmp_path / "nowhere" / "trace.json")


def test_copies_and_reading_are_measured_anew():
    copy, read = memory_speeds()
    found = [speed() for speed in (copy, read, copy, read)]
    assert min(found) > 0 and len(set(found)) > 2


def test_the_peak_is_measured_once_for_a_number_of_threads():
    found = peak()
    assert found is peak()
    assert 1e9 < found.flops64 < found.flops32 * 1.2 and found.bandwidth > 1e8
    assert found.flops(64) == found.flops64 and found.flops(32) == found.flops32
    assert found.flops(16) == found.flops16 >= found.flops32
