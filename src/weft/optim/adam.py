"""Adam, and AdamW, which differs in where the weight decay goes."""

from __future__ import annotations

from typing import Any

from ..ir.dtype import float64
from ..ops.composite.define import composite
from ..ops.elementwise import cast, maximum, pow_, sqrt
from .group import FRACTIONS, POSITIVE, ParamGroup
from .optimizer import Optimizer
from .precision import narrow, scalar, widen
from .rules import update_rule


@composite
def adam_clock(step, lr, beta1, beta2, eps, weight_decay):
    """The step after, the step size lr / (1 - beta1**step) and the root of 1 - beta2**step.

    They are numbers: worked out in float64, however many steps there were.
    """
    step = step + 1
    count = cast(step, dtype=float64)
    return step, lr / (1 - pow_(beta1, count)), sqrt(1 - pow_(beta2, count))


@update_rule
def adam_step(
    p,
    g,
    mean,
    square,
    peak,
    size,
    spread,
    lr,
    beta1,
    beta2,
    eps,
    weight_decay,
    *,
    decay,
    decoupled,
    amsgrad,
    maximize,
):
    """Moving averages of g and g*g, each divided by 1 - beta**step; p' = p - lr mean / (sqrt(square) + eps)."""
    x, g = widen(p), widen(g)
    if maximize:
        g = -g
    if decay and decoupled:
        x = x * scalar(1 - lr * weight_decay, x)
    elif decay:
        g = g + scalar(weight_decay, x) * x
    mean = mean + scalar(1 - beta1, x) * (g - mean)
    square = scalar(beta2, x) * square + scalar(1 - beta2, x) * (g * g)
    highest = square
    if amsgrad:
        highest = peak = maximum(peak, square)
    x = x - scalar(size, x) * (mean / (sqrt(highest) / scalar(spread, x) + scalar(eps, x)))
    return (narrow(x, p), mean, square, *((peak,) if amsgrad else ()))


class Adam(Optimizer):
    """Adam: steps scaled by running averages of the gradient g and of its square.

        m <- b1 m + (1 - b1) g            v <- b2 v + (1 - b2) g^2
        p <- p - lr * m/(1 - b1^t) / (sqrt(v/(1 - b2^t)) + eps)        at step t = 1, 2, ...

    Args:
        params: tensors, (name, tensor) pairs, or dicts `{"params": ..., "lr": ...}` with options of their own.
            None: `bind` them later.
        lr: the learning rate: a number, or a tensor that may change while training.
        betas: (b1, b2), each at least 0 and less than 1.
        eps: keeps the divisor from 0.
        weight_decay: added to the gradient, times the parameter (L2 penalty). `AdamW` decays the parameter itself.
        decoupled_weight_decay: decay as `AdamW` does.
        amsgrad: use the largest v so far.
        maximize: climb instead of descending.

    Raises: ArgumentError for numbers out of range and unknown options; DTypeError unless parameters are floating and
    real.

    Reference: D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015, https://arxiv.org/abs/1412.6980
    """

    rule = adam_step
    clock = adam_clock
    ranges = {"lr": POSITIVE, "betas": FRACTIONS, "eps": POSITIVE, "weight_decay": POSITIVE}
    switches = ("amsgrad", "maximize")
    all_slots = ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: Any = 1e-8,
        weight_decay: Any = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        self.decoupled = decoupled_weight_decay
        super().__init__(
            params,
            dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize),
        )

    def slot_names(self, group: ParamGroup) -> tuple[str, ...]:
        return self.all_slots if group["amsgrad"] else self.all_slots[:3]

    def attributes(self, group: ParamGroup) -> dict[str, Any]:
        return {"decay": not group.is_zero("weight_decay"), "decoupled": self.decoupled, **group.switches()}


class AdamW(Adam):
    """Adam with weight decay of the parameter itself, p <- (1 - lr * weight_decay) p, instead of its gradient.

        m <- b1 m + (1 - b1) g            v <- b2 v + (1 - b2) g^2
        p <- (1 - lr * weight_decay) p - lr * m/(1 - b1^t) / (sqrt(v/(1 - b2^t)) + eps)        at step t = 1, 2, ...

    Args:
        params: tensors, (name, tensor) pairs, or dicts `{"params": ..., "lr": ...}` with options of their own.
            None: `bind` them later.
        lr: the learning rate: a number, or a tensor that may change while training.
        betas: (b1, b2), each at least 0 and less than 1.
        eps: keeps the divisor from 0.
        weight_decay: how much the parameter shrinks at each step, in units of lr.
        amsgrad: use the largest v so far.
        maximize: climb instead of descending.

    Raises: ArgumentError for numbers out of range and unknown options; DTypeError unless parameters are floating and
    real.

    Reference: I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", 2019, https://arxiv.org/abs/1711.05101
    """

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: Any = 1e-8,
        weight_decay: Any = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True
        )
