"""Long rows are sorted byte by byte: in the order, and as stably, as a stable sort of NumPy's has it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from orders import RNG, TYPES, check_order, numbers
from weft.backends.cpu.backend import CpuBackend
from weft.ir.dtype import dtype as as_dtype
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.ops.sorting import argsort, sort

#: Elements of rows that all types of all processors are sorted by digits.
LONG = 120_000

check = partial(check_order, by_digits=True)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("shape", "axis"), [((2, LONG), 1), ((LONG, 2), 0)], ids=str)
def test_order_and_stability(shape, axis, dtype):
    check(numbers(shape, dtype), axis)


@pytest.mark.parametrize(("n", "dtype"), [(300_000, "f4"), (140_000, "i8")])
def test_threads_keep_no_memory_for_very_long_rows(n, dtype):
    x = numbers((3, n), dtype)
    check(x, 1)
    for prim in (sort, argsort):
        graph = trace_graph(lambda x: prim(x, axis=1, descending=False), [Aval(x.shape, as_dtype(x.dtype))])
        assert CpuBackend().compile(graph).scratch_bytes == 0


@pytest.mark.parametrize("dtype", ["i8", "u4", "f4", "f8"])
def test_all_bits_count(dtype):
    x = RNG.integers(0, 256, (2, LONG, np.dtype(dtype).itemsize), dtype=np.uint8).view(dtype)[..., 0]
    check(np.where(x == x, x, 1) if x.dtype.kind == "f" else x, 1)


@pytest.mark.parametrize(
    "x",
    [
        np.full(LONG, 7),
        np.zeros(LONG, "f4"),
        np.full(LONG, np.nan),
        np.arange(LONG) << 32,
        -np.arange(float(LONG)),
    ],
    ids=["equal", "zeros", "nothing", "some bytes of many", "the wrong way"],
)
def test_what_keys_have_in_common_is_passed_over(x):
    check(x, 0)
