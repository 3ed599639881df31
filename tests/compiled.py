"""Graphs that are compiled and run as they are, on random arguments, beside the reference in float64."""

from __future__ import annotations

import numpy as np

from weft.backends.cpu.backend import CpuBackend
from weft.backends.reference.interpreter import Interpreter
from weft.ir.graph import Graph
from weft.runtime.buffer import Buffer


def arguments(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(8)
    return [rng.normal(size=a.shape).astype(a.dtype.numpy) for a in graph.in_avals]


def run(graph: Graph) -> list[np.ndarray]:
    return [b.array for b in CpuBackend().compile(graph).run([Buffer(a) for a in arguments(graph)])]


def check(graph: Graph) -> None:
    """What the compiled graph computes equals the reference, sums of large numbers to what these leave of float32."""
    want = Interpreter(graph).evaluate([a.astype(np.float64) for a in arguments(graph)])
    for w, g in zip(want, run(graph), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-4, atol=1e-5 + 3e-6 * np.abs(w).max(initial=0))
