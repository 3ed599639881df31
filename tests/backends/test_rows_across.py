"""Reductions whose rows lie apart from lane to lane: read in squares and transposed, added up in the same order."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import weft.ops  # noqa: F401
from scripts import run_script
from weft.backends.cpu import emit
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.processor import host_target
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import bfloat16, float32, float64, int32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.ops.contraction import dot_general
from weft.ops.elementwise import maximum
from weft.ops.reduce import max_, sum_
from weft.ops.selection import cast
from weft.runtime.buffer import Buffer


def row_times_matrix(n, k, dtype=float32) -> Graph:
    def f(x, w, b):
        return maximum(dot_general(x, w, contract=((1,), (1,)), batch=((), ())) + b, 0)

    return trace_graph(f, [Aval(s, dtype) for s in ((1, k), (n, k), (n,))])


def sums(rows, columns, dtype=float32, reduce=sum_) -> Graph:
    return trace_graph(lambda x: reduce(x * x, axes=(1,)), [Aval((rows, columns), dtype)])


def of_narrow(rows, columns) -> Graph:
    def f(x, y):
        return sum_(cast(x, dtype=float32) * y, axes=(1,))

    return trace_graph(f, [Aval((rows, columns), t) for t in (bfloat16, float32)])


def of_planes(*shape, axes=(2, 3)) -> Graph:
    """Sums of images whose channels are the lanes and lie apart."""
    return trace_graph(lambda x: sum_(x, axes=axes), [Aval(shape, float32)])


GRAPHS = [
    *[row_times_matrix(n, k) for n, k in [(64, 64), (33, 17), (16, 100), (100, 16), (50, 31), (7, 40)]],
    row_times_matrix(20, 37, float64),
    *[sums(rows, columns) for rows, columns in [(40, 24), (16, 16), (35, 31)]],
    sums(33, 18, float64),
    sums(33, 19, int32),
    sums(48, 20, float32, max_),
    of_narrow(33, 20),
    of_planes(3, 70, 6, 20),
    of_planes(2, 64, 40, axes=(2,)),
    of_planes(5, 33, 9, 17, axes=(0, 2, 3)),
]


def arguments(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [(4 * rng.normal(size=a.shape)).astype(a.dtype.numpy) for a in graph.in_avals]


@pytest.mark.parametrize("graph", GRAPHS, ids=str)
def test_the_same_bits_as_lane_by_lane(graph, monkeypatch, compiled_anew):
    args = arguments(graph)
    (got,) = CpuBackend().compile(graph).run([Buffer(a) for a in args])
    (want,) = Interpreter(graph).evaluate(args)
    np.testing.assert_allclose(got.array, want, rtol=1e-5, atol=1e-4)
    monkeypatch.setattr(emit._KernelEmitter, "_rows_across", lambda *a: [])
    compiled_anew()
    (plain,) = CpuBackend().compile(graph).run([Buffer(a) for a in args])
    np.testing.assert_array_equal(got.array, plain.array)


def test_squares_are_transposed(monkeypatch):
    taken = []
    turned = emit._KernelEmitter._turned
    monkeypatch.setattr(emit._KernelEmitter, "_turned", lambda *a: (taken.append(a), turned(*a)))
    for graph in (row_times_matrix(64, 64), sums(40, 24), of_planes(3, 70, 6, 20)):
        (step,) = CpuBackend().compile(graph).steps
        emit.emit_kernel(emit.ir.Module("test"), step.kernel, host_target())
        assert taken
        taken.clear()


SCRIPT = """
import sys
from fences import check_between_fences
from test_rows_across import GRAPHS, arguments
check_between_fences(GRAPHS, arguments, sys.argv[1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is protected by Linux's means")
@pytest.mark.parametrize("where", ["beginning", "end"])
def test_nothing_else_is_read(where):
    done = run_script(SCRIPT, where, folder=Path(__file__).parent)
    assert done.stdout.endswith("fine\n"), f"{done.returncode}: {done.stdout}\n{done.stderr[-2000:]}"
