"""RMSprop: steps divided by a running root mean square of the gradient."""

from __future__ import annotations

from typing import Any

from ..ops.elementwise import sqrt
from .group import FRACTION, POSITIVE, ParamGroup
from .optimizer import Optimizer
from .precision import narrow, scalar
from .rules import average, average_square, prepared, update_rule


@update_rule
def rmsprop_step(
    p, g, square, velocity, mean, lr, alpha, eps, weight_decay, momentum, *, decay, centered, maximize
):
    """square' = alpha square + (1 - alpha) g g; p' = p - lr g / (sqrt(square') + eps), with momentum if asked for."""
    x, g = prepared(p, g, lr, weight_decay, decay=decay, maximize=maximize)
    square = average_square(square, g, alpha)
    spread = square
    if centered:
        mean = average(mean, g, alpha)
        spread = square - mean * mean
    d = g / (sqrt(spread) + scalar(eps, x))
    if velocity is not None:
        d = velocity = scalar(momentum, x) * velocity + d
    slots = [s for s in (square, velocity, mean) if s is not None]
    return narrow(x - scalar(lr, x) * d, p), *slots


class RMSprop(Optimizer):
    """RMSprop: the gradient g divided by the root of a running average of its square.

        v <- alpha v + (1 - alpha) g^2            b <- momentum b + g / (sqrt(v) + eps)
        p <- p - lr b

    Args:
        params: tensors, (name, tensor) pairs, or dicts `{"params": ..., "lr": ...}` with options of their own.
            None: `bind` them later.
        lr: the learning rate: a number, or a tensor that may change while training.
        alpha: at least 0 and less than 1.
        eps: keeps the divisor from 0.
        weight_decay: added to the gradient, times the parameter (L2 penalty).
        momentum: at least 0; with 0 there is no b.
        centered: divide by the running standard deviation: v minus the square of a running mean of g.
        maximize: climb instead of descending.

    Raises: ArgumentError for numbers out of range and unknown options; DTypeError unless parameters are floating and
    real.

    Reference: T. Tieleman, G. Hinton, "Neural Networks for Machine Learning", lecture 6.5, 2012; A. Graves, 2013,
    https://arxiv.org/abs/1308.0850 (centered).
    """

    rule = rmsprop_step
    ranges = {
        "lr": POSITIVE,
        "alpha": FRACTION,
        "eps": POSITIVE,
        "weight_decay": POSITIVE,
        "momentum": POSITIVE,
    }
    switches = ("centered", "maximize")
    all_slots = ("square_avg", "momentum_buffer", "grad_avg")

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-2,
        alpha: Any = 0.99,
        eps: Any = 1e-8,
        weight_decay: Any = 0.0,
        momentum: Any = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum,
                 centered=centered, maximize=maximize),
        )  # fmt: skip

    def slot_names(self, group: ParamGroup) -> tuple[str, ...]:
        left_out = {"momentum_buffer"} if group.is_zero("momentum") else set()
        if not group["centered"]:
            left_out.add("grad_avg")
        return tuple([s for s in self.all_slots if s not in left_out])
