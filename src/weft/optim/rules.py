"""What the rules of several optimisers share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from ..ir.dtype import float32, float64
from ..ir.node import Node
from ..ops.composite.define import Composite, composite
from ..ops.elementwise import abs_, cast, less, pow_, where
from .precision import scalar, widen


def update_rule(body: Callable[..., Any]) -> Composite:
    """Declare the composite that gives a parameter's new value and what is remembered about it.

    What is remembered becomes 0 where it is too small for a normal number. The running average of a gradient that has
    become 0 would shrink to a subnormal number and stay there, and processors take many times as long for these.
    """

    @wraps(body)
    def rule(*args: Any, **attrs: Any) -> Any:
        found = body(*args, **attrs)
        return found if isinstance(found, Node) else (found[0], *[_settled(x) for x in found[1:]])

    return composite(rule)


def _settled(x: Node) -> Node:
    if x.dtype is not float32 and x.dtype is not float64:
        return x
    return where(less(abs_(x), float(np.finfo(x.dtype.numpy).tiny)), 0, x)


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
