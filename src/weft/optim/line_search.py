"""How far to go along a direction: a step that satisfies the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

#: A step is good if it takes at least SUFFICIENT of what the slope at the start promises, and leaves a slope of at most
#: CURVATURE of that at the start.
SUFFICIENT, CURVATURE = 1e-4, 0.9


class Point(NamedTuple):
    """What is known at a distance t along the direction."""

    t: float
    loss: float
    slope: float
    gradient: Any


def lowest_of_cubic(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two points with their slopes is lowest; the middle of the bounds if it has no minimum."""
    left, right = (a, b) if a.t <= b.t else (b, a)
    low, high = (left.t, right.t) if bounds is None else bounds
    if left.t == right.t:
        return left.t
    bend = left.slope + right.slope - 3 * (left.loss - right.loss) / (left.t - right.t)
    square = bend * bend - left.slope * right.slope
    if not square >= 0:
        return (low + high) / 2
    root = math.sqrt(square)
    bottom = right.slope - left.slope + 2 * root
    if bottom == 0:
        return (low + high) / 2
    found = right.t - (right.t - left.t) * ((right.slope + root - bend) / bottom)
    return min(max(found, low), high)


def strong_wolfe(
    evaluate: Callable[[float], Point], start: Point, t: float, longest: float, change: float, most: int
) -> tuple[Point, int]:
    """A good step along a direction, and how often the loss was evaluated.

    Args:
        evaluate: loss, slope and gradient at a distance.
        start: what is known at distance 0; its slope is negative.
        t: the first distance tried.
        longest: the largest element of the direction: an interval in which no element moves by `change` is not cut.
        most: how many further distances are tried at most.

    Reference: J. Nocedal, S. Wright, "Numerical Optimization", 2006, algorithms 3.5 and 3.6.
    """

    def too_high(p: Point) -> bool:
        return p.loss > start.loss + SUFFICIENT * p.t * start.slope

    def flat_enough(p: Point) -> bool:
        return abs(p.slope) <= -CURVATURE * start.slope

    before, here = start, evaluate(t)
    tried = 0
    while tried < most:
        if too_high(here) or (tried > 1 and here.loss >= before.loss):
            break
        if flat_enough(here):
            return here, tried + 1
        if here.slope >= 0:
            break
        bounds = (here.t + 0.01 * (here.t - before.t), here.t * 10)
        ahead = lowest_of_cubic(before, here, bounds)
        before, here = here, evaluate(ahead)
        tried += 1
    else:
        return (start if start.loss <= here.loss else here), tried + 1
    found, more = _narrowed(evaluate, (before, here), too_high, flat_enough, longest, change, most - tried)
    return found, tried + 1 + more


def _narrowed(
    evaluate: Callable[[float], Point],
    bracket: tuple[Point, Point],
    too_high: Callable[[Point], bool],
    flat_enough: Callable[[Point], bool],
    longest: float,
    change: float,
    most: int,
) -> tuple[Point, int]:
    """A good point between two that enclose one; the lowest found, if there were not enough tries."""
    low, high = bracket if bracket[0].loss <= bracket[1].loss else bracket[::-1]
    stuck = False
    for tried in range(most):
        if abs(high.t - low.t) * longest < change:
            return low, tried
        t, stuck = _trial(low, high, stuck)
        here = evaluate(t)
        if too_high(here) or here.loss >= low.loss:
            low, high = (low, here) if low.loss <= here.loss else (here, low)
            continue
        if flat_enough(here):
            return here, tried + 1
        if here.slope * (high.t - low.t) >= 0:
            high = low
        low = here
    return low, most


def _trial(low: Point, high: Point, stuck: bool) -> tuple[float, bool]:
    """The next distance between two, and whether it was near an end.

    One that is near an end for the second time, or at the end, is moved a tenth of the interval inside.
    """
    first, last = min(low.t, high.t), max(low.t, high.t)
    t, margin = lowest_of_cubic(low, high), 0.1 * (last - first)
    if min(last - t, t - first) >= margin:
        return t, False
    if not stuck and first < t < last:
        return t, True
    return (last - margin if abs(t - last) < abs(t - first) else first + margin), False
