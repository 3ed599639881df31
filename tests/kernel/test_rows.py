"""Reductions over the same rows and what follows from them become one kernel, with the bits of separate ones."""

from __future__ import annotations

import numpy as np
import pytest

import weft.ops  # noqa: F401
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.regions import supported
from weft.ir.dtype import float32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.loops import Kernel, show
from weft.kernel.schedule import schedule
from weft.ops.elementwise import exp, sqrt
from weft.ops.movement import broadcast_in_dim, permute, reshape
from weft.ops.reduce import max_, restore, sum_
from weft.passes.pipeline import run_passes
from weft.runtime.buffer import Buffer


def softmax(x, axes):
    e = exp(x - restore(max_(x, axes=axes), x, axes))
    return e / restore(sum_(e, axes=axes), x, axes)


def layer_norm(x, axes):
    n = 1
    for a in axes:
        n *= x.shape[a]
    centred = x - restore(sum_(x, axes=axes) / n, x, axes)
    return centred / sqrt(restore(sum_(centred * centred, axes=axes) / n, x, axes) + 1e-5)


def run(graph: Graph, args):
    return [b.array for b in CpuBackend().compile(graph).run([Buffer(a) for a in args])]


@pytest.mark.parametrize("function", [softmax, layer_norm])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((6, 50), (1,)), ((6, 10), (1,)), ((50, 6), (0,)), ((3, 4, 40), (2,)), ((3, 4, 40), (1, 2))],
)
def test_one_kernel_and_the_same_bits_as_step_by_step(function, shape, axes):
    aval = Aval(shape, float32)
    graph = trace_graph(lambda x: function(x, axes), (aval,))
    assert len(schedule(run_passes(graph), supported)) == 1
    args = [np.random.default_rng(0).normal(size=shape).astype(np.float32)]
    apart = [n for n in graph.nodes if n.value is None]
    whole = Graph(graph.inputs, [*graph.outputs, *apart])
    assert run(graph, args)[0].tobytes() == run(whole, args)[0].tobytes()


def test_a_reduction_used_in_another_row_is_not_fused():
    def f(x):
        s = sum_(x, axes=(1,))
        return x + broadcast_in_dim(s, shape=(8, 8), axes=(1,))

    graph = trace_graph(f, (Aval((8, 8), float32),))
    assert len(schedule(graph, supported)) == 2
    x = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    np.testing.assert_allclose(run(graph, [x])[0], x + x.sum(1), rtol=1e-5, atol=1e-5)


def test_what_others_read_is_stored():
    def f(x):
        e = exp(x)
        s = sum_(e, axes=(1,))
        return e / reshape(s, shape=(5, 1)), permute(e, axes=(1, 0)) * 2

    graph = trace_graph(f, (Aval((5, 7), float32),))
    x = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    got = run(graph, [x])
    e = np.exp(x)
    np.testing.assert_allclose(got[0], e / e.sum(1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(got[1], e.T * 2, rtol=1e-5)


@pytest.mark.parametrize("shape", [(0, 3, 5), (3, 0, 5), (1, 0, 5), (0, 1, 1)])
def test_no_rows_are_no_work(shape):
    """An empty axis has a loop, and that runs no times: nothing is written into memory of no bytes."""
    graph = trace_graph(lambda x: softmax(x, (2,)), [Aval(shape, float32)])
    for step in schedule(run_passes(graph), supported):
        assert any(v.size == 0 for v in step.kernel.outer)
    assert run(graph, [np.zeros(shape, np.float32)])[0].shape == shape


def test_what_the_sum_and_the_result_share_is_computed_once():
    (step,) = schedule(
        run_passes(trace_graph(lambda x: softmax(x, (1,)), (Aval((6, 50), float32),))), supported
    )
    kernel = step.kernel
    assert isinstance(kernel, Kernel)
    _, summed, last = kernel.stages
    assert [show(s.value) for s in summed.stores] == [show(r.value) for r in summed.reductions]
    assert "exp" in show(summed.stores[0].value) and "exp" not in show(last.stores[0].value)
