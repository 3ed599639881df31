"""RAdam: Adam that trusts its mean square only once enough gradients were seen."""

from __future__ import annotations

from typing import Any

from ..ir.dtype import float64
from ..ops.composite.define import composite
from ..ops.elementwise import cast, less, pow_, sqrt, where
from .group import FRACTIONS, POSITIVE
from .optimizer import Optimizer
from .precision import narrow, scalar
from .rules import average, average_square, prepared, unbias, update_rule


@composite
def radam_clock(step, lr, beta1, beta2, eps, weight_decay):
    """The step after, the plain step size, the rectified one, and whether rho_t > 5, so that it is the rectified."""
    step = step + 1
    count, rest = cast(step, dtype=float64), unbias(beta2, step)
    limit = 2 / (1 - beta2) - 1
    rho = limit - 2 * count * pow_(beta2, count) / rest
    seen = less(5.0, rho)
    sure = where(seen, rho, 6.0)  # the root is only taken of positive numbers
    bottom = where(less(5.0, limit), (limit - 4) * (limit - 2), 1.0)
    rectify = sqrt((sure - 4) * (sure - 2) * limit / (bottom * sure))
    size = lr / unbias(beta1, step)
    return step, size, size * rectify * sqrt(rest), seen


@update_rule
def radam_step(
    p, g, mean, square, size, rectified, seen, lr, beta1, beta2, eps, weight_decay,
    *, decay, decoupled_weight_decay, maximize,
):  # fmt: skip
    """Adam with its step scaled by the rectification r_t where rho_t > 5, and plain momentum before."""
    x, g = prepared(p, g, lr, weight_decay, decay=decay, decoupled=decoupled_weight_decay, maximize=maximize)
    mean, square = average(mean, g, beta1), average_square(square, g, beta2)
    adapted = scalar(rectified, x) / (sqrt(square) + scalar(eps, x))
    return narrow(x - mean * where(seen, adapted, scalar(size, x)), p), mean, square


class RAdam(Optimizer):
    """RAdam: Adam whose early steps, while the mean square v is uncertain, are those of plain momentum.

    With rho_inf = 2 / (1 - b2) - 1 and rho_t = rho_inf - 2 t b2^t / (1 - b2^t):

        m <- b1 m + (1 - b1) g            v <- b2 v + (1 - b2) g^2
        p <- p - lr m / (1 - b1^t)                                               where rho_t <= 5
        p <- p - lr r_t m / (1 - b1^t) * sqrt(1 - b2^t) / (sqrt(v) + eps)        from there on,
        r_t = sqrt((rho_t - 4)(rho_t - 2) rho_inf / ((rho_inf - 4)(rho_inf - 2) rho_t))

    Args:
        params: tensors, (name, tensor) pairs, or dicts `{"params": ..., "lr": ...}` with options of their own.
            None: `bind` them later.
        lr: the learning rate: a number, or a tensor that may change while training.
        betas: (b1, b2), each at least 0 and less than 1.
        eps: keeps the divisor from 0.
        weight_decay: added to the gradient, times the parameter (L2 penalty).
        decoupled_weight_decay: p <- (1 - lr * weight_decay) p before each step, instead of a term in g.
        maximize: climb instead of descending.

    Raises: ArgumentError for numbers out of range and unknown options; DTypeError unless parameters are floating and
    real.

    Reference: L. Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2020,
    https://arxiv.org/abs/1908.03265
    """

    rule = radam_step
    clock = radam_clock
    ranges = {"lr": POSITIVE, "betas": FRACTIONS, "eps": POSITIVE, "weight_decay": POSITIVE}
    switches = ("decoupled_weight_decay", "maximize")
    all_slots = ("step", "exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: Any = 1e-8,
        weight_decay: Any = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                 decoupled_weight_decay=decoupled_weight_decay, maximize=maximize),
        )  # fmt: skip
