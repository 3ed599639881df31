"""What is done before a loop instead of in it: the same values, verified graphs, nothing the second time."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from weft.backends.reference.interpreter import Interpreter
from weft.ir.graph import Graph, subgraphs, verify
from weft.kernel.hoist import hoist_invariants
from weft.kernel.packing import pack_constants
from weft.passes.pipeline import run_passes

X = np.linspace(-1, 1, 5 * 6 * 64, dtype=np.float32).reshape(5, 6, 64)
W = np.cos(np.arange(64 * 64, dtype=np.float32)).reshape(64, 64) / 8


def scanned(x, w):
    """Both orientations of a matrix that is the same in every step, and things computed from it alone."""
    scale = wf.sum(wf.abs(w), axis=1)

    def step(h, row):
        return wf.tanh(h @ w.T + row * wf.exp(-scale)), h @ (w * 2)

    return wf.scan(step, x[0], x)


def counted(x, w):
    return wf.while_loop(
        lambda s: s[0] < 3,
        lambda s: (s[0] + 1, wf.sin(s[1] @ w.T) * wf.exp(-wf.sum(w, axis=0))),
        (wf.tensor(0), x[0]),
    )


def graph_of(function) -> Graph:
    found = wf.compile(function).trace(wf.tensor(X), wf.tensor(W))
    return run_passes(found.graph)


def loops(graph: Graph):
    return [n for n in graph.nodes if n.value is None and subgraphs(n)]


@pytest.mark.parametrize("function", [scanned, counted])
@pytest.mark.parametrize(
    "step", [hoist_invariants, pack_constants, lambda g: pack_constants(hoist_invariants(g))]
)
def test_the_meaning_stays_and_a_second_time_does_nothing(function, step):
    graph = graph_of(function)
    after = step(graph)
    verify(after)
    assert step(after) == after
    arrays = [X, W] + [np.asarray(n.value.array) for n in graph.inputs[2:] if n.value is not None]
    for want, got in zip(
        Interpreter(graph).evaluate(arrays), Interpreter(after).evaluate(arrays), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_products_read_panels():
    (loop,) = loops(pack_constants(graph_of(scanned)))
    shapes = [a.shape for a in loop.sig.inputs[: loop.attrs["consts"]]]
    assert shapes.count((2, 64, 32)) >= 1, shapes


def test_invariants_leave_the_body():
    before, after = (loops(g)[0] for g in (graph_of(counted), hoist_invariants(graph_of(counted))))

    def names(loop):
        return [n.prim.name for n in loop.attrs["body"].nodes]

    assert "exp" in names(before) and "exp" not in names(after)


def test_small_matrices_and_odd_widths_stay_as_they_are():
    x, w = wf.tensor(X[:, :, :20]), wf.tensor(W[:20, :20])
    graph = run_passes(
        wf.compile(lambda x, w: wf.scan(lambda h, r: (h @ w.T + r, None), x[0], x)[0]).trace(x, w).graph
    )
    assert pack_constants(graph) == graph
