"""Pooling of windows that overlap, as elementwise operations on their taps."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
import weft.nn.functional as F
from weft.autodiff.transforms import vjp_pair
from weft.backends.cpu.backend import CpuBackend
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import float32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.tiles import Tiles
from weft.ops.composite.pooling import max_pool
from weft.ops.conv import conv
from weft.ops.elementwise import maximum
from weft.ops.movement import permute
from weft.ops.reduce import min_, sum_
from weft.ops.window import windows
from weft.runtime.buffer import Buffer


def pool(x, kernel, stride=1, padding=0, dilation=1):
    rank = x.ndim - 2
    sizes = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return max_pool(
        x, **{k: v if isinstance(v, tuple) else (v,) * rank for k, v in sizes.items()}, ceil_mode=False
    )


def kernels_of(graph: Graph) -> list[object]:
    return [s.kernel for s in CpuBackend().compile(graph).steps]


def check(graph: Graph, exact: bool = True) -> None:
    rng = np.random.default_rng(0)
    args = [rng.normal(size=a.shape).astype(np.float32) for a in graph.in_avals]
    args[0].ravel()[:: max(args[0].size // 3, 1)] = np.nan
    want = Interpreter(graph).evaluate(args)
    for w, g in zip(want, CpuBackend().compile(graph).run([Buffer(a) for a in args]), strict=True):
        np.testing.assert_allclose(g.array, w, rtol=0 if exact else 1e-4, atol=0 if exact else 1e-4)


CASES = [
    {"x": (1, 3, 9, 11), "kernel": 3, "stride": 2, "padding": 1},
    {"x": (2, 20, 8, 7), "kernel": 3, "padding": 1},
    {"x": (2, 3, 8, 40), "kernel": (2, 3), "stride": (2, 1)},
    {"x": (1, 2, 12, 13), "kernel": 2, "stride": 2, "dilation": 3},
    {"x": (3, 2, 30), "kernel": 5, "stride": 3, "padding": 2},
    {"x": (1, 2, 6, 7, 8), "kernel": 2, "padding": 1},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_tap_is_an_expression(case):
    shape, how = case["x"], {k: v for k, v in case.items() if k != "x"}
    graph = trace_graph(lambda x: pool(x, **how), [Aval(shape, float32)])
    (kernel,) = kernels_of(graph)
    assert not any(stage.reductions for stage in kernel.stages)
    check(graph)


@pytest.mark.parametrize("how", [{"kernel": 2, "stride": 2}, {"kernel": 4, "stride": 2}], ids=str)
def test_windows_that_lie_apart_or_are_large_are_reduced(how):
    graph = trace_graph(lambda x: pool(x, **how), [Aval((1, 3, 12, 12), float32)])
    assert any(stage.reductions for k in kernels_of(graph) for stage in k.stages)
    check(graph)


STEPS = [
    {"x": (2, 3, 24, 32), "kernel": 3, "stride": 2, "padding": 1},
    {"x": (1, 3, 9, 11), "kernel": 3, "stride": 2, "padding": 1},
    {"x": (2, 20, 8, 8), "kernel": 3, "stride": (1, 2), "padding": 1},
    {"x": (3, 2, 30), "kernel": 5, "stride": 3, "padding": 2},
    {"x": (2, 2, 40), "kernel": 4, "stride": 2},
    {"x": (1, 2, 6, 9, 8), "kernel": 2, "stride": (1, 1, 2), "padding": 1},
    {"x": (1, 2, 12, 13), "kernel": 2, "stride": 2, "dilation": 3},
]


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("case", STEPS, ids=str)
def test_gradients_of_windows_that_overlap(case, last, average):
    """To the bit: of ties and of NaN, too."""
    shape, how = case["x"], {k: v for k, v in case.items() if k != "x"}
    rank = len(shape) - 2
    order = (0, rank + 1, *range(1, rank + 1))

    def f(x):
        x = permute(x, axes=order) if last else x
        if not average:
            return pool(x, **how)
        sizes = [how.get(k, d) for k, d in (("kernel", 1), ("stride", 1), ("dilation", 1))]
        kernel, stride, dilation = [v if isinstance(v, tuple) else (v,) * rank for v in sizes]
        return sum_(
            windows(x, kernel=kernel, stride=stride, dilation=dilation),
            axes=tuple(range(x.ndim, x.ndim + rank)),
        )

    given = (shape[0], *shape[2:], shape[1]) if last else shape
    graph = vjp_pair(trace_graph(f, [Aval(given, float32)]), (True,)).backward
    rng = np.random.default_rng(0)
    args = [np.round(2 * rng.normal(size=a.shape)).astype(np.float32) for a in graph.in_avals]
    args[0].ravel()[:: max(args[0].size // 3, 1)] = np.nan
    want = Interpreter(graph).evaluate(args)
    for w, g in zip(want, CpuBackend().compile(graph).run([Buffer(a) for a in args]), strict=True):
        np.testing.assert_array_equal(g.array, w)


def test_the_place_of_the_first_is_found_tap_by_tap():
    graph = trace_graph(lambda x: pool(x, 3, 2, 1), [Aval((2, 3, 24, 32), float32)])
    found = kernels_of(vjp_pair(graph, (True,)).backward)
    assert not any(stage.reductions for kernel in found for stage in kernel.stages)


def test_the_smallest():
    def f(x):
        return min_(windows(x, kernel=(3,), stride=(2,), dilation=(1,)), axes=(2,))

    check(trace_graph(f, [Aval((5, 21), float32)]))


def test_what_is_pooled_is_computed_once():
    """Not again for each of its taps, or where the pooled values are read often."""

    def f(x, y):
        return pool(pool(maximum(x * y + 1, x / y), 3, padding=1), 3, 2)

    graph = trace_graph(f, [Aval((1, 3, 12, 12), float32)] * 2)
    assert len(kernels_of(graph)) == 3
    check(graph)


ATTRS = {
    "stride": (1, 1), "padding": ((1, 1), (1, 1)), "input_dilation": (1, 1), "kernel_dilation": (1, 1),
    "feature_groups": 1, "batch_groups": 1,
}  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 3, 13, 12), (4, 3, 9, 9)])
@pytest.mark.parametrize("added", [False, True])
def test_between_convolutions_it_fills_the_border_of_the_next(shape, added):
    def f(x, v, w):
        y = pool(maximum(conv(x, v, **ATTRS), 0), 3, 2, 1)
        z = conv(y, w, **ATTRS)
        return z + y if added else z

    graph = trace_graph(f, [Aval(s, float32) for s in (shape, (16, 3, 3, 3), (16, 16, 3, 3))])
    kernels = kernels_of(graph)
    assert sum(isinstance(k, Tiles) for k in kernels) == 2 and len(kernels) == 7
    check(graph, exact=False)


@pytest.mark.parametrize("shape", [(2, 3, 11, 10), (1, 4, 8, 8)])
def test_gradients(shape):
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)

    def compute():
        return wf.grad(lambda x: (F.max_pool2d(x, 3, 2, 1) ** 2).sum())(wf.tensor(x)).numpy()

    with wf.config(backend="reference"):
        want = compute()
    with wf.config(backend="cpu"):
        np.testing.assert_allclose(compute(), want, rtol=1e-6)
