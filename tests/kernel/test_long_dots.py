"""Few and long dot products as sums side by side: against the reference, and when."""

from __future__ import annotations

import pytest

import weft as wf
from compiled import check, run
from weft.backends.cpu.backend import CpuBackend
from weft.ir.dtype import DType, float32, float64, int32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.long_dots import parts_of, sum_side_by_side
from weft.ops.contraction import dot_general


def dots(m: int, n: int, length: int, dtype: DType = float32, contract=((1,), (1,))) -> Graph:
    shapes = [(length, s) if a == (0,) else (s, length) for s, a in zip((m, n), contract, strict=True)]
    return trace_graph(
        lambda x, y: dot_general(x, y, contract=contract, batch=((), ())) * 2,
        [Aval(s, dtype) for s in shapes],
    )


def cut(graph: Graph) -> int:
    return next(parts_of(n) for n in graph.nodes if n.value is None and n.prim is dot_general)


FEW = {
    "one row, two columns": (dots(1, 2, 20000), 32),
    "two rows, many": (dots(2, 100, 4096), 64),
    "many rows, four": (dots(60, 4, 2064), 48),
    "a number": (dots(1, 1, 1 << 17), 64),
    "double": (dots(3, 3, 2064, float64), 48),
}


@pytest.mark.parametrize("case", FEW)
def test_few_long_products_are_sums_side_by_side(case):
    graph, parts = FEW[case]
    assert cut(graph) == parts
    assert dot_general not in {n.prim for n in sum_side_by_side(graph).nodes if n.value is None}
    check(graph)


@pytest.mark.parametrize(
    "graph",
    [
        dots(1, 2, 1024),  # short
        dots(5, 5, 4096),  # rows enough for a tile
        dots(2, 200, 4096),  # columns enough
        dots(64, 1, 4096),  # vectors run along the rows
        dots(2, 2, 20011),  # not to be cut evenly
        dots(2, 2, 4096, int32),  # integers wait for nothing
        dots(2, 2, 4096, contract=((0,), (0,))),  # elements of a sum lie apart
    ],
)
def test_others_stay_products(graph):
    assert cut(graph) == 0 and sum_side_by_side(graph) is graph


def whole(*shape: int, dtype: DType = float32, order=None) -> Graph:
    """The product of two arrays as one number."""
    axes = tuple(range(len(shape)))
    contract = (axes, axes if order is None else order)
    return trace_graph(
        lambda x, y: dot_general(x, y, contract=contract, batch=((), ())) + 1, [Aval(shape, dtype)] * 2
    )


@pytest.mark.parametrize(
    "graph", [whole(1 << 16), whole(100_003), whole(1 << 16, dtype=float64), whole(300, 400)]
)
def test_one_product_of_very_many_elements_is_made_in_blocks(graph):
    assert dot_general not in {n.prim for n in sum_side_by_side(graph).nodes if n.value is None}
    assert len(CpuBackend().compile(graph).steps) == 2
    check(graph)


@pytest.mark.parametrize("graph", [whole(65_535), whole(1 << 17, dtype=int32), whole(300, 300, order=(1, 0))])
def test_another_one_stays_as_it_is(graph):
    assert sum_side_by_side(graph) is graph


@pytest.mark.parametrize("size", [65_535, 65_536, 100_003])
def test_a_product_has_the_same_bits_compiled_and_as_written(size):
    x = wf.randn(2, size)
    compiled = wf.compile(lambda x: (x[0] @ x[1]) * 2)
    found = {compiled(x).numpy().tobytes() for _ in range(4)}
    product = x[0] @ x[1]
    assert found == {(product * 2).numpy().tobytes()} == {(x[0] @ x[1] * 2).numpy().tobytes()}


def test_the_same_bits_for_any_number_of_threads():
    found, before = [], wf.get_num_threads()
    try:
        for count in (1, 2, 3):
            wf.set_num_threads(count)
            found.append([x.tobytes() for x in run(dots(2, 3, 1 << 16))])
    finally:
        wf.set_num_threads(before)
    assert found[0] == found[1] == found[2]
