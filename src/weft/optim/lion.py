"""Lion: steps of one size, in the direction of the sign of a moving average."""

from __future__ import annotations

from typing import Any

from ..ops.elementwise import sign
from .group import FRACTIONS, POSITIVE
from .optimizer import Optimizer
from .precision import narrow, scalar
from .rules import average, prepared, update_rule


@update_rule
def lion_step(p, g, mean, lr, beta1, beta2, weight_decay, *, decay, maximize):
    """p' = (1 - lr weight_decay) p - lr sign(beta1 mean + (1 - beta1) g); mean' = beta2 mean + (1 - beta2) g."""
    x, g = prepared(p, g, lr, weight_decay, decay=decay, decoupled=True, maximize=maximize)
    return narrow(x - scalar(lr, x) * sign(average(mean, g, beta1)), p), average(mean, g, beta2)


class Lion(Optimizer):
    """Lion: the sign of a moving average of the gradient g, with weight decay of the parameter itself.

        p <- (1 - lr * weight_decay) p - lr * sign(b1 m + (1 - b1) g)            m <- b2 m + (1 - b2) g

    Every element moves by lr (or not at all), so learning rates are three to ten times smaller than Adam's.

    Args:
        params: tensors, (name, tensor) pairs, or dicts `{"params": ..., "lr": ...}` with options of their own.
            None: `bind` them later.
        lr: the learning rate: a number, or a tensor that may change while training.
        betas: (b1, b2), each at least 0 and less than 1.
        weight_decay: how much the parameter shrinks at each step, in units of lr.
        maximize: climb instead of descending.

    Raises: ArgumentError for numbers out of range and unknown options; DTypeError unless parameters are floating and
    real.

    Reference: X. Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, https://arxiv.org/abs/2302.06675
    """

    rule = lion_step
    ranges = {"lr": POSITIVE, "betas": FRACTIONS, "weight_decay": POSITIVE}
    switches = ("maximize",)
    all_slots = ("exp_avg",)

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-4,
        betas: tuple[Any, Any] = (0.9, 0.99),
        weight_decay: Any = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay, maximize=maximize))
