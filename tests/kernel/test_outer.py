"""Products of one step are multiplications, part of what reads them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.compiled import check, run

from weft.backends.cpu.backend import CpuBackend
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import float32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.outer import multiply_outright
from weft.ops.contraction import dot_general

PRODUCTS = [
    # x, y, contract, batch
    ((5,), (6,), ((), ()), ((), ())),
    ((5, 1), (1, 6), ((1,), (0,)), ((), ())),
    ((1, 5), (6, 1), ((0,), (1,)), ((), ())),
    ((5, 3), (6, 3), ((), ()), ((1,), (1,))),
    ((1, 4, 5), (6, 4, 1), ((0,), (2,)), ((1,), (1,))),
    ((2, 1, 3, 1), (1, 4, 1), ((1, 3), (0, 2)), ((), ())),
    ((0, 1), (1, 6), ((1,), (0,)), ((), ())),
    ((), (3,), ((), ()), ((), ())),
]


def graph_of(x, y, contract, batch) -> Graph:
    return trace_graph(
        lambda a, b: dot_general(a, b, contract=contract, batch=batch), [Aval(s, float32) for s in (x, y)]
    )


@pytest.mark.parametrize("case", PRODUCTS)
def test_they_mean_the_same(case):
    graph = graph_of(*case)
    once = multiply_outright(graph)
    assert {n.prim.name for n in once.nodes}.isdisjoint({"dot_general"}) and multiply_outright(once) == once
    args = [
        np.random.default_rng(k).normal(size=a.shape).astype(np.float32) for k, a in enumerate(graph.in_avals)
    ]
    np.testing.assert_array_equal(*[Interpreter(g).evaluate(args)[0] for g in (graph, once)])
    check(graph)


def test_sums_are_left_alone():
    graph = graph_of((5, 2), (2, 6), ((1,), (0,)), ((), ()))
    assert multiply_outright(graph) == graph


def test_an_update_after_one_sample_is_one_kernel():
    """The gradient of a weight is nowhere in memory."""

    def update(w, x, g):
        return w - 0.1 * dot_general(g, x, contract=((0,), (0,)), batch=((), ()))

    graph = trace_graph(update, [Aval(s, float32) for s in ((64, 32), (1, 32), (1, 64))])
    assert len(CpuBackend().compile(graph).steps) == 1 and run(graph)[0].shape == (64, 32)
    check(graph)
