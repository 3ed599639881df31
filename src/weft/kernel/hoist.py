"""What a loop need not compute in every step: what its body makes of its constants alone is made before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir.graph import Graph, fresh_inputs, instantiate, rebuild
from ..ir.node import Node
from ..ops.loops import scan, while_loop
from ..passes.pipeline import run_passes
from ..passes.rewrite import rewrite
from .summation import REDUCTIONS

#: The body of a loop that takes more constants behind those it had, and a function of those that gives them.
Changed = tuple[Graph, Callable[[Sequence[Node]], Sequence[Node]]]

#: Given a body and how many constants are its first inputs: what becomes of it; None if there is nothing to do.
Change = Callable[[Graph, int], Changed | None]


def hoist_invariants(graph: Graph) -> Graph:
    """`graph` with what the body of a loop computes from its constants alone computed before the loop."""
    return with_constants(graph, _without_invariants)


def with_constants(graph: Graph, change: Change) -> Graph:
    """`graph` with the bodies of its loops changed, so that they take more constants."""

    def rule(old: Node, args: tuple[Node, ...]) -> Node | None:
        if old.prim is scan:
            skipped, count, changes = 0, old.attrs["consts"], {"rule": None}
        elif old.prim is while_loop:
            skipped, count, changes = old.attrs["cond_consts"], old.attrs["body_consts"], {}
        else:
            return None
        found = change(run_passes(old.attrs["body"]), count)
        if found is None:
            return None
        body, make = found
        end = skipped + count
        more = make(args[skipped:end])
        kind = "consts" if old.prim is scan else "body_consts"
        attrs = {**old.attrs, **changes, "body": body, kind: count + len(more)}
        return old.prim.bind(
            (*args[:end], *more, *args[end:]), tuple([attrs[n] for n in old.prim.attr_names])
        )

    return rewrite(graph, rule, (scan.name, while_loop.name))


#: Values may grow by being computed early (a broadcast, say) up to this many elements.
_GROWTH = 1024


def _without_invariants(body: Graph, consts: int) -> Changed | None:
    #: what follows from constants alone -> elements of the largest of these
    behind: dict[Node, int] = {n: int(n.size) for n in body.inputs[:consts]}
    for n in body.nodes:
        same = all(a in behind or a.value is not None for a in n.args)
        if n.value is None and same and _is_plain(n) and any(a in behind for a in n.args):
            behind[n] = max(behind.get(a, 0) for a in n.args)
    found: dict[Node, None] = {}
    inputs = set(body.inputs)
    for n in body.nodes:
        if n in behind or n.value is not None:
            continue
        for a in n.args:
            while a in behind and a not in inputs and a.prim.movement:
                a = next(x for x in a.args if x in behind)
            if a in behind and a not in inputs and int(a.size) <= max(_GROWTH, behind[a]):
                found[a] = None
    if not found:
        return None
    before = Graph(body.inputs[:consts], list(found))
    made = dict(zip(found, fresh_inputs([n.aval for n in found]), strict=True))

    def make(old: Node, args: tuple[Node, ...]) -> Node:
        new = made.get(old)
        if new is None:
            new = rebuild(old, args)
            new.site = old.site
        return new

    fresh = fresh_inputs(body.in_avals)
    outputs = instantiate(body, fresh, make)
    changed = Graph([*fresh[:consts], *made.values(), *fresh[consts:]], outputs)
    return changed, lambda args: instantiate(before, args)


def _is_plain(node: Node) -> bool:
    """Whether a node may be computed at another time, and perhaps in vain."""
    prim = node.prim
    plain = prim.elementwise or prim.movement or prim.name in (*REDUCTIONS, "dot_general", "cast")
    return plain and type(node.sig.out) is not tuple
