"""Adafactor: Adam's division by the root of squared gradients, with memory for the sums of rows and columns only."""

from __future__ import annotations

from typing import Any

import ml_dtypes

from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError
from ..ir.dtype import float64
from ..ir.node import Aval, Node
from ..ops.composite.common import count, mean
from ..ops.composite.define import composite
from ..ops.contraction import matmul
from ..ops.elementwise import cast, equal, maximum, minimum, pow_, rsqrt, sqrt, where
from ..ops.movement import reshape
from ..ops.reduce import sum_
from .group import POSITIVE, ParamGroup, Range
from .optimizer import Optimizer, slot_type
from .precision import narrow, scalar
from .rules import prepared, update_rule


def _not_positive(x: float) -> bool:
    return float("-inf") < x <= 0


def _at_least_one(x: float) -> bool:
    return 1 <= x < float("inf")


@composite
def adafactor_clock(step, lr, beta2_decay, eps1, eps2, d, weight_decay):
    """The step after, how much the newest gradient counts, and the relative size of a step."""
    t = cast(step + 1, dtype=float64)
    return step + 1, pow_(t, beta2_decay), minimum(lr, 1 / sqrt(t))


def _root_mean_square(x: Node) -> Node:
    return sqrt(sum_(x * x, axes=tuple(range(x.ndim))) / count(x, tuple(range(x.ndim))))


def _mean(x: Node, axis: int) -> Node:
    """The mean along an axis, which stays with length 1."""
    shape = tuple([1 if a == axis else n for a, n in enumerate(x.shape)])
    return reshape(mean(x, (axis,)), shape=shape)


@update_rule
def adafactor_step(
    p, g, rows, columns, square, newest, rho, lr, beta2_decay, eps1, eps2, d, weight_decay, *, decay, maximize
):
    """p' = p - alpha u / max(1, rms(u) / d), u = g / sqrt(v) with v from the sums of rows and columns of g**2."""
    machine = float(ml_dtypes.finfo(p.dtype.numpy).eps)
    x, g = prepared(p, g, lr, weight_decay, decay=decay, decoupled=True, maximize=maximize)
    small = scalar(where(equal(eps1, 0), machine, eps1), x)
    own = cast(p, dtype=x.dtype)
    alpha = maximum(scalar(eps2, x), _root_mean_square(own)) * scalar(rho, x)
    newest = scalar(newest, x)
    squares = g * g
    if p.ndim > 1:
        rows = rows + newest * (_mean(squares, p.ndim - 1) - rows)
        columns = columns + newest * (_mean(squares, p.ndim - 2) - columns)
        v = matmul(rows, columns) / maximum(_mean(rows, p.ndim - 2), small)
        slots = (rows, columns)
    else:
        v = square + newest * (squares - square)
        slots = (v,)
    u = g * rsqrt(maximum(v, small * small))
    size = maximum(_root_mean_square(u) / scalar(d, x), 1.0)
    return narrow(x - (alpha / size) * u, p), *slots


class Adafactor(Optimizer):
    """Adafactor: the gradient g divided by the root of its mean square, of which only rows and columns are kept.

    For matrices (and stacks of them), with the means over columns and over rows of g^2 and w = t^beta2_decay,

        r <- r + w (mean of g^2 along rows - r)        c <- c + w (mean of g^2 along columns - c)
        v = r c / mean(r)

    and for vectors v <- v + w (g^2 - v). The step is relative to the size of the parameter:

        u = g / sqrt(v)            alpha = max(eps2, rms(p)) min(lr, 1 / sqrt(t))
        p <- (1 - lr * weight_decay) p - alpha u / max(1, rms(u) / d)

    Args:
        params: tensors, (name, tensor) pairs, or dicts `{"params": ..., "lr": ...}` with options of their own.
            None: `bind` them later.
        lr: the greatest relative step.
        beta2_decay: how fast the averages grow longer.
        eps: (least mean of squares, least size of a parameter); None (or 0) first is the precision of the parameter.
        d: the greatest root mean square of an update u.
        weight_decay: how much the parameter shrinks at each step, in units of lr.
        maximize: climb instead of descending.

    Raises: ArgumentError for numbers out of range and unknown options; DTypeError unless parameters are floating and
    real.

    Reference: N. Shazeer, M. Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018,
    https://arxiv.org/abs/1804.04235
    """

    rule = adafactor_step
    clock = adafactor_clock
    ranges = {
        "lr": POSITIVE, "beta2_decay": Range(_not_positive, "finite and at most 0"),
        "eps": Range(POSITIVE.holds, POSITIVE.wording, count=2), "d": Range(_at_least_one, "finite and at least 1"),
        "weight_decay": POSITIVE,
    }  # fmt: skip
    switches = ("maximize",)
    all_slots = ("step", "row_var", "col_var", "variance")

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-2,
        beta2_decay: Any = -0.8,
        eps: tuple[Any, Any] = (None, 1e-3),
        d: Any = 1.0,
        weight_decay: Any = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        if not isinstance(eps, (tuple, list)) or len(eps) != 2:
            raise ArgumentError(
                f"Adafactor: eps must be a pair of numbers, the first of them or None, got {eps!r}"
            )
        first = 0.0 if eps[0] is None else eps[0]
        super().__init__(
            params,
            dict(lr=lr, beta2_decay=beta2_decay, eps=(first, eps[1]), d=d, weight_decay=weight_decay,
                 maximize=maximize),
        )  # fmt: skip

    def own_slots(self, group: ParamGroup, p: Tensor) -> tuple[str, ...]:
        return self.all_slots[:3] if p.ndim > 1 else ("step", "variance")

    def slot_type(self, name: str, p: Tensor) -> Aval:
        whole = slot_type(name, p)
        axis = {"row_var": p.ndim - 1, "col_var": p.ndim - 2}.get(name)
        return Aval(tuple([1 if a == axis else n for a, n in enumerate(whole.shape)]), whole.dtype)
