"""Convolutions, what follows them and the pooling of it as one kernel."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
import weft.nn.functional as F
from weft.backends.cpu.backend import CpuBackend
from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import float32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.tiles import Tiles
from weft.ops.conv import conv
from weft.ops.elementwise import less_equal, where
from weft.ops.movement import reshape, slice_
from weft.ops.reduce import max_
from weft.ops.window import windows
from weft.runtime.buffer import Buffer


def pooled(x, w, size=(2, 2), stride=None, crop=0, padding=0, flat=True, groups=1, again=False):
    def f(a, b, c):
        rank = len(size)
        y = conv(
            a, b, stride=(1,) * rank, padding=((padding, padding),) * rank, input_dilation=(1,) * rank,
            kernel_dilation=(1,) * rank, feature_groups=groups, batch_groups=1,
        )  # fmt: skip
        y = y + reshape(c, shape=(1, w[0], *[1] * rank))
        y = where(less_equal(y, 0), 0, y)
        found = y
        if crop:
            limit = (*y.shape[:2], *[n - crop for n in y.shape[2:]])
            found = slice_(y, start=(0,) * y.ndim, limit=limit, stride=(1,) * y.ndim)
        found = windows(found, kernel=size, stride=stride or size, dilation=(1,) * rank)
        if flat:
            shape = (*found.shape[: 2 + rank], int(np.prod(size)))
            found = max_(reshape(found, shape=shape), axes=(2 + rank,))
        else:
            found = max_(found, axes=tuple(range(2 + rank, 2 + 2 * rank)))
        return (found, y) if again else found

    return trace_graph(f, [Aval(s, float32) for s in (x, w, w[:1])])


def tiles_of(graph: Graph) -> list[Tiles]:
    steps = CpuBackend().compile(graph).steps
    return [s.kernel for s in steps if isinstance(s.kernel, Tiles)]


def check(graph: Graph) -> None:
    rng = np.random.default_rng(1)
    args = [rng.normal(size=a.shape).astype(np.float32) for a in graph.in_avals]
    args[0][0, 0, 0] = np.nan
    want = Interpreter(graph).evaluate(args)
    for w, g in zip(want, CpuBackend().compile(graph).run([Buffer(a) for a in args]), strict=True):
        np.testing.assert_allclose(g.array, w, rtol=1e-5, atol=1e-4)


TOGETHER = [
    {"x": (1, 3, 12, 14), "w": (8, 3, 3, 3)},
    {"x": (30, 1, 9, 9), "w": (20, 1, 3, 3), "crop": 1},
    {"x": (2, 4, 13, 13), "w": (64, 4, 3, 3), "crop": 1, "padding": 1},
    {"x": (25, 4, 7, 7), "w": (64, 4, 3, 3), "crop": 1, "padding": 1, "flat": False},
    {"x": (1, 128, 12, 12), "w": (32, 128, 3, 3)},  # so long a sum is made in blocks elsewhere
    {"x": (3, 8, 16, 18), "w": (64, 4, 1, 1), "size": (3, 2), "groups": 2, "crop": 1},
    {"x": (2, 3, 20, 20), "w": (6, 3, 3, 3), "size": (2, 2), "stride": (3, 4)},  # windows with gaps
    {"x": (4, 3, 30), "w": (6, 3, 3), "size": (4,)},
    {"x": (2, 3, 8, 8, 10), "w": (4, 3, 3, 3, 3), "size": (2, 2, 2)},
]


@pytest.mark.parametrize("case", TOGETHER)
def test_one_kernel_does_both(case):
    graph = pooled(**case)
    (kernel,) = tiles_of(graph)
    assert kernel.fold
    check(graph)


APART = [
    {"x": (2, 3, 13, 13), "w": (6, 3, 3, 3), "size": (3, 3), "stride": (2, 2)},  # windows that overlap
    {"x": (2, 3, 12, 12), "w": (6, 3, 3, 3), "again": True},  # what is pooled is wanted too
    {"x": (2, 3, 6, 6), "w": (6, 3, 3, 3)},  # rows of two pixels
]


@pytest.mark.parametrize("case", APART)
def test_two_kernels_where_one_would_not_do(case):
    graph = pooled(**case)
    assert not any(k.fold for k in tiles_of(graph))
    check(graph)


def test_a_comparison_on_the_way_to_its_only_use_does_not_end_an_epilogue():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, 3, 20, 20)), rng.normal(size=(8, 3, 3, 3))

    def compute() -> np.ndarray:
        return F.relu(F.conv2d(wf.tensor(x, dtype=float32), wf.tensor(w, dtype=float32))).numpy()

    with wf.config(backend="reference"):
        want = compute()
    with wf.config(backend="cpu"):
        np.testing.assert_allclose(compute(), want, rtol=1e-5, atol=1e-5)

    def f(a, b):
        attrs = {"input_dilation": (1, 1), "kernel_dilation": (1, 1), "feature_groups": 1, "batch_groups": 1}
        y = conv(a, b, stride=(1, 1), padding=((0, 0), (0, 0)), **attrs)
        return where(less_equal(y, 0), 0, y)

    program = CpuBackend().compile(trace_graph(f, [Aval(a.shape, float32) for a in (x, w)]))
    assert [type(s.kernel) is Tiles for s in program.steps].count(True) == 1
    assert all(s.node.prim.name in ("identity", "where") for s in program.steps)
