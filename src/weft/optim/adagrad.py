"""Adagrad: steps divided by the root of the sum of all squared gradients so far."""

from __future__ import annotations

from typing import Any

from ..ir.dtype import float64
from ..ops.composite.define import composite
from ..ops.elementwise import cast, equal, sqrt, where
from .group import POSITIVE
from .optimizer import Optimizer
from .precision import narrow, scalar
from .rules import prepared


@composite
def adagrad_clock(step, lr, lr_decay, weight_decay, start, eps):
    """The step after, the rate lr / (1 + step lr_decay), and whether the step is the first."""
    return step + 1, lr / (1 + cast(step, dtype=float64) * lr_decay), equal(step, 0)


@composite
def adagrad_step(p, g, total, rate, first, lr, lr_decay, weight_decay, start, eps, *, decay, maximize):
    """total' = total + g g; p' = p - rate g / (sqrt(total') + eps)."""
    x, g = prepared(p, g, lr, weight_decay, decay=decay, maximize=maximize)
    total = where(first, scalar(start, x), total) + g * g
    return narrow(x - scalar(rate, x) * (g / (sqrt(total) + scalar(eps, x))), p), total


class Adagrad(Optimizer):
    """Adagrad: the gradient g divided by the root of the sum of its squares.

        s <- s + g^2
        p <- p - lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps)        at step t = 1, 2, ...

    Args:
        params: tensors, (name, tensor) pairs, or dicts `{"params": ..., "lr": ...}` with options of their own.
            None: `bind` them later.
        lr: the learning rate: a number, or a tensor that may change while training.
        lr_decay: how fast the rate falls.
        weight_decay: added to the gradient, times the parameter (L2 penalty).
        initial_accumulator_value: what s is before the first step.
        maximize: climb instead of descending.

    Raises: ArgumentError for numbers out of range and unknown options; DTypeError unless parameters are floating and
    real.

    Reference: J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods", 2011,
    https://jmlr.org/papers/v12/duchi11a.html
    """

    rule = adagrad_step
    clock = adagrad_clock
    ranges = {
        "lr": POSITIVE, "lr_decay": POSITIVE, "weight_decay": POSITIVE, "initial_accumulator_value": POSITIVE,
        "eps": POSITIVE,
    }  # fmt: skip
    switches = ("maximize",)
    all_slots = ("step", "sum")

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-2,
        lr_decay: Any = 0.0,
        weight_decay: Any = 0.0,
        initial_accumulator_value: Any = 0.0,
        eps: Any = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
                 initial_accumulator_value=initial_accumulator_value, eps=eps, maximize=maximize),
        )  # fmt: skip
