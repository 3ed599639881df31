"""Inner loops in one, where all that a stage reads and writes goes on evenly: the same elements in the same order."""

from __future__ import annotations

import pytest

import weft.ops  # noqa: F401
from compiled import check, run
from weft.backends.cpu.backend import CpuBackend
from weft.ir.dtype import float32, float64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel import anchors, rows
from weft.ops.movement import permute, reshape, slice_
from weft.ops.reduce import max_, sum_


def reduced(*shape, axes=(2, 3), dtype=float32, reduce=sum_, before=lambda x: x) -> Graph:
    return trace_graph(lambda x: reduce(before(x), axes=axes), [Aval(shape, dtype)])


def centred(*shape, axes=(2, 3)) -> Graph:
    """Elements less the sum of their squares."""
    kept = tuple([1 if a in axes else n for a, n in enumerate(shape)])
    return trace_graph(lambda x: x - reshape(sum_(x * x, axes=axes), shape=kept), [Aval(shape, float32)])


def cut_off(x):
    """All but the last column: rows do not follow each other."""
    ends = tuple([n - (a == 3) for a, n in enumerate(x.shape)])
    return slice_(x, start=(0, 0, 0, 0), limit=ends, stride=(1, 1, 1, 1))


def turned(x):
    return permute(x, axes=(0, 1, 3, 2))


#: graph, the inner loops of each stage that has some
CASES = {
    "pixels": (reduced(3, 24, 7, 7), [(49,)]),
    "pixels of doubles": (reduced(3, 21, 5, 9, dtype=float64), [(45,)]),
    "greatest": (reduced(3, 24, 6, 20, reduce=max_), [(120,)]),
    "of all images": (reduced(5, 24, 6, 9, axes=(0, 2, 3)), [(5, 54)]),
    "normalised": (centred(3, 40, 7, 7), [(49,), (49,)]),
    "volumes": (reduced(2, 24, 3, 4, 5, axes=(2, 3, 4)), None),
    "parts of rows": (reduced(3, 24, 7, 8, before=cut_off), [(7, 7)]),
    "turned": (reduced(3, 24, 7, 7, before=turned), [(7, 7)]),
    "channels last": (reduced(3, 7, 6, 24, axes=(1, 2)), [(42,)]),
    "along what is reduced": (reduced(40, 6, 20, axes=(1, 2)), [(6, 20)]),
    "one pixel": (reduced(3, 24, 1, 1), None),
    "no pixels": (reduced(3, 24, 0, 5), None),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_in_as_few_loops_as_can_be(case, monkeypatch, compiled_anew):
    graph, loops = CASES[case]
    check(graph)
    (step,) = CpuBackend().compile(graph).steps
    found = [tuple([v.size for v in s.variables]) for s in step.kernel.stages if s.variables]
    assert loops is None or found == loops
    (got,) = run(graph)
    monkeypatch.setattr(anchors, "joined", lambda kernel: kernel)
    monkeypatch.setattr(rows, "joined", lambda kernel: kernel)
    compiled_anew()
    assert run(graph)[0].tobytes() == got.tobytes()


#: graph, the loops around its stages
AROUND = {
    "over channels": (centred(3, 40, 7, 9, axes=(1,)), (3, 63)),
    "over images": (reduced(40, 3, 7, 9, axes=(0,)), (189,)),
    "over a middle axis": (reduced(5, 4, 33, 17, axes=(2,)), (5, 4, 17)),
    "cut off": (reduced(3, 40, 7, 9, axes=(1,), before=cut_off), (3, 7, 8)),
    "over channels, turned": (reduced(3, 40, 7, 9, axes=(1,), before=turned), (3, 9, 7)),
    "over pixels": (reduced(3, 24, 7, 9), (72,)),
    "along what is reduced": (reduced(3, 4, 40, axes=(2,)), None),
}


@pytest.mark.parametrize("case", AROUND)
def test_the_same_bits_with_the_loops_around_all_stages_in_one(case, monkeypatch, compiled_anew):
    graph, loops = AROUND[case]
    check(graph)
    (step,) = CpuBackend().compile(graph).steps
    assert loops is None or tuple([v.size for v in step.kernel.outer]) == loops
    (got,) = run(graph)
    monkeypatch.setattr(anchors, "joined", lambda kernel: kernel)
    monkeypatch.setattr(rows, "joined", lambda kernel: kernel)
    compiled_anew()
    assert run(graph)[0].tobytes() == got.tobytes()
