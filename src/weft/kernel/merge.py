"""Elementwise kernels over the same elements put together: an optimiser's whole update in one pass over memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir.node import Node

#: How far back a partner is looked for, and the most results of one kernel.
_REACH = 64
_MOST = 12


def merge(
    roots: Sequence[Node], joins: Callable[[Node], object | None], reads: Callable[[Node], Sequence[Node]]
) -> list[list[Node]]:
    """The roots of kernels in groups that one kernel computes, in an order in which they can run.

    `joins(root)` is the same for roots whose elements correspond one to one, None for those that stay alone;
    `reads(root)` are the roots and inputs that it is computed from. Two are put together if one reads the other or
    both read the same, and no kernel that has to run between them stands in the way.
    """
    groups: list[list[Node]] = []
    home: dict[Node, list[Node]] = {}
    needs: dict[int, set[Node]] = {}
    for root in roots:
        mine = set(reads(root))
        kind = joins(root)
        found = None if kind is None else _partner(groups, needs, home, root, mine, kind, joins)
        if found is None:
            group = [root]
            groups.append(group)
        else:
            group, move = found
            group.append(root)
            if move:
                groups.remove(group)
                groups.append(group)
        home[root] = group
        needs[id(group)] = needs.get(id(group), set()) | mine
    return groups


def _partner(
    groups: list[list[Node]],
    needs: dict[int, set[Node]],
    home: dict[Node, list[Node]],
    root: Node,
    mine: set[Node],
    kind: object,
    joins: Callable[[Node], object | None],
) -> tuple[list[Node], bool] | None:
    """(the group that `root` joins, whether the group then moves to the end of the order), or None."""
    later_reads: set[Node] = set()  # by the kernels after the candidate
    later: set[int] = set()
    for group in reversed(groups[-_REACH:]):
        near = len(group) < _MOST and joins(group[0]) == kind
        if near and not (mine.isdisjoint(group) and mine.isdisjoint(needs[id(group)])):
            if later_reads.isdisjoint(group):
                return group, True
            if not any(id(home[n]) in later for n in mine if n in home):
                return group, False
        later_reads |= needs[id(group)]
        later.add(id(group))
    return None
