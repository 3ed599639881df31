"""Tiles that fetch rows and lines of results before they are needed: the same numbers with and without."""

from __future__ import annotations

import numpy as np
import pytest

import weft.ops  # noqa: F401
from weft.autodiff.transforms import vjp_pair
from weft.backends.cpu import fetching
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.instructions import Module
from weft.backends.cpu.processor import host_target
from weft.backends.cpu.tiles import emit_tiles
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import float32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.tiles import Tiles
from weft.kernel.tiling import tiling
from weft.ops.contraction import dot_general
from weft.ops.conv import conv
from weft.ops.elementwise import maximum
from weft.ops.movement import permute
from weft.runtime.buffer import Buffer


def residual(x, w, stride=1, padding=0, dilation=1, groups=1) -> Graph:
    """Two convolutions of one image added up, a relu, and a convolution that makes one channel of it."""
    rank = len(x) - 2
    attrs = {"input_dilation": (1,) * rank, "batch_groups": 1}
    own = {
        "stride": (stride,) * rank, "padding": ((padding, padding),) * rank, "kernel_dilation": (dilation,) * rank,
        "feature_groups": groups,
    }  # fmt: skip
    last = {
        "stride": (1,) * rank, "padding": ((0, 0),) * rank, "kernel_dilation": (1,) * rank, "feature_groups": 1,
    }  # fmt: skip

    def f(a, b, c, d):
        inner = maximum(conv(a, b, **attrs, **own) + conv(a, c, **attrs, **own), 0)
        return conv(inner, d, **attrs, **last)

    return trace_graph(f, [Aval(s, float32) for s in (x, w, w, (2, w[0], *[1] * rank))])


def tiles_of(graph: Graph) -> list[Tiles]:
    return [s.kernel for s in CpuBackend().compile(graph).steps if isinstance(s.kernel, Tiles)]


def fetches(graph: Graph, number: int = 1) -> int:
    """How many places of a convolution's code fetch lines."""
    return places(tiles_of(graph)[number])


def places(kernel: Tiles) -> int:
    module = Module("test")
    emit_tiles(module, kernel, host_target())
    return str(module).count("call void @llvm.prefetch")


CASES = [
    # x, w, stride, padding, dilation, groups
    ((1, 8, 23, 19), (32, 8, 3, 3), 1, 1, 1, 1),
    ((2, 3, 31, 30), (64, 3, 7, 7), 2, 3, 1, 1),
    ((1, 6, 20, 20), (40, 6, 3, 3), 1, 2, 2, 1),
    ((3, 8, 14, 15), (34, 4, 3, 3), 1, 0, 1, 2),
    ((2, 4, 50), (33, 4, 5), 1, 2, 1, 1),
    ((1, 4, 7, 8, 9), (32, 4, 3, 3, 3), 1, 1, 1, 1),
    ((30, 8, 9, 9), (16, 8, 3, 3), 1, 1, 1, 1),
]


@pytest.mark.parametrize("case", CASES)
def test_convolutions_that_fetch(case, monkeypatch, compiled_anew):
    graph = residual(*case)
    rng = np.random.default_rng(0)
    args = [rng.normal(size=a.shape).astype(np.float32) for a in graph.in_avals]
    want = CpuBackend().compile(graph).run([Buffer(a) for a in args])[0].array
    np.testing.assert_allclose(want, Interpreter(graph).evaluate(args)[0], rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(fetching, "_RESULTS", 0)
    compiled_anew()
    got = CpuBackend().compile(graph).run([Buffer(a) for a in args])[0].array
    np.testing.assert_array_equal(got, want)


def test_rows_of_an_image_in_memory_are_fetched():
    assert fetches(residual((1, 8, 23, 19), (32, 8, 3, 3), padding=1))
    assert not fetches(residual((1, 8, 23, 19), (32, 8, 1, 1)))


def test_results_are_fetched_where_there_are_many():
    small, large = (residual((1, 8, n, n), (32, 8, 3, 3), padding=1) for n in (16, 56))
    assert fetches(large) > fetches(small) > 0
    assert [len(fetching.along_results(k)) for k in tiles_of(large)] == [0, 1, 0]


def product(rows: int, steps: int, columns: int) -> Graph:
    """A^T B."""
    avals = [Aval((steps, n), float32) for n in (rows, columns)]
    return trace_graph(lambda a, b: dot_general(a, b, contract=((0,), (0,)), batch=((), ())), avals)


@pytest.mark.parametrize("shape", [(1024, 800, 530), (1030, 800, 530), (300, 1000, 40)])
def test_sums_that_wait_and_rows_that_are_copied_next_are_fetched(shape, monkeypatch, compiled_anew):
    graph = product(*shape)
    rng = np.random.default_rng(1)
    x, y = (rng.normal(size=a.shape).astype(np.float32) for a in graph.in_avals)
    want = CpuBackend().compile(graph).run([Buffer(x), Buffer(y)])[0].array
    np.testing.assert_allclose(want, x.T.astype(np.float64) @ y, rtol=1e-4, atol=1e-4)
    many = fetches(graph, 0)
    monkeypatch.setattr(fetching, "_RESULTS", 1 << 40)
    assert (fetches(graph, 0) < many) == (shape[0] * shape[2] * 4 >= 1 << 18)
    assert (fetches(graph, 0) > 0) == (tiling(tiles_of(graph)[0], host_target()).stack > 1)
    compiled_anew()
    got = CpuBackend().compile(graph).run([Buffer(x), Buffer(y)])[0].array
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("filters", "wanted"), [(32, True), (64, True), (41, True), (256, False)])
def test_gradients_of_kernels_fetch_the_next_rows_of_the_cotangent(filters, wanted):
    """Where tiles of several rows of taps go through them, and a unit has all columns."""
    attrs = {"stride": (2, 2), "padding": ((1, 1),) * 2, "input_dilation": (1, 1), "kernel_dilation": (1, 1)}

    def f(x, w):
        y = conv(permute(x, axes=(0, 3, 1, 2)), w, **attrs, feature_groups=1, batch_groups=1)
        return permute(y, axes=(0, 2, 3, 1))

    avals = (Aval((8, 65, 63, 3), float32), Aval((filters, 3, 3, 3), float32))
    graph = vjp_pair(trace_graph(f, avals), (False, True)).backward
    (kernel,) = tiles_of(graph)
    assert (places(kernel) > 0) == wanted
    rng = np.random.default_rng(0)
    args = [rng.normal(size=a.shape).astype(np.float32) for a in graph.in_avals]
    got = CpuBackend().compile(graph).run([Buffer(a) for a in args])[0].array
    np.testing.assert_allclose(got, Interpreter(graph).evaluate(args)[0], rtol=1e-3, atol=1e-3)
