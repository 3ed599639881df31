"""The compiled backend against the reference, on the samples of every primitive it has code for."""

from __future__ import annotations

import numpy as np
import pytest

import weft.ops  # noqa: F401
from weft.backends.cpu.backend import CpuBackend, supported
from weft.backends.cpu.host import on_host
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import dtype as as_dtype
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.ir.primitive import pick_prim, registry, results
from weft.passes.pipeline import run_passes
from weft.runtime.buffer import Buffer


def _samples():
    for prim in registry.values():
        if prim.samples is None or prim.higher_order:
            continue
        for i, sample in enumerate(prim.samples()):
            args = [np.asarray(a) for a in sample.args]
            avals = [Aval(a.shape, as_dtype(a.dtype)) for a in args]
            attrs = tuple([sample.attrs[n] for n in prim.attr_names])
            graph = trace_graph(
                lambda *nodes, prim=prim, attrs=attrs: results(prim.bind(nodes, attrs)), avals
            )
            after = run_passes(graph)
            if after.nodes and all(supported(n) or on_host(n) or n.prim is pick_prim for n in after.nodes):
                yield pytest.param(graph, args, id=f"{prim.name}-{i}")


def run(program, arrays):
    return [np.asarray(b.array) for b in program.run([Buffer(np.ascontiguousarray(a)) for a in arrays])]


@pytest.mark.parametrize(("graph", "args"), list(_samples()))
def test_samples(graph, args):
    with np.errstate(all="ignore"):
        want = Interpreter(graph).evaluate(args)
    got = run(CpuBackend().compile(graph), args)
    for w, g in zip(want, got, strict=True):
        assert g.shape == w.shape and g.dtype == w.dtype
        if w.dtype.kind == "f":
            np.testing.assert_allclose(g, w, rtol=1e-5 if w.dtype == np.float32 else 1e-12, atol=1e-6)
        else:
            assert np.array_equal(g, w)
