"""What the rules of several optimisers share."""

from __future__ import annotations

from ..ir.dtype import float64
from ..ir.node import Node
from ..ops.elementwise import cast, pow_
from .precision import scalar, widen


def prepared(
    p: Node,
    g: Node,
    lr: Node,
    weight_decay: Node,
    *,
    decay: bool,
    maximize: bool,
    decoupled: bool = False,
) -> tuple[Node, Node]:
    """Parameter and gradient as a rule takes them: widened, turned around to climb, and decayed.

    Weight decay is added to the gradient, or (decoupled) taken off the parameter: p (1 - lr weight_decay).
    """
    x, g = widen(p), widen(g)
    if maximize:
        g = -g
    if decay and decoupled:
        x = x * scalar(1 - lr * weight_decay, x)
    elif decay:
        g = g + scalar(weight_decay, x) * x
    return x, g


def average(old: Node, new: Node, keep: Node) -> Node:
    """keep old + (1 - keep) new, as a step from old towards new."""
    return old + scalar(1 - keep, old) * (new - old)


def average_square(old: Node, g: Node, keep: Node) -> Node:
    """keep old + (1 - keep) g**2."""
    return scalar(keep, old) * old + scalar(1 - keep, old) * (g * g)


def unbias(beta: Node, step: Node) -> Node:
    """1 - beta**step, what a moving average that began as 0 is divided by; worked out in float64."""
    return 1 - pow_(beta, cast(step, dtype=float64))
