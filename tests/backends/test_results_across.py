"""Results of tiles whose rows, not columns, are neighbours in memory, such as the pixels of images that go out: tiles
are transposed in registers on their way, and nothing else changes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import weft as wf
from compiled import arguments, check, run
from scripts import run_script
from weft.backends.cpu import making
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.processor import host_target
from weft.backends.cpu.register_tile import RegisterTile
from weft.ir.dtype import float32, float64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.tiles import Tiles
from weft.ops.contraction import dot_general
from weft.ops.conv import conv
from weft.ops.elementwise import maximum
from weft.ops.movement import permute, reshape
from weft.ops.transcendental import exp, tanh


def images(x, filters, taps, stride=1, padding=0, dtype=float32, after=None) -> Graph:
    """A convolution whose result goes out as it is, or with something computed from it."""
    rank = len(x) - 2
    attrs = {
        "stride": (stride,) * rank, "padding": ((padding, padding),) * rank, "input_dilation": (1,) * rank,
        "kernel_dilation": (1,) * rank, "feature_groups": 1, "batch_groups": 1,
    }  # fmt: skip
    after = after or (lambda y, b: maximum(y + b, 0))

    def f(a, w, b):
        return after(conv(a, w, **attrs), reshape(b, shape=(1, filters, *(1,) * rank)))

    return trace_graph(f, [Aval(s, dtype) for s in (x, (filters, x[1], *(taps,) * rank), (filters,))])


def turned(m, k, n, dtype=float32) -> Graph:
    """The transpose of a matrix product."""

    def f(x, w):
        return permute(dot_general(x, w, contract=((1,), (0,)), batch=((), ())), axes=(1, 0))

    return trace_graph(f, [Aval((m, k), dtype), Aval((k, n), dtype)])


def much(y, b):
    return tanh(exp(tanh(y + b)) + y)


def several(y, b):
    return y + b, maximum(y, b) * y


GRAPHS = {
    "single pixels": images((3, 20, 9, 11), 21, 1),
    "a few columns": images((2, 16, 8, 8), 3, 1),
    "windows": images((2, 9, 13, 12), 17, 3, padding=1),
    "steps of two": images((4, 12, 15, 15), 40, 3, stride=2),
    "a long sum": images((2, 1000, 6, 5), 18, 1),
    "a longer one": images((1, 640, 7, 9), 33, 3, padding=1, dtype=float64),
    "much work": images((2, 16, 9, 9), 19, 1, after=much),
    "several results": images((2, 16, 9, 9), 19, 1, after=several),
    "double": images((2, 24, 10, 7), 13, 1, dtype=float64),
    "a line": images((2, 16, 70), 20, 1),
    "a transposed product": turned(70, 40, 37),
    "a long one": turned(50, 3000, 45),
    "few rows": turned(5, 40, 37),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_the_same_bits_as_element_by_element(case, monkeypatch, compiled_anew):
    graph = GRAPHS[case]
    check(graph)
    got = run(graph)
    monkeypatch.setattr(RegisterTile, "_lies_across", lambda *a: False)
    compiled_anew()
    for g, plain in zip(got, run(graph), strict=True):
        np.testing.assert_array_equal(g, plain)


@pytest.mark.skipif(host_target().vector_bytes < 32, reason="vectors of four lanes are written one by one")
@pytest.mark.parametrize("case", ["single pixels", "much work", "several results", "a long sum"])
def test_nothing_is_scattered(case):
    texts = []
    for step in CpuBackend().compile(GRAPHS[case]).steps:
        if isinstance(step.kernel, Tiles):
            texts.append(making.source(step.kernel, "kernel", host_target())[0])
    assert texts and not any("masked.scatter" in t or "masked.gather" in t for t in texts)
    assert any("shufflevector" in t for t in texts)


@pytest.mark.parametrize("case", ["single pixels", "a long sum", "much work"])
def test_the_same_bits_for_any_number_of_threads(case):
    found = []
    before = wf.get_num_threads()
    try:
        for count in (1, 2, 3):
            wf.set_num_threads(count)
            found.append([x.tobytes() for x in run(GRAPHS[case])])
    finally:
        wf.set_num_threads(before)
    assert found[0] == found[1] == found[2]


SCRIPT = """
import sys
from fences import check_between_fences
from test_results_across import GRAPHS, arguments
check_between_fences(GRAPHS.values(), arguments, sys.argv[1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is protected by Linux's means")
@pytest.mark.parametrize("where", ["beginning", "end"])
def test_nothing_else_is_written(where):
    assert arguments(GRAPHS["a line"])
    done = run_script(SCRIPT, where, folder=Path(__file__).parent)
    assert done.stdout.endswith("fine\n"), f"{done.returncode}: {done.stdout}\n{done.stderr[-2000:]}"
