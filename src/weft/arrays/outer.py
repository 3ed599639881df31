"""Tensors that exist outside every open trace: state that a traced function makes on first use, and keeps."""

from __future__ import annotations

import numpy as np

from ..ir.node import Aval
from ..ir.primitive import leaf
from ..runtime.buffer import Buffer
from .tensor import Tensor


def outer_tensor(value: np.ndarray | float, aval: Aval) -> Tensor:
    """A tensor with the given memory or number as its value, which a trace that is open captures as it does any
    older tensor, instead of making it anew in every call."""
    out = Tensor(leaf(aval, Buffer(value) if isinstance(value, np.ndarray) else value))
    out._cell.depth = 0
    return out


def outer_zeros(aval: Aval) -> Tensor:
    """Zeros of the given type, outside every open trace."""
    return outer_tensor(np.zeros(aval.shape, aval.dtype.numpy), aval)
