"""Long reductions in blocks: which, what they come to, and that nothing but the shape decides about the bits."""

from __future__ import annotations

import math

import numpy as np
import pytest

import weft as wf
from weft.backends.cpu import library
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.regions import prepare
from weft.ir.dtype import float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel.loops import Kernel
from weft.kernel.summation import block_of
from weft.ops.reduce import sum_
from weft.runtime.buffer import Buffer

#: (shape, axes) -> (axis, length of its pieces)
BLOCKS = [
    ((65535,), (0,), None),
    ((1 << 16,), (0,), (0, 8192)),
    ((1 << 24,), (0,), (0, 8192)),
    ((10**7,), (0,), (0, 8000)),
    ((70001,), (0,), (0, 7792)),  # a prime number: 9 pieces, the last one padded
    ((4096, 4096), (0, 1), (1, 1)),  # rows are blocks
    ((16, 1024, 1024), (0, 1, 2), (1, 8)),
    ((4, 1 << 20), (1,), (1, 8192)),
    ((8, 1 << 17), (1,), None),  # rows stay in a cache
    ((1 << 10, 1 << 10), (1,), None),
    ((1 << 16, 4), (0,), (0, 2048)),
    ((8192, 64), (0,), (0, 128)),
    ((8192, 4096), (0,), None),
    ((0, 5), (0,), None),
]


@pytest.mark.parametrize(("shape", "axes", "want"), BLOCKS)
def test_the_blocks_of_shapes(shape, axes, want):
    assert block_of(shape, axes) == want


@pytest.mark.parametrize("seed", range(20))
def test_pieces_cover_an_axis(seed):
    rng = np.random.default_rng(seed)
    for count in rng.integers(1 << 16, 1 << 22, 20).tolist():
        axis, length = block_of((count,), (0,))
        assert axis == 0 and 1 << 12 <= length <= 1 << 15
        assert -(-count // length) * length - count < length


def arrays(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return np.arange(math.prod(shape)).reshape(shape) == math.prod(shape) - 3
    if dtype.startswith("int"):
        return rng.integers(-100, 100, shape).astype(dtype)
    return (1 + rng.normal(size=shape) / 1000).astype(dtype)


SHAPES = [
    ((70001,), None),
    ((70001,), 0),
    ((3, 70000), None),
    ((257, 3, 101), None),
    ((40000, 3), 0),
    ((70001, 5), 0),
]


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("sum", "float32"), ("sum", "float64"), ("sum", "int32"), ("prod", "float32"), ("max", "float32"),
     ("min", "int64"), ("max", "int8"), ("any", "bool"), ("all", "bool"), ("mean", "float32")],
)  # fmt: skip
def test_reductions_in_blocks(name, dtype, shape, axis):
    x = arrays(shape, dtype)
    for values in (x, ~x) if dtype == "bool" else (x, -x) if name in ("max", "min") else (x,):
        want = getattr(np, name)(values.astype("float64") if dtype[0] == "f" else values, axis=axis)
        got = getattr(wf, name)(wf.tensor(values), axis=axis).numpy()
        np.testing.assert_allclose(got, want, rtol=2e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("special", [None, "tie", "nan"])
def test_places_of_extremes(name, special):
    x = np.sin(np.arange(70001, dtype=np.float32) / 5000)
    if special == "tie":
        x[[123, 60000, 70000]] = 2.0 if name == "argmax" else -2.0
    if special == "nan":
        x[[65000, 69999]] = np.nan
    got = getattr(wf, name)(wf.tensor(x))
    assert got.dtype is wf.int64 and got.item() == getattr(np, name)(x)


@pytest.mark.parametrize("shape", [(70001,), (1 << 17,), (300, 1000), (70001, 5)])
def test_the_same_bits_however_the_graph_is_cut_and_by_any_number_of_threads(shape):
    a, b = (wf.tensor(arrays(shape, "float32", seed)) for seed in (1, 2))
    axis = 0 if shape[-1] == 5 else None
    found = set()
    for count in (1, 2, 3):
        wf.set_num_threads(count)
        for look in (False, True):
            square = (a - b) ** 2
            if look:
                square.realize()
            found.add(wf.mean(square, axis=axis).numpy().tobytes())
        found.add(wf.compile(lambda x, y: wf.mean((x - y) ** 2, axis=axis))(a, b).numpy().tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("shape", [(70001,), (1 << 16,), (66000, 3)])
def test_generic_kernels_have_the_same_bits(monkeypatch, shape):
    monkeypatch.setattr(library, "is_at_hand", lambda digest: False)
    x, found = arrays(shape, "float32"), []
    for generic in (False, True):
        monkeypatch.setattr("weft.backends.cpu.program.hardly_pays", lambda step, generic=generic: generic)
        program = CpuBackend().compile(trace_graph(lambda v: sum_(v * v, axes=(0,)), (Aval(shape, float32),)))
        assert any(use.values is not None for use in program._uses.values()) == generic
        found.append(np.array(program.run([Buffer(x)])[0].array).tobytes())
    assert found[0] == found[1]


def test_what_is_summed_is_not_stored():
    graph = trace_graph(lambda x, y: sum_((x - y) * (x - y), axes=(0,)), (Aval((70001,), float32),) * 2)
    kernels = [s.kernel for s in CpuBackend().compile(graph).steps]
    assert len(kernels) == 2 and all(isinstance(k, Kernel) for k in kernels)
    assert kernels[0].iterations == 9 and len(kernels[0].inputs) == 2


def test_blocks_are_not_cut_again():
    graph = prepare(trace_graph(lambda x: sum_(x, axes=(0,)), (Aval((1 << 20,), float32),)))
    assert prepare(graph) == graph


def test_small_sums_are_one_kernel():
    graph = trace_graph(lambda x: sum_(x, axes=(0, 1)), (Aval((128, 100), float32),))
    assert len(CpuBackend().compile(graph).steps) == 1
