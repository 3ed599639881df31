"""Images that kernels write into the middle of zeros, and that all read there."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

import weft as wf
import weft.nn.functional as F
from scripts import run_script
from weft import inspect, nn
from weft.autodiff.transforms import vjp_pair
from weft.backends.cpu.backend import CpuBackend
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import float32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.borders import border_of
from weft.kernel.tiles import Tiles
from weft.ops.conv import conv
from weft.ops.elementwise import maximum
from weft.ops.reduce import max_
from weft.ops.window import windows
from weft.runtime.buffer import Buffer


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("low", [(0, 1, 1), (0, 0, 2), (1, 0, 0), (0, 1, 0)])
@pytest.mark.parametrize("high", [(0, 1, 1), (0, 2, 0)])
def test_gaps_and_rows_are_everything(order, low, high):
    inner = (2, 3, 4)
    shape = tuple(a + n + b for a, n, b in zip(low, inner, high, strict=True))
    inside = np.zeros(shape, bool)
    inside[tuple(slice(a, a + n) for a, n in zip(low, inner, strict=True))] = True
    border = border_of(inner, shape, low, order)
    rows = np.zeros(border.size, bool)
    for at in itertools.product(*[range(count) for count, _ in border.rows]):
        first = border.start + sum(i * step for i, (_, step) in zip(at, border.rows, strict=True))
        rows[first : first + border.length] = True
    np.testing.assert_array_equal(rows, inside.transpose(order).ravel())
    assert border.gaps == 1 + np.prod([count for count, _ in border.rows])


def attrs(rank, kernel, stride=1, padding=None, dilation=1, groups=1):
    pads = ((padding, padding),) * rank if isinstance(padding, int) else padding or ((0, 0),) * rank
    return {
        "stride": (stride,) * rank, "padding": pads, "input_dilation": (1,) * rank,
        "kernel_dilation": (dilation,) * rank, "feature_groups": groups, "batch_groups": 1,
    }  # fmt: skip


def block(x, channels=(8, 8), taps=3, padding=1, residual=False, pool=0, **how) -> Graph:
    """A convolution with relu and a padded one after it, to which what is between is perhaps added."""
    rank = len(x) - 2
    groups = how.get("groups", 1)
    a, b = channels
    shapes = [x, (a, x[1], *[3] * rank), (b, a // groups, *[taps] * rank)]

    def f(image, v, w):
        y = maximum(conv(image, v, **attrs(rank, 3, padding=1)), 0)
        if pool:
            axes = tuple(range(2 + rank, 2 + 2 * rank))
            y = max_(
                windows(y, kernel=(pool,) * rank, stride=(pool,) * rank, dilation=(1,) * rank), axes=axes
            )
        z = conv(y, w, **attrs(rank, taps, padding=padding, **how))
        return z + y if residual else z

    return trace_graph(f, [Aval(s, float32) for s in shapes])


def kernels_of(graph: Graph) -> list[object]:
    return [s.kernel for s in CpuBackend().compile(graph).steps]


def arguments(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=a.shape).astype(np.float32) for a in graph.in_avals]


def check(graph: Graph) -> None:
    args = arguments(graph)
    want = Interpreter(graph).evaluate([a.astype(np.float64) for a in args])
    for w, g in zip(want, CpuBackend().compile(graph).run([Buffer(a) for a in args]), strict=True):
        np.testing.assert_allclose(g.array, w, rtol=1e-4, atol=1e-5 + 2e-6 * np.abs(w).max())


TOGETHER = [
    {"x": (1, 3, 9, 7)},
    {"x": (5, 3, 8, 8), "residual": True},
    {"x": (2, 3, 7, 9), "channels": (5, 33)},
    {"x": (1, 3, 11, 10), "channels": (64, 64), "residual": True},
    {"x": (2, 4, 13, 12), "taps": 5, "padding": 2, "stride": 2},
    {"x": (1, 4, 12, 13), "padding": ((1, 0), (0, 2))},
    {"x": (3, 4, 9, 9), "padding": ((0, 0), (1, 1)), "dilation": 2},
    {"x": (2, 4, 8, 9), "groups": 2},
    {"x": (1, 4, 21), "residual": True},
    {"x": (2, 2, 6, 5, 7), "residual": True},
    {"x": (1, 300, 5, 6), "channels": (300, 16)},  # sums that wait in the inside between blocks
    {"x": (2, 3, 16, 14), "pool": 2},
    {"x": (1, 3, 12, 18), "pool": 3, "residual": True},
]


@pytest.mark.parametrize("case", TOGETHER, ids=str)
def test_the_kernel_before_writes_into_the_middle(case):
    graph = block(**case)
    tiles = [k for k in kernels_of(graph) if isinstance(k, Tiles)]
    assert [k.border is not None for k in tiles] == [True, False]
    assert len(kernels_of(graph)) == 6  # and copies of the image, the two kernels and the result
    check(graph)


@pytest.mark.parametrize("case", [c for c in TOGETHER if "pool" not in c], ids=str)
def test_its_gradients(case):
    check(vjp_pair(block(**case), (True, True, True)).backward)


SCRIPT = """
import sys
import numpy as np
from fences import fenced, fences
from test_borders import TOGETHER, CpuBackend, Buffer, arguments, block
for case in TOGETHER:
    graph = block(**case)
    args = arguments(graph)
    want = CpuBackend().compile(graph).run([Buffer(a) for a in args])
    at_end = sys.argv[1] == "end"
    print(case, flush=True)
    with fences(at_end):
        got = CpuBackend().compile(graph).run([fenced(a, at_end) for a in args])
    for w, g in zip(want, got, strict=True):
        np.testing.assert_array_equal(g.array, w.array)
print("fine")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is protected by Linux's means")
@pytest.mark.parametrize("where", ["beginning", "end"])
def test_nothing_but_the_image_is_touched_and_all_of_it_is_written(where):
    done = run_script(SCRIPT, where, folder=Path(__file__).parent)
    assert done.stdout.endswith("fine\n"), f"{done.returncode}: {done.stdout}\n{done.stderr[-2000:]}"


APART = [
    {"x": (30, 3, 8, 8)},  # of many images none is padded
    {"x": (1, 3, 9, 8), "padding": 0},
]


@pytest.mark.parametrize("case", APART, ids=str)
def test_no_border_where_none_is_read(case):
    graph = block(**case)
    assert not any(k.border for k in kernels_of(graph) if isinstance(k, Tiles))
    check(graph)


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
@pytest.mark.parametrize("size", [(15,), (12, 11), (5, 6, 7)], ids=str)
def test_few_channels_that_come_in_are_copied_plane_by_plane(channels, size):
    rank = len(size)
    how = attrs(rank, 3, stride=2, padding=2)
    shapes = [(2, channels, *size), (8, channels, *[3] * rank)]
    graph = trace_graph(lambda x, w: conv(x, w, **how), [Aval(s, float32) for s in shapes])
    tiles = next(k for k in kernels_of(graph) if isinstance(k, Tiles))
    in_planes = np.prod([n + 4 for n in size]) if 1 < channels < 5 else 1
    assert tiles.taps[-1].a == in_planes
    check(graph)
    check(vjp_pair(graph, (True, True)).backward)


def test_rows_of_pixels_of_few_channels_are_copied_whole():
    """What lies in the border is known from the place in the row, whatever channel it is of."""
    found = inspect.kernels(F.pad(wf.tensor(np.ones((2, 9, 11, 3), np.float32)), (0, 0, 2, 1, 1, 1)) * 2)
    assert all(f"for {loop}" in found.loops for loop in ("ivat0 < 6", "ivat6 < 33", "ivat39 < 3"))
    assert "if 0 <= i1 + -1 < 9 else 0" in found.loops and "iv <" not in found.loops
    assert "//" not in found.loops and "%" not in found.loops


def test_an_image_that_comes_out_is_copied():
    def f(x, v, w):
        y = conv(x, v, **attrs(2, 3, padding=1))
        return y, conv(y, w, **attrs(2, 3, padding=1))

    graph = trace_graph(f, [Aval(s, float32) for s in [(1, 3, 9, 9), (8, 3, 3, 3), (4, 8, 3, 3)]])
    assert not any(k.border for k in kernels_of(graph) if isinstance(k, Tiles))
    check(graph)


def test_two_borders_of_different_widths():
    def f(x, v, w, u):
        y = maximum(conv(x, v, **attrs(2, 3, padding=1)), 0)
        return conv(y, w, **attrs(2, 3, padding=1)) + conv(y, u, **attrs(2, 5, padding=2))

    shapes = [(2, 3, 9, 9), (8, 3, 3, 3), (4, 8, 3, 3), (4, 8, 5, 5)]
    graph = trace_graph(f, [Aval(s, float32) for s in shapes])
    assert sum(k.border is not None for k in kernels_of(graph) if isinstance(k, Tiles)) == 1
    check(graph)


@pytest.mark.parametrize("width", [8, 28])
def test_rows_that_tiles_join_stay_so(width):
    """A convolution by single taps goes through the pixels of short rows as one row."""

    def f(x, v, w):
        y = maximum(conv(x, v, **attrs(2, 1)), 0)
        return conv(y, w, **attrs(2, 3, padding=1))

    graph = trace_graph(f, [Aval(s, float32) for s in [(1, 16, 8, width), (8, 16, 1, 1), (4, 8, 3, 3)]])
    first = next(k for k in kernels_of(graph) if isinstance(k, Tiles))
    assert (first.m.size, first.border is None) == ((64, True) if width == 8 else (28, False))
    check(graph)


@pytest.mark.parametrize("training", [False, True])
def test_residual_blocks_on_any_number_of_threads(training):
    wf.manual_seed(0)
    x = wf.randn(2, 8, 20, 20)
    parts = [nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(4)]
    norms = [nn.BatchNorm2d(8).train(training) for _ in range(4)]

    @wf.compile
    def run(x):
        for a, b in ((0, 1), (2, 3)):
            y = norms[b](parts[b](F.relu(norms[a](parts[a](x)))))
            x = F.relu(y + x)
        return x

    before, found = wf.get_num_threads(), []
    try:
        with wf.no_grad():
            for count in (1, 2, 3):
                wf.set_num_threads(count)
                found.append(run(x).numpy().tobytes())
    finally:
        wf.set_num_threads(before)
    assert found[0] == found[1] == found[2]
