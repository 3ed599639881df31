"""What is stored although it could be computed where it is used."""

from __future__ import annotations

import pytest
from tests.compiled import check

from weft.backends.cpu.backend import CpuBackend
from weft.ir.dtype import float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.ops.movement import broadcast_in_dim, concatenate, reshape, slice_axis
from weft.ops.reduce import sum_
from weft.ops.transcendental import tanh


def kernels(function, *shapes) -> int:
    graph = trace_graph(function, [Aval(s, float32) for s in shapes])
    check(graph)
    return len(CpuBackend().compile(graph).steps)


@pytest.mark.parametrize("rows", [7, 8, 300])
def test_formulas_are_computed_once_for_many_rows(rows):
    """As a bias, as a column, behind other operations, and where the copies are summed up."""
    count = 2 if rows >= 8 else 1
    wide = (rows, 20)
    assert kernels(lambda x, y: x * tanh(y), wide, (20,)) == count
    assert kernels(lambda x, y: x * (tanh(reshape(y, shape=(1, 20))) + 1.0), wide, (20,)) == count
    assert kernels(lambda y: broadcast_in_dim(2.0 * tanh(y), shape=wide, axes=(1,)), (20,)) == count
    assert kernels(lambda x, y: sum_(x * tanh(y), axes=(1,)), wide, (20,)) == count


def test_what_is_light_is_computed_again():
    assert kernels(lambda x, y: x * (2.0 * y + 1.0), (300, 20), (20,)) == 1
    assert kernels(lambda x, y: tanh(x * y), (300, 20), (20,)) == 1


@pytest.mark.parametrize(("count", "stored"), [(3, 0), (4, 1)])
def test_parts_that_many_read_are_put_side_by_side_once(count, stored):
    """Else it has to be found out for every element that is read which part it is in."""

    def sums(x, y):
        both = concatenate(x * 2.0, y, axis=1)
        return [sum_(slice_axis(both, 0, i, i + 3), axes=(0,)) for i in range(count)]

    assert kernels(sums, (9, 4), (9, 5)) == count + stored
