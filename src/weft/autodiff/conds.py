"""Derivatives and batching of `cond`: the same branch of other bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..base.state import isolated
from ..ir.graph import Graph, fresh_inputs, instantiate
from ..ir.node import Aval, Node, Signature, make_node
from ..ir.primitive import results
from ..ir.shape import Size
from ..ops.comparison import less_equal
from ..ops.control import call, cond
from ..ops.define import constant
from ..ops.movement import reshape, zeros
from ..ops.selection import where
from .absent import without
from .graphs import batch_graph, jvp_graph
from .pairs import Need, Pair, vjp_pair
from .saved import Saved, saving_results, widen, with_residuals

Branches = tuple[Graph, ...]


def _bind(index: Node, operands: Sequence[Node], branches: Branches) -> tuple[Node, ...]:
    args = (index, *operands)
    return saving_results(cond.signature(tuple([a.aval for a in args]), (branches, None)), args)


# -- forward mode -----------------------------------------------------------------------------------------------


def cond_jvp(
    tangents: Sequence[Node | None], index: Node, operands: Sequence[Node], branches: Branches
) -> list[Node | None]:
    """Tangents of the results of a cond; one that only some branches move is zero in the others."""
    moving = tuple([t is not None for t in tangents[1:]])
    pairs = [jvp_graph(b, moving) for b in branches]
    present = tuple([any(p) for p in zip(*[p for _, p in pairs], strict=True)])
    if not any(present):
        return [None] * len(present)
    key = ("cond.jvp", moving, branches)
    pushed = branches[0].memo.get(key)
    if pushed is None:
        with isolated():
            outs = branches[0].out_avals
            pushed = tuple([_filled(graph, there, present, outs) for graph, there in pairs])
            branches[0].memo[key] = pushed
    found = iter(_bind(index, [*operands, *[t for t in tangents if t is not None]], pushed))
    return [next(found) if p else None for p in present]


def _filled(graph: Graph, there: Sequence[bool], wanted: Sequence[bool], avals: Sequence[Aval]) -> Graph:
    """`graph`, whose results are those marked in `there`, with zeros for what else is `wanted`."""
    inputs = fresh_inputs(graph.in_avals)
    found = iter(instantiate(graph, inputs))
    outs = [next(found) if t else zeros(a) for t, w, a in zip(there, wanted, avals, strict=True) if w]
    return Graph(inputs, outs)


# -- reverse mode -----------------------------------------------------------------------------------------------


class CondSaved(Saved):
    """The rule of a cond whose branches return their residuals, in slots that they share."""

    __slots__ = ("_present", "backward", "found", "results")

    def __init__(
        self,
        plain: Signature,
        need: Need,
        reads: Any,
        backward: Branches,
        found: tuple[int, ...],
        results: int,
    ) -> None:
        super().__init__(plain, need, reads)
        self.backward = backward
        self.found = found  #: positions of the operands that the backward branches return cotangents of
        self.results = results
        self._present: dict[Need, tuple[Branches, tuple[int, ...]]] = {}

    def present(self, present: Need) -> tuple[Branches, tuple[int, ...]]:
        """The backward branches for those cotangents that there are, and the operands they find cotangents of."""
        if all(present):
            return self.backward, self.found
        made = self._present.get(present)
        if made is None:
            avals = [self.plain.inputs[1 + i] for i in self.found]
            zero = (*[False] * (len(self.reads) - 1), *[not p for p in present])
            parts = [without(b, zero) for b in self.backward]
            there = tuple([any(t) for t in zip(*[t for _, t in parts], strict=True)])
            with isolated():
                branches = tuple([_filled(graph, own, there, avals) for graph, own in parts])
            positions = tuple([i for i, t in zip(self.found, there, strict=True) if t])
            made = self._present[present] = branches, positions
        return made


def _widen(sig: Signature, need: Need) -> Signature:
    branches: Branches = sig.attrs["branches"]
    pairs = [vjp_pair(b, need[1:]) for b in branches]
    count = len(sig.outs)
    slots, places = _share([p.forward.out_avals[count:] for p in pairs])
    with isolated():
        forward = tuple([_with_slots(p, place, slots) for p, place in zip(pairs, places, strict=True)])
        reads = sorted(
            {_moved(r, place, count) for p, place in zip(pairs, places, strict=True) for r in p.reads}
        )
        found = tuple(sorted({i for p in pairs for i in p.found}))
        types = [sig.inputs[1 + i] if is_arg else forward[0].out_avals[i] for is_arg, i in reads]
        backward = tuple(
            [
                _backward(p, [_moved(r, place, count) for r in p.reads], reads, types, found, sig.outs)
                for p, place in zip(pairs, places, strict=True)
            ]
        )
    of_node = tuple([(is_arg, i + 1) if is_arg else (is_arg, i) for is_arg, i in reads])
    rule = CondSaved(sig, need, ((True, 0), *of_node), backward, found, count)
    return cond.signature(sig.inputs, (forward, rule))


widen[cond] = _widen


def _share(residuals: Sequence[Sequence[Aval]]) -> tuple[list[Aval], list[list[int]]]:
    """Slots that hold the residuals of whichever branch runs, and the slot of each residual of each branch."""
    slots: list[Aval] = []
    places = []
    for avals in residuals:
        free = list(range(len(slots)))
        place = []
        for a in avals:
            at = next((s for s in free if slots[s] is a), None)
            if at is None:
                at = len(slots)
                slots.append(a)
            else:
                free.remove(at)
            place.append(at)
        places.append(place)
    return slots, places


def _with_slots(pair: Pair, place: Sequence[int], slots: Sequence[Aval]) -> Graph:
    inputs = fresh_inputs(pair.forward.in_avals)
    outs = instantiate(pair.forward, inputs)
    own = dict(zip(place, outs[pair.results :], strict=True))
    return Graph(
        inputs, [*outs[: pair.results], *[own[s] if s in own else zeros(a) for s, a in enumerate(slots)]]
    )


def _moved(read: tuple[bool, int], place: Sequence[int], count: int) -> tuple[bool, int]:
    """Where a branch's read is among the operands and the results with their slots."""
    is_arg, i = read
    return read if is_arg or i < count else (False, count + place[i - count])


def _backward(
    pair: Pair,
    own: Sequence[tuple[bool, int]],
    reads: Sequence[tuple[bool, int]],
    types: Sequence[Aval],
    found: Sequence[int],
    outs: Sequence[Aval],
) -> Graph:
    """A branch's backward graph over the reads of all branches, with cotangents for all that any branch finds."""
    values = fresh_inputs(types)
    cts = fresh_inputs([o for o in outs if o.dtype.inexact])
    at = dict(zip(reads, values, strict=True))
    grads = dict(zip(pair.found, instantiate(pair.backward, [*[at[r] for r in own], *cts]), strict=True))
    avals = pair.forward.in_avals
    return Graph([*values, *cts], [grads[i] if i in grads else zeros(avals[i]) for i in found])


def cond_vjp(
    cts: Sequence[Node | None],
    outs: Sequence[Node],
    index: Node,
    operands: Sequence[Node],
    branches: Branches,
    rule: Any,
    need: Need,
) -> list[Node | None]:
    """Cotangents of the operands of a cond."""
    args = (index, *operands)
    sig = cond.signature(tuple([a.aval for a in args]), (branches, None))
    if isinstance(rule, CondSaved):
        count = rule.results
        if not any(c is not None for c in cts[count:]):
            if rule.covers(need):
                return _pull(rule, cts[:count], outs, args, need)
            cts, outs, sig = cts[:count], outs[:count], rule.plain
    wide = with_residuals(sig, need)
    return _pull(wide.attrs["rule"], cts, results(make_node(wide, args)), args, need)


def _pull(
    rule: CondSaved, cts: Sequence[Node | None], saved: Sequence[Node], args: Sequence[Node], need: Need
) -> list[Node | None]:
    out: list[Node | None] = [None] * len(args)
    given = [c for o, c in zip(saved[: rule.results], cts, strict=True) if o.dtype.inexact]
    branches, positions = rule.present(tuple([c is not None for c in given]))
    if not positions:
        return out
    reads = [args[i] if is_arg else saved[i] for is_arg, i in rule.reads[1:]]
    found = _bind(args[0], [*reads, *[c for c in given if c is not None]], branches)
    for i, g in zip(positions, found, strict=True):
        out[i + 1] = g if need[i + 1] else None
    return out


# -- batching -----------------------------------------------------------------------------------------------------


def cond_batch(
    size: Size, batched: Need, index: Node, operands: Sequence[Node], branches: Branches
) -> tuple[Node, ...]:
    """One branch for all where the index is the same for all; else every branch, and a choice of its results."""
    many = tuple([batch_graph(b, batched[1:], size) for b in branches])
    if not batched[0]:
        return _bind(index, operands, many)
    avals = tuple([o.aval for o in operands])
    rows = [saving_results(call.signature(avals, ("branch", b, None)), tuple(operands)) for b in many]
    chosen = rows[-1]
    for k in range(len(rows) - 2, -1, -1):
        here = less_equal(index, constant(k, index.dtype))
        chosen = tuple(
            [
                where(reshape(here, shape=(size, *[1] * (a.ndim - 1))), a, b)
                for a, b in zip(rows[k], chosen, strict=True)
            ]
        )
    return chosen
