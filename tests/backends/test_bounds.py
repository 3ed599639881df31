"""Programs touch nothing but the elements of their values."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from weft.backends.cpu import memory
from weft.backends.cpu.backend import CpuBackend
from weft.ir.dtype import bfloat16, float16, float32, float64, int8, int16, int32, int64, uint8
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel.winograd import Winograd
from weft.ops.contraction import dot_general
from weft.ops.conv import conv
from weft.ops.selection import cast
from weft.runtime.buffer import Buffer

TYPES = (bfloat16, float16, float32, int8, uint8, int16, int32)


@pytest.fixture
def surrounded(monkeypatch):
    """Results lie in the middle of bytes that must stay what they are: the arrays of all bytes."""
    made = []

    def recycled(size, shape, dtype):
        made.append(np.full(size + 256, 0x5A, np.uint8))
        buffer = Buffer(made[-1][128 : 128 + size].view(dtype).reshape(shape))
        assert buffer.address  # asked for once, and kept
        return buffer

    monkeypatch.setattr(memory, "Recycled", recycled)
    return made


def unchanged(arrays):
    return all((a[:128] == 0x5A).all() and (a[-128:] == 0x5A).all() for a in arrays)


@pytest.mark.parametrize("recurs", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 9, 17, 18, 31, 33, 65, 4097])
@pytest.mark.parametrize("wide", [float32, float64, int32, int64], ids=str)
def test_narrowed_numbers_at_the_end_of_a_result(surrounded, wide, size, recurs):
    graph = trace_graph(lambda x: [cast(x + x, dtype=t) for t in TYPES], [Aval((size,), wide)])
    x = np.arange(size).astype(wide.numpy) % 50
    got = CpuBackend().compile(graph, recurs).run([Buffer(x)])
    assert len(surrounded) == len(TYPES) and unchanged(surrounded)
    for t, g in zip(TYPES, got, strict=True):
        np.testing.assert_array_equal(g.array, (x + x).astype(t.numpy))


@pytest.mark.parametrize("columns", [1, 9, 16, 17, 33, 49])
def test_narrowed_products(surrounded, columns):
    def f(x, y):
        z = dot_general(x, y, contract=((1,), (0,)), batch=((), ()))
        return [cast(z, dtype=t) for t in TYPES]

    graph = trace_graph(f, [Aval((5, 8), float32), Aval((8, columns), float32)])
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 3, s).astype(np.float32) for s in ((5, 8), (8, columns)))
    got = CpuBackend().compile(graph, True).run([Buffer(x), Buffer(y)])
    assert unchanged(surrounded)
    for t, g in zip(TYPES, got, strict=True):
        np.testing.assert_array_equal(g.array, (x @ y).astype(t.numpy))


@pytest.mark.parametrize("shape", [(3, 32, 9, 7), (26, 32, 7, 8), (1, 32, 134, 2)])
def test_tiles_of_images_that_stick_out(surrounded, shape):
    """Tiles of 2 x 2 at odd edges, and a block of them with too few."""
    attrs = {
        "stride": (1, 1),
        "padding": ((1, 1), (1, 1)),
        "input_dilation": (1, 1),
        "kernel_dilation": (1, 1),
    }
    graph = trace_graph(
        lambda x, w: conv(x, w, **attrs, feature_groups=1, batch_groups=1),
        [Aval(shape, float32), Aval((64, 32, 3, 3), float32)],
    )
    program = CpuBackend().compile(graph)
    assert any(isinstance(s.kernel, Winograd) for s in program.steps)
    (got,) = program.run([Buffer(np.ones(a.shape, np.float32)) for a in graph.in_avals])
    assert unchanged(surrounded)
    assert got.array[0, :, 1:2, 1:2].max() == min(got.array[0, :, 1, 1]) == 32 * 3 * min(3, shape[3])


@pytest.mark.parametrize("columns", [17, 33])
def test_products_of_bfloat16(surrounded, columns):
    graph = trace_graph(
        lambda x, y: dot_general(x, y, contract=((1,), (0,)), batch=((), ())),
        [Aval((5, 8), bfloat16), Aval((8, columns), bfloat16)],
    )
    x, y = (np.ones(s, bfloat16.numpy) for s in ((5, 8), (8, columns)))
    (got,) = CpuBackend().compile(graph, True).run([Buffer(x), Buffer(y)])
    assert unchanged(surrounded)
    np.testing.assert_array_equal(got.array, np.full((5, columns), 8, bfloat16.numpy))


def test_poisoned_memory_is_no_number_and_no_index(monkeypatch):
    monkeypatch.setattr(memory, "POISONED", True)
    monkeypatch.setattr(memory, "take_block", memory.poisoned(memory.take_block))
    for dtype in ("float64", "float32", "float16", bfloat16.numpy):
        assert np.isnan(memory.take((1000,), np.dtype(dtype)).array.astype(float)).all()
    for dtype in ("int64", "int32", "int16"):
        assert memory.take((1000,), np.dtype(dtype)).array.min() >= 2**15 - 1
    graph = trace_graph(lambda x: cast(cast(x + x, dtype=int32), dtype=float32), [Aval((999,), float32)])
    program = CpuBackend().compile(graph)
    for _ in range(3):
        (got,) = program.run([Buffer(np.ones(999, np.float32))])
        assert (got.array == 2).all()


SCRIPT = """
import random, sys
import numpy as np
from fences import fenced, fences
from random_graphs import EXACT_TYPES, SHAPES, Program, compare, exact, float64, run, smooth, traced
from weft.backends.cpu.backend import CpuBackend
from weft.backends.reference.interpreter import Interpreter

seed, count, at_end = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "end"
for k in range(seed, seed + count):
    r = random.Random(k)
    table = (exact, exact, smooth)[k % 3]
    steps = [(r.choice(sorted(table)), r.randint(0, 3), r.randint(0, 30), r.randint(0, 41)) for _ in range(12)]
    dtype = float64 if table is smooth else r.choice(EXACT_TYPES)
    program = Program(tuple(steps), tuple(r.choices(SHAPES, k=3)), r.random() < 0.5, k, dtype)
    graph, arrays = traced(program, table)
    with np.errstate(all="ignore"):
        want = Interpreter(graph).evaluate(arrays)
    print(program, flush=True)
    with fences(at_end):
        made = CpuBackend().compile(graph, r.random() < 0.25)
        got = run(made, [fenced(a, at_end) for a in arrays])
    for w, g in zip(want, got, strict=True):
        np.testing.assert_allclose(g.astype(float), w.astype(float), rtol=1e-2, atol=1e-2)
print("fine")
"""


def between_fences(seed: int, count: int, where: str) -> None:
    here = Path(__file__).parents[1]
    path = os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(seed), str(count), where],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=1500,
    )  # fmt: skip
    *_, before, last = ["", "", *done.stdout.splitlines()]
    assert last == "fine", f"{done.returncode}: {last}\n{before}\n{done.stderr[-2000:]}"


on_linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory is protected by Linux's means"
)


@on_linux
@pytest.mark.parametrize("where", ["beginning", "end"])
def test_random_graphs_between_fences(where):
    between_fences(0, 12, where)


@on_linux
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("where", ["beginning", "end"])
def test_many_random_graphs_between_fences(where):
    between_fences(1000, 300, where)


@on_linux
def test_fences_are_noticed():
    script = """
import ctypes, numpy as np
from fences import fenced
buffer = fenced(np.zeros(3, np.float32), True)
ctypes.c_float.from_address(buffer.address + 8).value
print("inside", flush=True)
ctypes.c_float.from_address(buffer.address + 12).value
print("outside")
"""
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["inside"] and done.returncode < 0
