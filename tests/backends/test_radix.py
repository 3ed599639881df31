"""Long rows are sorted byte by byte: in the order, and as stably, as a stable sort of NumPy's has it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.radix import suits
from weft.ir.dtype import dtype as as_dtype
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.kernel.sorting import Sort
from weft.ops.sorting import argsort, sort
from weft.runtime.buffer import Buffer

RNG = np.random.default_rng(0)
TYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]


def numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """With many equal ones, and all that are special."""
    x = 3 * RNG.standard_normal(shape)
    if dtype == "?":
        return x > 1
    if dtype.startswith("f"):
        x = np.round(x, 1).astype(dtype)
        for i, special in enumerate((np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, np.finfo(dtype).tiny)):
            x.flat[i :: 7 + i] = special
        return x
    x = (9 * x).astype("i8").astype(dtype)
    x.flat[::7], x.flat[::11] = np.iinfo(dtype).min, np.iinfo(dtype).max
    return x


def check(x: np.ndarray, axis: int) -> None:
    for descending in (False, True):
        # the least of signed integers has no opposite
        key = x if not descending else -x if x.dtype.kind == "f" else ~x
        want = np.argsort(key, axis=axis, stable=True)
        aval = Aval(x.shape, as_dtype(x.dtype))
        for prim, expected in ((argsort, want), (sort, np.take_along_axis(x, want, axis))):
            graph = trace_graph(partial(prim, axis=axis, descending=descending), [aval])
            program = CpuBackend().compile(graph)
            (kernel,) = [s.kernel for s in program.steps if isinstance(s.kernel, Sort)]
            assert suits(kernel)
            assert program.run([Buffer(x)])[0].array.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("shape", "axis"), [((3, 1000), 1), ((700, 2), 0), ((2, 80, 3), 1)], ids=str)
def test_order_and_stability(shape, axis, dtype):
    check(numbers(shape, dtype), axis)


@pytest.mark.parametrize("dtype", ["i8", "u4", "f4", "f8"])
def test_all_bits_count(dtype):
    x = RNG.integers(0, 256, (2, 5000, np.dtype(dtype).itemsize), dtype=np.uint8).view(dtype)[..., 0]
    check(np.where(x == x, x, 1) if x.dtype.kind == "f" else x, 1)


@pytest.mark.parametrize(
    "x",
    [
        np.full(3000, 7),
        np.zeros(3000, "f4"),
        np.full(3000, np.nan),
        np.arange(3000) << 32,
        -np.arange(3000.0),
    ],
    ids=["equal", "zeros", "nothing", "one byte of many", "the wrong way"],
)
def test_what_keys_have_in_common_is_passed_over(x):
    check(x, 0)
