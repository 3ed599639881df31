"""Kernels that fetch ahead and write past the caches: the same numbers, wherever their results begin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.compiled import compiled_kernel

from weft.backends.cpu import streams
from weft.backends.cpu.emit import emit_kernel
from weft.backends.cpu.instructions import Module
from weft.backends.cpu.loop_units import units
from weft.backends.cpu.processor import host_target
from weft.backends.cpu.regions import prepare
from weft.ir.dtype import DType, bfloat16, float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel.index import Var, as_index
from weft.kernel.loops import Apply, Expr, Kernel, Load, Stage, Store
from weft.kernel.schedule import schedule
from weft.kernel.target import LEVELS
from weft.ops.composite.softmax import softmax
from weft.ops.movement import reshape
from weft.ops.reduce import max_


def added(size: int, out: DType = float32, to: int = 0) -> Kernel:
    """b2[i + to] = b0[i] + b1[i]"""
    i = Var("i", size)
    value = Apply("add", tuple([Load(k, as_index(i), float32) for k in range(2)]), float32)
    value = value if out is float32 else Apply("cast", (value,), out)
    stage = Stage((), stores=(Store(2, as_index(i) + to, value),))
    return Kernel("kernel", (i,), (stage,), (float32, float32), (out,), across=True)


def run(kernel: Kernel, arrays: list[np.ndarray]) -> str:
    function, text = compiled_kernel(kernel)
    function(arrays, (0, units(kernel, host_target())))
    return text


def placed(size: int, dtype: type, skip: int) -> np.ndarray:
    """Zeros that begin `skip` elements after a multiple of 64 bytes."""
    raw = np.zeros(size + 256, dtype)
    first = (-raw.ctypes.data % 64) // raw.itemsize + skip
    return raw[first : first + size]


@pytest.mark.parametrize("out", [float32, bfloat16])
@pytest.mark.parametrize("skip", [0, 1, 8])
@pytest.mark.parametrize("size", [5, 64, 1000, 5000])
def test_results_anywhere(size, skip, out, monkeypatch):
    monkeypatch.setattr(streams, "LONG", 0)
    monkeypatch.setattr(streams, "HUGE", 0)
    rng = np.random.default_rng(1)
    x, y = (rng.normal(size=size).astype(np.float32) for _ in range(2))
    whole = placed(size + 40, out.numpy, skip)
    text = run(added(size, out), [x, y, whole])
    assert ("nontemporal" in text and "prefetch" in text) or size < 16
    np.testing.assert_array_equal(whole[:size], (x + y).astype(out.numpy))
    assert not whole[size:].any()


def formula(size: int, *ops: str) -> Kernel:
    """b1[i] = the operations of b0[i], one after the other"""
    i = Var("i", size)
    value: Expr = Load(0, as_index(i), float32)
    for op in ops:
        value = Apply(op, (value,), float32)
    stage = Stage((), stores=(Store(1, as_index(i), value),))
    return Kernel("kernel", (i,), (stage,), (float32,), (float32,), across=True)


@pytest.mark.skipif(not host_target().picks, reason="this processor has few registers")
@pytest.mark.parametrize("ops", [("exp", "erf"), ("log",), ("sin",), ("expm1", "neg"), ("lgamma",)], ids=str)
@pytest.mark.parametrize("size", [63, 64, 1000])
def test_long_formulas_of_several_vectors_at_once(size, ops, monkeypatch):
    """The same bits as of one vector after the other."""
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(size=size // 2) * 50, rng.normal(size=size - size // 2)]).astype(
        np.float32
    )
    x[:5] = np.nan, np.inf, -np.inf, -0.0, 1e-40
    found = []
    for long in (1 << 40, 0):
        monkeypatch.setattr(streams, "LONG", long)
        out = placed(size + 40, np.float32, 0)
        text = run(formula(size, *ops), [x, out])
        assert ("<64 x float>" in text) == (long == 0 and size >= 64)
        assert not out[size:].any()
        found.append(out[:size].tobytes())
    assert found[0] == found[1]


def test_only_what_is_large_is_written_past_the_caches():
    assert streams.bytes_moved(added(1000)) == 12_000
    for size, wanted in ((streams.HUGE // 12 - 100, False), (streams.HUGE // 12 + 100, True)):
        _, text = compiled_kernel(added(size))
        assert ("nontemporal" in text) == wanted


def test_places_that_are_not_multiples_of_a_vector_are_seen():
    assert streams.stores_whole_vectors(added(1000), 16)
    assert streams.stores_whole_vectors(added(1000, to=32), 16)
    assert not streams.stores_whole_vectors(added(1000, to=8), 16)
    for columns, wanted in ((64, True), (60, False)):

        def f(x):
            return x - reshape(max_(x, axes=(1,)), shape=(30, 1))

        (step,) = schedule(trace_graph(f, (Aval((30, columns), float32),)), lambda n: True)
        assert isinstance(step.kernel, Kernel)
        assert streams.stores_whole_vectors(step.kernel, 16) == wanted


def softmax_rows(rows: int, columns: int) -> Kernel:
    def f(x):
        return softmax(x, axis=1)

    graph = prepare(trace_graph(f, (Aval((rows, columns), float32),)))
    (step,) = schedule(graph, lambda node: True)
    return replace(step.kernel, name="kernel")


@pytest.mark.parametrize(("rows", "columns"), [(3, 64), (5, 1024), (2, 65_536), (2, 65_552)])
def test_what_waits_for_the_sum_of_its_row_does_not_wait_in_the_result(rows, columns, monkeypatch):
    kernel = softmax_rows(rows, columns)
    found, size = streams.set_aside(kernel)
    assert size == (columns if columns <= 65_536 else 0)
    assert streams.stores_whole_vectors(found, 16) == (
        columns <= 65_536
    ) and not streams.stores_whole_vectors(kernel, 16)
    x = np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)
    usual, past = (placed(x.size, np.float32, 0) for _ in range(2))
    assert "nontemporal" not in run(kernel, [x, usual])
    monkeypatch.setattr(streams, "HUGE", 0)
    assert ("nontemporal" in run(kernel, [x, past])) == (columns <= 65_536)
    assert past.tobytes() == usual.tobytes()


def test_how_far_ahead_is_fetched():
    assert streams.ahead_of(added(1000), LEVELS["x86-64-v3"]) == streams.AHEAD // 6
    assert streams.ahead_of(softmax_rows(4, 64), LEVELS["x86-64-v3"]) == streams.AHEAD // 2


def test_some_processors_fetch_many_arrays_better_themselves():
    for most, wanted in ((2, 0), (3, streams.AHEAD // 6)):
        assert streams.ahead_of(added(1000), replace(LEVELS["x86-64-v4"], fetches=most)) == wanted
    rows = streams.ahead_of(softmax_rows(4, 64), replace(LEVELS["x86-64-v4"], fetches=0))
    assert rows == streams.AHEAD // 2


@pytest.mark.parametrize(("level", "locality"), [(1, 3), (2, 2)])
def test_which_cache_lines_are_fetched_to(level, locality, monkeypatch):
    monkeypatch.setattr(streams, "LONG", 0)
    module = Module("test")
    emit_kernel(module, added(1000), replace(LEVELS["x86-64-v3"], fetches_to=level))
    assert f"i32 0, i32 {locality}, i32 1" in str(module)
