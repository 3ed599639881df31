"""Concatenations of many parts: what they give, and in how many steps they are made."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from compiled import run
from weft.backends.cpu.regions import prepare
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import complex64, float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel.joining import MOST, join_in_steps
from weft.ops.movement import concatenate


def joined(shapes, axis, dtype=float32):
    return trace_graph(lambda *xs: concatenate(*xs, axis=axis), [Aval(s, dtype) for s in shapes])


@pytest.mark.parametrize(
    "shapes, axis",
    [
        pytest.param([(k % 3, 5) for k in range(MOST)], 0, id="sizes that differ, one kernel"),
        pytest.param([(3, k % 4) for k in range(300)], 1, id="sizes that differ"),
        pytest.param([(2,)] * (MOST + 1), 0, id="one more than fits"),
        pytest.param([(0, 2)] * 70 + [(1, 2)], 0, id="nearly all empty"),
        pytest.param([(0,)] * 200, 0, id="all empty"),
    ],
)
def test_equals_the_reference(shapes, axis):
    graph = joined(shapes, axis)
    rng = np.random.default_rng(8)
    inputs = [rng.normal(size=s).astype(np.float32) for s in shapes]
    np.testing.assert_array_equal(run(graph)[0], Interpreter(graph).evaluate(inputs)[0])


def test_complex_parts():
    xs = [wf.tensor(np.array([k, 1j * k], np.complex64)) for k in range(100)]
    assert wf.concat(xs).numpy().tolist() == [v for k in range(100) for v in (k, 1j * k)]
    graph = prepare(joined([(2,)] * 100, 0, complex64))  # and its two parts are made in steps
    assert len([n for n in graph.nodes if n.prim is concatenate]) == 6


@pytest.mark.parametrize("count", [3, MOST, MOST + 1, MOST**2 + 1])
def test_no_step_joins_more_than_fits(count):
    graph = join_in_steps(joined([(1,)] * count, 0))
    counts = [len(n.args) for n in graph.nodes if n.prim is concatenate]
    assert max(counts) <= MOST
    assert len(counts) == {3: 1, MOST: 1, MOST + 1: 3}.get(count, len(counts))
    assert join_in_steps(graph) is graph


def test_hundreds_of_numbers_stacked():
    """As a list of losses is, in eager code."""
    losses = [wf.tensor(float(k)) for k in range(500)]
    assert wf.stack(losses).tolist() == [float(k) for k in range(500)]
    assert wf.stack([-x for x in losses[:300]]).sum().item() == -sum(range(300))


def test_gradient_of_many_slices():
    """The gradient of a sequence that a loop goes over step by step is put together of as many parts."""

    @wf.compile
    @wf.grad
    def gradient(x):
        total = x[0]
        for k in range(1, 180):
            total = total * 0.5 + x[k]
        return total.sum()

    found = gradient(wf.ones((180, 2))).numpy()
    np.testing.assert_array_equal(found[:, 0], (0.5 ** np.arange(179.0, -1, -1)).astype(np.float32))
    np.testing.assert_array_equal(found[:, 1], found[:, 0])
