"""What functions take: tensors, and NumPy arrays for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ...arrays.dispatch import node_of
from ...arrays.remembered import remembered
from ...arrays.tensor import Tensor
from ...base.errors import DTypeError

F = TypeVar("F", bound=Callable[..., Any])

#: Shapes of space, and of a kernel in it, in words: of one, two and three axes.
SPACES = {1: "L", 2: "H, W", 3: "D, H, W"}
KERNELS = {1: "K", 2: "KH, KW", 3: "KD, KH, KW"}


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


def public(name: str, words: str) -> Callable[[F], F]:
    """Give a function that is written once for several ranks the name and the docstring of one of them."""

    def give(function: F) -> F:
        function.__name__ = function.__qualname__ = name
        function.__doc__ = words
        return remembered(function)

    return give
