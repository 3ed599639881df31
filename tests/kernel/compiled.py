"""Elementary functions as native code, called on arrays: for the tests and for `benchmarks/accuracy.py`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
from llvmlite import ir

import weft.ops  # noqa: F401
from weft.backends.cpu.emit import emit_kernel, units
from weft.backends.cpu.jit import Library
from weft.ir.dtype import DType, float32, float64
from weft.kernel.index import Var, as_index
from weft.kernel.loops import Apply, Kernel, Load, Stage, Store
from weft.kernel.target import Target


def compiled(
    name: str, dtype: DType, operands: int, size: int, target: Target, out: DType | None = None
) -> Callable[..., np.ndarray]:
    """A function of `operands` arrays of `size` elements that runs the elementwise primitive `name`."""
    i, out = Var("i", size), out or dtype
    loads = tuple([Load(k, as_index(i), dtype) for k in range(operands)])
    store = Store(operands, as_index(i), Apply(name, loads, out))
    kernel = Kernel("probe", (i,), (Stage((), stores=(store,)),), (dtype,) * operands, (out,), across=True)
    module = ir.Module("probe")
    emit_kernel(module, kernel, target)
    library = Library(module, target)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(library.address("probe"))
    count = units(kernel, target)

    def run(*args: np.ndarray) -> np.ndarray:
        held = [np.ascontiguousarray(a, dtype.numpy) for a in args]
        result = np.empty(size, out.numpy)
        pointers = (ctypes.c_void_p * (operands + 1))(*[a.ctypes.data for a in (*held, result)])
        call(pointers, 0, count)
        return result

    run.library = library  # type: ignore[attr-defined]  # keeps the code alive
    return run


FLOATS = {32: float32, 64: float64}
