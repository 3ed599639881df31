"""Adadelta: steps in units of the parameters themselves."""

from __future__ import annotations

from typing import Any

from ..ops.elementwise import sqrt
from .group import FRACTION, POSITIVE
from .optimizer import Optimizer
from .precision import narrow, scalar
from .rules import average_square, prepared, update_rule


@update_rule
def adadelta_step(p, g, square, moved, lr, rho, eps, weight_decay, *, decay, maximize):
    """d = g sqrt(moved + eps) / sqrt(square' + eps); p' = p - lr d; square and moved average g g and d d."""
    x, g = prepared(p, g, lr, weight_decay, decay=decay, maximize=maximize)
    least = scalar(eps, x)
    square = average_square(square, g, rho)
    d = sqrt(moved + least) / sqrt(square + least) * g
    return narrow(x - scalar(lr, x) * d, p), square, average_square(moved, d, rho)


class Adadelta(Optimizer):
    """Adadelta: the gradient g scaled by the ratio of two running root mean squares, of the steps and of g.

        v <- rho v + (1 - rho) g^2            d = sqrt(u + eps) / sqrt(v + eps) * g
        u <- rho u + (1 - rho) d^2            p <- p - lr * d

    Args:
        params: tensors, (name, tensor) pairs, or dicts `{"params": ..., "lr": ...}` with options of their own.
            None: `bind` them later.
        lr: a factor of the steps: a number, or a tensor that may change while training.
        rho: at least 0 and less than 1.
        eps: keeps the divisor from 0, and begins the steps.
        weight_decay: added to the gradient, times the parameter (L2 penalty).
        maximize: climb instead of descending.

    Raises: ArgumentError for numbers out of range and unknown options; DTypeError unless parameters are floating and
    real.

    Reference: M. D. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, https://arxiv.org/abs/1212.5701
    """

    rule = adadelta_step
    ranges = {"lr": POSITIVE, "rho": FRACTION, "eps": POSITIVE, "weight_decay": POSITIVE}
    switches = ("maximize",)
    all_slots = ("square_avg", "acc_delta")

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1.0,
        rho: Any = 0.9,
        eps: Any = 1e-6,
        weight_decay: Any = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, dict(lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize))
