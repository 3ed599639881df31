"""Reductions over the same rows and what follows from them become one kernel, with the bits of separate ones."""

from __future__ import annotations

import numpy as np
import pytest

import weft.ops  # noqa: F401
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.processor import host_target
from weft.backends.cpu.regions import supported
from weft.backends.cpu.wideness import lane_count
from weft.ir.dtype import float32, int64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.loops import Kernel
from weft.kernel.schedule import schedule
from weft.kernel.show import show
from weft.ops.contraction import dot_general
from weft.ops.elementwise import equal, exp, log, sqrt, where
from weft.ops.indexing import iota_along
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


def log_sum(x, axes):
    e = exp(x - restore(max_(x, axes=axes), x, axes))
    return log(sum_(e, axes=axes))


def deviation(x, axes):
    """A number of each row, with the axes that it was taken over."""
    centred = x - restore(sum_(x, axes=axes) / 4, x, axes)
    total = sum_(centred * centred, axes=axes)
    return sqrt(reshape(total, shape=tuple([1 if a in axes else n for a, n in enumerate(x.shape)])))


def run(graph: Graph, args):
    return [b.array for b in CpuBackend().compile(graph).run([Buffer(a) for a in args])]


@pytest.mark.parametrize("function", [softmax, layer_norm, log_sum, deviation])
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


def stored_sizes(graph: Graph) -> list[list[int]]:
    """For each kernel how many elements its results have."""
    return [[int(n.size) for n in step.writes] for step in schedule(run_passes(graph), supported)]


def test_what_a_gradient_needs_of_each_row_is_stored_beside_the_result():
    """The maximum and the sum, and not the row less the maximum."""

    def f(x):
        top = max_(x, axes=(1,))
        centred = x - restore(top, x, (1,))
        logs = log(sum_(exp(centred), axes=(1,)))
        loss = sum_(logs, axes=(0,))
        return logs, loss * exp(centred - restore(logs, x, (1,)))

    graph = trace_graph(f, (Aval((6, 50), float32),))
    assert stored_sizes(graph) == [[6, 6], [1], [300]]
    x = np.random.default_rng(0).normal(size=(6, 50)).astype(np.float32)
    logs, share = run(graph, [x])
    softmax = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    np.testing.assert_allclose(share, logs.sum() * softmax, rtol=1e-5)
    np.testing.assert_allclose(logs, np.log(np.exp(x - x.max(1, keepdims=True)).sum(1)), rtol=1e-5)


def test_statistics_that_are_results_are_stored_beside_the_rows():
    def f(x):
        mean = sum_(x, axes=(1,)) / 50
        centred = x - restore(mean, x, (1,))
        scale = sqrt(sum_(centred * centred, axes=(1,)) / 50)
        return mean, centred / restore(scale, x, (1,)), scale

    graph = trace_graph(f, (Aval((6, 50), float32),))
    assert stored_sizes(graph) == [[300, 6, 6]]
    x = np.random.default_rng(0).normal(size=(6, 50)).astype(np.float32)
    mean, y, scale = run(graph, [x])
    np.testing.assert_allclose(mean, x.mean(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scale, x.std(1), rtol=1e-5)
    np.testing.assert_allclose(
        y, (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True), rtol=1e-4, atol=1e-5
    )


def test_what_comes_before_the_rows_are_done_does_not_wait_for_them():
    """A product adds numbers of rows that the rows themselves, further on, are computed from."""

    def f(x, y, w):
        s = sum_(x, axes=(0,))
        product = dot_general(y, w, contract=((1,), (0,)), batch=((), ())) + s
        return s, product * x

    avals = [Aval((4, 5), float32), Aval((4, 3), float32), Aval((3, 5), float32)]
    rng = np.random.default_rng(0)
    args = [rng.normal(size=a.shape).astype(np.float32) for a in avals]
    x, y, w = args
    s, out = run(trace_graph(f, avals), args)
    np.testing.assert_allclose(s, x.sum(0), rtol=1e-5)
    np.testing.assert_allclose(out, (y @ w + x.sum(0)) * x, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 16, 63, 64, 65, 200])
def test_extremes_along_rows_of_any_length(size):
    x = np.random.default_rng(size).normal(size=(5, size)).astype(np.float32)
    x[1, size // 2] = np.nan
    x[2, -1] = np.inf
    graph = trace_graph(lambda x: max_(x, axes=(1,)), [Aval(x.shape, float32)])
    np.testing.assert_array_equal(run(graph, [x])[0], x.max(1))


def test_an_index_for_each_row_leaves_vectors_as_wide_as_the_row_s_type():
    def f(x, i):
        chosen = equal(iota_along(x.shape, 1), broadcast_in_dim(i, shape=x.shape, axes=(0,)))
        return where(chosen, x, 0)

    graph = trace_graph(f, (Aval((4, 40), float32), Aval((4,), int64)))
    (step,) = schedule(run_passes(graph), supported)
    assert lane_count(step.kernel, host_target()) == host_target().lanes(4)
    x = np.random.default_rng(0).normal(size=(4, 40)).astype(np.float32)
    i = np.array([0, 39, 7, 20])
    np.testing.assert_array_equal(run(graph, [x, i])[0], np.where(np.arange(40) == i[:, None], x, 0))


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


def test_a_product_s_epilogue_is_no_part_of_a_row_though_its_shape_is_that_of_a_row_s_numbers():
    """Of (8, 8, 8) summed over the last axis, (8, 8) may be a number of each row, or be broadcast along the first."""
    aval = Aval((8, 8), float32)

    def f(a, b, c, x):
        m = dot_general(a, b, contract=((1,), (0,)), batch=((), ())) * c
        t = x * broadcast_in_dim(m, shape=(8, 8, 8), axes=(1, 2))
        return t + restore(sum_(t, axes=(2,)), t, (2,)) + restore(sum_(x * t, axes=(2,)), t, (2,)), exp(m)

    graph = trace_graph(f, (aval, aval, aval, Aval((8, 8, 8), float32)))
    values = [
        np.random.default_rng(i).normal(size=n.shape).astype(np.float32) for i, n in enumerate(graph.inputs)
    ]
    got = CpuBackend().compile(graph, recurs=True).run([Buffer(v) for v in values])
    a, b, c, x = values
    m = (a @ b) * c
    want = x * m + (x * m).sum(-1, keepdims=True) + (x * x * m).sum(-1, keepdims=True), np.exp(m)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g.array, w, rtol=1e-4, atol=1e-5)
