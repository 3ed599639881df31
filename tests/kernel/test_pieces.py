"""Elementwise kernels in pieces: each piece has one choice of what is read, and nothing else changes."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

import weft as wf
from compiled import arguments, check, run
from scripts import run_script
from weft.backends.cpu.backend import CpuBackend
from weft.ir.dtype import bfloat16, bool_, float32, float64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel import elementwise
from weft.kernel.loops import Inside, found_in
from weft.ops.define import constant
from weft.ops.movement import concatenate, flip, pad, slice_axis


def with_zeros(*shape, low, high, dtype=float32, after=lambda x: x) -> Graph:
    def f(x):
        return after(pad(x, constant(0, dtype), low=low, high=high, interior=(0,) * len(shape)))

    return trace_graph(f, [Aval(shape, dtype)])


def reflected(*shape, width, axes, dtype=float32) -> Graph:
    """Both ends of some axes followed by what lies before them, backwards."""

    def f(x):
        for a in axes:
            n = x.shape[a]
            first = flip(slice_axis(x, a, 1, width + 1), axes=(a,))
            last = flip(slice_axis(x, a, n - width - 1, n - 1), axes=(a,))
            x = concatenate(first, x, last, axis=a)
        return x

    return trace_graph(f, [Aval(shape, dtype)])


def joined(*widths, rows=7, dtype=float32) -> Graph:
    def f(*parts):
        return concatenate(*[x + x if k % 2 else x for k, x in enumerate(parts)], axis=1)

    return trace_graph(f, [Aval((rows, n), dtype) for n in widths])


#: graph, how many pieces there are; None where the kernel is one piece
CASES = {
    "zeros around": (with_zeros(5, 8, 9, 20, low=(0, 0, 1, 1), high=(0, 0, 1, 1)), 9),
    "zeros behind": (with_zeros(40, 20, low=(0, 0), high=(0, 3)), 2),
    "few images": (with_zeros(2, 3, 9, 20, low=(0, 0, 1, 1), high=(0, 0, 1, 1)), 3),
    "a line": (with_zeros(100, low=(3,), high=(5,)), 3),
    "reflected": (reflected(4, 9, 10, 17, width=2, axes=(2, 3)), 9),
    "reflected doubles": (reflected(40, 6, 9, width=3, axes=(1, 2), dtype=float64), 9),
    "reflected rows": (reflected(3, 50, width=4, axes=(1,)), 3),
    "narrow": (reflected(40, 12, 33, width=1, axes=(1, 2), dtype=bfloat16), 9),
    "conditions": (with_zeros(40, 21, low=(0, 1), high=(0, 2), dtype=bool_), 3),
    "several parts": (joined(20, 3, 40, 17), 4),
    "two parts": (joined(1, 33), 2),
    "very many parts": (joined(*range(1, 21)), None),
    "only rows": (with_zeros(5, 8, 20, low=(0, 1, 0), high=(0, 1, 0)), None),
    "nothing": (with_zeros(0, 20, low=(0, 1), high=(0, 1)), None),
}


def inputs(graph: Graph) -> list[np.ndarray]:
    found = arguments(graph)
    return [x > 0 if a.dtype is bool_ else x for x, a in zip(found, graph.in_avals, strict=True)]


@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_as_in_one_piece(case, monkeypatch, compiled_anew):
    graph, count = CASES[case]
    if graph.in_avals[0].dtype in (float32, float64):
        check(graph)
    (step,) = CpuBackend().compile(graph).steps
    assert count is None or len(step.kernel.stages) == count
    (got,) = run(graph, inputs(graph))
    monkeypatch.setattr(elementwise, "in_pieces", lambda *a: None)
    compiled_anew()
    (step,) = CpuBackend().compile(graph).steps
    assert len(step.kernel.stages) == 1
    assert run(graph, inputs(graph))[0].tobytes() == got.tobytes()


@pytest.mark.parametrize("case", [c for c, (_, count) in CASES.items() if count])
def test_a_piece_asks_nothing_and_together_they_are_the_whole(case):
    graph, _ = CASES[case]
    (step,) = CpuBackend().compile(graph).steps
    kernel = step.kernel
    values = found_in([s.value for stage in kernel.stages for s in stage.stores])
    last = {stage.variables[-1] for stage in kernel.stages}
    asked = [at for e in values if isinstance(e, Inside) for at, _, _ in e.conditions]
    assert not any(v in last for at in asked for v in at.variables())
    size = sum([math.prod([v.size for v in stage.variables]) for stage in kernel.stages])
    assert size * kernel.iterations == graph.outputs[0].size


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_padding_compiled_and_as_written(mode):
    x = wf.randn(4, 9, 11, 18)

    def f(x):
        return wf.nn.functional.pad(x, (2, 3, 1, 4), mode=mode)

    want = np.pad(
        x.numpy(), ((0, 0), (0, 0), (1, 4), (2, 3)), {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    )
    compiled = wf.compile(f)
    for _ in range(3):
        assert compiled(x).numpy().tobytes() == f(x).numpy().tobytes() == want.tobytes()


SCRIPT = """
import sys
from fences import check_between_fences
from test_pieces import CASES, inputs
check_between_fences([graph for graph, _ in CASES.values()], inputs, sys.argv[1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is protected by Linux's means")
@pytest.mark.parametrize("where", ["beginning", "end"])
def test_nothing_else_is_read_or_written(where):
    done = run_script(SCRIPT, where, folder=Path(__file__).parent)
    assert done.stdout.endswith("fine\n"), f"{done.returncode}: {done.stdout}\n{done.stderr[-2000:]}"
