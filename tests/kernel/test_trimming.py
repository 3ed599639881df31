"""Convolutions of which some taps never meet an image: without these, against the reference, and when."""

from __future__ import annotations

import pytest

from compiled import check
from weft.autodiff.transforms import vjp_pair
from weft.ir.dtype import float32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.trimming import trim_convolutions
from weft.ops.conv import conv


def graph_of(x, w, stride=1, padding=1, dilation=1, gaps=1, groups=1) -> Graph:
    rank = len(x) - 2
    pair = padding if isinstance(padding, tuple) else (padding, padding)
    attrs = {
        "stride": (stride,) * rank, "padding": (pair,) * rank, "kernel_dilation": (dilation,) * rank,
        "input_dilation": (gaps,) * rank, "feature_groups": groups, "batch_groups": 1,
    }  # fmt: skip
    return trace_graph(lambda x, w: conv(x, w, **attrs), [Aval(x, float32), Aval(w, float32)])


def convolutions(graph: Graph) -> list:
    return [n for n in graph.nodes if n.value is None and n.prim is conv]


#: name -> (how, the window and the results that are left)
CASES = {
    "one pixel": ({"x": (2, 5, 1, 1), "w": (4, 5, 3, 3)}, (1, 1), (1, 1)),
    "one row": ({"x": (2, 5, 1, 7), "w": (4, 5, 3, 3)}, (1, 3), (1, 7)),
    "in steps": ({"x": (1, 20, 2, 2), "w": (32, 20, 3, 3), "stride": 2}, (2, 2), (1, 1)),
    "dilated far": ({"x": (3, 6, 5, 4), "w": (8, 6, 3, 3), "padding": 6, "dilation": 6}, (1, 1), (5, 4)),
    "dilated to both sides": ({"x": (2, 4, 9), "w": (6, 4, 5), "padding": 10, "dilation": 5}, (3,), (9,)),
    "much padding": ({"x": (2, 3, 4), "w": (5, 3, 2), "padding": (4, 3)}, (2,), (5,)),
    "padding before": ({"x": (2, 3, 2, 2), "w": (5, 3, 4, 4), "padding": (3, 0)}, (2, 2), (2, 2)),
    "between the steps": ({"x": (2, 3, 1), "w": (4, 3, 2), "stride": 3, "padding": (1, 6)}, (1,), (1,)),
    "a group for each channel": ({"x": (2, 24, 1, 1), "w": (24, 1, 5, 5), "padding": 2, "groups": 24}, (1, 1), (1, 1)),
    "gaps": ({"x": (2, 3, 2, 2), "w": (4, 3, 3, 3), "gaps": 3, "padding": 0}, (3, 3), (2, 2)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_taps_and_results_that_meet_nothing_are_left_out(case):
    how, window, results = CASES[case]
    graph = graph_of(**how)
    (left,) = convolutions(trim_convolutions(graph))
    assert left.args[1].shape[2:] == window and left.shape[2:] == results
    check(graph)
    check(vjp_pair(graph, (True, True)).backward)


@pytest.mark.parametrize(
    "how",
    [
        {"x": (2, 3, 2, 2), "w": (4, 3, 3, 3)},
        {"x": (2, 3, 4, 4), "w": (4, 3, 3, 3), "stride": 2},
        {"x": (1, 3, 1, 1), "w": (4, 3, 1, 1), "padding": 0},
        {"x": (1, 3, 5, 0), "w": (4, 3, 3, 1), "padding": (1, 1)},
    ],
)
def test_what_meets_its_image_is_kept(how):
    graph = graph_of(**how)
    assert trim_convolutions(graph) is graph
    check(graph)


def test_nothing_is_left_of_a_convolution_that_meets_no_pixel():
    graph = graph_of((2, 3, 1), (4, 3, 2), stride=5, padding=(1, 1), dilation=1)
    assert len(convolutions(trim_convolutions(graph))) == 1
    check(graph)
    far = graph_of((2, 3, 1), (4, 3, 2), stride=9, padding=(4, 4), dilation=8)
    assert trim_convolutions(far) is far
    check(far)
