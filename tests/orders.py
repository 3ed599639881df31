"""Rows to sort, and what a stable sort of NumPy's makes of them."""

from __future__ import annotations

from functools import partial

import numpy as np

from weft.backends.cpu.backend import CpuBackend
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


def check_order(x: np.ndarray, axis: int, by_digits: bool | None = None) -> None:
    """Sort x and find its order, up and down; `by_digits`: in which of two ways, if that is known."""
    backend = CpuBackend()
    for descending in (False, True):
        # the least of signed integers has no opposite
        key = x if not descending else -x if x.dtype.kind == "f" else ~x
        want = np.argsort(key, axis=axis, stable=True)
        aval = Aval(x.shape, as_dtype(x.dtype))
        for prim, expected in ((argsort, want), (sort, np.take_along_axis(x, want, axis))):
            graph = trace_graph(partial(prim, axis=axis, descending=descending), [aval])
            program = backend.compile(graph)
            (kernel,) = [s.kernel for s in program.steps if isinstance(s.kernel, Sort)]
            assert by_digits in (None, kernel.by_digits(program.target))
            assert program.run([Buffer(x)])[0].array.tobytes() == expected.tobytes(), (prim, descending)
