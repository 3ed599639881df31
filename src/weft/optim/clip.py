"""Clipping gradients in place: by their common norm, or one by one."""

from __future__ import annotations

import math
from typing import Any

from ..arrays import dispatch
from ..arrays.grad import no_grad
from ..arrays.tensor import Tensor
from ..base.checked import checked
from ..base.errors import ArgumentError, NumericError
from ..ir.dtype import float64, promote, real_dtype
from ..ops.composite.define import composite
from ..ops.define import constant
from ..ops.elementwise import abs_, cast, maximum, minimum, pow_, sqrt
from ..ops.reduce import max_, sum_
from .group import is_number
from .precision import narrow, scalar, widen


@composite
def clip_by_norm(limit, power, *gradients, kind):
    """The norm of all gradients together, then each of them times min(1, limit / (norm + 1e-6)).

    kind: "two", "largest" (the largest absolute value) or "power" (the general p-norm).
    """
    wide = [widen(g) for g in gradients]
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
    # The smaller of 1 and the ratio; a NaN wins, so that it is not hidden.
    factor = minimum(cast(limit, dtype=dtype) / (norm + 1e-6), 1.0)
    return norm, *[narrow(g * scalar(factor, g), old) for g, old in zip(wide, gradients, strict=True)]


@composite
def clip_by_value(g, limit):
    """Every element moved to the nearest one in [-limit, limit]."""
    high = scalar(limit, g)
    return minimum(maximum(g, -high), high)


def _with_gradients(parameters: Any) -> list[Tensor]:
    items = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p for p in items if p.grad is not None]


def _limit(name: str, value: Any) -> Tensor:
    if not is_number(value) or not value > 0:
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
    kind = "two" if norm_type == 2 else "largest" if math.isinf(norm_type) else "power"
    with no_grad():
        norm, *clipped = dispatch.apply(clip_by_norm, limit, power, *[p.grad for p in params], kind=kind)
        if error_if_nonfinite and not math.isfinite(norm.item()):
            raise NumericError(f"the norm of the gradients is {norm.item()}; they were not clipped")
        for p, g in zip(params, clipped, strict=True):
            p._cell.grad = g
    return norm


@checked
def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Move every element of the gradients of `parameters` into [-clip_value, clip_value]."""
    limit = _limit("clip_value", clip_value)
    with no_grad():
        for p in _with_gradients(parameters):
            if p.dtype.kind == "c":
                raise ArgumentError("complex gradients have no order; clip their norm with clip_grad_norm_")
            p._cell.grad = dispatch.apply(clip_by_value, p.grad, limit)
