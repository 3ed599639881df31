"""Products of small integers summed as int32, read several at a time: the reference's numbers, exactly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import weft as wf
from weft.backends.cpu import making
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.processor import host_target
from weft.backends.cpu.program import CpuProgram
from weft.backends.reference.interpreter import Interpreter
from weft.base.errors import DTypeError
from weft.ir.dtype import DType, float32, int8, int16, int32, uint8
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.kernel.target import LEVELS
from weft.kernel.tiles import Tiles
from weft.kernel.words import group_integers
from weft.ops.contraction import dot_general
from weft.ops.conv import conv
from weft.ops.movement import permute
from weft.ops.selection import cast
from weft.runtime.buffer import Buffer

TYPES = [(int8, int8), (uint8, int8), (int8, uint8), (uint8, uint8), (int16, int16), (int16, int8)]
RNG = np.random.default_rng(7)


def integers(shape: tuple[int, ...], dtype: DType, extreme: bool = False) -> np.ndarray:
    info = np.iinfo(dtype.numpy)
    if extreme:
        return RNG.choice([info.min, info.max], shape).astype(dtype.numpy)
    return RNG.integers(info.min, info.max + 1, shape).astype(dtype.numpy)


def exact(graph: Graph, arrays) -> CpuProgram:
    """The compiled program, whose results are those of the reference."""
    program = CpuBackend().compile(graph)
    want = Interpreter(graph).evaluate(arrays)
    got = [b.array for b in program.run([Buffer(np.ascontiguousarray(a)) for a in arrays])]
    for w, g in zip(want, got, strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_array_equal(g, w)
    return program


def tiles(program: CpuProgram) -> list[Tiles]:
    return [s.kernel for s in program.steps if isinstance(s.kernel, Tiles)]


SHAPES = [
    (1, 900, 50), (3, 5, 7), (13, 17, 33), (64, 64, 64), (28, 30, 16), (100, 300, 3), (1, 40, 50), (25, 1000, 47),
    (5, 0, 4), (40, 90, 1),
]  # fmt: skip


@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_matrix_products(shape, types):
    m, k, n = shape
    for left, right in itertools.product((False, True), repeat=2):
        x = integers((k, m) if left else (m, k), types[0], extreme=left)
        y = integers((n, k) if right else (k, n), types[1], extreme=left)
        contract = ((0 if left else 1,), (1 if right else 0,))

        def f(a, b, contract=contract):
            return dot_general(cast(a, dtype=int32), cast(b, dtype=int32), contract=contract, batch=((), ()))

        program = exact(
            trace_graph(f, [Aval(v.shape, d) for v, d in zip((x, y), types, strict=True)]), (x, y)
        )
        if min(m, n) > 1 and k >= 8:
            (kernel,) = tiles(program)
            quads = host_target().dots and types[1] is int8 and types[0] is not int16
            assert kernel.words == (4 if quads else 2)


def test_batches_several_axes_views_and_an_epilogue():
    def f(x, y, scale):
        wide = permute(cast(x, dtype=int32), axes=(3, 0, 2, 1)), cast(y, dtype=int32)
        sums = dot_general(*wide, contract=((3, 0), (3, 0)), batch=((1,), (2,)))
        return cast(sums, dtype=float32) * scale

    x, y = integers((3, 4, 19, 5), int8), integers((5, 33, 3, 4), int8)
    scale = RNG.normal(size=(33,)).astype(np.float32)
    program = exact(
        trace_graph(f, [Aval(v.shape, d) for v, d in ((x, int8), (y, int8), (scale, float32))]), (x, y, scale)
    )
    (kernel,) = tiles(program)
    assert kernel.outputs == (float32,)  # scaled on the way to memory


CONVOLUTIONS = [
    # x, w, stride, padding, input dilation, kernel dilation, groups
    ((9, 3, 8, 8), (5, 3, 3, 3), 1, 1, 1, 1, 1),
    ((30, 16, 9, 7), (20, 16, 3, 3), 2, 1, 1, 1, 1),
    ((2, 16, 12, 12), (32, 8, 3, 3), 1, 0, 1, 1, 2),
    ((26, 32, 13, 13), (33, 32, 3, 3), 1, 0, 1, 1, 1),
    ((2, 5, 9), (7, 5, 3), 1, 1, 2, 1, 1),
    ((2, 5, 7, 6, 7), (7, 5, 3, 2, 3), 2, 1, 1, 2, 1),
    ((3, 40, 7, 7), (50, 40, 3, 3), 1, -1, 1, 1, 1),
    ((4, 6, 7, 7), (6, 1, 3, 3), 1, 1, 1, 1, 6),  # one channel each: no tiles
]


@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(case, types):
    xs, ws, stride, padding, inside, dilation, groups = case
    rank = len(xs) - 2

    def f(x, w):
        return conv(
            cast(x, dtype=int32), cast(w, dtype=int32), stride=(stride,) * rank, padding=((padding, padding),) * rank,
            input_dilation=(inside,) * rank, kernel_dilation=(dilation,) * rank, feature_groups=groups, batch_groups=1,
        )  # fmt: skip

    graph = trace_graph(f, (Aval(xs, types[0]), Aval(ws, types[1])))
    program = exact(graph, (integers(xs, types[0]), integers(ws, types[1])))
    assert len(tiles(program)) == (groups != ws[0])


def _product(n: int = 64) -> Graph:
    def f(a, b):
        return dot_general(cast(a, dtype=int32), cast(b, dtype=int32), contract=((1,), (0,)), batch=((), ()))

    return trace_graph(f, (Aval((n, n), int8), Aval((n, n), int8)))


@pytest.mark.parametrize("quads", [False, True])
def test_the_pass_keeps_the_meaning_and_is_done_once(quads):
    graph = _product(30)
    once = group_integers(graph, quads)
    assert once != graph and group_integers(once, quads) == once
    arrays = [integers((30, 30), int8) for _ in range(2)]
    np.testing.assert_array_equal(
        Interpreter(once).evaluate(arrays)[0], Interpreter(graph).evaluate(arrays)[0]
    )


@pytest.mark.parametrize("name", LEVELS)
def test_code_for_every_target(name, monkeypatch):
    """Pairs are multiplied at once where there is an instruction."""
    from weft.backends.cpu import regions

    monkeypatch.setattr(regions, "host_target", lambda: LEVELS[name])
    found = regions.plan(regions.prepare(regions.numbered(_product()))).steps
    (kernel,) = [s.kernel for s in found if isinstance(s.kernel, Tiles)]
    text = making.assembly(kernel, "kernel", LEVELS[name])
    assert ("pmaddwd" in text) == name.startswith("x86")
    assert kernel.words == 2


@pytest.mark.skipif(not host_target().dots, reason="this processor has no products of bytes")
def test_products_of_bytes_where_the_processor_has_them():
    (kernel,) = tiles(CpuBackend().compile(_product()))
    assert "vpdpbusd" in making.assembly(kernel, "kernel", host_target())


def test_a_convolution_of_bytes_as_users_write_it():
    from weft.nn import functional as F

    x, w = integers((2, 6, 9, 9), uint8), integers((8, 6, 3, 3), int8)
    bias = integers((8,), int16).astype(np.int32)
    got = F.conv2d(wf.tensor(x).astype("int32"), wf.tensor(w).astype("int32"), wf.tensor(bias), padding=1)
    assert got.dtype == wf.int32
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3)
    )
    want = np.einsum("nchwij,ocij->nohw", windows.astype(np.int32), w.astype(np.int32))
    np.testing.assert_array_equal(got.numpy(), want + bias[:, None, None])
    with pytest.raises(DTypeError, match="floating"):
        F.conv2d(wf.tensor(x).astype("float32"), wf.tensor(w))
