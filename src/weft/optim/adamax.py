"""Adamax: Adam with the largest gradient in place of the mean square."""

from __future__ import annotations

from typing import Any

from ..ops.composite.define import composite
from ..ops.elementwise import abs_, maximum
from .group import FRACTIONS, POSITIVE
from .optimizer import Optimizer
from .precision import narrow, scalar
from .rules import average, prepared, unbias, update_rule


@composite
def adamax_clock(step, lr, beta1, beta2, eps, weight_decay):
    """The step after, and the step size lr / (1 - beta1**step)."""
    step = step + 1
    return step, lr / unbias(beta1, step)


@update_rule
def adamax_step(p, g, mean, largest, size, lr, beta1, beta2, eps, weight_decay, *, decay, maximize):
    """largest' = max(beta2 largest, |g| + eps); p' = p - size mean' / largest'."""
    x, g = prepared(p, g, lr, weight_decay, decay=decay, maximize=maximize)
    mean = average(mean, g, beta1)
    largest = maximum(scalar(beta2, x) * largest, abs_(g) + scalar(eps, x))
    return narrow(x - scalar(size, x) * (mean / largest), p), mean, largest


class Adamax(Optimizer):
    """Adamax: a running mean of the gradient g divided by a decaying maximum of its size.

        m <- b1 m + (1 - b1) g                u <- max(b2 u, |g| + eps)
        p <- p - lr / (1 - b1^t) * m / u                                at step t = 1, 2, ...

    Args:
        params: tensors, (name, tensor) pairs, or dicts `{"params": ..., "lr": ...}` with options of their own.
            None: `bind` them later.
        lr: the learning rate: a number, or a tensor that may change while training.
        betas: (b1, b2), each at least 0 and less than 1.
        eps: keeps the divisor from 0.
        weight_decay: added to the gradient, times the parameter (L2 penalty).
        maximize: climb instead of descending.

    Raises: ArgumentError for numbers out of range and unknown options; DTypeError unless parameters are floating and
    real.

    Reference: D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", section 7.1, 2015,
    https://arxiv.org/abs/1412.6980
    """

    rule = adamax_step
    clock = adamax_clock
    ranges = {"lr": POSITIVE, "betas": FRACTIONS, "eps": POSITIVE, "weight_decay": POSITIVE}
    switches = ("maximize",)
    all_slots = ("step", "exp_avg", "exp_inf")

    def __init__(
        self,
        params: Any = None,
        lr: Any = 2e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: Any = 1e-8,
        weight_decay: Any = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize)
        )
