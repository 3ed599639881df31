"""Generic kernels and special ones: the same bits, and when which of them runs."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
import weft.ops
from compiled import programs_of
from weft.backends.cpu import library, tiers
from weft.backends.cpu.backend import CpuBackend
from weft.ir.dtype import dtype as as_dtype
from weft.ir.dtype import float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.ir.primitive import registry, results
from weft.kernel.generic import Hole, generalize
from weft.kernel.structure import structure
from weft.ops.elementwise import exp
from weft.ops.movement import reshape
from weft.ops.reduce import sum_
from weft.runtime.buffer import Buffer


@pytest.fixture
def compiled(monkeypatch):
    """compiled(graph, generic): a program whose kernels are generic where they can be, or none of them is."""
    monkeypatch.setattr(library, "is_at_hand", lambda digest: False)

    def make(graph, generic):
        monkeypatch.setattr("weft.backends.cpu.program.hardly_pays", lambda step: generic)
        return CpuBackend().compile(graph)

    return make


def generic_count(program) -> int:
    return sum(use.values is not None for use in program._uses.values())


def run(program, arrays):
    return [np.array(b.array) for b in program.run([Buffer(np.ascontiguousarray(a)) for a in arrays])]


def samples():
    for prim in registry.values():
        if prim.samples is None or prim.higher_order:
            continue
        for i, sample in enumerate(prim.samples()):
            yield pytest.param(prim, sample, id=f"{prim.name}-{i}")


def same_bits(first, second):
    for a, b in zip(first, second, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize(("prim", "sample"), list(samples()))
def test_samples_have_the_same_bits_in_both(compiled, prim, sample):
    args = [np.asarray(a) for a in sample.args]
    attrs = tuple([sample.attrs[n] for n in prim.attr_names])
    avals = [Aval(a.shape, as_dtype(a.dtype)) for a in args]
    graph = trace_graph(lambda *nodes: results(prim.bind(nodes, attrs)), avals)
    same_bits(run(compiled(graph, True), args), run(compiled(graph, False), args))


CASES = {
    "softmax": lambda x: wf.nn.functional.softmax(x, dim=-1),
    "layer norm": lambda x: wf.nn.functional.layer_norm(x, x.shape[-1:]),
    "mean and variance": lambda x: wf.mean(x, axis=0) + wf.var(x, axis=0),
    "softmax of columns": lambda x: wf.nn.functional.softmax(wf.concat([x] * 40, axis=0), dim=0),
    "rows added": lambda x: wf.index_add(x, wf.asarray([2, 0, 2] * 20), wf.concat([x[:3] * 2] * 20, axis=0)),
    "the few largest": lambda x: wf.topk(x, min(x.shape[1], 6))[0],
    "sum of all": lambda x: wf.sum(x * x),
    "sum of rows": lambda x: wf.sum(wf.exp(x), axis=1),
    "transposed": lambda x: wf.permute_dims(x, (1, 0)) * 2 + 1,
    "reshaped": lambda x: wf.reshape(wf.permute_dims(x, (1, 0)), (-1,)) - 1,
    "every third, backwards": lambda x: wf.flip(x)[:, ::3] * x[0, 0],
    "rolled": lambda x: wf.roll(x, 3, axis=1),
    "side by side": lambda x: wf.concat([x, -x, x[:, 1:]], axis=1),
    "cumulated": lambda x: wf.cumulative_sum(x, axis=1),
    "lower triangle": lambda x: wf.tril(x) + wf.triu(x, k=2),
    "looked up": lambda x: wf.take(x, wf.asarray([2, 0, 1]), axis=0),
    "outer product": lambda x: x[:, :, None] * x[:, None, :],
    "random": lambda x: x + wf.random.normal(x.shape, generator=wf.random.Generator(3)),
}
SHAPES = [(3, 1), (3, 2), (4, 7), (5, 16), (3, 33), (17, 100), (16, 1100), (3, 5000)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_operations_on_shapes_have_the_same_bits_in_both(monkeypatch, name, shape):
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    monkeypatch.setattr(library, "is_at_hand", lambda digest: False)
    found = []
    for generic in (True, False):
        monkeypatch.setattr("weft.backends.cpu.program.hardly_pays", lambda step, generic=generic: generic)
        wf.runtime.executor.programs.clear()
        with wf.config(backend="cpu"):
            found.append(CASES[name](wf.tensor(x)).numpy().copy())
    wf.runtime.executor.programs.clear()
    same_bits(found[:1], found[1:])


def elementwise(*shape):
    return trace_graph(lambda x: [exp(x) + x], [Aval(shape, float32)])


def test_shapes_share_generic_code(compiled):
    programs = [compiled(elementwise(*shape), True) for shape in ((3, 5), (7, 11), (2, 3, 4), (9000,))]
    codes = {use.code for p in programs for use in p._uses.values()}
    assert [generic_count(p) for p in programs] == [1] * 4
    assert len(codes) == 1
    for p in programs:
        (aval,) = p.graph.in_avals
        x = np.random.default_rng(0).normal(size=aval.shape).astype(np.float32)
        np.testing.assert_allclose(run(p, [x])[0], np.exp(x) + x, rtol=1e-6, atol=1e-6)


def test_reductions_share_generic_code(compiled):
    def graph(*shape):
        return trace_graph(lambda x: [sum_(x, axes=(1,))], [Aval(shape, float32)])

    programs = [compiled(graph(*shape), True) for shape in ((3, 50), (4, 70), (5, 1000))]
    assert len({use.code for p in programs for use in p._uses.values()}) == 1


def test_large_work_is_compiled_for_its_own_sizes_at_once():
    program = CpuBackend().compile(elementwise(3000, 1000))
    assert generic_count(program) == 0


def test_what_recurs_is_compiled_for_its_own_sizes(compiled, monkeypatch):
    monkeypatch.setattr(tiers, "SPECIAL", 2_000)
    program = compiled(elementwise(20, 30), True)
    x = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)
    first = run(program, [x])
    before = program._code_of.words[:, 0].copy()
    assert generic_count(program) == 1
    for _ in range(20):
        same_bits(first, run(program, [x]))
    assert (program._code_of.words[:, 0] != before).any()
    assert program._tiers.generic == []


def test_a_special_kernel_that_is_there_is_used(monkeypatch):
    monkeypatch.setattr("weft.backends.cpu.program.hardly_pays", lambda step: False)
    special = CpuBackend().compile(elementwise(21, 31))
    monkeypatch.undo()
    again = CpuBackend().compile(elementwise(21, 31))
    assert generic_count(again) == 0
    assert [u.code for u in again._uses.values()] == [u.code for u in special._uses.values()]


def test_numbers_in_a_generic_kernel_are_holes(compiled):
    program = compiled(trace_graph(lambda x: [reshape(x, shape=(6,)) * 3.5], [Aval((2, 3), float32)]), True)
    (step,) = [s for s in program.steps if s.kernel is not None]
    form = generalize(step.kernel)
    assert form is not None
    assert form.values == (6,)
    assert "Hole 0" in structure(form.kernel) and "3.5" in structure(form.kernel)
    assert form.kernel.outer[0].size == Hole(0)


def test_functions_that_are_compiled_have_special_kernels_at_once(monkeypatch):
    monkeypatch.setattr(library, "is_at_hand", lambda digest: False)
    made = programs_of(monkeypatch)
    monkeypatch.setattr(CpuBackend, "at_once", lambda self, graph: None)

    @wf.compile
    def function(x):
        return wf.exp(x) * 2

    with wf.config(backend="cpu"):
        x = wf.tensor(np.ones((3, 13), np.float32)).realize()
        function(x).realize()
        assert [generic_count(p) for p in made] == [0]
        (wf.exp(x) * 3).realize()
        assert [generic_count(p) for p in made] == [0, 1]
