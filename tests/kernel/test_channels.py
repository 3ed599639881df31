"""Sums over images in two steps, row by row: when, what they come to, and with which bits."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from compiled import check
from weft.ir.dtype import float32, int32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.channels import sum_by_rows
from weft.ops.reduce import sum_


def summed(shape, axes, dtype=float32) -> Graph:
    return trace_graph(lambda x: sum_(x, axes=axes), [Aval(shape, dtype)])


BY_ROWS = {
    "all but the channels": summed((4, 3, 40, 40), (0, 2, 3)),
    "of one axis": summed((8, 5, 700), (0, 2)),
    "many channels": summed((2, 512, 9, 9), (0, 2, 3)),
}

AT_ONCE = {
    "few elements": summed((2, 3, 8, 8), (0, 2, 3)),
    "integers": summed((4, 3, 40, 40), (0, 2, 3), int32),
    "channels last": summed((4, 40, 40, 3), (0, 1, 2)),
    "a matrix": summed((4000, 3), (0,)),
}


@pytest.mark.parametrize("case", BY_ROWS)
def test_in_two_steps(case):
    graph = BY_ROWS[case]
    after = sum_by_rows(graph)
    assert [n.prim.name for n in after.nodes] == ["permute", "sum", "sum"]
    assert sum_by_rows(after) is after
    check(graph)


@pytest.mark.parametrize("case", AT_ONCE)
def test_at_once(case):
    assert sum_by_rows(AT_ONCE[case]) is AT_ONCE[case]


def test_the_same_bits_for_any_number_of_threads():
    x = wf.tensor(np.random.default_rng(3).normal(size=(16, 8, 60, 60)).astype(np.float32))
    total = wf.compile(lambda x: wf.sum(x * x, axis=(0, 2, 3)))
    before, found = wf.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            wf.set_num_threads(count)
            found.append(total(x).numpy().tobytes())
    finally:
        wf.set_num_threads(before)
    assert found[0] == found[1] == found[2]
