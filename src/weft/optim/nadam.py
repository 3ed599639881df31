"""NAdam: Adam that looks ahead along its momentum, as Nesterov's method does."""

from __future__ import annotations

from typing import Any

from ..arrays.tensor import Tensor
from ..ir.dtype import float64
from ..ir.node import Aval
from ..ops.elementwise import cast, equal, pow_, sqrt, where
from .group import FRACTIONS, POSITIVE
from .optimizer import Optimizer
from .precision import narrow, scalar
from .rules import average, average_square, prepared, unbias, update_rule


@update_rule
def nadam_step(
    p, g, step, product, mean, square, lr, beta1, beta2, eps, weight_decay, momentum_decay,
    *, decay, decoupled_weight_decay, maximize,
):  # fmt: skip
    """Adam whose mean is taken one step further: mu_t weighs the gradient, mu_{t+1} the running mean."""
    first = equal(step, 0)
    step = step + 1
    x, g = prepared(p, g, lr, weight_decay, decay=decay, decoupled=decoupled_weight_decay, maximize=maximize)
    count = cast(step, dtype=float64)
    mu = beta1 * (1 - 0.5 * pow_(0.96, count * momentum_decay))
    after = beta1 * (1 - 0.5 * pow_(0.96, (count + 1) * momentum_decay))
    product = where(first, 1.0, product) * mu
    mean, square = average(mean, g, beta1), average_square(square, g, beta2)
    size = sqrt(square / scalar(unbias(beta2, step), x)) + scalar(eps, x)
    x = x - scalar(lr * (1 - mu) / (1 - product), x) * (g / size)
    x = x - scalar(lr * after / (1 - product * after), x) * (mean / size)
    return narrow(x, p), step, product, mean, square


class NAdam(Optimizer):
    """NAdam: Adam with Nesterov's momentum, whose strength mu_t = b1 (1 - 0.96^(t momentum_decay) / 2) grows.

        m <- b1 m + (1 - b1) g            v <- b2 v + (1 - b2) g^2
        n = mu_{t+1} m / (1 - mu_1 ... mu_{t+1}) + (1 - mu_t) g / (1 - mu_1 ... mu_t)
        p <- p - lr * n / (sqrt(v / (1 - b2^t)) + eps)                        at step t = 1, 2, ...

    Args:
        params: tensors, (name, tensor) pairs, or dicts `{"params": ..., "lr": ...}` with options of their own.
            None: `bind` them later.
        lr: the learning rate: a number, or a tensor that may change while training.
        betas: (b1, b2), each at least 0 and less than 1.
        eps: keeps the divisor from 0.
        weight_decay: added to the gradient, times the parameter (L2 penalty).
        momentum_decay: how fast mu_t grows towards b1.
        decoupled_weight_decay: p <- (1 - lr * weight_decay) p before each step, instead of a term in g.
        maximize: climb instead of descending.

    Raises: ArgumentError for numbers out of range and unknown options; DTypeError unless parameters are floating and
    real.

    Reference: T. Dozat, "Incorporating Nesterov Momentum into Adam", 2016,
    https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ
    """

    rule = nadam_step
    ranges = {
        "lr": POSITIVE, "betas": FRACTIONS, "eps": POSITIVE, "weight_decay": POSITIVE, "momentum_decay": POSITIVE,
    }  # fmt: skip
    switches = ("decoupled_weight_decay", "maximize")
    all_slots = ("step", "mu_product", "exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Any = None,
        lr: Any = 2e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: Any = 1e-8,
        weight_decay: Any = 0.0,
        momentum_decay: Any = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay,
                 decoupled_weight_decay=decoupled_weight_decay, maximize=maximize),
        )  # fmt: skip

    def slot_type(self, name: str, p: Tensor) -> Aval:
        return Aval((), float64) if name == "mu_product" else super().slot_type(name, p)
