"""Groups whose results lie apart from lane to lane, such as normalised channels: stored row by row, with equal bits."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import weft.ops  # noqa: F401
from compiled import arguments, check, run
from scripts import run_script
from weft.backends.cpu import making, stages
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.processor import host_target
from weft.ir.dtype import bfloat16, float32, float64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.ops.comparison import less
from weft.ops.movement import reshape
from weft.ops.reduce import any_, max_, sum_
from weft.ops.selection import cast, where
from weft.ops.transcendental import exp, sqrt


def normalised(*shape, axes=(2, 3), dtype=float32, several=False) -> Graph:
    """Elements less their mean over some axes, divided by their deviation."""
    count = int(np.prod([shape[a] for a in axes]))
    kept = tuple([1 if a in axes else n for a, n in enumerate(shape)])

    def f(x):
        away = x - reshape(sum_(x, axes=axes) / count, shape=kept)
        y = away / sqrt(reshape(sum_(away * away, axes=axes) / count, shape=kept) + 1e-5)
        return (y, exp(y)) if several else y

    return trace_graph(f, [Aval(shape, dtype)])


def softmax(*shape, dtype=float32) -> Graph:
    """Of rows so short that vectors run across them."""
    kept = (*shape[:-1], 1)

    def f(x):
        e = exp(x - reshape(max_(x, axes=(len(shape) - 1,)), shape=kept))
        return e / reshape(sum_(e, axes=(len(shape) - 1,)), shape=kept)

    return trace_graph(f, [Aval(shape, dtype)])


def of_conditions() -> Graph:
    """Totals that are true or false have no bytes of their own in a vector."""

    def f(x):
        return where(reshape(any_(less(x, -2.0), axes=(2, 3)), shape=(3, 24, 1, 1)), x, -x)

    return trace_graph(f, [Aval((3, 24, 5, 20), float32)])


def narrow() -> Graph:
    def f(x):
        return cast(x - reshape(sum_(x, axes=(2, 3)), shape=(2, 20, 1, 1)), dtype=bfloat16)

    return trace_graph(f, [Aval((2, 20, 6, 18), float32)])


GRAPHS = {
    "channels": normalised(3, 64, 6, 20),
    "channels that fill no vectors": normalised(5, 21, 4, 33),
    "a line": normalised(3, 40, 70, axes=(2,)),
    "double": normalised(2, 19, 3, 17, dtype=float64),
    "several results": normalised(2, 33, 9, 17, several=True),
    "all images": normalised(6, 35, 9, 17, axes=(0, 2, 3)),
    "short rows": softmax(70, 21),
    "whole vectors": softmax(6, 40, 16),
    "short rows of doubles": softmax(35, 30, dtype=float64),
    "conditions": of_conditions(),
    "narrow results": narrow(),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_the_same_bits_as_lane_by_lane(case, monkeypatch, compiled_anew):
    graph = GRAPHS[case]
    if case != "narrow results":
        check(graph)
    got = run(graph)
    monkeypatch.setattr(stages, "of_rows", lambda *a: False)
    compiled_anew()
    for g, plain in zip(got, run(graph), strict=True):
        assert g.tobytes() == plain.tobytes()


@pytest.mark.skipif(host_target().vector_bytes < 32, reason="vectors of four lanes are written one by one")
@pytest.mark.parametrize("case", ["channels", "channels that fill no vectors", "a line", "several results"])
def test_nothing_is_gathered_or_scattered(case):
    for step in CpuBackend().compile(GRAPHS[case]).steps:
        text = making.source(step.kernel, "kernel", host_target())[0]
        assert "masked.scatter" not in text and "masked.gather" not in text


SCRIPT = """
import sys
from fences import check_between_fences
from test_row_by_row import GRAPHS, arguments
check_between_fences(GRAPHS.values(), arguments, sys.argv[1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is protected by Linux's means")
@pytest.mark.parametrize("where", ["beginning", "end"])
def test_nothing_else_is_written(where):
    assert arguments(GRAPHS["a line"])
    done = run_script(SCRIPT, where, folder=Path(__file__).parent)
    assert done.stdout.endswith("fine\n"), f"{done.returncode}: {done.stdout}\n{done.stderr[-2000:]}"
