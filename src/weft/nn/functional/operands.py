"""What functions take: tensors, and NumPy arrays for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...arrays.dispatch import node_of
from ...arrays.tensor import Tensor
from ...base.errors import DTypeError


def checked(name: str, x: Any) -> Tensor:
    """`x` as a tensor, or an error that names the function."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, (np.ndarray, np.generic)):
        return Tensor(node_of(x))
    raise DTypeError(f"{name} takes a tensor, got {type(x).__name__}; make one with weft.tensor(...)")


def maybe(name: str, x: Any) -> Tensor | None:
    """The same for an operand that may be left out."""
    return None if x is None else checked(name, x)
