"""Every composite of the library: it comes back from a file, and it works under an open batch dimension."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import weft  # noqa: F401  (all composites)
from weft.autodiff.batching import batch_nodes
from weft.autodiff.pairs import vjp_pair
from weft.backends.reference.interpreter import Interpreter
from weft.base.state import isolated
from weft.ir.deserialize import graph_from_data
from weft.ir.dtype import dtype
from weft.ir.graph import Graph, bind_dims, fresh_inputs, instantiate, trace_graph, verify
from weft.ir.node import Aval, Node
from weft.ir.serialize import graph_to_data
from weft.ir.shape import Dim
from weft.runtime.buffer import Buffer
from weft.runtime.program import Program

N = Dim("n")


def load_cases():
    """The tables of cases of the tests of composites, one for each family."""
    for path in sorted((Path(__file__).parent.parent / "ops" / "composite").glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"cases_of_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for case in getattr(module, "CASES", []):
            yield pytest.param(case, id=f"{path.stem[5:]}-{case.id}")


CASES = list(load_cases())


def trace(case, avals):
    def function(*nodes):
        out = case.function(*nodes)
        return (out,) if isinstance(out, Node) else tuple(out)

    with isolated():
        return trace_graph(function, avals)


def avals_of(case):
    return [Aval(np.shape(a), dtype(np.asarray(a).dtype)) for a in case.args]


def through(graph):
    data, values = graph_to_data(graph)
    constants = [(Aval(v.array.shape, dtype(v.array.dtype)), v) for v in values]
    return graph_from_data(json.loads(json.dumps(data, allow_nan=False)), constants)


def same_results(a, b):
    """Both graphs give the same bits, node by node. (They are not equal where a rule only says how to keep residuals:
    a file leaves it out.)"""
    assert a.in_avals == b.in_avals and a.out_avals == b.out_avals
    rng = np.random.default_rng(0)
    inputs = [rng.uniform(0, 1, x.shape).astype(x.dtype.numpy) for x in a.in_avals]
    with np.errstate(all="ignore"):
        found = [Interpreter(graph).evaluate(inputs) for graph in (a, b)]
    for x, y in zip(*found, strict=True):
        np.testing.assert_array_equal(x, y, strict=True)


def test_there_are_cases():
    assert len(CASES) > 100


@pytest.mark.parametrize("case", CASES)
def test_it_comes_back_with_its_derivative(case):
    graph = trace(case, avals_of(case))
    found = through(graph)
    assert found == graph
    need = tuple([a.dtype.inexact for a in graph.in_avals])
    if any(need):
        a, b = vjp_pair(graph, need), vjp_pair(found, need)
        assert (a.forward, a.backward, a.reads, a.found) == (b.forward, b.backward, b.reads, b.found)
        for graph in (a.forward, a.backward):
            same_results(graph, through(graph))


#: Their cases batch the kernel too, and a batch of kernels is a number of groups, which is structure and no size.
BATCH_OF_KERNELS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.values[0].batch and c.values[0].name not in BATCH_OF_KERNELS]
)
def test_an_open_batch(case):
    """Batched under a named size, forward and backward, and bound: what batching under the size itself gives."""
    avals = avals_of(case)
    with isolated():
        plain = fresh_inputs(avals)
        outs = instantiate(trace(case, avals), plain)
        graphs = {}
        for size in (N, 2):
            many = fresh_inputs([Aval((size, *a.shape), a.dtype) for a in avals])
            graphs[size] = Graph(many, [n for n, _ in batch_nodes(outs, plain, many, size)])
    verify(graphs[N])
    bound = bind_dims(graphs[N], {"n": 2})
    verify(bound)
    rows = [Buffer(np.stack([np.asarray(a)] * 2)) for a in case.args]
    for a, b in zip(Program(graphs[N]).run(rows), Program(graphs[2]).run(rows), strict=True):
        np.testing.assert_array_equal(a.array, b.array, strict=True)
