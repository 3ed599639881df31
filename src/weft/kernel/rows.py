"""Row-wise groups: several reductions over the same rows, and what is computed from them, in one kernel.

A softmax reads its row three times (for the maximum, the sum and the result) while it lies in the cache, and stores
one value for each element; the numbers in between stay in registers.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ..ir.node import Node
from .anchors import REDUCTIONS, Common, at_reduction, runs_across
from .functions import functions
from .index import Index
from .loops import Apply, Expr, Inside, Kernel, Load, Reduction, Stage, Store
from .lower import Lowering, can_pull, looked_up, variables


class NotARow(Exception):
    """A reduction is used at another place than its own row."""


def find_rows(
    order: Sequence[Node], users: dict[Node, list[Node]], fixed: set[Node], supported: Callable[[Node], bool]
) -> dict[Node, tuple[list[Node], list[Node]]]:
    """For each root of a group: (its reductions in order, all nodes that need not be stored).

    `order` are the graph's nodes, arguments first; `fixed` are those that must be stored whatever happens.
    """
    groups: dict[Node, tuple[list[Node], list[Node]]] = {}
    taken: set[Node] = set()
    position = {n: i for i, n in enumerate(order)}
    after = _after_reductions(order)
    for root in reversed(order):
        if root not in after or root in taken or root.value is not None or root.prim.name == "complex":
            continue
        if not (root.prim.elementwise and supported(root)):
            continue
        inside = _cone(root, users, fixed, taken, position, supported)
        reductions = [n for n in sorted(inside, key=position.__getitem__) if n.prim.name in REDUCTIONS]
        if reductions and _fit(root, reductions, inside):
            inside.discard(root)
            groups[root] = reductions, list(inside)
            taken |= {root, *inside}
    return groups


def _after_reductions(order: Sequence[Node]) -> set[Node]:
    """The reductions, and what is computed from one through elementwise work and movement: roots are among these."""
    found: set[Node] = set()
    for node in order:
        passes = node.prim.elementwise or node.prim.movement
        if node.prim.name in REDUCTIONS or (passes and any(a in found for a in node.args)):
            found.add(node)
    return found


def _cone(
    root: Node,
    users: dict[Node, list[Node]],
    fixed: set[Node],
    taken: set[Node],
    position: dict[Node, int],
    supported: Callable[[Node], bool],
) -> set[Node]:
    """The nodes that only `root` depends on, as far down as elementwise work and reductions of one kind go."""
    inside = {root}
    rows: tuple[object, object] | None = None
    waiting: list[tuple[int, Node]] = []  # the last in order first: all users of a node come before it
    seen: set[Node] = set()

    def wait(node: Node) -> None:
        for a in node.args:
            if a.value is None and a in position and a not in seen:
                seen.add(a)
                heapq.heappush(waiting, (-position[a], a))

    wait(root)
    while waiting:
        _, node = heapq.heappop(waiting)
        if node in fixed or node in taken:
            continue
        if not all(u in inside for u in users[node]) or not supported(node) or node.prim.name in looked_up:
            continue
        if node.prim.name in REDUCTIONS:
            kind = (node.args[0].shape, node.attrs["axes"])
            if rows not in (None, kind) or node.args[0].shape != root.shape:
                continue
            rows = kind
        elif not can_pull(node) or not (node.prim.elementwise or node.prim.movement):
            continue
        inside.add(node)
        wait(node)
    return inside


def _fit(root: Node, reductions: Sequence[Node], inside: set[Node]) -> bool:
    """Whether every reduction is used in its own row only: tried out, since indices say it best."""
    outer_nodes = {a for n in inside for a in n.args if a not in inside and not _number(a)}
    lowering = Lowering({n: i for i, n in enumerate(outer_nodes)}, {})
    try:
        _stages(root, reductions, lowering, 0)
    except NotARow:
        return False
    return True


def _number(node: Node) -> bool:
    return isinstance(node.value, (bool, int, float, complex))


def _stages(
    root: Node, reductions: Sequence[Node], lowering: Lowering, out: int
) -> tuple[tuple[Index, ...], tuple[Stage, ...]]:
    first = reductions[0]
    left, inner, at = at_reduction(first.args[0].shape, first.attrs["axes"])  # type: ignore[arg-type]
    lowering.refuse = NotARow
    stages = []
    for k, node in enumerate(reductions):
        value = lowering.value(node.args[0], at)
        stages.append(Stage(inner, reductions=(Reduction(node.prim.name, value, node.dtype),)))
        lowering.totals[node] = k
        lowering.places[node] = left
    store = Store(out, lowering.place(root, at), lowering.value(root, at))
    stages.append(Stage(inner, stores=(store,)))
    return left, tuple(_computed_once(stages, store))


def _computed_once(stages: list[Stage], last: Store) -> list[Stage]:
    """The stages, with elementary functions that a sum and the result share computed once.

    In between they wait in the memory of the result: the row lies in the cache.
    """
    for i, stage in enumerate(stages[:-1]):
        known = set(_parts(stage.reductions[0].value))
        for e in _parts(last.value):
            if e in known and _is_costly(e) and e.dtype is last.value.dtype and e.dtype.bits >= 32:
                waiting = Load(last.buffer, last.index, e.dtype)
                result = replace(last, value=_substituted(last.value, e, waiting))
                early = replace(stage, stores=(replace(last, value=e),))
                return [*stages[:i], early, *stages[i + 1 : -1], replace(stages[-1], stores=(result,))]
    return stages


def _parts(e: Expr) -> Iterator[Expr]:
    """An expression and what it is made of by operations, the whole first."""
    yield e
    if isinstance(e, Apply):
        for a in e.args:
            yield from _parts(a)


def _is_costly(e: Expr) -> bool:
    """Whether an elementary function of each element is the last thing that is done."""
    return (
        isinstance(e, Apply) and e.op in functions and any(isinstance(p, (Load, Inside)) for p in _parts(e))
    )


def _substituted(e: Expr, old: Expr, new: Expr) -> Expr:
    if e == old:
        return new
    if isinstance(e, Apply):
        return replace(e, args=tuple([_substituted(a, old, new) for a in e.args]))
    return e


def _left(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    return tuple([n for a, n in enumerate(shape) if a not in axes])


def row_kernel(c: Common, reductions: Sequence[Node]) -> Kernel:
    """The kernel of a group."""
    first = reductions[0]
    shape, axes = first.args[0].shape, first.attrs["axes"]
    _, stages = _stages(c.root, reductions, c.lowering, len(c.inputs))
    # By size, and not by what is left in the indices: a variable of an empty axis is nowhere to be seen there, and its
    # loop must run no times.
    outer = tuple([v for v in variables(_left(shape, axes), "i") if v.size != 1])  # type: ignore[arg-type]
    notes = (*[r.prim.name for r in reductions], c.root.prim.name)
    across = runs_across(shape, axes) and bool(outer)  # type: ignore[arg-type]
    return Kernel(c.name, outer, stages, c.inputs, (c.root.dtype,), across, notes=notes)  # type: ignore[arg-type]
