"""Tensors from Python values, NumPy arrays and nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.errors import DTypeError
from ..ir.dtype import DEFAULT_FLOAT
from ..ir.dtype import dtype as as_dtype
from ..ir.node import Aval, Node
from ..ir.primitive import leaf
from ..runtime.buffer import Buffer
from .tensor import Tensor


def node_from_numpy(array: np.ndarray) -> Node:
    """A leaf with a copy of a NumPy array."""
    dtype = as_dtype(array.dtype)
    return leaf(Aval(array.shape, dtype), Buffer(np.array(array, dtype=dtype.numpy, order="C", copy=True)))


def tensor(data: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data`: nested lists of numbers, a NumPy array, a number or a tensor.

    Floats without a dtype of their own become float32, integers int64.
    """
    if isinstance(data, Tensor):
        array = data.numpy()
    elif isinstance(data, (np.ndarray, np.generic)):
        array = np.asarray(data)
    else:
        try:
            array = np.asarray(data)
        except ValueError as e:
            raise DTypeError(f"cannot make a tensor of {type(data).__name__}: {e}") from None
        if array.dtype == np.float64:
            array = array.astype(DEFAULT_FLOAT.numpy)
        elif array.dtype == np.complex128:
            array = array.astype(np.complex64)
    want = as_dtype(array.dtype) if dtype is None else as_dtype(dtype)
    out = Tensor(
        leaf(Aval(array.shape, want), Buffer(np.array(array, dtype=want.numpy, order="C", copy=True)))
    )
    if requires_grad:
        out.requires_grad = True
    return out
