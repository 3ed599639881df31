"""Tensors as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..base.state import state
from ..ir.node import TRACED
from ..ir.shape import show_shape

if TYPE_CHECKING:
    from .tensor import Tensor

_INDENT = "tensor("


def show_tensor(x: Tensor) -> str:
    """`tensor([1., 2.], dtype=float32)`: the value in NumPy's layout, and what it is.

    Inside a trace, where there is no value, the type alone: `tensor(float32 (2, 3), traced)`.
    """
    node = x._cell.node
    if node.flags & TRACED or (state.ambient & TRACED and node.value is None):
        return f"tensor({node.aval.describe()}, traced)"
    array = x.numpy()
    if array.dtype.kind == "V" or array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    tail = f", dtype={node.dtype}"
    if x.requires_grad:
        tail += ", requires_grad=True"
    if array.size == 0:
        return f"tensor([], shape={show_shape(array.shape)}{tail})"
    body = np.array2string(array, separator=", ", prefix=_INDENT)
    return f"{_INDENT}{body}{tail})"
