"""16-bit floats in compiled programs: rounded where the reference rounds, on every kind of conversion."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from weft.backends.cpu import host
from weft.backends.cpu.backend import CpuBackend
from weft.backends.reference.interpreter import Interpreter
from weft.base.errors import WeftError
from weft.ir.dtype import bfloat16, float16, float32, float64
from weft.ir.dtype import dtype as as_dtype
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.ir.primitive import registry, results
from weft.ops.arithmetic import mul
from weft.ops.contraction import dot_general
from weft.ops.gather import iota, scatter_add
from weft.ops.movement import permute
from weft.ops.reduce import sum_
from weft.ops.selection import cast
from weft.runtime.buffer import Buffer

RNG = np.random.default_rng(2)
TYPES = [ml_dtypes.bfloat16, np.float16]


def both(function, *arrays):
    graph = trace_graph(lambda *n: [function(*n)], [Aval(a.shape, as_dtype(a.dtype)) for a in arrays])
    with np.errstate(all="ignore"):
        (want,) = Interpreter(graph).evaluate(arrays)
    (got,) = CpuBackend().compile(graph).run([Buffer(np.ascontiguousarray(a)) for a in arrays])
    assert got.array.dtype == want.dtype
    return want, got.array


def same_bits(function, *arrays):
    """Equal results, bit for bit but for the bits of NaN."""
    want, got = both(function, *arrays)
    bits = {2: np.uint16, 4: np.uint32, 8: np.uint64}[want.itemsize]
    with np.errstate(invalid="ignore"):
        same = (got.view(bits) == want.view(bits)) | (np.isnan(got) & np.isnan(want))
    assert same.all(), (arrays[0][~same][:5], got[~same][:5], want[~same][:5])


@pytest.mark.parametrize("out", TYPES)
def test_every_16_bit_pattern_widens(out):
    every = np.arange(2**16, dtype=np.uint16).view(out)
    same_bits(lambda x: cast(x, dtype=float32), every)
    same_bits(lambda x: permute(x, axes=(1, 0)), every.reshape(256, 256))
    same_bits(lambda x: mul(x, x), every)


@pytest.mark.parametrize("out", [bfloat16, float16])
def test_rounding_to_16_bits(out):
    with np.errstate(invalid="ignore"):  # NaNs that signal: not every processor passes over them in silence
        every = np.arange(2**16, dtype=np.uint16).view(out.numpy).astype(np.float32)
    bits = every.view(np.uint32)
    between = np.concatenate([bits + d for d in (0, 1, 0xFFF, 0x1000, 0x1001, 0x7FFF, 0x8000, 0x8001)])
    random = RNG.integers(0, 2**32, 50_000, dtype=np.uint32)
    x = np.concatenate([between, random]).astype(np.uint32).view(np.float32)
    same_bits(lambda x: cast(x, dtype=out), x)
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        wide = np.concatenate([wide, wide * (1 + 2.0**-40), wide * (1 - 2.0**-40)])
    same_bits(lambda x: cast(x, dtype=out), wide)
    same_bits(lambda x: cast(x, dtype=out), RNG.integers(-70_000, 70_000, 999))
    same_bits(lambda x: mul(cast(x, dtype=out), cast(iota(size=5, dtype=out), dtype=out)), np.ones((3, 5)))


@pytest.mark.parametrize("kind", TYPES)
def test_each_operation_rounds(kind):
    x = RNG.normal(size=(7, 33)).astype(kind)
    same_bits(lambda x: x * x + x * 0.1 - x, x)
    same_bits(lambda x, u: scatter_add(x, u, iota(size=7, dtype=as_dtype("int64")) * 0, axes=(0,)), x, x)
    integers = RNG.integers(-4, 5, (9, 40)).astype(kind)
    same_bits(lambda x: sum_(x, axes=(1,)) + 1.0, integers)
    contract = {"contract": ((1,), (1,)), "batch": ((), ())}
    same_bits(lambda x: dot_general(x, x, **contract), integers)
    same_bits(lambda x: cast(dot_general(x, x, **contract), dtype=float64), integers)


def _samples():
    """The samples on float32, on 16-bit types instead; of the primitives that take them."""
    for prim in registry.values():
        if prim.samples is None or prim.higher_order or prim.name in host.LIBRARY:
            continue
        found = [s for s in prim.samples() if any(np.asarray(a).dtype == np.float32 for a in s.args)][:1]
        for kind, sample in [(k, s) for k in TYPES for s in found]:
            args = [np.asarray(a) for a in sample.args]
            args = [a.astype(kind) if a.dtype == np.float32 else a for a in args]
            attrs = tuple([sample.attrs[n] for n in prim.attr_names])
            try:
                graph = trace_graph(
                    lambda *n, prim=prim, attrs=attrs: results(prim.bind(n, attrs)),
                    [Aval(a.shape, as_dtype(a.dtype)) for a in args],
                )
            except WeftError:
                continue
            yield pytest.param(prim, graph, args, id=f"{prim.name}-{as_dtype(kind)}")


@pytest.mark.parametrize(("prim", "graph", "args"), list(_samples()))
def test_samples_in_16_bits(prim, graph, args):
    with np.errstate(all="ignore"):
        want = Interpreter(graph).evaluate(args)
    got = [b.array for b in CpuBackend().compile(graph).run([Buffer(np.ascontiguousarray(a)) for a in args])]
    for w, g in zip(want, got, strict=True):
        assert g.dtype == w.dtype and g.shape == w.shape
        w, g = w.astype(np.complex128), g.astype(np.complex128)
        if not prim.computes or prim.exact:
            np.testing.assert_array_equal(g, w)
        else:  # what differs in the last place of float32 may be rounded to neighbours
            np.testing.assert_allclose(
                g, w, rtol=2.0**-7 if args[0].dtype != np.float16 else 2.0**-10, atol=1e-7
            )
