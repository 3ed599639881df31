"""Convolutions to few channels, whose taps become channels: against the reference, and when that is done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import weft as wf
import weft.nn.functional as F
from compiled import check, run
from weft.autodiff.transforms import vjp_pair
from weft.backends.cpu.backend import CpuBackend
from weft.ir.dtype import DType, float32, float64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.folding import fold_taps, folded_axes
from weft.kernel.tiles import Tiles
from weft.ops.conv import conv
from weft.ops.elementwise import maximum


def convolution(
    x, filters, taps, stride=1, padding: Any = 0, dilation=1, between=1, dtype: DType = float32
) -> Graph:
    """A convolution of images of shape x, and a relu; `between` is the dilation of the images."""
    rank = len(x) - 2
    attrs = {
        "stride": (stride,) * rank, "padding": (padding if isinstance(padding, tuple) else (padding,) * 2,) * rank,
        "input_dilation": (between,) * rank, "kernel_dilation": (dilation,) * rank, "feature_groups": 1,
        "batch_groups": 1,
    }  # fmt: skip
    shapes = x, (filters, x[1], *(taps if isinstance(taps, tuple) else (taps,) * rank))
    return trace_graph(lambda a, w: maximum(conv(a, w, **attrs), 0), [Aval(s, dtype) for s in shapes])


def input_gradient(x, filters, taps, stride=1, padding=0) -> Graph:
    """The gradient of the images of a convolution."""
    return vjp_pair(convolution(x, filters, taps, stride, padding), (True, False)).backward


def kernel_gradient(x, filters, taps, stride=1, padding=0) -> Graph:
    return vjp_pair(convolution(x, filters, taps, stride, padding), (False, True)).backward


def axes_of(graph: Graph) -> list[int]:
    return [folded_axes(n) for n in graph.nodes if n.value is None and n.prim.name == "conv"]


FOLDED = {
    "to one channel": (convolution((3, 40, 14, 15), 1, 3), 2),
    "to three": (convolution((2, 48, 17, 15), 3, 3), 1),
    "to three, padded": (convolution((2, 48, 17, 15), 3, 3, padding=1), 1),
    "to six, a large kernel": (convolution((4, 32, 20, 18), 6, 5, padding=(1, 3)), 1),
    "dilated": (convolution((2, 40, 20, 21), 2, 3, dilation=2, padding=2), 2),
    "many images": (convolution((30, 33, 9, 9), 4, 3, padding=1), 1),
    "a line": (convolution((4, 64, 100), 1, 9, padding=4), 1),
    "space": (convolution((2, 32, 7, 8, 9), 1, 3, padding=1), 2),
    "double": (convolution((2, 40, 16, 17), 2, 3, dtype=float64), 1),
    "one image": (convolution((1, 20, 10, 12), 1, 3, padding=1, between=2), 1),
    "between elements": (convolution((2, 40, 9, 10), 3, 5, padding=4, between=2), 1),
    "a gradient to one channel": (input_gradient((5, 1, 15, 14), 32, 3), 2),
    "a gradient to three": (input_gradient((2, 3, 40, 38), 32, 7, stride=2, padding=3), 1),
    "a gradient to six": (input_gradient((4, 6, 14, 14), 16, 5), 1),
    "taps that meet nothing but zeros": (convolution((80, 64, 1), 2, 3, dilation=3, padding=4), 1),
    "nothing lost at the sides": (convolution((2, 64, 8, 30), 2, (1, 4), padding=0), 1),
}


@pytest.mark.parametrize("case", FOLDED)
def test_taps_become_channels(case):
    graph, axes = FOLDED[case]
    assert max(axes_of(graph)) == axes
    assert max(axes_of(fold_taps(graph))) == 0
    assert any(isinstance(s.kernel, Tiles) for s in CpuBackend().compile(graph).steps)
    check(graph)


@pytest.mark.parametrize(
    "graph",
    [
        convolution((4, 64, 30, 30), 16, 3),  # full vectors
        convolution((4, 64, 30, 30), 3, 3, stride=2),  # taps of one pixel meet other results
        convolution((4, 3, 30, 30), 3, 3),  # short sums
        convolution((1, 40, 4, 4), 1, 3),  # little work
        convolution((64, 32, 12, 12), 6, 3),  # a little more of the vectors, but more pixels
    ],
)
def test_when_they_do_not(graph):
    assert axes_of(graph) == [0]
    check(graph)


def test_what_follows_is_computed_where_results_are_added():
    graph, _ = FOLDED["to three"]
    kernels = [s.kernel for s in CpuBackend().compile(graph).steps]
    assert len(kernels) == 4  # copies of both operands, the products, and sums with the relu


@pytest.mark.parametrize("case", ["to one channel", "a gradient to three", "many images"])
def test_the_same_bits_for_any_number_of_threads(case):
    graph, _ = FOLDED[case]
    found = []
    before = wf.get_num_threads()
    try:
        for count in (1, 2, 3):
            wf.set_num_threads(count)
            found.append([x.tobytes() for x in run(graph)])
    finally:
        wf.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("x", "filters", "taps", "padding"),
    [
        ((4, 20, 12, 13), 1, 3, 0),
        ((4, 20, 12, 13), 1, 3, 1),
        ((8, 64, 10, 9), 3, 5, 2),
        ((3, 18, 50), 2, 4, 3),
        ((2, 17, 6, 7, 8), 1, 2, 1),
    ],
)
def test_gradients_of_kernels_with_few_outputs_are_turned_around(x, filters, taps, padding):
    graph = kernel_gradient(x, filters, taps, padding=padding)
    (tiles,) = [s.kernel for s in CpuBackend().compile(graph).steps if isinstance(s.kernel, Tiles)]
    assert tiles.n.size == x[1]  # vectors run along input channels
    check(graph)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_convolutions_to_few_channels_of_any_shape(data):
    rank = data.draw(st.integers(1, 3), "rank")
    taps, dilation = data.draw(st.integers(1, 4), "taps"), data.draw(st.integers(1, 2), "dilation")
    between, stride = (
        data.draw(st.integers(1, 3), "between"),
        data.draw(st.sampled_from([1, 1, 1, 2]), "stride"),
    )
    padding = (data.draw(st.integers(0, 5), "low"), data.draw(st.integers(0, 5), "high"))
    sizes = [data.draw(st.integers(taps * dilation, (40, 14, 9)[rank - 1])) for _ in range(rank)]
    images, channels = (
        data.draw(st.sampled_from([1, 2, 5, 26]), "images"),
        data.draw(st.integers(30, 80), "channels"),
    )
    filters = data.draw(st.integers(1, 8), "filters")
    check(convolution((images, channels, *sizes), filters, taps, stride, padding, dilation, between))


def test_a_decoder_agrees_with_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 32, 12, 11)), rng.normal(size=(32, 3, 4, 4))
    b = rng.normal(size=3)
    ours = [wf.tensor(a.astype(np.float32), requires_grad=True) for a in (x, w, b)]
    theirs = [torch.tensor(a, dtype=torch.float32, requires_grad=True) for a in (x, w, b)]
    y = F.conv_transpose2d(*ours, stride=2, padding=1)
    z = torch.nn.functional.conv_transpose2d(*theirs, stride=2, padding=1)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-4, atol=1e-4)
    wf.sum(y * y).backward()
    (z * z).sum().backward()
    for a, t in zip(ours, theirs, strict=True):
        assert a.grad is not None
        np.testing.assert_allclose(a.grad.numpy(), t.grad.numpy(), rtol=1e-3, atol=1e-2)
