"""The order in which the steps of a program run: towards the results one by one, what only waits as late as it can.

So little lies in memory at any time, and what was just made is still in the cache when it is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..ir.node import Node
from .memory import nbytes
from .schedule import Step


def in_order(steps: list[Step], outside: Collection[Node]) -> list[Step]:
    """The same steps, each still after those that it reads from. What is `outside` lies in the caller's memory."""
    return _late(_early(steps), outside)


def _early(steps: list[Step]) -> list[Step]:
    """First to the result that the fewest steps lead to.

    In a training step the gradient of the last layer's weights so comes before the gradients of the layers in front of
    it, and what it was made of can be forgotten.
    """
    needs = _needs(steps)
    before: list[int] = []  # a bit for every step that leads to this one
    for i, mine in enumerate(needs):
        bits = 1 << i
        for k in mine:
            bits |= before[k]
        before.append(bits)
    shortest = sorted(range(len(steps)), key=lambda i: before[i].bit_count())
    rank = {i: r for r, i in enumerate(shortest)}
    read = {k for mine in needs for k in mine}
    goals = [i for i in shortest if i not in read]
    return [steps[i] for i in _towards(goals, [sorted(mine, key=rank.__getitem__) for mine in needs])]


def _late(steps: list[Step], outside: Collection[Node]) -> list[Step]:
    """With the steps that fill memory which nobody reads yet moved to where it is first read."""
    first: dict[Node, int] = {}
    last: dict[Node, int] = {}
    for i, step in enumerate(steps):
        for n in step.reads:
            first.setdefault(n, i)
            last[n] = i

    def waits(step: Step) -> bool:
        reader = min([first[n] for n in step.writes if n in first], default=None)
        if reader is None:
            return False
        held = sum([nbytes(n) for n in step.reads if n not in outside and last[n] < reader])
        return sum([nbytes(n) for n in step.writes if n not in outside]) > held

    goals = [i for i, step in enumerate(steps) if not waits(step)]
    return [steps[i] for i in _towards(goals, _needs(steps))]


def _needs(steps: list[Step]) -> list[list[int]]:
    """The numbers of the steps that each step reads from."""
    number = {n: i for i, s in enumerate(steps) for n in s.writes}
    return [sorted({number[n] for n in s.reads if n in number}) for s in steps]


def _towards(goals: Iterable[int], needs: list[list[int]]) -> list[int]:
    """The numbers of all steps: the goals in turn, before each what it needs."""
    order: dict[int, None] = {}
    for goal in goals:
        stack = [goal]
        while stack:
            i = stack[-1]
            missing = [k for k in needs[i] if k not in order]
            if missing:
                stack += reversed(missing)
            else:
                order[stack.pop()] = None
    return list(order)
