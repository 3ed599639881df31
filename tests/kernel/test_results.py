"""Results of a graph that convolutions make: copied from channels next to each other, where they make several."""

from __future__ import annotations

import pytest

from compiled import check
from weft.backends.cpu.regions import own_results, plan, prepare
from weft.ir.dtype import float32
from weft.ir.graph import Graph, trace_graph, verify
from weft.ir.node import Aval
from weft.kernel.results import copy_results
from weft.ops.conv import conv
from weft.ops.elementwise import maximum, tanh
from weft.ops.movement import identity
from weft.ops.reduce import max_, sum_
from weft.ops.window import windows


def graph(end, x=(4, 3, 9, 9), filters=8, taps=3, **attrs) -> Graph:
    """What `end` gives of a convolution and its images."""
    found = {
        "stride": (2, 2), "padding": ((1, 1), (1, 1)), "input_dilation": (1, 1), "kernel_dilation": (1, 1),
        "feature_groups": 1, "batch_groups": 1, **attrs,
    }  # fmt: skip
    kernel = (filters, x[1] // found["feature_groups"], taps, taps)
    return trace_graph(lambda a, w: end(conv(a, w, **found), a), (Aval(x, float32), Aval(kernel, float32)))


def pooled(y):
    return max_(windows(y, kernel=(2, 2), stride=(2, 2), dilation=(1, 1)), axes=(4, 5))


def copies(g: Graph) -> list[bool]:
    return [o.prim is identity for o in copy_results(g).outputs]


@pytest.mark.parametrize(
    ("g", "wanted"),
    [
        (graph(lambda y, x: y), [True]),
        (graph(lambda y, x: maximum(y, 0)), [True]),
        (graph(lambda y, x: tanh(y * 0.5 + 1)), [True]),
        (graph(lambda y, x: pooled(maximum(y, 0))), [True]),
        (graph(lambda y, x: (y, sum_(y, axes=(2, 3)))), [True, False]),
        (graph(lambda y, x: y, x=(4, 8, 9, 9), input_dilation=(2, 2), stride=(1, 1)), [True]),
        (graph(lambda y, x: y, filters=1), [False]),  # one channel lies as it is made
        (graph(lambda y, x: y, x=(4, 3, 3, 3), padding=((0, 0),) * 2), [False]),  # one pixel, too
        (graph(lambda y, x: y, x=(4, 8, 9, 9), feature_groups=8), [True]),
        (graph(lambda y, x: tanh(y) - sum_(y, axes=(0, 1, 2, 3))), [False]),  # another kernel makes it
        (graph(lambda y, x: tanh(x)), [False]),
    ],
    ids=[
        "a convolution", "relu", "a formula", "a pooling", "read twice", "transposed", "one channel", "one pixel",
        "depthwise", "normalised", "no convolution",
    ],
)  # fmt: skip
def test_which_results_are_copied(g, wanted):
    assert copies(g) == wanted
    found = copy_results(g)
    verify(found)
    assert [o.site for o in found.outputs] == [o.site for o in g.outputs]
    assert copy_results(found).outputs == found.outputs
    check(g)


def test_what_is_copied_has_its_channels_last():
    region = plan(own_results(prepare(graph(lambda y, x: maximum(y, 0)))))
    (result,) = region.graph.outputs
    (made,) = [s for s in region.steps if result.args[0] in s.writes]
    (copied,) = [s for s in region.steps if result in s.writes]
    assert made is not copied and made.kernel is not None and copied.kernel is not None
    assert made.kernel.results[0].step == 1  # channels are neighbours
