"""Penalties on the size of parameters, to be added to a loss."""

from __future__ import annotations

from typing import Any

from ..arrays.dispatch import apply
from ..arrays.tensor import Tensor
from ..base.checked import checked
from ..base.errors import ArgumentError
from ..ops.composite.define import composite
from ..ops.elementwise import abs_
from ..ops.reduce import sum_
from .precision import widen


@composite
def norm_penalty(*xs, kind):
    """The sum over all elements of all tensors: of |x| (kind "l1"), or of x**2 (kind "l2")."""
    total = None
    for x in xs:
        w = widen(x)
        part = sum_(abs_(w) if kind == "l1" else w * w, axes=tuple(range(x.ndim)))
        total = part if total is None else total + part
    return total


def _penalty(name: str, kind: str, parameters: Any) -> Tensor:
    items = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    if not items or not all(isinstance(p, Tensor) and p.dtype.kind == "f" for p in items):
        raise ArgumentError(f"{name} takes one floating tensor or several, got {parameters!r}")
    return apply(norm_penalty, *items, kind=kind)


@checked
def l1_penalty(parameters: Any) -> Tensor:
    """The sum of |p| over all elements, which pulls them to exactly 0; its derivative at 0 is 0.

    >>> w = weft.tensor([3.0, -4.0], requires_grad=True)
    >>> (0.1 * l1_penalty([w])).backward()
    >>> w.grad.tolist()
    [0.10000000149011612, -0.10000000149011612]
    """
    return _penalty("l1_penalty", "l1", parameters)


@checked
def l2_penalty(parameters: Any) -> Tensor:
    """The sum of p**2 over all elements. Half of it, times lambda, does to SGD what weight_decay=lambda does.

    >>> w = weft.tensor([3.0, -4.0], requires_grad=True)
    >>> l2_penalty([w]).item()
    25.0
    """
    return _penalty("l2_penalty", "l2", parameters)
