"""`Module.to`: another dtype for the floating tensors of a module, in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..arrays.cell import Cell
from ..arrays.grad import no_grad
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, DTypeError, WeftError
from ..ir.dtype import DType
from ..ir.dtype import dtype as as_dtype
from ..ops.elementwise import cast

if TYPE_CHECKING:
    from .module import Module

_DEVICES = ("cpu",)


def move(module: Module, args: tuple[Any, ...], dtype: Any, device: Any) -> None:
    """Apply the arguments of `Module.to` to every floating parameter and buffer below `module`."""
    for a in args:
        if _is_device(a):
            device = a
        elif isinstance(a, Tensor):
            dtype = a.dtype
        else:
            try:
                dtype = as_dtype(a)
            except WeftError:
                raise ArgumentError(
                    f"to() takes a dtype, a tensor or a device, got {a!r}. Devices available: {', '.join(_DEVICES)}"
                ) from None
    if device is not None and not _is_device(device):
        raise ArgumentError(f"there is no device {device!r}. Devices available: {', '.join(_DEVICES)}")
    if dtype is None:
        return
    want = as_dtype(dtype)
    if want.kind != "f":
        raise DTypeError(f"a module's parameters are floating; to() cannot make them {want}")
    for owner in module.modules():
        if hasattr(owner, "_unborn_dtype"):
            owner._unborn_dtype(want)
            continue
        for t in (*owner.parameters(recurse=False), *owner.buffers(recurse=False)):
            if t.dtype.kind == "f":
                convert(t._cell, want)


def _is_device(x: Any) -> bool:
    return not isinstance(x, DType) and str(x) in _DEVICES


def convert(cell: Cell, dtype: DType) -> None:
    """Make a cell (and its gradient) hold its value in another dtype. The cell stays the same object."""
    if cell.node.aval.dtype is dtype:
        return
    tracked = cell.requires_grad
    with no_grad():
        cell.require_grad(False)
        cell.rebind(cast(cell.node, dtype=dtype))
        cell.require_grad(tracked)
        if cell.grad is not None:
            cell.grad = Tensor(cast(cell.grad._node, dtype=dtype))
