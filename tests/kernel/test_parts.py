"""Gradients of kernels of few channels: rows of tiles that are taps, and sums made of parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import weft as wf
from compiled import arguments, run
from weft.autodiff.transforms import vjp_pair
from weft.backends.cpu.backend import CpuBackend
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import DType, float32, float64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.loops import Kernel
from weft.kernel.parts import parts_of
from weft.kernel.tiles import Tiles
from weft.ops.conv import conv
from weft.ops.movement import permute
from weft.runtime.buffer import Buffer


def gradient(
    x, filters, taps, stride=1, padding=0, dilation=1, dtype: DType = float32, last=False, gaps=1
) -> Graph:
    """The gradient of the kernel of a convolution of images of shape x; with `last`, they lie channels-last."""
    rank = len(x) - 2
    attrs = {
        "stride": (stride,) * rank, "padding": ((padding, padding),) * rank, "input_dilation": (gaps,) * rank,
        "kernel_dilation": (dilation,) * rank, "feature_groups": 1, "batch_groups": 1,
    }  # fmt: skip

    def f(images, w):
        if last:
            images = permute(images, axes=(0, rank + 1, *range(1, rank + 1)))
        return conv(images, w, **attrs)

    shape = (x[0], *x[2:], x[1]) if last else x
    graph = trace_graph(f, (Aval(shape, dtype), Aval((filters, x[1], *(taps,) * rank), dtype)))
    return vjp_pair(graph, (False, True)).backward


def check(graph: Graph) -> None:
    args = [a.astype(np.float64) for a in arguments(graph)]
    size = Interpreter(graph).evaluate([np.abs(a) for a in args])
    for w, g, s in zip(Interpreter(graph).evaluate(args), run(graph), size, strict=True):
        assert np.all(np.abs(g - w) <= 1e-6 * s + 1e-6), np.abs(g - w).max()


def tiles_of(graph: Graph) -> Tiles:
    (found,) = [s.kernel for s in CpuBackend().compile(graph).steps if isinstance(s.kernel, Tiles)]
    return found


CASES = {
    "grey": {"x": (24, 1, 28, 28), "filters": 32, "taps": 3},
    "grey, rows of three tiles": {"x": (8, 1, 30, 30), "filters": 33, "taps": 5},
    "grey, few filters": {"x": (4, 1, 32, 32), "filters": 6, "taps": 5},
    "colours in planes": {"x": (8, 3, 33, 35), "filters": 64, "taps": 7, "stride": 2, "padding": 3},
    "colours side by side": {"x": (30, 3, 20, 20), "filters": 20, "taps": 3, "padding": 1, "last": True},
    "many images": {"x": (96, 3, 16, 16), "filters": 32, "taps": 3, "padding": 1},
    "dilation": {"x": (12, 2, 24, 25), "filters": 17, "taps": 3, "dilation": 2},
    "a line": {"x": (16, 2, 600), "filters": 48, "taps": 4, "padding": 2},
    "space": {"x": (6, 1, 14, 15, 16), "filters": 16, "taps": 3},
    "double": {"x": (16, 1, 20, 20), "filters": 24, "taps": 3, "dtype": float64},
    "an odd number of images": {"x": (19, 1, 25, 25), "filters": 32, "taps": 3},
    "gaps": {"x": (16, 32, 16, 16), "filters": 1, "taps": 4, "padding": 2, "gaps": 2},
    "gaps, as many filters": {"x": (3, 16, 7, 9), "filters": 16, "taps": 3, "padding": 1, "gaps": 3},
    "gaps, more filters": {"x": (3, 1, 7, 9), "filters": 16, "taps": 3, "padding": 1, "gaps": 2},
    "gaps, less around than would do": {"x": (3, 8, 7, 9), "filters": 2, "taps": 3, "padding": 4, "gaps": 2},
    "one filter, steps": {"x": (4, 20, 15, 16), "filters": 1, "taps": 4, "padding": 1, "stride": 2},
    "a prime number of images": {"x": (37, 1, 12, 12), "filters": 32, "taps": 3},
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_of_small_kernels(case):
    check(gradient(**CASES[case]))


def test_taps_of_all_rows_are_rows_of_a_tile():
    for case, rows in [("grey", 9), ("grey, few filters", 25), ("colours in planes", 21), ("space", 27)]:
        found = tiles_of(gradient(**CASES[case]))
        assert found.m.size == len(found.rows) == rows, case


def test_parts_follow_from_the_shape():
    """As many as divide the images, each with enough to do."""
    parts = {case: tiles_of(gradient(**CASES[case])).outer[0].size for case in CASES}
    assert parts["grey"] == 4 and parts["colours in planes"] == 8 and parts["a line"] == 2
    assert parts["grey, few filters"] == parts["a prime number of images"] == 1
    for case, how in CASES.items():
        assert how["x"][0] % parts[case] == 0


def test_parts_are_added_in_their_order():
    graph = gradient(**CASES["colours side by side"])
    program = CpuBackend().compile(graph)
    (total,) = [
        s.kernel for s in program.steps if isinstance(s.kernel, Kernel) and s.kernel.stages[0].reductions
    ]
    (parts,) = total.stages[0].variables
    assert parts.size == tiles_of(graph).outer[0].size > 1


@pytest.mark.parametrize("case", ["grey", "colours in planes", "many images"])
def test_the_same_bits_for_any_number_of_threads(case):
    graph = gradient(**CASES[case])
    found = []
    before = wf.get_num_threads()
    try:
        for count in (1, 2, 3):
            wf.set_num_threads(count)
            found.append(run(graph)[0].tobytes())
    finally:
        wf.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_the_same_bits_however_images_lie():
    how = CASES["colours side by side"]
    last, first = (gradient(**{**how, "last": last}) for last in (True, False))
    args = arguments(first)
    images = next(i for i, a in enumerate(first.in_avals) if a.shape == how["x"])
    turned = [np.ascontiguousarray(np.moveaxis(a, 1, -1)) if i == images else a for i, a in enumerate(args)]
    want = CpuBackend().compile(first).run([Buffer(a) for a in args])[0].array
    got = CpuBackend().compile(last).run([Buffer(a) for a in turned])[0].array
    assert got.tobytes() == want.tobytes()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_gradients_of_kernels_of_any_shape(data):
    rank = data.draw(st.integers(1, 3), "rank")
    taps, dilation = data.draw(st.integers(1, 4), "taps"), data.draw(st.integers(1, 2), "dilation")
    stride, padding = data.draw(st.integers(1, 2), "stride"), data.draw(st.integers(0, 2), "padding")
    gaps = data.draw(st.integers(1, 3), "gaps") if dilation == 1 else 1
    least = (taps - 1) * dilation + 1
    sizes = [data.draw(st.integers(least, least + (12, 9, 5)[rank - 1])) for _ in range(rank)]
    images, channels = (
        data.draw(st.integers(1, 30), "images"),
        data.draw(st.sampled_from([1, 2, 3, 5, 19]), "channels"),
    )
    filters = data.draw(st.sampled_from([1, 2, 6, 16, 17, 40]), "filters")
    last = data.draw(st.booleans(), "last")
    how = {
        "taps": taps,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "last": last,
        "gaps": gaps,
    }
    check(gradient((images, channels, *sizes), filters, **how))


@pytest.mark.parametrize("case", ["gaps", "one filter, steps"])
def test_vectors_run_along_the_channels_of_images_where_there_are_few_filters(case):
    assert tiles_of(gradient(**CASES[case])).n.size == CASES[case]["x"][1]


def test_work_is_counted_in_multiplications():
    shapes = [(64, 1, 28, 28), (8, 3, 224, 224), (4, 1, 32, 32), (64, 1, 8, 8)]
    found = []
    for x in shapes:
        node = gradient(x, 32, 3).nodes
        found.append(parts_of(next(n for n in node if n.prim.name == "conv")))
    assert found == [8, 8, 1, 1]
