"""Convolutions by windows of 3 x 3 with 16 products for four results instead of 36."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import weft as wf
from compiled import arguments, check, run
from weft import nn
from weft.autodiff.transforms import vjp_pair
from weft.backends.cpu.backend import CpuBackend
from weft.ir.dtype import DType, bfloat16, float32, float64, int64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval, Node
from weft.kernel.count import work_of
from weft.kernel.show import show_kernel
from weft.kernel.tiles import Tiles
from weft.kernel.winograd import Winograd, suits
from weft.kernel.winograd_gradient import Sums
from weft.nn import functional as F
from weft.ops.conv import conv
from weft.ops.elementwise import maximum
from weft.ops.gather import gather
from weft.ops.movement import permute, reshape, slice_
from weft.ops.reduce import max_
from weft.ops.selection import cast
from weft.ops.window import windows
from weft.runtime.buffer import Buffer


def attributes(padding: Any = 1, stride=1, dilation=1, groups=1) -> dict[str, Any]:
    if isinstance(padding, int):
        padding = ((padding,) * 2,) * 2
    return {
        "stride": (stride,) * 2, "padding": padding, "input_dilation": (1, 1), "kernel_dilation": (dilation,) * 2,
        "feature_groups": groups, "batch_groups": 1,
    }  # fmt: skip


def avals(x, filters, dtype: DType = float32, taps=3, groups=1) -> list[Aval]:
    shapes = x, (filters, x[1] // groups, taps, taps), (filters, 1, 1)
    return [Aval(s, dtype) for s in shapes]


def layer(x, filters, padding: Any = 1) -> Graph:
    """A convolution with a bias and a relu."""
    return trace_graph(lambda a, w, b: maximum(conv(a, w, **attributes(padding)) + b, 0), avals(x, filters))


def found(graph: Graph, kind: type) -> list[Any]:
    return [s.kernel for s in CpuBackend().compile(graph).steps if isinstance(s.kernel, kind)]


def backward(graph: Graph) -> Graph:
    return vjp_pair(graph, (True,) * len(graph.inputs)).backward


CASES: dict[str, tuple[Any, ...]] = {
    "even sides": ((3, 32, 8, 8), 32),
    "odd sides": ((3, 33, 9, 7), 64),
    "one side odd": ((4, 48, 8, 7), 32),
    "not padded": ((3, 32, 10, 11), 32, 0),
    "padded more than it needs": ((2, 32, 8, 9), 32, 3),
    "padded unevenly": ((3, 35, 8, 9), 32, ((2, 1), (0, 3))),
    "cut on one side": ((3, 32, 12, 9), 32, ((-2, 1), (1, -1))),
    "many images": ((26, 40, 8, 10), 64),
    "three parts": ((2, 32, 10, 10), 96),
    "two wide parts": ((2, 36, 10, 10), 128),
    "a block that sticks out": ((1, 32, 134, 2), 32),
    "many channels": ((3, 520, 8, 8), 32),
}


@pytest.mark.parametrize("case", CASES)
def test_it_agrees_with_the_reference(case):
    graph = layer(*CASES[case])
    assert len(found(graph, Winograd)) == 1 and not found(graph, Tiles)
    check(graph)


@pytest.mark.parametrize("case", [c for c in CASES if c != "many channels"])
def test_its_gradients_agree_with_the_reference(case):
    check(backward(layer(*CASES[case])))


def test_the_gradient_of_a_kernel_may_have_such_windows():
    """One of 2 x 2, over images of 4 x 4: the windows are the results of 3 x 3."""
    swapped = (1, 0, 2, 3)
    graph = trace_graph(
        lambda x, ct: conv(permute(x, axes=swapped), permute(ct, axes=swapped), **attributes(0)),
        [Aval((32, 48, 4, 4), float32), Aval((32, 64, 3, 3), float32)],
    )
    assert not found(graph, Winograd)
    check(graph)


def test_the_gradient_of_an_image_is_such_a_convolution_too():
    kinds = found(backward(layer((3, 32, 8, 8), 32)), Winograd)
    assert len(kinds) == 1
    kinds = found(backward(layer((3, 33, 9, 7), 64)), Winograd)
    assert not kinds  # to 33 channels


UNSUITED: dict[str, tuple[list[Aval], dict[str, Any]]] = {
    "steps of two": (avals((3, 32, 16, 16), 32), attributes(stride=2)),
    "dilated": (avals((3, 32, 16, 16), 32), attributes(dilation=2)),
    "groups": (avals((3, 64, 16, 16), 64, groups=2), attributes(groups=2)),
    "larger windows": (avals((3, 32, 16, 16), 32, taps=5), attributes()),
    "float64": (avals((3, 32, 16, 16), 32, float64), attributes()),
    "few channels": (avals((3, 31, 16, 16), 32), attributes()),
    "filters that fill no part": (avals((3, 32, 16, 16), 40), attributes()),
    "few tiles": (avals((1, 32, 12, 12), 32), attributes()),
    "mostly waste": (avals((30, 32, 3, 3), 32), attributes()),
    "results as few as a kernel has numbers": (avals((50, 32, 4, 4), 32), attributes(0)),
    "many images, few channels": (avals((30, 32, 9, 9), 32), attributes()),
    "many images, mostly border": (avals((30, 64, 11, 11), 32), attributes(2)),
    "no images": (avals((0, 32, 16, 16), 32), attributes()),
}


@pytest.mark.parametrize("case", UNSUITED)
def test_what_is_made_otherwise(case):
    kinds, attrs = UNSUITED[case]
    graph = trace_graph(lambda a, w, b: conv(a, w, **attrs), kinds)
    (node,) = [n for n in graph.nodes if n.value is None and n.prim is conv]
    assert not suits(node)
    assert not found(graph, Winograd)


def test_whole_numbers_are_exact():
    rng = np.random.default_rng(3)
    x, w = (rng.integers(-9, 10, s).astype(np.float32) for s in ((3, 32, 9, 8), (32, 32, 3, 3)))
    got = wf.compile(lambda a, b: F.conv2d(a, b, padding=1))(wf.tensor(x), wf.tensor(w)).numpy()
    with wf.config(backend="reference"):
        want = F.conv2d(wf.tensor(x), wf.tensor(w), padding=1).numpy()
    np.testing.assert_array_equal(got, want)


def test_rounding_errors_are_those_of_sums_written_out():
    """The sums are shorter than those of a direct convolution, which makes up for what transforming rounds."""
    graph = layer((4, 64, 16, 16), 64)
    x, w, b = (a.astype(np.float64) for a in arguments(graph))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    want = np.maximum(np.einsum("nchwij,ocij->nohw", windows, w) + b, 0)
    (got,) = run(graph)
    errors = np.sqrt(((got - want) ** 2).mean()) / np.sqrt((want**2).mean())
    assert errors < 4 * np.finfo(np.float32).eps


def gradient(x, filters, padding: Any = 1) -> Graph:
    """The gradient of the kernel of a convolution."""
    kinds = avals(x, filters)[:2]
    return vjp_pair(
        trace_graph(lambda x, w: conv(x, w, **attributes(padding)), kinds), (False, True)
    ).backward


GRADIENTS: dict[str, tuple[Any, ...]] = {
    "even sides": ((4, 32, 8, 8), 32),
    "odd sides": ((5, 64, 9, 7), 32),
    "not padded": ((4, 32, 10, 11), 32, 0),
    "padded unevenly": ((4, 96, 8, 9), 32, ((2, 1), (0, 3))),
    "cut on one side": ((4, 32, 12, 9), 32, ((-2, 1), (1, -1))),
    "many images": ((26, 32, 4, 5), 64),
    "several blocks": ((3, 32, 20, 22), 32),
    "several parts": ((2, 160, 12, 12), 256),
    "one image, and a block that sticks out": ((1, 32, 134, 4), 32),
}


@pytest.mark.parametrize("case", GRADIENTS)
def test_gradients_of_kernels_agree_with_the_reference(case):
    graph = gradient(*GRADIENTS[case])
    assert len(found(graph, Sums)) == 1 and not found(graph, Tiles)
    check(graph)


def test_gradients_of_kernels_that_are_made_otherwise():
    for x, filters in (((3, 32, 8, 8), 32), ((4, 48, 8, 8), 32), ((4, 32, 8, 8), 40), ((40, 32, 3, 3), 32)):
        assert not found(gradient(x, filters), Sums)
    plain = avals((4, 32, 16, 16), 32)[:2]
    for attrs in (attributes(stride=2), attributes(dilation=2)):
        forward = trace_graph(lambda x, w, a=attrs: conv(x, w, **a), plain)
        assert not found(vjp_pair(forward, (False, True)).backward, Sums)


def test_what_follows_a_gradient_of_a_kernel_is_computed_with_it():
    rng = np.random.default_rng(6)
    x, w = (rng.normal(size=s).astype(np.float32) for s in ((4, 32, 9, 8), (32, 32, 3, 3)))

    def loss(v):
        return wf.sum(F.conv2d(wf.tensor(x), v, padding=1) ** 2)

    got = wf.compile(lambda v: v - 0.5 * wf.grad(loss)(v))(wf.tensor(w)).numpy()
    with wf.config(backend="reference"):
        want = w - 0.5 * wf.grad(loss)(wf.tensor(w)).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


def test_gradients_of_whole_numbers_are_exact():
    rng = np.random.default_rng(3)
    x, y = (wf.tensor(rng.integers(-9, 10, (4, 32, 9, 8)).astype(np.float32)) for _ in range(2))
    w = wf.zeros((32, 32, 3, 3))

    def made():
        return wf.grad(lambda v: wf.sum(F.conv2d(x, v, padding=1) * y))(w).numpy()

    got = made()
    with wf.config(backend="reference"):
        np.testing.assert_array_equal(got, made())


def with_threads(*graphs: Graph) -> list[list[bytes]]:
    results = []
    before = wf.get_num_threads()
    try:
        for count in (1, 2, 3):
            wf.set_num_threads(count)
            results.append([x.tobytes() for g in graphs for x in run(g)])
    finally:
        wf.set_num_threads(before)
    return results


@pytest.mark.parametrize("case", ["even sides", "odd sides", "many images", "a block that sticks out"])
def test_the_same_bits_for_any_number_of_threads(case):
    one, two, three = with_threads(layer(*CASES[case]), gradient(*CASES[case]))
    assert one == two == three


def test_the_same_bits_whatever_follows():
    rng = np.random.default_rng(4)
    x, w, b = (
        wf.tensor(rng.normal(size=s).astype(np.float32)) for s in ((2, 32, 14, 14), (32, 32, 3, 3), (32,))
    )

    def pooled(x, w, b):
        return F.max_pool2d(F.relu(F.conv2d(x, w, b, padding=1)), 2)

    alone = wf.compile(lambda x, w, b: F.conv2d(x, w, b, padding=1))(x, w, b).numpy()
    at_once = wf.compile(pooled)(x, w, b).numpy()
    want = np.maximum(alone, 0).reshape(2, 32, 7, 2, 7, 2).max((3, 5))
    np.testing.assert_array_equal(at_once, want)


@pytest.mark.parametrize("shape", [(3, 32, 8, 8), (2, 33, 13, 13), (30, 32, 6, 7), (1, 32, 134, 3)])
@pytest.mark.parametrize("window", [2, 3])
def test_pooled_at_once(shape, window):
    """Each tile is one window of 2 x 2; larger ones are pooled by another kernel. The bits are the same."""

    def f(x, w, b):
        y = conv(x, w, **attributes()) + b
        z = windows(y, kernel=(window,) * 2, stride=(window,) * 2, dilation=(1, 1))
        return maximum(max_(z, axes=(4, 5)), 0)

    graph = trace_graph(f, avals(shape, 64))
    (kernel,) = found(graph, Winograd)
    assert len(kernel.results.stages[0].stores) == (1 if window == 2 else 4)
    (alone,) = run(trace_graph(lambda x, w, b: conv(x, w, **attributes()) + b, avals(shape, 64)))
    rows, columns = (n // window for n in shape[2:])
    cut = alone[:, :, : rows * window, : columns * window]
    want = np.maximum(cut.reshape(shape[0], 64, rows, window, columns, window).max((3, 5)), 0)
    np.testing.assert_array_equal(run(graph)[0], want)
    check(graph)


def test_a_pooled_image_with_nan():
    x, w = np.ones((3, 32, 8, 8), np.float32), np.ones((32, 32, 3, 3), np.float32)
    x[1, 5, 3, 3] = np.nan
    pooled = wf.compile(lambda x, w: F.max_pool2d(F.conv2d(x, w, padding=1), 2))(
        wf.tensor(x), wf.tensor(w)
    ).numpy()
    assert np.isnan(pooled[1, :, 1:3, 1:3]).all() and not np.isnan(pooled[[0, 2]]).any()


def block(x: Node, w: Node, v: Node, b: Node) -> Node:
    """Two convolutions around which the input is added."""
    y = maximum(conv(x, w, **attributes()) * b, 0)
    return maximum(conv(y, v, **attributes()) + b + x, 0)


@pytest.mark.parametrize("images", [3, 26])
@pytest.mark.parametrize("side", [8, 9])
def test_a_residual_block(images, side):
    shapes = (images, 64, side, side), (64, 64, 3, 3), (64, 64, 3, 3), (64, 1, 1)
    graph = trace_graph(block, [Aval(s, float32) for s in shapes])
    kinds = found(graph, Winograd)
    assert len(kinds) == 2 and kinds[0].border is None  # images are read as they lie
    check(graph)
    check(backward(graph))


@pytest.mark.parametrize("side", [8, 9])
def test_in_front_of_one_that_reads_a_border(side):
    def f(x, w, v):
        y = maximum(conv(x, w, **attributes()), 0)
        return conv(y, v, **attributes(stride=2))

    graph = trace_graph(f, [Aval(s, float32) for s in ((3, 32, side, side), (32, 32, 3, 3), (40, 32, 3, 3))])
    (kernel,) = found(graph, Winograd)
    assert kernel.border is not None
    check(graph)


def test_a_result_of_another_type():
    graph = trace_graph(
        lambda a, w, b: cast(conv(a, w, **attributes()) + b, dtype=bfloat16), avals((3, 32, 9, 8), 32)
    )
    plain = trace_graph(lambda a, w, b: conv(a, w, **attributes()) + b, avals((3, 32, 9, 8), 32))
    (got,), (want,) = run(graph), run(plain)
    np.testing.assert_array_equal(got, want.astype(bfloat16.numpy))


def test_what_is_looked_up_behind_it():
    def f(x, w, table, which):
        return conv(x, w, **attributes()) * gather(table, which, axes=(0,))

    shapes = (3, 32, 8, 8), (32, 32, 3, 3), (5,), (32, 8, 8)
    kinds = [Aval(s, d) for s, d in zip(shapes, (float32, float32, float32, int64), strict=True)]
    program = CpuBackend().compile(trace_graph(f, kinds))
    rng = np.random.default_rng(0)
    x, w, table = (rng.normal(size=s).astype(np.float32) for s in shapes[:3])
    which = rng.integers(0, 5, shapes[3])
    (got,) = program.run([Buffer(a) for a in (x, w, table, which)])
    (plain,) = run_with(trace_graph(lambda x, w: conv(x, w, **attributes()), kinds[:2]), x, w)
    np.testing.assert_array_equal(got.array, plain * table[which])
    which[4, 3, 2] = 5
    with pytest.raises(Exception, match="out of bounds"):
        program.run([Buffer(a) for a in (x, w, table, which)])


def run_with(graph: Graph, *args: np.ndarray) -> list[np.ndarray]:
    return [b.array for b in CpuBackend().compile(graph).run([Buffer(a) for a in args])]


def test_weights_are_transformed_again_when_they_change():
    model = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1))
    x = wf.tensor(np.random.default_rng(5).normal(size=(2, 32, 12, 12)).astype(np.float32))
    compiled = wf.compile(model)
    for turn in range(9):
        if turn % 3 == 0:
            with wf.no_grad():
                for p in model.parameters():
                    p += 0.01 * (turn + 1)
        with wf.config(backend="reference"):
            want = model(x).numpy()
        with wf.no_grad():
            np.testing.assert_allclose(compiled(x).numpy(), want, rtol=1e-4, atol=1e-5)


def test_a_kernel_that_what_follows_reads_as_well():
    def f(x, w):
        bias = reshape(slice_(w, start=(0,) * 4, limit=(32, 1, 1, 1), stride=(1,) * 4), shape=(32, 1, 1))
        return maximum(conv(x, w, **attributes()) + bias, 0)

    graph = trace_graph(f, avals((3, 32, 9, 8), 32)[:2])
    assert found(graph, Winograd)
    check(graph)
    check(backward(graph))


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_convolutions_of_any_shape(data):
    images, channels = (
        data.draw(st.sampled_from([1, 2, 5, 24, 30]), "images"),
        data.draw(st.integers(32, 70), "channels"),
    )
    filters = 32 * data.draw(st.integers(1, 4), "parts")
    sides = [data.draw(st.integers(3, 17), "side") for _ in range(2)]
    padding = tuple([(data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))) for _ in range(2)])
    graph = layer((images, channels, *sides), filters, padding)
    assume(found(graph, Winograd))
    check(graph)


def test_it_can_be_read_and_counted():
    graph = layer((3, 32, 8, 8), 64)
    (step,) = [s for s in CpuBackend().compile(graph).steps if isinstance(s.kernel, Winograd)]
    kernel = step.kernel
    assert isinstance(kernel, Winograd)
    text = show_kernel(kernel)
    assert text.splitlines()[0].endswith("winograd") and "kernel products(2 in, 1 out): tiles" in text
    assert kernel.flops == 2 * 16 * (3 * 16) * 32 * 64
    assert work_of(step).flops > kernel.flops
    assert "where" not in text  # nothing has to be checked at even sides
    assert "where" in show_kernel(found(layer((3, 32, 9, 9), 64), Winograd)[0])
    (sums,) = found(gradient((4, 32, 8, 8), 64), Sums)
    assert "winograd, gradient" in show_kernel(sums) and sums.flops == 2 * 16 * 64 * 32 * 64
