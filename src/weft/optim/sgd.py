"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from ..base.errors import ArgumentError
from ..ops.elementwise import equal, where
from .group import FINITE, POSITIVE, ParamGroup
from .optimizer import Optimizer
from .precision import narrow, scalar, widen
from .rules import update_rule


@update_rule
def sgd_step(p, g, step, velocity, lr, momentum, dampening, weight_decay, *, decay, nesterov, maximize):
    """g' = g + weight_decay p; v' = momentum v + (1 - dampening) g' (at the first step v' = g'); p' = p - lr v'."""
    x, g = widen(p), widen(g)
    if maximize:
        g = -g
    if decay:
        g = g + scalar(weight_decay, x) * x
    if velocity is None:
        return narrow(x - scalar(lr, x) * g, p)
    weight = where(equal(step, 0), 1.0, 1 - dampening, dtype=dampening.dtype)
    velocity = scalar(momentum, x) * velocity + scalar(weight, x) * g
    d = g + scalar(momentum, x) * velocity if nesterov else velocity
    return narrow(x - scalar(lr, x) * d, p), step + 1, velocity


class SGD(Optimizer):
    """Gradient descent, with momentum if asked for.

    With g the gradient plus `weight_decay` times the parameter p, and v a velocity that is remembered per parameter:

        v <- momentum * v + (1 - dampening) * g      (v = g at the first step)
        p <- p - lr * v                              (with `nesterov`: p - lr * (g + momentum * v))

    Without momentum p <- p - lr * g, and nothing is remembered.

    Args:
        params: tensors, (name, tensor) pairs, or dicts `{"params": ..., "lr": ...}` with options of their own.
            None: `bind` them later.
        lr: the learning rate: a number, or a tensor that may change while training.
        momentum, dampening: as in the formulas.
        weight_decay: an L2 penalty, as above.
        nesterov: look ahead along the velocity; needs momentum and no dampening.
        maximize: climb instead of descending.

    Raises: ArgumentError for numbers out of range and unknown options; DTypeError for parameters that are not floating.

    Reference: I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.
    """

    rule = sgd_step
    ranges = {"lr": POSITIVE, "momentum": POSITIVE, "dampening": FINITE, "weight_decay": POSITIVE}
    switches = ("nesterov", "maximize")
    all_slots = ("step", "momentum_buffer")
    takes_complex = True

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-3,
        momentum: Any = 0.0,
        dampening: Any = 0.0,
        weight_decay: Any = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
                 nesterov=nesterov, maximize=maximize),
        )  # fmt: skip

    def check_group(self, group: ParamGroup) -> None:
        if group["nesterov"] and (group.is_zero("momentum") or not group.is_zero("dampening")):
            raise ArgumentError("SGD: nesterov needs a momentum and no dampening")

    def slot_names(self, group: ParamGroup) -> tuple[str, ...]:
        return () if group.is_zero("momentum") else self.all_slots
