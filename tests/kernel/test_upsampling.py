"""Convolutions of single pixels before pixels are repeated: when, and with the bits of those after."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
import weft.nn.functional as F
from compiled import check
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.regions import prepare
from weft.ir.dtype import float32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.ops.conv import conv
from weft.ops.elementwise import maximum
from weft.ops.movement import broadcast_in_dim, reshape


def repeated(x, axis, times):
    """Every element along an axis so many times."""
    shape = (*x.shape[: axis + 1], times, *x.shape[axis + 1 :])
    wide = broadcast_in_dim(x, shape=shape, axes=tuple(a for a in range(x.ndim + 1) if a != axis + 1))
    return reshape(wide, shape=(*x.shape[:axis], times * x.shape[axis], *x.shape[axis + 1 :]))


def graph(x, filters, taps=1, before=((2, 2), (3, 3)), stride=1, padding=0, also=False) -> Graph:
    attrs = {
        "stride": (stride,) * 2, "padding": ((padding, padding),) * 2, "input_dilation": (1, 1),
        "kernel_dilation": (1, 1), "feature_groups": 1, "batch_groups": 1,
    }  # fmt: skip

    def f(a, w, b):
        up = maximum(a, 0)
        for axis, times in before:
            up = repeated(up, axis, times)
        y = maximum(conv(up, w, **attrs) + b, 0)
        return (y, up) if also else y

    shapes = x, (filters, x[1], taps, taps), (1, filters, 1, 1)
    return trace_graph(f, [Aval(s, float32) for s in shapes])


def pixels(g: Graph) -> list[tuple[int, ...]]:
    return [n.shape[2:] for n in prepare(g).nodes if n.value is None and n.prim.name == "conv"]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("g", "size"),
    [
        (graph((2, 17, 5, 6), 9), (5, 6)),
        (graph((2, 17, 5, 6), 9, before=((2, 2),)), (5, 6)),
        (graph((2, 17, 5, 6), 9, before=((3, 4),)), (5, 6)),
        (graph((1, 8, 1, 6), 3, before=((2, 2), (3, 2))), (1, 6)),
        (graph((2, 17, 5, 6), 9, also=True), (10, 18)),  # which is there anyway
        (graph((2, 17, 5, 6), 9, taps=3, padding=1), (10, 18)),  # taps meet different pixels
        (graph((2, 17, 5, 6), 9, padding=1), (5, 6)),  # zeros around are no results of products
        (graph((2, 17, 5, 6), 9, stride=2), (5, 9)),
        (graph((2, 17, 5, 6), 1), (10, 18)),
        (graph((2, 17, 5, 6), 9, before=((1, 2),)[:0]), (5, 6)),
        (graph((2, 17, 5, 6), 9, before=((0, 2),)), (5, 6)),  # images, not pixels
    ],
)
def test_when_fewer_pixels_are_convolved(g, size):
    assert pixels(g) == [size]
    check(g)


@pytest.mark.parametrize(
    ("channels", "filters", "scale"), [(32, 21, 2), (1000, 5, 3), (7, 64, (1, 4)), (5, 2, 2)]
)
def test_the_same_bits_where_the_larger_image_is_looked_at(channels, filters, scale):
    wf.manual_seed(0)
    x, w, b = wf.randn(2, channels, 6, 7), wf.randn(filters, channels, 1, 1), wf.randn(filters)

    def large():
        return F.interpolate(F.relu(x), scale_factor=scale, mode="nearest")

    whole = F.conv2d(large(), w, b).numpy()
    seen = large()
    assert seen.numpy().shape[2:] == whole.shape[2:]
    np.testing.assert_array_equal(F.conv2d(seen, w, b).numpy(), whole)


def test_what_follows_is_computed_where_pixels_are_repeated():
    kernels = [s.kernel for s in CpuBackend().compile(graph((2, 17, 5, 6), 9)).steps]
    assert len(kernels) == 4  # the smaller image, a copy of the kernel, the products, and their repetition
