"""Contractions of 16-bit floats: the sums of float32, in tiles that read and write 16 bits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from weft.autodiff.transforms import vjp_pair
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.program import CpuProgram
from weft.ir.dtype import DType, bfloat16, float16, float32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.tiles import Tiles
from weft.ops.contraction import dot_general
from weft.ops.conv import conv
from weft.ops.elementwise import maximum
from weft.ops.selection import cast
from weft.runtime.buffer import Buffer

pytestmark = pytest.mark.usefixtures("without_wide_products")  # for others see test_wide.py

TYPES = [bfloat16, float16]
RNG = np.random.default_rng(5)


def run(graph: Graph, arrays) -> tuple[list[np.ndarray], CpuProgram]:
    program = CpuBackend().compile(graph)
    return [b.array for b in program.run([Buffer(np.ascontiguousarray(a)) for a in arrays])], program


def numbers(shape: tuple[int, ...], dtype: DType) -> np.ndarray:
    return RNG.normal(size=shape).astype(dtype.numpy)


def rounded(x: np.ndarray, dtype: DType) -> np.ndarray:
    return x.astype(dtype.numpy).astype(np.float32)


def tiles(program: CpuProgram) -> int:
    return sum(isinstance(s.kernel, Tiles) for s in program.steps)


SHAPES = [
    (1, 1, 1), (3, 5, 7), (13, 17, 33), (28, 3, 16), (5, 0, 4), (100, 3, 1), (1, 40, 50), (25, 1000, 47), (2, 900, 64),
    (200, 300, 130),
]  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("left", "right"), list(itertools.product((False, True), repeat=2)))
@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_those_of_float32_rounded_once(shape, left, right, dtype):
    m, k, n = shape
    x, y = numbers((k, m) if left else (m, k), dtype), numbers((n, k) if right else (k, n), dtype)
    contract = ((0 if left else 1,), (1 if right else 0,))

    def product(a, b):
        return dot_general(a, b, contract=contract, batch=((), ()))

    def f(a, b):
        return maximum(product(a, b) + 1.0, 0)

    (got,), program = run(trace_graph(f, [Aval(v.shape, dtype) for v in (x, y)]), (x, y))
    wide = [v.astype(np.float32) for v in (x, y)]
    (want,), _ = run(trace_graph(product, [Aval(v.shape, float32) for v in (x, y)]), wide)
    want = np.maximum(rounded(rounded(want, dtype) + np.float32(1), dtype), 0)
    np.testing.assert_array_equal(got.astype(np.float32), want)
    if min(m, n) > 3 and 0 < k <= 768:  # one kernel: nothing is copied, nothing is stored in between
        assert [type(s.kernel) for s in program.steps] == [Tiles]


@pytest.mark.parametrize("dtype", TYPES)
def test_a_product_asked_for_in_float32_keeps_it(dtype):
    x, y = numbers((20, 30), dtype), numbers((40, 30), dtype)

    def f(a, b):
        wide = [cast(v, dtype=float32) for v in (a, b)]
        return dot_general(*wide, contract=((1,), (1,)), batch=((), ()))

    (got,), program = run(trace_graph(f, [Aval(v.shape, dtype) for v in (x, y)]), (x, y))
    np.testing.assert_allclose(got, x.astype(np.float64) @ y.astype(np.float64).T, rtol=1e-5, atol=1e-5)
    assert got.dtype == np.float32 and [type(s.kernel) for s in program.steps] == [Tiles]


CONVOLUTIONS = [
    # x, w, stride, padding, groups
    ((9, 3, 8, 8), (5, 3, 3, 3), 1, 1, 1),
    ((30, 16, 9, 7), (20, 16, 3, 3), 2, 1, 1),
    ((2, 16, 12, 12), (32, 8, 3, 3), 1, 0, 2),
    ((26, 32, 13, 13), (33, 32, 3, 3), 1, 0, 1),
]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_and_their_gradients(case, dtype):
    xs, ws, stride, padding, groups = case

    def f(x, w):
        return conv(
            x, w, stride=(stride,) * 2, padding=((padding, padding),) * 2, input_dilation=(1, 1),
            kernel_dilation=(1, 1), feature_groups=groups, batch_groups=1,
        )  # fmt: skip

    x, w = numbers(xs, dtype), numbers(ws, dtype)
    narrow, wide = (trace_graph(f, (Aval(xs, d), Aval(ws, d))) for d in (dtype, float32))
    ct = numbers(narrow.outputs[0].shape, dtype)
    (got,), program = run(narrow, (x, w))
    assert tiles(program) == 1
    (want,), _ = run(wide, [v.astype(np.float32) for v in (x, w)])
    np.testing.assert_array_equal(got.astype(np.float32), rounded(want, dtype))
    for k in range(2):
        needed = (k == 0, k == 1)
        graphs = [vjp_pair(g, needed).backward for g in (narrow, wide)]
        held = {xs: x, ws: w, ct.shape: ct}
        arrays = [held[a.shape] for a in graphs[0].in_avals]
        (got,), program = run(graphs[0], arrays)
        (want,), other = run(graphs[1], [v.astype(np.float32) for v in arrays])
        assert tiles(program) == tiles(other)
        np.testing.assert_array_equal(got.astype(np.float32), rounded(want, dtype))
