"""All passes: each keeps the meaning bit for bit, gives a graph that verifies, and does nothing the second time."""

from __future__ import annotations

import numpy as np
import pytest

from passes_shared import OUTER, M, arrays_for, bits, calls
from weft.autodiff.transforms import jvp_graph, vjp_pair
from weft.ir.dtype import dtype as as_dtype
from weft.ir.dtype import float32
from weft.ir.graph import trace_graph, verify
from weft.ir.node import Aval
from weft.ir.primitive import registry, results
from weft.ops.movement import full
from weft.passes.pipeline import PASSES, run_passes


@pytest.mark.parametrize(("name", "step"), PASSES)
@pytest.mark.parametrize("make", [
    calls,
    lambda: vjp_pair(calls(), (True, True)).forward,
    lambda: vjp_pair(calls(), (True, True)).backward,
    lambda: jvp_graph(calls(), (True, False))[0],
])  # fmt: skip
def test_a_pass_keeps_the_bits_verifies_and_is_idempotent(name, step, make):
    graph = make()
    after = step(graph)
    verify(after)
    inputs = arrays_for(graph)
    assert bits(after, inputs) == bits(graph, inputs)
    assert step(after) is after


def _samples():
    for prim in registry.values():
        if prim.samples is None or prim.higher_order:
            continue
        for i, sample in enumerate(prim.samples()):
            yield pytest.param(prim, sample, id=f"{prim.name}-{i}")


@pytest.mark.parametrize(("prim", "sample"), list(_samples()))
def test_all_passes_keep_every_sample_of_every_primitive(prim, sample):
    args = [np.asarray(a) for a in sample.args]
    avals = [Aval(a.shape, as_dtype(a.dtype)) for a in args]

    def function(*nodes):
        outs = prim.bind(nodes, tuple([sample.attrs[n] for n in prim.attr_names]))

        return results(outs)

    graph = trace_graph(function, avals)
    after = run_passes(graph)
    verify(after)
    assert bits(after, args) == bits(graph, args)


def test_what_passes_make_stands_for_the_line_of_what_it_replaces():
    graph = vjp_pair(
        trace_graph(lambda x, w: OUTER(x * full(M, 2.0), w) / 2, (M, Aval((4, 4), float32))), (True, True)
    )
    for half in (graph.forward, graph.backward):
        for i, node in enumerate(half.nodes):
            node.site = (None, 100 + i)
        sites = [n.site for n in run_passes(half).nodes if n.value is None]
        assert sites and all(site[1] >= 100 for site in sites)
