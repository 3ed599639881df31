"""Convolutions in groups: of single channels, along which vectors run, and of several; with their gradients."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import weft as wf
from compiled import check, run
from weft import nn
from weft.autodiff.transforms import vjp_pair
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.making import source
from weft.backends.cpu.processor import host_target
from weft.backends.cpu.register_tile import UNROLL
from weft.ir.dtype import DType, float32, float64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.tiles import Tiles
from weft.kernel.tiling import tiling
from weft.ops.conv import conv
from weft.ops.elementwise import maximum


def grouped(
    x, groups, filters, taps, stride=1, padding: Any = 0, dilation=1, dtype: DType = float32
) -> Graph:
    """A convolution in groups with a bias and a relu."""
    rank = len(x) - 2
    attrs = {
        "stride": (stride,) * rank, "padding": (padding if isinstance(padding, tuple) else (padding,) * 2,) * rank,
        "input_dilation": (1,) * rank, "kernel_dilation": (dilation,) * rank, "feature_groups": groups,
        "batch_groups": 1,
    }  # fmt: skip
    shapes = x, (filters, x[1] // groups, *(taps,) * rank), (filters, *(1,) * rank)
    return trace_graph(lambda a, w, b: maximum(conv(a, w, **attrs) + b, 0), [Aval(s, dtype) for s in shapes])


def backward(graph: Graph) -> Graph:
    return vjp_pair(graph, (True, True, True)).backward


def tiles_of(graph: Graph) -> list[Tiles]:
    return [s.kernel for s in CpuBackend().compile(graph).steps if isinstance(s.kernel, Tiles)]


SINGLE = {
    "padded": {"x": (2, 40, 9, 10), "taps": 3, "padding": 1},
    "not padded": {"x": (2, 48, 9, 11), "taps": 3},
    "in steps": {"x": (3, 33, 13, 12), "taps": 3, "stride": 2, "padding": 1},
    "dilated": {"x": (2, 16, 12, 13), "taps": 3, "dilation": 2, "padding": 2},
    "large": {"x": (2, 20, 14, 12), "taps": 5, "padding": (2, 1)},
    "many images": {"x": (30, 36, 7, 8), "taps": 3, "padding": 1},
    "a line": {"x": (3, 50, 40), "taps": 7, "padding": 3},
    "space": {"x": (2, 18, 5, 6, 7), "taps": 3, "padding": 1},
    "smaller than its windows": {"x": (3, 40, 2, 2), "taps": 3, "padding": 1},
    "fewer pixels than taps": {"x": (1, 34, 4, 4), "taps": 3, "stride": 2, "padding": 1},
    "many small images": {"x": (30, 36, 4, 3), "taps": 5, "padding": 2},
    "double": {"x": (2, 21, 9, 9), "taps": 3, "padding": 1, "dtype": float64},
    "long sums": {"x": (4, 32, 20, 20), "taps": 3, "padding": 1},
}


@pytest.mark.parametrize("case", SINGLE)
def test_a_group_for_each_channel(case):
    how = dict(SINGLE[case])
    x = how.pop("x")
    graph = grouped(x, x[1], x[1], **how)
    (tile,) = tiles_of(graph)
    assert tile.along and tile.n.size == x[1]
    check(graph)
    gradients = tiles_of(backward(graph))
    assert len(gradients) == 2 and all(t.along for t in gradients)
    check(backward(graph))


@pytest.mark.parametrize(
    ("groups", "filters", "channels"), [(2, 8, 6), (4, 32, 32), (3, 6, 12), (8, 16, 8), (2, 64, 64)]
)
@pytest.mark.parametrize("images", [2, 26])
def test_groups_of_several_channels(groups, filters, channels, images):
    graph = grouped((images, channels, 8, 9), groups, filters, 3, padding=1)
    check(graph)
    check(backward(graph))
    if filters // groups > 1 and channels // groups > 1:
        assert len(tiles_of(backward(graph))) == 2


@pytest.mark.parametrize("case", ["padded", "long sums", "many images"])
def test_the_same_bits_for_any_number_of_threads(case):
    how = dict(SINGLE[case])
    x = how.pop("x")
    graph = grouped(x, x[1], x[1], **how)
    found = []
    before = wf.get_num_threads()
    try:
        for count in (1, 2, 3):
            wf.set_num_threads(count)
            found.append([x.tobytes() for g in (graph, backward(graph)) for x in run(g)])
    finally:
        wf.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_groups_of_any_shape(data):
    rank = data.draw(st.integers(1, 3), "rank")
    taps, dilation = data.draw(st.integers(1, 4), "taps"), data.draw(st.integers(1, 2), "dilation")
    stride = data.draw(st.integers(1, 2), "stride")
    padding = (data.draw(st.integers(0, 3), "low"), data.draw(st.integers(0, 3), "high"))
    sizes = [data.draw(st.integers(taps * dilation, (40, 14, 8)[rank - 1])) for _ in range(rank)]
    images, groups = (
        data.draw(st.sampled_from([1, 2, 5, 26]), "images"),
        data.draw(st.integers(1, 34), "groups"),
    )
    inputs, outputs = data.draw(
        st.sampled_from([(1, 1), (1, 1), (1, 2), (2, 1), (3, 2)]), "channels of a group"
    )
    graph = grouped(
        (images, inputs * groups, *sizes), groups, outputs * groups, taps, stride, padding, dilation
    )
    check(graph)
    check(backward(graph))


def test_no_turns_of_more_steps_than_a_window_has():
    """Taps of the gradient of a convolution in steps of two are those that met a pixel: never four, of three."""
    steps = CpuBackend().compile(backward(grouped((4, 32, 9, 9), 32, 32, 3, stride=2, padding=1))).steps
    (step,) = [s for s in steps if isinstance(s.kernel, Tiles) and any(tap.guard for tap in s.kernel.taps)]
    target = host_target()
    tile, cut = step.kernel, tiling(step.kernel, target)
    assert all(tap.guard is not None and tap.count < UNROLL for tap in tile.taps)
    text, _ = source(tile, "kernel", target)
    heights = {height for _, height in cut.heights}
    assert tile.n.size % (cut.vectors * target.lanes(4)) == 0  # all panels are as wide
    multiplications = len(re.findall(r"call <\d+ x float> @llvm\.fma\.|fmul <", text))
    assert multiplications == sum(heights) * cut.vectors


def test_a_step_of_a_network_with_separable_layers_agrees_with_the_reference():
    def loss(backend):
        wf.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1), nn.BatchNorm2d(24), nn.ReLU6(),
            nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.BatchNorm2d(24), nn.ReLU6(), nn.Conv2d(24, 40, 1),
            nn.Conv2d(40, 40, 5, stride=2, padding=2, groups=40), nn.ReLU6(), nn.Flatten(), nn.LazyLinear(4),
        )  # fmt: skip
        rng = np.random.default_rng(1)
        x = wf.tensor(rng.normal(size=(6, 3, 20, 20)).astype(np.float32))
        with wf.config(backend=backend):
            y = nn.functional.cross_entropy(model(x), wf.tensor([0, 1, 2, 3, 0, 1]))
            y.backward()
            return [y.numpy(), *[p.grad.numpy() for p in model.parameters() if p.grad is not None]]

    for a, b in zip(loss("cpu"), loss("reference"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("image", "taps", "stride"), [((6, 10), (4, 5), 3), ((6, 10), (4, 4), 2)])
def test_the_gradient_of_filters_whose_results_lie_in_panels(image, taps, stride):
    """Each panel of channels meets its own channels of the images."""
    rng = np.random.default_rng(0)
    x, w, g = (
        rng.normal(size=s).astype(np.float32) for s in ((2, 128, *image), (128, 1, *taps), (128, 1, 1))
    )

    def gradient(backend):
        with wf.config(backend=backend):
            weight = wf.tensor(w, requires_grad=True)
            y = nn.functional.conv2d(wf.tensor(x), weight, stride=stride, padding=1, groups=128)
            (y * y * wf.tensor(g)).sum().backward()
            return weight.grad.numpy()

    np.testing.assert_allclose(gradient("cpu"), gradient("reference"), rtol=1e-4, atol=1e-3)
