"""Clipping gradients in place: by their common norm, or one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..base.checked import checked
from ..base.errors import ArgumentError, NumericError
from ..ir.dtype import float64, promote, real_dtype
from ..ir.node import Node
from ..ops.composite.common import as_type, widened
from ..ops.composite.define import composite
from ..ops.define import constant
from ..ops.elementwise import abs_, cast, maximum, minimum, pow_, sqrt
from ..ops.reduce import max_, sum_
from . import dispatch
from .grad import no_grad
from .tensor import Tensor


@composite
def clip_by_norm(limit, power, *gradients, kind):
    """The norm of all gradients together, then each of them times min(1, limit / (norm + 1e-6)).

    kind: "two", "largest" (the largest absolute value) or "power" (the general p-norm).
    """
    norm = _norm([widened(g) for g in gradients], power, kind)
    # The smaller of 1 and the ratio; a NaN wins, so that it is not hidden.
    factor = minimum(cast(limit, dtype=norm.dtype) / (norm + 1e-6), 1.0)
    return norm, *[_scaled(g, factor) for g in gradients]


@composite
def total_norm(power, *gradients, kind):
    """The norm of all tensors together."""
    return _norm([widened(g) for g in gradients], power, kind)


@composite
def scaled_to_norm(limit, norm, *gradients):
    """Each of the tensors times min(1, limit / (norm + 1e-6))."""
    factor = minimum(cast(limit, dtype=norm.dtype) / (norm + 1e-6), 1.0)
    return tuple([_scaled(g, factor) for g in gradients])


def _scaled(g: Node, factor: Node) -> Node:
    w = widened(g)
    return as_type(w * as_type(factor, w.dtype), g.dtype)


def _norm(wide: list[Node], power: Node, kind: str) -> Node:
    dtype = real_dtype(wide[0].dtype)
    for g in wide[1:]:
        dtype = promote(dtype, real_dtype(g.dtype))
    sizes = [cast(abs_(g), dtype=dtype) for g in wide]
    axes = [tuple(range(g.ndim)) for g in wide]
    if kind == "largest":
        norm = max_(sizes[0], axes=axes[0])
        for s, a in zip(sizes[1:], axes[1:], strict=True):
            norm = maximum(norm, max_(s, axes=a))
    else:
        p = cast(power, dtype=dtype)
        raised = [s * s if kind == "two" else pow_(s, p) for s in sizes]
        norm = sum_(raised[0], axes=axes[0])
        for s, a in zip(raised[1:], axes[1:], strict=True):
            norm = norm + sum_(s, axes=a)
        norm = sqrt(norm) if kind == "two" else pow_(norm, 1 / p)
    return norm


@composite
def clip_by_value(g, limit):
    """Every element moved to the nearest one in [-limit, limit]."""
    high = as_type(limit, g.dtype)
    return minimum(maximum(g, -high), high)


def _with_gradients(parameters: Any) -> list[Tensor]:
    items = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p for p in items if p.grad is not None]


def _limit(name: str, value: Any) -> Tensor:
    if (
        not isinstance(value, (int, float, np.integer, np.floating))
        or isinstance(value, bool)
        or not value > 0
    ):
        raise ArgumentError(f"{name} must be a positive number, got {value!r}")
    return Tensor(constant(float(value), float64))


@checked
def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale the gradients of `parameters`, all by one factor, so that their norm is at most `max_norm`.

    The norm is that of all gradients written into one vector. Parameters without a gradient are left out.

    Args:
        parameters: a tensor or several; call this between `backward()` and `step()`.
        norm_type: p of the p-norm, `inf` for the largest absolute value.
        error_if_nonfinite: raise `NumericError` if the norm is NaN or infinite (this looks at its value).

    Returns:
        The norm before clipping, a scalar tensor.
    """
    limit = _limit("max_norm", max_norm)
    power = _limit("norm_type", norm_type)
    params = _with_gradients(parameters)
    if not params:
        return Tensor(dispatch.node_of(0.0))
    kind = _kind(norm_type)
    with no_grad():
        norm, *clipped = dispatch.apply(clip_by_norm, limit, power, *[p.grad for p in params], kind=kind)
        if error_if_nonfinite and not math.isfinite(norm.item()):
            raise NumericError(f"the norm of the gradients is {norm.item()}; they were not clipped")
        for p, g in zip(params, clipped, strict=True):
            p._cell.grad = g
    return norm


def _kind(norm_type: float) -> str:
    return "two" if norm_type == 2 else "largest" if math.isinf(norm_type) else "power"


@checked
def get_total_norm(tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Tensor:
    """The norm of all tensors written into one vector, a scalar tensor.

        (sum over tensors and elements of |x|**p)**(1/p)        p = norm_type; inf is the largest |x|

    Raises:
        NumericError: if `error_if_nonfinite` and the norm is NaN or infinite (this looks at its value).
    """
    items = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    power = _limit("norm_type", norm_type)
    if not items:
        return Tensor(dispatch.node_of(0.0))
    norm = dispatch.apply(total_norm, power, *items, kind=_kind(norm_type))
    if error_if_nonfinite and not math.isfinite(norm.item()):
        raise NumericError(f"the norm of the tensors is {norm.item()}")
    return norm


@checked
def clip_grads_with_norm_(parameters: Any, max_norm: float, total_norm: Tensor) -> None:
    """Scale the gradients of `parameters`, for a norm already known (see `get_total_norm`).

        g <- g min(1, max_norm / (total_norm + 1e-6))

    Parameters without a gradient are left out. Raises: ArgumentError unless max_norm is positive.
    """
    limit, params = _limit("max_norm", max_norm), _with_gradients(parameters)
    if not params:
        return
    with no_grad():
        found = dispatch.apply(scaled_to_norm, limit, total_norm, *[p.grad for p in params])
        for p, g in zip(params, found if isinstance(found, tuple) else (found,), strict=True):
            p._cell.grad = g


@checked
def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Move every element of the gradients of `parameters` into [-clip_value, clip_value].

        g <- min(max(g, -clip_value), clip_value)

    Parameters without a gradient are left out. Raises: ArgumentError for complex gradients, which have no order.
    """
    limit = _limit("clip_value", clip_value)
    with no_grad():
        for p in _with_gradients(parameters):
            if p.dtype.kind == "c":
                raise ArgumentError("complex gradients have no order; clip their norm with clip_grad_norm_")
            p._cell.grad = dispatch.apply(clip_by_value, p.grad, limit)
