"""Row-wise groups: several reductions over the same rows, and what is computed from them, in one kernel.

A softmax reads its row three times (for the maximum, the sum and the result) while it lies in the cache, and stores
one value for each element; the numbers in between stay in registers. A log-sum-exp stores one value for each row. What
others need of a row's numbers, such as a gradient the maximum and the sum, is stored beside the result.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..ir.node import Node
from ..ir.shape import Shape
from .alike import likeness
from .anchors import Common, at_reduction
from .functions import functions
from .index import Indices, as_index
from .joined import joined
from .loops import Apply, Expr, Inside, Kernel, Load, Reduction, Stage, Store, found_in, substituted
from .lower import Lowering, can_pull, looked_up, variables
from .summation import REDUCTIONS, runs_across
from .turning import turned


class NotARow(Exception):
    """A reduction is used at another place than its own row."""


@dataclass(eq=False)
class Group:
    """What one kernel computes of the same rows."""

    root: Node
    whole: bool  #: whether the root has all elements of the rows, or one number for each
    reductions: list[Node] = field(default_factory=list)  #: in order
    inside: set[Node] = field(default_factory=set)  #: what need not be stored
    shared: set[Node] = field(default_factory=set)  #: what others need, too, and compute again
    beside: list[Node] = field(
        default_factory=list
    )  #: numbers of rows that others need, too: they are stored

    def needs(self, node: Node) -> bool:
        """Whether its kernel has to compute a node, or would if that were not stored."""
        return node in self.inside or node in self.shared


def find_rows(
    order: Sequence[Node],
    users: Mapping[Node, list[Node]],
    fixed: set[Node],
    stored: set[Node],
    supported: Callable[[Node], bool],
) -> dict[Node, Group]:
    """The groups, by their roots.

    `order` are the graph's nodes, arguments first; `fixed` are those that must be stored whatever happens, `stored`
    those that would be if there were no groups.
    """
    groups: dict[Node, Group] = {}
    taken: set[Node] = set()
    cones = _Cones({n: i for i, n in enumerate(order)}, users, fixed, stored, taken, supported)
    before = _reductions_before(order)
    for root in reversed(order):
        if root not in before or root in taken or root.value is not None or root.prim.name == "complex":
            continue
        if not supported(root) or type(root.sig.out) is tuple:
            continue
        whole = any(shape == root.shape for shape, _, _ in before[root])
        rest = any(size == root.size for _, _, size in before[root])
        group = (cones.group(root, True) if whole else None) or (cones.group(root, False) if rest else None)
        if group is not None:
            groups[root] = group
            taken |= {root, *group.inside, *group.beside}
    return groups


#: What a reduction reduces, over which axes, and how many results it has.
_Kind = tuple[Shape, tuple[int, ...], Any]


def _reductions_before(order: Sequence[Node]) -> dict[Node, frozenset[_Kind]]:
    """The kinds of the reductions that a node is, or is computed from through elementwise work, movement and other
    reductions: roots are among the nodes that have some."""
    found: dict[Node, frozenset[_Kind]] = {}
    for node in order:
        reduces = node.prim.name in REDUCTIONS
        if not (reduces or node.prim.elementwise or node.prim.movement):
            continue
        kinds = frozenset[_Kind]().union(*[found[a] for a in node.args if a in found])
        if reduces:
            kinds |= {(node.args[0].shape, node.attrs["axes"], node.size)}
        if kinds:
            found[node] = kinds
    return found


class _Cones:
    """What roots are computed from, as far down as elementwise work and reductions of one kind go."""

    def __init__(
        self,
        position: Mapping[Node, int],
        users: Mapping[Node, list[Node]],
        fixed: set[Node],
        stored: set[Node],
        taken: set[Node],
        supported: Callable[[Node], bool],
    ) -> None:
        self.position = position
        self.users = users
        self.fixed = fixed
        self.stored = stored
        self.taken = taken
        self.supported = supported
        self._fits: dict[Hashable, bool] = {}

    def group(self, root: Node, whole: bool) -> Group | None:
        """The group of a root, with numbers of rows that are needed elsewhere if there are any and it can be; None
        without one."""
        is_reduction = root.prim.name in REDUCTIONS
        if not (root.prim.elementwise or (is_reduction and not whole)) or (not whole and root.size == 1):
            return None
        fewest = 1 if whole else 2
        found = self._walked(root, whole, True)
        if found.beside or found.shared:
            if len(found.reductions) >= fewest and _fit(found, self.position, self._fits):
                return found
            found = self._walked(root, whole, False)
        return found if len(found.reductions) >= fewest and _fit(found, self.position, self._fits) else None

    def _walked(self, root: Node, whole: bool, beside: bool) -> Group:
        group = Group(root, whole)
        self._walk(group, beside)
        group.reductions.sort(key=self.position.__getitem__)
        return group

    def _walk(self, group: Group, beside: bool) -> None:
        """From the root down: the last in order first, so that all users of a node come before it."""
        root, inside = group.root, {group.root}
        waiting = [(-self.position[root], root)]
        seen: set[Node] = set()
        while waiting:
            _, node = heapq.heappop(waiting)
            if node in self.taken or not self.supported(node) or node.prim.name in looked_up:
                continue
            reduces = node.prim.name in REDUCTIONS
            if reduces and not _alike(node, group):
                continue
            if not reduces and (not can_pull(node) or not (node.prim.elementwise or node.prim.movement)):
                continue
            if node is not root:
                own = node not in self.fixed and all(u in inside for u in self.users[node])
                if not own and not (beside and self._kept(node, group, inside)):
                    continue
                if node not in group.shared:
                    inside.add(node)
            if reduces:
                group.reductions.append(node)
            for a in node.args:
                if a.value is None and a in self.position and a not in seen:
                    seen.add(a)
                    heapq.heappush(waiting, (-self.position[a], a))
        group.inside = inside - {root, *group.beside}

    def _kept(self, node: Node, group: Group, inside: set[Node]) -> bool:
        """Whether a node that others use, too, can be in a group: these must all come later."""
        last = self.position[group.root]
        for u in self.users.get(node, ()):
            if u not in inside and u not in group.shared and self.position.get(u, -1) <= last:
                return False
        small = node.size < group.root.size if group.whole else node.size == group.root.size
        if node not in self.stored and (node.prim.movement or not small):
            group.shared.add(node)
        elif small and node.size > 1 and (node.prim.name in REDUCTIONS or node.prim.elementwise):
            group.beside.append(node)
        else:
            return False
        return True


def _alike(node: Node, group: Group) -> bool:
    """Whether a reduction is one over the rows of the group."""
    shape, axes = node.args[0].shape, node.attrs["axes"]
    if group.reductions:
        first = group.reductions[0]
        return (shape, axes) == (first.args[0].shape, first.attrs["axes"])
    if group.whole:
        return shape == group.root.shape
    return node.size == group.root.size != node.args[0].size


def _fit(group: Group, order: Mapping[Node, int], known: dict[Hashable, bool]) -> bool:
    """Whether every reduction is used in its own row only: tried out, since indices say it best, but once for groups
    that are alike."""
    here = {group.root, *group.inside, *group.shared, *group.beside}
    told = sorted(here, key=order.__getitem__)
    read = list(dict.fromkeys([a for n in told for a in n.args if a not in here and not _number(a)]))
    key = group.whole, likeness([group.root, *group.beside], read, {}, group.reductions)
    if key not in known:
        known[key] = True
        try:
            _stages(group, Lowering({n: i for i, n in enumerate(read)}, {}), 0)
        except NotARow:
            known[key] = False
    return known[key]


def _number(node: Node) -> bool:
    return isinstance(node.value, (bool, int, float, complex))


def _stages(group: Group, lowering: Lowering, out: int) -> tuple[Stage, ...]:
    """The stages of a group's kernel; the root is stored in buffer `out`, what lies beside it in the next ones."""
    root, first = group.root, group.reductions[0]
    shape, axes = first.args[0].shape, first.attrs["axes"]
    left, inner, at = at_reduction(shape, axes)  # type: ignore[arg-type]
    lowering.refuse = NotARow
    stages = []
    for k, node in enumerate(group.reductions):
        value = lowering.value(node.args[0], at)
        stages.append(Stage(inner, reductions=(Reduction(node.prim.name, value, node.dtype),)))
        lowering.totals[node] = k
        lowering.places[node] = left

    def store(node: Node, buffer: int, at: Indices) -> Store:
        return Store(buffer, lowering.place(node, at), lowering.value(node, at))

    numbers = [store(n, out + 1 + i, _of_row(n, shape, axes, left)) for i, n in enumerate(group.beside)]
    if not group.whole:
        result = store(root, out, _of_row(root, shape, axes, left))
        return *stages, Stage((), stores=(result, *numbers))
    result = store(root, out, at)
    stages = _computed_once([*stages, Stage(inner, stores=(result,))], result)
    return *stages, *([Stage((), stores=tuple(numbers))] if numbers else [])


def _of_row(node: Node, shape: Sequence[object], axes: Sequence[int], left: Indices) -> Indices:
    """The indices of a row's number: the reduced axes are gone, or of length 1."""
    kept = [n for a, n in enumerate(shape) if a not in axes]
    if list(node.shape) == kept:
        return left
    if list(node.shape) != [1 if a in axes else n for a, n in enumerate(shape)]:
        raise NotARow
    given = iter(left)
    return tuple([as_index(0) if a in axes else next(given) for a in range(len(shape))])


def _computed_once(stages: list[Stage], last: Store) -> list[Stage]:
    """The stages, with elementary functions that a sum and the result share computed once.

    In between they wait in the memory of the result: the row lies in the cache.
    """
    for i, stage in enumerate(stages[:-1]):
        known = set(_parts(stage.reductions[0].value))
        for e in _parts(last.value):
            if e in known and _is_costly(e) and e.dtype is last.value.dtype and e.dtype.bits >= 32:
                waiting = Load(last.buffer, last.index, e.dtype)
                result = replace(last, value=substituted(last.value, e, waiting))
                early = replace(stage, stores=(replace(last, value=e),))
                return [*stages[:i], early, *stages[i + 1 : -1], replace(stages[-1], stores=(result,))]
    return stages


def _parts(e: Expr) -> list[Expr]:
    """An expression and what it is made of by operations, the whole first."""
    return found_in([e], lambda e: e.args if isinstance(e, Apply) else ())


def _is_costly(e: Expr) -> bool:
    """Whether an elementary function of each element is the last thing that is done."""
    return (
        isinstance(e, Apply) and e.op in functions and any(isinstance(p, (Load, Inside)) for p in _parts(e))
    )


def _left(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    return tuple([n for a, n in enumerate(shape) if a not in axes])


def row_kernel(c: Common, group: Group) -> Kernel:
    """The kernel of a group."""
    first = group.reductions[0]
    shape, axes = first.args[0].shape, first.attrs["axes"]
    stages = _stages(group, c.lowering, len(c.inputs))
    # By size, and not by what is left in the indices: a variable of an empty axis is nowhere to be seen there, and its
    # loop must run no times.
    outer = tuple([v for v in variables(_left(shape, axes), "i") if v.size != 1])  # type: ignore[arg-type]
    notes = (*[r.prim.name for r in group.reductions], c.root.prim.name)
    across = runs_across(shape, axes) and bool(outer)  # type: ignore[arg-type]
    outputs = tuple([n.dtype for n in (group.root, *group.beside)])
    return turned(joined(Kernel(c.name, outer, stages, c.inputs, outputs, across, notes=notes)))  # type: ignore[arg-type]
