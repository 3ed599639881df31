"""Graphs run without a plan, operation by operation: the bits of the planned graph, and when it is done."""

from __future__ import annotations

import gc
import itertools
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import weft as wf
from random_graphs import EXACT_TYPES, exact, programs, smooth, traced
from random_graphs import Program as Example
from samples import samples
from weft.backends.cpu import at_once as module
from weft.backends.cpu import forms, library, single_calls
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.cache import KernelCache
from weft.backends.cpu.host import CONTROL
from weft.backends.cpu.operations import Alone
from weft.backends.cpu.processor import host_target
from weft.backends.cpu.regions import numbered, own_results, plan, prepare
from weft.base.errors import IndexingError
from weft.ir.dtype import bool_, complex64, complex128, float32, float64, int8, int32, uint8
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel.single import FEW, single
from weft.kernel.single_kernels import single_kernel
from weft.ops.comparison import equal
from weft.ops.contraction import dot_general
from weft.ops.cumulative import cumprod, cumsum
from weft.ops.dynamic import dynamic_slice
from weft.ops.elementwise import add, exp, mul
from weft.ops.gather import gather
from weft.ops.indexing import iota
from weft.ops.movement import reshape
from weft.ops.reduce import all_, argmax, argmin, max_, prod, sum_
from weft.ops.selection import cast, where
from weft.ops.sorting import argsort, sort
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
    assert ran or prim.name in CONTROL or max(np.size(a) for a in args) > FEW


def same_bits_at_random(program):
    graph, arrays = traced(program, program.table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_NEW", 1 << 30)
        same_bits(graph, arrays)


def graphs(size):
    return st.one_of(programs(exact, size, EXACT_TYPES), programs(smooth, size))


#: A convolution whose only channel comes last in memory, or not, as its gradient likes it.
ONE_CHANNEL = Example(
    (("adds", 0, 0, 0),) * 3 + (("transforms", 0, 0, 0), ("convolves", 0, 0, 0)), ((4, 6), (4, 6)), True, 0
)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@example(program=ONE_CHANNEL)
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
    "sum of two": (add, (), ((7, 5), (7, 5)), float32),
    "row and number": (mul, (), ((1, 9), ()), float64),
    "function": (exp, (), ((2, 3, 4),), float32),
    "choice": (where, (), ((12,), (12,), (12,)), (bool_, int8, int8)),
    "cast": (cast, (int32,), ((33,),), float32),
    "equal complex numbers": (equal, (), ((5, 3), (5, 3)), complex64),
    "sum": (sum_, ((0,),), ((1000,),), float32),
    "sum along two axes": (sum_, ((0, 2),), ((40, 3, 5),), float64),
    "greatest": (max_, ((1,),), ((6, 5),), int32),
    "all": (all_, ((0,),), ((70,),), bool_),
    "running sum": (cumsum, (0, False, False), ((6, 5),), float32),
}


@pytest.mark.parametrize("name", SINGLE)
def test_kernels_are_those_of_graphs_of_one_operation(name):
    """As the planner makes them for the sizes that stand for others: nothing that it does is missing here."""
    prim, attrs, shapes, types = SINGLE[name]
    types = types if isinstance(types, tuple) else (types,) * len(shapes)
    graph = trace_graph(
        lambda *n: prim.bind(n, attrs), [Aval(s, t) for s, t in zip(shapes, types, strict=True)]
    )
    sig = single(graph.nodes[-1].sig).sig
    planned = trace_graph(lambda *n: sig.prim.bind(n, tuple(sig.attrs.values())), sig.inputs)
    (step,) = plan(own_results(prepare(numbered(planned)))).steps
    target = host_target()
    assert forms.generic_form(single_kernel(sig), target).digest == (
        forms.generic_form(step.kernel, target).digest
    )


def reductions():
    """Of all kinds of axes, short and long, in front and behind, with ones in between."""
    shapes = [
        (5,),
        (70,),
        (3, 4),
        (4, 70),
        (70, 4),
        (1, 40),
        (40, 1),
        (2, 3, 5),
        (3, 40, 2),
        (2, 3, 40),
        (2, 1, 40),
    ]
    shapes += [(2, 3, 1, 5), (2, 3, 4, 9), (3, 2, 33, 1), (2, 65, 31), (0, 3), (3, 0, 2), (1, 1), (4, 3, 300)]
    for shape in shapes:
        for axes in itertools.chain.from_iterable(
            itertools.combinations(range(len(shape)), n + 1) for n in range(len(shape))
        ):
            yield shape, axes


REDUCED = {
    "sums": (sum_, float32),
    "long sums": (sum_, float64),
    "products": (prod, float32),
    "integers": (sum_, int32),
    "complex": (sum_, complex64),
    "greatest": (max_, float64),
    "all": (all_, bool_),
}


def some(shape, dtype, seed=0):
    """Numbers, with zeros of both signs among floats."""
    made = np.random.default_rng(seed).normal(size=(*shape, 2)) * 3
    made[..., 0][np.abs(made[..., 0]) < 0.5] = -0.0
    return (
        made.view(complex)[..., 0].astype(dtype.numpy)
        if dtype.kind == "c"
        else made[..., 0].astype(dtype.numpy)
    )


@pytest.mark.parametrize("name", REDUCED)
def test_reductions_of_any_shape(name):
    """They have the order of the planner's, whatever they have been moved to."""
    prim, dtype = REDUCED[name]
    for shape, axes in reductions():
        if prim is max_ and any(shape[a] == 0 for a in axes):
            continue
        graph = trace_graph(lambda x: prim(x, axes=axes), [Aval(shape, dtype)])
        assert same_bits(graph, [some(shape, dtype)]), (shape, axes)
        (step,) = CpuBackend().at_once(graph)._operations
        assert not isinstance(step, Alone)


@pytest.mark.parametrize("dtype", [float32, float64, int32, int8], ids=str)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_goes_along_an_axis(axis, dtype):
    choices = [(argmax, (axis,)), (argmin, (axis,)), (sort, (axis, True)), (argsort, (axis, False))]
    running = [(cumsum, (axis, False, False)), (cumprod, (axis, False, True))]
    for prim, attrs in [*choices, *running]:
        for shape in [(3, 4, 5), (2, 50, 3), (50, 1, 2), (1, 3, 40)]:
            graph = trace_graph(lambda x: prim.bind((x,), attrs), [Aval(shape, dtype)])
            assert same_bits(graph, [some(shape, dtype)])
            (step,) = CpuBackend().at_once(graph)._operations
            assert not isinstance(step, Alone)


PRODUCTS = [
    ((3, 4), (4, 2), ((1,), (0,)), ((), ())),
    ((3, 40), (2, 40), ((1,), (1,)), ((), ())),
    ((1, 9), (9, 20), ((1,), (0,)), ((), ())),
    ((2, 3, 4), (2, 4, 5), ((2,), (1,)), ((0,), (0,))),
    ((3, 2, 4), (5, 4, 2), ((1, 2), (2, 1)), ((), ())),
    ((4, 300, 2), (2, 4, 3), ((0,), (1,)), ((2,), (0,))),
    ((2, 1, 7), (2, 7, 1), ((2,), (1,)), ((0,), (0,))),
    ((30, 7), (7, 1), ((1,), (0,)), ((), ())),
    ((3, 0), (0, 2), ((1,), (0,)), ((), ())),
    ((20,), (20, 7), ((0,), (0,)), ((), ())),
    ((6, 20), (20,), ((1,), (0,)), ((), ())),
]
DOTS = [
    *[((n,), (n,), ((0,), (0,)), ((), ())) for n in (2, 3, 7, 8, 9, 17, 33, 100, 257, 769, 2047)],
    ((1, 20), (20, 1), ((1,), (0,)), ((), ())),
    ((1, 50), (1, 50), ((1,), (1,)), ((0,), (0,))),
    ((1, 1, 13), (13, 1), ((1, 2), (1, 0)), ((), ())),
]


@pytest.mark.parametrize("dtype", [float32, float64, int32, uint8, complex64, complex128], ids=str)
def test_products(dtype):
    for xs, ys, contract, batch in (*PRODUCTS, *DOTS):
        graph = trace_graph(
            lambda x, y: dot_general(x, y, contract=contract, batch=batch),
            [Aval(xs, dtype), Aval(ys, dtype)],
        )
        assert same_bits(graph, [some(xs, dtype), some(ys, dtype, 1)]), (xs, ys)
        (step,) = CpuBackend().at_once(graph)._operations
        assert not isinstance(step, Alone)


def test_what_depends_on_the_shape_in_another_way_has_no_kernel_of_its_own():
    def alone(function, *shapes, dtype=float32):
        (node,) = trace_graph(function, [Aval(s, dtype) for s in shapes]).nodes
        return single(node.sig) is None

    def dot(x, y):
        return dot_general(x, y, contract=((0,), (0,)), batch=((), ()))

    def product(x, y):
        return dot_general(x, y, contract=((0, 1), (0, 1)), batch=((), ()))

    assert alone(product, (2, 3), (2, 3)) and not alone(product, (2, 3), (2, 3), dtype=int32)
    assert not alone(product, (1, 3), (1, 3))
    assert alone(dot, (2048,), (2048,)) and not alone(dot, (2047,), (2047,))
    assert alone(dot, (1, 3), (1, 4)) and not alone(dot, (1, 3), (1, 4), dtype=uint8)
    assert alone(dot, (9, 30), (9, 1)) and not alone(dot, (9, 30), (9, 1), dtype=int32)
    assert alone(dot, (2048, 2), (2048, 2))
    assert alone(lambda x: sum_(x, axes=(0, 2)), (60, 1, 60)) and not alone(
        lambda x: sum_(x, axes=(0, 2)), (6, 2, 60)
    )
    assert alone(lambda x: sum_(x, axes=(0,)), (1 << 20,))
    assert alone(lambda x: cumsum(x, axis=0, reverse=True, exclusive=False), (3,))


def test_large_values_are_planned_for():
    def graph(n):
        return trace_graph(lambda x: exp(x), [Aval((n,), float32)])

    assert CpuBackend().at_once(graph(FEW)) is not None
    assert CpuBackend().at_once(graph(FEW + 1)) is None


def test_what_a_kernel_is_called_with_is_kept_on_disk(monkeypatch, tmp_path):
    """The next process does not make its loops; what is kept and no kernel beside it makes them again."""
    monkeypatch.setattr(single_calls, "disk_cache", lambda: cache)
    monkeypatch.setattr(library, "disk_cache", lambda: cache)
    monkeypatch.setattr(library, "_loaded", {})
    cache = KernelCache(tmp_path / "kernels", 1 << 24)
    x = Buffer(np.arange(12, dtype=np.float32).reshape(3, 4))
    made, found = [], []
    monkeypatch.setattr(forms, "single_kernel", lambda sig: made.append(sig) or single_kernel(sig))
    for _ in range(3):
        monkeypatch.setattr(single_calls, "_kernels", {})
        library._loaded.clear()
        graph = trace_graph(lambda x: sum_(x, axes=(1,)), [Aval((3, 4), float32)])
        graph.nodes[0].sig.memo.clear()
        found.append(CpuBackend().at_once(graph).run([x])[0].array.tolist())
        if len(found) == 2:
            os.unlink(cache._path(next(iter(single_calls._kernels.values())).digest))
    assert found == [[6.0, 22.0, 38.0]] * 3
    assert len(made) == 3  # to know the numbers, for its code, and again for this


def test_what_needs_many_new_kernels_is_planned_for(monkeypatch):
    monkeypatch.setattr(library, "is_at_hand", lambda digest: False)
    monkeypatch.setattr(single_calls, "_kernels", {})

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
        within = reshape(x, shape=(1, 6))  # a view of the input
        i = iota(size=6, dtype=float32)  # there is one for all runs
        moved = reshape(y, shape=(3, 2)), reshape(x, shape=(6,)), reshape(within, shape=(6, 1))
        return x, y, y, *moved, i, i, reshape(i, shape=(2, 3))

    graph = trace_graph(function, [Aval((2, 3), float32)])
    x = Buffer(np.ones((2, 3), np.float32))
    early = CpuBackend().at_once(graph)
    outs = [b.array for _ in range(2) for b in early.run([x])]
    for i, a in enumerate(outs):
        assert not any(np.shares_memory(a, b) for b in [x.array, *outs[:i]])


def test_the_collector_has_little_to_look_at():
    """There may be thousands of such graphs, and every full collection goes through what they consist of."""
    graph = trace_graph(lambda x, y: add(mul(x, y), exp(x)), [Aval((2, 3), float32)] * 2)
    early = CpuBackend().at_once(graph)
    for _ in range(
        2
    ):  # it sees that a tuple holds nothing to look at, and later that one of such tuples does not
        gc.collect()
    held = [o for o in gc.get_referents(early) if gc.is_tracked(o) and type(o) is not type]
    assert held == [early._operations]


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
    monkeypatch.setattr("weft.backends.cpu.backend._EARLY", 3)
    monkeypatch.setattr("weft.backends.cpu.backend._MORE", 5)
    monkeypatch.setattr("weft.backends.cpu.backend._UNPLANNED", 1)
    program = Program(graph)
    results = []
    for run in range(8):
        results.append(program.run([x])[0].array.tobytes())
        assert (program._static is None) == (run < 3 + 5 // 2)
    assert len(set(results)) == 1
    assert Program(graph, recurs=True)._static is not None


def test_profiles_are_of_planned_programs():
    program = Program(trace_graph(lambda x: sort(exp(x), axis=0, descending=False), [Aval((5,), float32)]))
    program.run([Buffer(np.ones(5, np.float32))])
    assert program._static is None
    with wf.profile() as seen:
        program.run([Buffer(np.ones(5, np.float32))])
    assert program._static is not None and "sort" in str(seen)
