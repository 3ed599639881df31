"""Few elements that come from as many planes are put side by side in registers."""

from __future__ import annotations

import pytest

from compiled import check
from weft.backends.cpu.regions import own_results, plan, prepare
from weft.ir.dtype import bfloat16, bool_, float32, float64, int8, int64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.ops.elementwise import tanh
from weft.ops.movement import broadcast_in_dim, identity, pad, permute, slice_axis


def graph(function, *shapes, dtype=float32) -> Graph:
    return trace_graph(function, [Aval(s, dtype) for s in shapes])


def last(x):
    """Planes of channels as channels of pixels, in memory, too."""
    return identity(permute(x, axes=(0, 2, 3, 1)))


def stores(g: Graph) -> list[int]:
    """How many each stage of the kernels has."""
    kernels = [s.kernel for s in plan(own_results(prepare(g))).steps]
    return [len(stage.stores) for k in kernels for stage in k.stages]


def of_channels(x, c):
    return last(tanh(x) + broadcast_in_dim(c, shape=x.shape, axes=(1,)))


@pytest.mark.parametrize(
    ("g", "wanted"),
    [
        (graph(last, (2, 4, 9, 11)), [4]),
        (graph(last, (2, 3, 9, 11)), [3]),
        (graph(of_channels, (2, 2, 5, 13), (2,)), [2]),
        (graph(lambda x: last(slice_axis(slice_axis(x, 1, 1, 4), 3, 2, 11)), (2, 5, 9, 12)), [3]),
        (graph(last, (2, 5, 9, 11)), [1]),  # too many
        (graph(last, (2, 1, 9, 11)), [1]),  # as they lie
        (graph(lambda x: identity(permute(x, axes=(3, 2, 0, 1))), (5, 3, 2, 9)), [1]),  # from apart
    ],
    ids=["four", "three", "computed", "a part", "five", "one", "turned around"],
)  # fmt: skip
def test_few_channels_are_woven(g, wanted):
    assert stores(g) == wanted
    check(g)


@pytest.mark.parametrize("dtype", [float64, bfloat16, int8, int64, bool_], ids=str)
@pytest.mark.parametrize("shape", [(2, 4, 8, 16), (3, 3, 1, 5), (1, 2, 7, 33)])
def test_woven_elements_of_every_size(dtype, shape):
    check(graph(last, shape, dtype=dtype))


def test_borders_around_woven_channels():
    def bordered(x, y):
        return last(pad(x, y, low=(0, 0, 1, 2), high=(0, 0, 3, 0), interior=(0, 0, 0, 0)))

    check(graph(bordered, (2, 3, 9, 11), ()))
