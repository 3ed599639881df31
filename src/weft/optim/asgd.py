"""ASGD: gradient descent whose answer is the average of its path."""

from __future__ import annotations

from typing import Any

from ..arrays.tensor import Tensor
from ..ir.dtype import float64
from ..ir.node import Aval
from ..ops.composite.define import composite
from ..ops.elementwise import cast, equal, maximum, pow_, where
from .group import POSITIVE
from .optimizer import Optimizer
from .precision import narrow, scalar
from .rules import prepared


@composite
def asgd_step(p, g, step, eta, mu, mean, lr, lambd, alpha, t0, weight_decay, *, decay, maximize):
    """p' = (1 - lambd eta) p - eta g; mean' = mean + mu (p' - mean); then the next eta and mu."""
    first = equal(step, 0)
    step = step + 1
    eta, mu = where(first, lr, eta), where(first, 1.0, mu)
    x, g = prepared(p, g, lr, weight_decay, decay=decay, maximize=maximize)
    x = x * scalar(1 - lambd * eta, x) - scalar(eta, x) * g
    mean = where(equal(mu, 1), x, mean + scalar(mu, x) * (x - mean))
    count = cast(step, dtype=float64)
    eta = lr / pow_(1 + lambd * lr * count, alpha)
    return narrow(x, p), step, eta, 1 / maximum(count - t0, 1.0), mean


class ASGD(Optimizer):
    """Averaged stochastic gradient descent: the slot `ax` is the average of the parameter from step t0 on.

        p <- (1 - lambd eta_t) p - eta_t g            eta_t = lr / (1 + lambd lr t)^alpha
        ax <- ax + (p - ax) / max(1, t - t0)

    Args:
        params: tensors, (name, tensor) pairs, or dicts `{"params": ..., "lr": ...}` with options of their own.
            None: `bind` them later.
        lr: the learning rate: a number, or a tensor that may change while training.
        lambd: decay of the parameter.
        alpha: power with which the steps shrink.
        t0: the step from which on the average is taken.
        weight_decay: added to the gradient, times the parameter (L2 penalty).
        maximize: climb instead of descending.

    Raises: ArgumentError for numbers out of range and unknown options; DTypeError unless parameters are floating and
    real.

    Reference: B. T. Polyak, A. B. Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
    """

    rule = asgd_step
    ranges = {"lr": POSITIVE, "lambd": POSITIVE, "alpha": POSITIVE, "t0": POSITIVE, "weight_decay": POSITIVE}
    switches = ("maximize",)
    all_slots = ("step", "eta", "mu", "ax")

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-2,
        lambd: Any = 1e-4,
        alpha: Any = 0.75,
        t0: Any = 1e6,
        weight_decay: Any = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, dict(lr=lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay, maximize=maximize)
        )

    def slot_type(self, name: str, p: Tensor) -> Aval:
        return Aval((), float64) if name in ("eta", "mu") else super().slot_type(name, p)
