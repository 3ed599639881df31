"""Rprop: step sizes of their own for all elements, which grow while the gradient keeps its sign."""

from __future__ import annotations

from typing import Any

from ..base.errors import ArgumentError
from ..ops.composite.define import composite
from ..ops.elementwise import equal, less, maximum, minimum, sign, where
from .group import POSITIVE, ParamGroup, Range
from .optimizer import Optimizer
from .precision import narrow, scalar, widen


@composite
def rprop_step(p, g, step, before, size, lr, shrink, grow, least, most, *, maximize):
    """size' = size grow or size shrink, as g keeps or turns its sign; p' = p - sign(g) size', or p where it turned."""
    x, g = widen(p), widen(g)
    if maximize:
        g = -g
    size = where(equal(step, 0), scalar(lr, x), size)
    product = g * before
    turned = less(product, 0)
    factor = where(less(0, product), scalar(grow, x), where(turned, scalar(shrink, x), 1.0))
    size = minimum(maximum(size * factor, scalar(least, x)), scalar(most, x))
    g = where(turned, 0.0, g)
    return narrow(x - sign(g) * size, p), step + 1, g, size


class Rprop(Optimizer):
    """Rprop: only the signs of the gradient count; for gradients of the whole data, not of batches.

        size <- size * etas[1] where g g_before > 0, size * etas[0] where g g_before < 0, within step_sizes
        p <- p - size sign(g)        where g g_before >= 0

    Every element has a step size, `lr` at first. Where the gradient has the sign it had before the size grows by
    etas[1]; where it turned the size shrinks by etas[0], the element stays, and the gradient counts as 0 next time.

    Args:
        params: tensors, (name, tensor) pairs, or dicts `{"params": ..., "lr": ...}` with options of their own.
            None: `bind` them later.
        lr: the first size of all steps.
        etas: the factors (shrink, grow), 0 < shrink < 1 < grow.
        step_sizes: the smallest and largest size.
        maximize: climb instead of descending.

    Raises: ArgumentError unless 0 < shrink < 1 < grow; DTypeError unless parameters are floating and real.

    Reference: M. Riedmiller, H. Braun, "A Direct Adaptive Method for Faster Backpropagation Learning", 1993.
    """

    rule = rprop_step
    ranges = {
        "lr": POSITIVE,
        "etas": Range(POSITIVE.holds, POSITIVE.wording, count=2),
        "step_sizes": Range(POSITIVE.holds, POSITIVE.wording, count=2),
    }
    switches = ("maximize",)
    all_slots = ("step", "prev", "step_size")

    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-2,
        etas: tuple[Any, Any] = (0.5, 1.2),
        step_sizes: tuple[Any, Any] = (1e-6, 50.0),
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, dict(lr=lr, etas=etas, step_sizes=step_sizes, maximize=maximize))

    def check_group(self, group: ParamGroup) -> None:
        shrink, grow = (eta.item() for eta in group["etas"])
        if not 0 < shrink < 1 < grow:
            raise ArgumentError(f"Rprop: etas must be 0 < shrink < 1 < grow, got {(shrink, grow)}")
