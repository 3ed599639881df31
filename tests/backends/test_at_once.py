"""Graphs run without a plan, operation by operation: the bits of the planned graph, and when it is done."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import weft as wf
from random_graphs import EXACT_TYPES, exact, programs, smooth, traced
from samples import samples
from weft.backends.cpu import at_once as module
from weft.backends.cpu import library
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.jit import host_target
from weft.backends.cpu.regions import numbered, own_results, plan, prepare, supported
from weft.base.errors import IndexingError
from weft.ir.dtype import bool_, float32, float64, int8, int32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel.single import is_single, single_kernel
from weft.ops.dynamic import dynamic_slice
from weft.ops.elementwise import add, exp, mul
from weft.ops.gather import gather
from weft.ops.movement import reshape
from weft.ops.reduce import all_, max_, sum_
from weft.ops.selection import cast, where
from weft.ops.sorting import sort
from weft.runtime import program as programs_module
from weft.runtime.backend import Fault
from weft.runtime.buffer import Buffer
from weft.runtime.program import Program


@pytest.fixture
def all_new(monkeypatch):
    """However many kernels have to be made."""
    monkeypatch.setattr(module, "_NEW", 1 << 30)


def same_bits(graph, arrays):
    """Whether a graph runs without a plan; if so, it gives the bits that it gives with one."""
    backend = CpuBackend()
    early = backend.at_once(graph)
    if early is None:
        return False
    inputs = [Buffer(np.array(a, order="C")) for a in arrays]
    for _ in range(2):
        got, want = early.run(inputs), backend.compile(graph).run(inputs)
        for g, w, o in zip(got, want, graph.outputs, strict=True):
            assert g.array.shape == o.shape and g.array.dtype == o.dtype.numpy
            assert g.array.tobytes() == w.array.tobytes()
    return True


@pytest.mark.parametrize(("prim", "graph", "args"), samples())
def test_samples(prim, graph, args, all_new):
    ran = same_bits(graph, args)
    assert ran or prim.name in module.CONTROL or max(np.size(a) for a in args) > module._FEW


def same_bits_at_random(program):
    graph, arrays = traced(program, program.table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_NEW", 1 << 30)
        same_bits(graph, arrays)


def graphs(size):
    return st.one_of(programs(exact, size, EXACT_TYPES), programs(smooth, size))


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(program=graphs(15))
def test_random_graphs(program):
    same_bits_at_random(program)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=1000, suppress_health_check=list(HealthCheck))
@given(program=graphs(40))
def test_many_random_graphs(program):
    same_bits_at_random(program)


SINGLE = {
    "sum of two": (add, (), ((7, 5), (7, 5)), float32, (False, False)),
    "row and number": (mul, (), ((1, 9), ()), float64, (False, True)),
    "function": (exp, (), ((2, 3, 4),), float32, (False,)),
    "choice": (where, (), ((12,), (12,), (12,)), (bool_, int8, int8), (False, False, False)),
    "cast": (cast, (int32,), ((33,),), float32, (False,)),
    "sum": (sum_, ((0,),), ((1000,),), float32, (False,)),
    "greatest": (max_, ((0,),), ((6,),), int32, (False,)),
    "all": (all_, ((0,),), ((70,),), bool_, (False,)),
}


@pytest.mark.parametrize("name", SINGLE)
def test_kernels_are_those_of_graphs_of_one_operation(name):
    """As the planner makes them for a row: nothing that it does to one is missing here."""
    prim, attrs, shapes, types, repeated = SINGLE[name]
    types = types if isinstance(types, tuple) else (types,) * len(shapes)
    graph = trace_graph(
        lambda *n: prim.bind(n, attrs), [Aval(s, t) for s, t in zip(shapes, types, strict=True)]
    )
    (node,) = graph.nodes
    assert supported(node) and is_single(node.sig)
    target = host_target()
    rows = [Aval(() if r else (np.prod(s, dtype=int).item(),), t) for s, t, r in zip(shapes, types, repeated)]
    row = trace_graph(lambda *n: prim.bind(n, attrs), rows)
    (step,) = plan(own_results(prepare(numbered(row)))).steps
    assert library.generic_form(single_kernel(node.sig, repeated), target).digest == (
        library.generic_form(step.kernel, target).digest
    )


def test_reductions_whose_order_depends_on_the_shape_have_no_kernel_of_their_own():
    def reduced(prim, shape, axes, dtype=float32):
        (node,) = trace_graph(lambda x: prim(x, axes=axes), [Aval(shape, dtype)]).nodes
        return is_single(node.sig)

    assert (
        reduced(sum_, (40,), (0,)) and reduced(sum_, (1, 40), (0, 1)) and reduced(sum_, (3, 4), (0, 1), int32)
    )
    assert reduced(max_, (3, 4), (0, 1)) and reduced(all_, (0, 4), (0, 1), bool_)
    assert (
        not reduced(sum_, (3, 4), (0, 1))
        and not reduced(sum_, (1, 4), (1,))
        and not reduced(max_, (3, 4), (0,))
    )
    assert not reduced(sum_, (1 << 20,), (0,))


def test_large_values_are_planned_for():
    def graph(n):
        return trace_graph(lambda x: exp(x), [Aval((n,), float32)])

    assert CpuBackend().at_once(graph(module._FEW)) is not None
    assert CpuBackend().at_once(graph(module._FEW + 1)) is None


def test_what_needs_many_new_kernels_is_planned_for(monkeypatch):
    monkeypatch.setattr(library, "is_at_hand", lambda digest: False)
    monkeypatch.setattr(module, "_kernels", {})

    def graph(*functions):
        def function(x):
            for f in functions:
                x = f(x)
            return x

        shape = (3, 1, 7)  # no other test has called kernels for it
        return trace_graph(function, [Aval(shape, float32)])

    several = [
        wf.ops.elementwise.sin,
        wf.ops.elementwise.cos,
        wf.ops.elementwise.tan,
        wf.ops.elementwise.sinh,
    ]
    assert CpuBackend().at_once(graph(*several)) is None
    assert CpuBackend().at_once(graph(*several[: module._NEW])) is not None
    assert CpuBackend().at_once(graph(*several)) is not None  # now there is one


def test_results_have_memory_of_their_own():
    def function(x):
        y = add(x, x)
        return x, y, y, reshape(y, shape=(3, 2)), reshape(x, shape=(6,))

    graph = trace_graph(function, [Aval((2, 3), float32)])
    x = Buffer(np.ones((2, 3), np.float32))
    outs = [b.array for b in CpuBackend().at_once(graph).run([x])]
    for i, a in enumerate(outs):
        assert not any(np.shares_memory(a, b) for b in [x.array, *outs[:i]])


@pytest.mark.parametrize(
    "move",
    [
        lambda x, i: gather(x, i, axes=(0,)),
        lambda x, i: dynamic_slice(x, i, axes=(0,), sizes=(1,)),
    ],
    ids=["gather", "dynamic_slice"],
)
def test_an_index_outside_is_a_fault_of_its_node(move):
    graph = trace_graph(lambda x, i: move(exp(x), i), [Aval((4,), float32), Aval((), int32)])
    early = CpuBackend().at_once(graph)
    x = Buffer(np.zeros(4, np.float32))
    assert early.run([x, 3])[0].array.sum() == 1.0
    with pytest.raises(Fault) as caught:
        early.run([x, 4])
    assert caught.value.position == 1 and isinstance(caught.value.error, IndexingError)


def test_a_program_that_recurs_is_planned(monkeypatch):
    graph = trace_graph(lambda x: add(exp(x), x), [Aval((5,), float32)])
    x = Buffer(np.arange(5, dtype=np.float32))
    monkeypatch.setattr(programs_module, "_EARLY", 3)
    program = Program(graph)
    results = []
    for run in range(5):
        results.append(program.run([x])[0].array.tobytes())
        assert (program._static is None) == (run < 3)
    assert len(set(results)) == 1
    assert Program(graph, recurs=True)._static is not None


def test_profiles_are_of_planned_programs():
    program = Program(trace_graph(lambda x: sort(exp(x), axis=0, descending=False), [Aval((5,), float32)]))
    program.run([Buffer(np.ones(5, np.float32))])
    assert program._static is None
    with wf.profile() as seen:
        program.run([Buffer(np.ones(5, np.float32))])
    assert program._static is not None and "sort" in str(seen)
