"""One elementwise primitive as a function of arrays: to measure how precise the generated code is, and to test it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from ...ir.dtype import DType
from ...kernel.index import Var, as_index
from ...kernel.loops import Apply, Kernel, Load, Stage, Store
from ...kernel.target import Target
from . import instructions as ir
from .emit import emit_kernel
from .loop_units import units
from .making import library_of

_KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


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
    library = library_of(module, target)
    call = _KERNEL(library.address("probe"))
    count = units(kernel, target)

    def run(*args: np.ndarray) -> np.ndarray:
        shapes = {a.shape for a in args}
        assert shapes == {(size,)}, shapes
        held = [np.ascontiguousarray(a, dtype.numpy) for a in args]
        result = np.empty(size, out.numpy)
        pointers = (ctypes.c_void_p * (operands + 1))(*[a.ctypes.data for a in (*held, result)])
        assert library is not None  # which keeps the code alive
        call(pointers, 0, count, None)
        return result

    return run
