"""Compiled contractions against the reference in float64: tile edges, layouts, convolutions of all kinds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import weft as wf
import weft.ops
from weft.autodiff.transforms import vjp_pair
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.instructions import Module
from weft.backends.cpu.processor import host_target
from weft.backends.cpu.tiles import emit_tiles
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import float16, float32, float64
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.show import show
from weft.kernel.target import LEVELS
from weft.kernel.tiles import LONG, Tiles, of_columns
from weft.kernel.tiling import tiling
from weft.ops.contraction import dot_general
from weft.ops.conv import conv
from weft.ops.elementwise import less, maximum, where
from weft.ops.movement import permute, reshape
from weft.ops.transcendental import rsqrt
from weft.runtime.buffer import Buffer


def check(graph: Graph) -> None:
    """The compiled graph agrees with the reference to what float32 sums allow."""
    rng = np.random.default_rng(0)
    args = [rng.normal(size=a.shape).astype(a.dtype.numpy) for a in graph.in_avals]
    want = Interpreter(graph).evaluate([a.astype(np.float64) for a in args])
    size = Interpreter(graph).evaluate([np.abs(a).astype(np.float64) for a in args])
    got = CpuBackend().compile(graph).run([Buffer(a) for a in args])
    for w, g, s in zip(want, got, size, strict=True):
        assert g.array.shape == w.shape
        assert np.all(np.abs(g.array - w) <= 1e-6 * np.abs(s) + 1e-6), np.abs(g.array - w).max()


SHAPES = [
    (1, 1, 1), (3, 5, 7), (13, 17, 33), (64, 64, 64), (28, 3, 16), (5, 0, 4), (100, 3, 1), (1, 40, 50), (25, 1000, 47),
]  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "left", "right"), list(itertools.product(SHAPES, (False, True), (False, True)))
)
def test_matrix_products(shape, left, right):
    m, k, n = shape
    x = Aval((k, m) if left else (m, k), float32)
    y = Aval((n, k) if right else (k, n), float32)
    contract = ((0 if left else 1,), (1 if right else 0,))
    check(trace_graph(lambda a, b: dot_general(a, b, contract=contract, batch=((), ())), (x, y)))


def test_batches_several_axes_and_an_epilogue():
    def f(x, y, b):
        return maximum(dot_general(x, y, contract=((1, 3), (3, 0)), batch=((0,), (2,))) + b, 0)

    check(trace_graph(f, (Aval((3, 4, 19, 5), float32), Aval((5, 33, 3, 4), float32), Aval((33,), float32))))


@pytest.mark.parametrize("rows", [2, 3, 5, 8, 9])
@pytest.mark.parametrize(("steps", "columns"), [(64, 48), (3, 5), (100, 17), (1000, 33)])
def test_few_rows_meet_columns_that_lie_apart(rows, steps, columns):
    """They are read in squares, and the sums are those of columns that are neighbours, bit for bit."""
    x, y = (
        np.random.default_rng(k).normal(size=s).astype(np.float32)
        for k, s in enumerate([(rows, steps), (columns, steps)])
    )
    results = []
    for right, axis in ((y, 1), (np.ascontiguousarray(y.T), 0)):
        graph = trace_graph(
            lambda a, b, axis=axis: maximum(dot_general(a, b, contract=((1,), (axis,)), batch=((), ())), 0),
            [Aval(v.shape, float32) for v in (x, right)],
        )
        program = CpuBackend().compile(graph)
        (kernel,) = [s.kernel for s in program.steps]
        assert isinstance(kernel, Tiles)
        lanes = host_target().lanes(4)
        squares = axis == 1 and rows <= min(8, host_target().registers - lanes - 3)
        assert tiling(kernel, host_target()).squares == squares
        results.append(program.run([Buffer(v) for v in (x, right)])[0].array)
    np.testing.assert_array_equal(*results)


def test_masks_of_products_are_made_in_tiles():
    """Long sums wait in memory, which a mask has no room for: then it has a kernel of its own."""

    def f(x, y):
        return less(0, dot_general(x, y, contract=((1,), (0,)), batch=((), ())) + 1.0)

    def chosen(x, y):
        return where(f(x, y), 2.5, 0.5)

    for function, size, count in ((f, 30, 1), (f, 900, 2), (chosen, 900, 1)):
        graph = trace_graph(function, [Aval(s, float32) for s in ((90, size), (size, 70))])
        program = CpuBackend().compile(graph)
        assert len(program.steps) == count and isinstance(program.steps[0].kernel, Tiles)
        args = [
            np.random.default_rng(k).integers(-3, 4, a.shape).astype(np.float32)
            for k, a in enumerate(graph.in_avals)
        ]
        (want,), (got,) = Interpreter(graph).evaluate(args), program.run([Buffer(a) for a in args])
        np.testing.assert_array_equal(got.array, want)


def test_what_all_rows_of_a_column_share_is_computed_once():
    """The factor of a batch norm: one root for each vector of columns, however many rows a tile has."""

    def f(x, y, mean, variance, rows):
        z = dot_general(x, y, contract=((1,), (0,)), batch=((), ()))
        return (z - mean) * rsqrt(variance * variance + 1e-5) + rows

    graph = trace_graph(f, [Aval(s, float32) for s in [(90, 30), (30, 70), (70,), (70,), (90, 1)]])
    check(graph)
    (kernel,) = [s.kernel for s in CpuBackend().compile(graph).steps if isinstance(s.kernel, Tiles)]
    assert sorted(show(e)[:5] for e in of_columns(kernel)) == ["b2[n]", "rsqrt"]
    module, target = Module("test"), host_target()
    emit_tiles(module, kernel, target)
    cut = tiling(kernel, target)
    roots = sum("sqrt" in line and "call" in line for line in str(module).splitlines())
    assert 0 < roots <= 2 * len(cut.heights) * cut.vectors


def test_a_sum_in_blocks_for_columns_that_lie_apart():
    """What a convolution leaves channels-last is flattened: neighbouring columns of the product are not neighbours."""

    def f(x, w, y):
        attrs = {"input_dilation": (1, 1), "kernel_dilation": (1, 1), "feature_groups": 1, "batch_groups": 1}
        images = conv(x, w, stride=(1, 1), padding=((0, 0), (0, 0)), **attrs)
        return dot_general(y, reshape(images, shape=(1000, 288)), contract=((0,), (0,)), batch=((), ()))

    shapes = (1000, 4, 5, 5), (32, 4, 3, 3), (1000, 21)
    check(trace_graph(f, [Aval(s, float32) for s in shapes]))


@pytest.mark.parametrize(("b", "h", "t", "d", "n"), [(3, 2, 16, 32, 40), (2, 4, 5, 3, 7), (1, 4, 8, 16, 16)])
def test_joined_heads_are_rows_of_tiles(b, h, t, d, n):
    def f(x, w):
        joined = reshape(permute(x, axes=(0, 2, 1, 3)), shape=(b, t, h * d))
        return dot_general(joined, w, contract=((2,), (1,)), batch=((), ()))

    graph = trace_graph(f, (Aval((b, h, t, d), float32), Aval((n, h * d), float32)))
    (step,) = CpuBackend().compile(graph).steps
    assert isinstance(step.kernel, Tiles)
    check(graph)


@pytest.mark.parametrize(
    ("m", "k", "n"),
    [(1, 784, 300), (1, 784, 400), (8, 784, 300), (16, 784, 300), (16, 300, 100), (16, 300, 300)],
)
def test_few_rows_are_shared_evenly(m, k, n):
    """Two threads that take half the units each are done at about the same time."""
    product = trace_graph(
        lambda a, b: dot_general(a, b, contract=((1,), (0,)), batch=((), ())),
        [Aval(s, float32) for s in [(m, k), (k, n)]],
    )
    (kernel,) = [s.kernel for s in CpuBackend().compile(product).steps if isinstance(s.kernel, Tiles)]
    target = LEVELS["x86-64-v4"]
    cut, vectors = tiling(kernel, target), -(-n // target.lanes(4))
    shares = [min(cut.vectors * cut.group, vectors - at) for at in range(0, vectors, cut.vectors * cut.group)]
    shares *= cut.bands
    half = -(-len(shares) // 2)
    assert len(shares) > 1 and not cut.pack
    assert max(sum(shares[:half]), sum(shares[half:])) <= 0.6 * sum(shares)


@pytest.mark.parametrize(
    ("m", "k", "n"),
    [
        (8192, 64, 576),
        (2048, 64, 576),
        (4096, 64, 320),
        (768, 768, 320),
        (512, 512, 192),
        (400, 600, 320),
        (128, 784, 320),
    ],
)
def test_units_of_packed_panels_go_round(m, k, n):
    """Two threads that take one unit after the other are done at about the same time, with the bits of one thread."""
    x, y = (
        np.random.default_rng(i).normal(size=s).astype(np.float32) for i, s in enumerate([(m, k), (n, k)])
    )
    product = trace_graph(
        lambda a, b: dot_general(a, b, contract=((1,), (1,)), batch=((), ())),
        [Aval(v.shape, float32) for v in (x, y)],
    )
    (kernel,) = [s.kernel for s in CpuBackend().compile(product).steps if isinstance(s.kernel, Tiles)]
    target = LEVELS["x86-64-v4"]
    cut = tiling(kernel, target)
    panels = -(-n // (cut.vectors * target.lanes(4)))
    assert cut.pack and not cut.blocked
    busy = [0, 0]  # panels of a band that each thread goes through
    for first in range(0, panels, cut.group):
        for _ in range(cut.bands):
            busy[busy[1] < busy[0]] += min(cut.group, panels - first)
    assert max(busy) <= 1.05 * sum(busy) / 2
    before, results = wf.get_num_threads(), []
    try:
        for count in (1, 2):
            wf.set_num_threads(count)
            results += CpuBackend().compile(product).run([Buffer(x), Buffer(y)])
    finally:
        wf.set_num_threads(before)
    np.testing.assert_array_equal(*[r.array for r in results])


def _run(function, *arrays):
    graph = trace_graph(function, [Aval(a.shape, float32) for a in arrays])
    return CpuBackend().compile(graph).run([Buffer(np.ascontiguousarray(a)) for a in arrays])[0].array


@pytest.mark.parametrize(("images", "size"), [(1, (9, 7)), (5, (8, 8)), (3, (40,)), (2, (4, 5, 6))])
def test_convolutions_of_single_pixels_are_products(images, size):
    """All pixels of all images, which lie one after the other, are rows of tiles."""
    rank = len(size)
    attrs = {
        "input_dilation": (1,) * rank,
        "kernel_dilation": (1,) * rank,
        "feature_groups": 1,
        "batch_groups": 1,
    }

    def f(x, w):
        x = permute(x, axes=(0, rank + 1, *range(1, rank + 1)))
        y = conv(x, w, stride=(1,) * rank, padding=((0, 0),) * rank, **attrs)
        return permute(y, axes=(0, *range(2, rank + 2), 1))

    graph = trace_graph(f, (Aval((images, *size, 20), float32), Aval((24, 20, *(1,) * rank), float32)))
    (kernel,) = [s.kernel for s in CpuBackend().compile(graph).steps if isinstance(s.kernel, Tiles)]
    assert kernel.m.size == images * np.prod(size)
    check(graph)


@pytest.mark.parametrize("shape", [(5, 7, 6), (30, 43, 37), (2, 900, 20)])
def test_bits_follow_the_shape_alone(shape):
    """One sum in order for each element: however the operands lie, and whatever else is computed beside it."""
    s, k, n = shape
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(19, s, k)).astype(np.float32), rng.normal(size=(s, k, n)).astype(np.float32)

    def product(a, b):
        return dot_general(a, b, contract=((1, 2), (0, 1)), batch=((), ()))

    want = _run(product, x, y)
    flat = _run(
        lambda a, b: dot_general(a, b, contract=((1,), (0,)), batch=((), ())),
        x.reshape(19, s * k),
        y.reshape(s * k, n),
    )
    np.testing.assert_array_equal(flat, want)
    turned = _run(
        lambda a, b: product(permute(a, axes=(2, 1, 0)), permute(b, axes=(2, 0, 1))),
        x.T,
        y.transpose(1, 2, 0),
    )
    np.testing.assert_array_equal(turned, want)
    for i in (0, 18):
        np.testing.assert_array_equal(_run(product, x[i : i + 1], y), want[i : i + 1])
    np.testing.assert_array_equal(_run(product, x, y[..., :2]), want[:, :2])
    computed = _run(lambda a, b: product(a + 0.0, maximum(b, -1e9)), x, y)
    np.testing.assert_array_equal(computed, want)
    sums = np.einsum("msk,skn->mn", x.astype(np.float64), y.astype(np.float64))
    np.testing.assert_allclose(want, sums, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [5, 300, 1100])
def test_rows_whose_lines_share_a_place_of_the_cache_are_copied(steps):
    """Which changes no bit: columns of the first operand that come alone are not copied."""
    rng = np.random.default_rng(5)
    x, y = (rng.normal(size=(steps, n)).astype(np.float32) for n in (1024, 523))

    def product(a, b):
        return dot_general(a, b, contract=((0,), (0,)), batch=((), ()))

    graph = trace_graph(product, [Aval(v.shape, float32) for v in (x, y)])
    (kernel,) = [s.kernel for s in CpuBackend().compile(graph).steps if isinstance(s.kernel, Tiles)]
    if host_target().vector_bytes == 64:
        assert tiling(kernel, host_target()).pack_rows == (steps > 5)
    got = _run(product, x, y)
    np.testing.assert_array_equal(_run(product, x[:, :1000], y), got[:1000])
    np.testing.assert_allclose(got, x.T.astype(np.float64) @ y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("columns", [2, 10, 16, 21])
@pytest.mark.parametrize("steps", [7, 100, 512, 1024])
def test_few_columns_that_lie_apart(steps, columns):
    """They are turned in squares as they are packed: the sums are those of columns that are neighbours, bit for bit."""
    rng = np.random.default_rng(6)
    x, y = (rng.normal(size=(n, steps)).astype(np.float32) for n in (50, columns))
    got = _run(lambda a, b: dot_general(a, b, contract=((1,), (1,)), batch=((), ())), x, y)
    want = _run(
        lambda a, b: dot_general(a, b, contract=((1,), (0,)), batch=((), ())), x, np.ascontiguousarray(y.T)
    )
    np.testing.assert_array_equal(got, want)
    np.testing.assert_allclose(got, x.astype(np.float64) @ y.T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [float32, float64, float16])
@pytest.mark.parametrize(
    ("rows", "steps", "columns"), [(100, 40, 10), (50, 1100, 3), (17, 300, 10), (70, 33, 24)]
)
def test_rows_that_are_neighbours_fill_lanes_that_few_columns_leave_empty(rows, steps, columns, dtype):
    """A^T B as the transpose of B^T A: the sums are those of rows that lie apart, bit for bit."""
    rng = np.random.default_rng(7)
    x, y = (rng.normal(size=(steps, n)).astype(dtype.numpy) for n in (rows, columns))

    def product(a, b, axis):
        return maximum(dot_general(a, b, contract=((axis,), (0,)), batch=((), ())), 0.25)

    results, turned = [], []
    for left, axis in ((x, 0), (np.ascontiguousarray(x.T), 1)):
        avals = [Aval(v.shape, dtype) for v in (left, y)]
        program = CpuBackend().compile(trace_graph(lambda a, b, axis=axis: product(a, b, axis), avals))
        kernels = [s.kernel for s in program.steps if isinstance(s.kernel, Tiles)]
        turned.append([k.m.size for k in kernels] == [columns])
        results.append(program.run([Buffer(left), Buffer(y)])[0].array)
    rounded = dtype is float16 and steps <= LONG  # by the tiles themselves, which then store row by row
    better = columns < 16 if dtype is float64 else rows > 17  # 8 lanes, or 16
    assert turned == [better and not rounded, False]
    np.testing.assert_array_equal(*results)
    want = np.maximum(x.T.astype(np.float64) @ y.astype(np.float64), 0.25)
    np.testing.assert_allclose(results[0], want, rtol=2e-3 if dtype is float16 else 1e-4, atol=1e-4)


@pytest.mark.parametrize(("steps", "rows"), [(512, 16), (1024, 12), (1040, 28)])
def test_rows_of_few_columns_do_not_crowd_one_place_of_the_cache(steps, rows):
    avals = [Aval((336, steps), float32), Aval((steps, 10), float32)]
    graph = trace_graph(lambda a, b: dot_general(a, b, contract=((1,), (0,)), batch=((), ())), avals)
    (kernel,) = [s.kernel for s in CpuBackend().compile(graph).steps if isinstance(s.kernel, Tiles)]
    assert tiling(kernel, LEVELS["x86-64-v4"]).rows == rows
    check(graph)


def test_operands_and_results_in_any_order_of_axes():
    def f(x, y):
        return permute(permute(x, axes=(1, 0)) @ permute(y, axes=(1, 0)), axes=(1, 0))

    check(trace_graph(f, (Aval((20, 30), float32), Aval((40, 20), float32))))


CONVOLUTIONS = [
    # x, w, stride, padding, input dilation, kernel dilation, groups
    ((9, 3, 8, 8), (5, 3, 3, 3), 1, 1, 1, 1, 1),
    ((8, 4, 9, 7), (20, 4, 3, 3), 2, 1, 1, 1, 1),
    ((10, 4, 9, 7), (6, 4, 3, 2), 1, 2, 1, 2, 1),
    ((12, 4, 5, 5), (4, 4, 3, 3), 1, 2, 2, 1, 1),
    ((30, 6, 6, 6), (8, 3, 3, 3), 1, 1, 1, 1, 2),
    ((1, 3, 20, 20), (16, 3, 7, 7), 2, 3, 1, 1, 1),
    ((2, 8, 6, 6), (40, 8, 1, 1), 1, 0, 1, 1, 1),
    ((16, 8, 11), (4, 8, 4), 3, 2, 1, 1, 1),
    ((9, 2, 4, 5, 6), (3, 2, 2, 2, 2), 1, 1, 1, 1, 1),
    ((8, 6, 5, 5), (6, 1, 3, 3), 1, 1, 1, 1, 6),
    # kernels in panels: some, with sums in blocks, with a rest, in groups, with gaps between the pixels
    ((2, 8, 9, 8), (96, 8, 3, 3), 1, 1, 1, 1, 1),
    ((1, 300, 7, 7), (64, 300, 3, 3), 1, 1, 1, 1, 1),
    ((26, 320, 3, 4), (64, 320, 3, 3), 1, 1, 1, 1, 1),
    ((2, 64, 5, 5), (128, 32, 3, 3), 1, 1, 1, 1, 2),
    ((4, 96, 4, 5), (64, 96, 3, 3), 1, 2, 2, 1, 1),
    # images that the cache has few places for
    ((24, 64, 16, 16), (8, 64, 3, 3), 1, 1, 1, 1, 1),
    ((24, 64, 16, 16), (64, 64, 3, 3), 1, 0, 1, 1, 1),
]


def convolution(x, w, stride, padding, input_dilation, kernel_dilation, groups):
    n = len(x) - 2

    def f(a, b):
        return conv(
            a, b, stride=(stride,) * n, padding=((padding, padding),) * n, input_dilation=(input_dilation,) * n,
            kernel_dilation=(kernel_dilation,) * n, feature_groups=groups, batch_groups=1,
        )  # fmt: skip

    return trace_graph(f, (Aval(x, float32), Aval(w, float32)))


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(case):
    check(convolution(*case))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_tile_reads_a_kernel_from_begin_to_end(groups):
    """However many channels come out: copies of kernels lie in panels as wide as tiles."""
    graph = convolution((1, 64, 9, 9), (256, 64 // groups, 3, 3), 1, 1, 1, 1, groups)
    (kernel,) = [s.kernel for s in CpuBackend().compile(graph).steps if isinstance(s.kernel, Tiles)]
    assert (kernel.n.size, kernel.b.stride, kernel.taps[-1].b) == (32, 1, 32)


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_their_gradients(case):
    check(vjp_pair(convolution(*case), (True, True)).backward)


def test_images_between_convolutions_are_stored_channels_last_and_come_out_as_they_should():
    def f(x, w, v, b):
        y = maximum(conv(x, w, **plain) + b, 0)
        return conv(y * 2, v, **plain), y

    plain = {
        "stride": (1, 1), "padding": ((1, 1), (1, 1)), "input_dilation": (1, 1), "kernel_dilation": (1, 1),
        "feature_groups": 1, "batch_groups": 1,
    }  # fmt: skip
    avals = [(9, 3, 6, 6), (17, 3, 3, 3), (5, 17, 3, 3), (17, 1, 1)]
    check(trace_graph(f, [Aval(a, float32) for a in avals]))


def test_groups_meet_their_own_kernels_where_rows_are_joined():
    """A convolution in groups whose result lies channels-last for the statistics that follow."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 4, 4, 5)), rng.normal(size=(6, 2, 2, 2))

    def compute():
        out = wf.nn.functional.conv2d(wf.tensor(x), wf.tensor(w), groups=2)
        return wf.nn.functional.batch_norm(out, None, None, training=True).numpy()

    with wf.config(backend="reference"):
        want = compute()
    with wf.config(backend="cpu"):
        np.testing.assert_allclose(compute(), want, rtol=1e-12, atol=1e-13)
