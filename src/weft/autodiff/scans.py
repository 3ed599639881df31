"""Derivatives and batching of `scan`.

Forward mode is a scan that carries tangents beside values. Reverse mode is a scan in the other direction: it carries
the cotangents of the carry and the sums of those of the constants, and reads what the forward scan stacked up for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..base.state import isolated
from ..ir.graph import Graph, fresh_inputs, instantiate
from ..ir.node import GRAD, Node, Signature, make_node
from ..ir.primitive import results
from ..ir.shape import Size
from ..ops.loops import scan
from ..ops.movement import permute, zeros
from .batching import spread
from .forward import pushforward
from .graphs import batch_graph, dependent_results
from .pairs import Need, Pair, vjp_pair
from .saved import Saved, saving_results, widen, with_residuals


@dataclass(frozen=True)
class Loop:
    """The attributes of a scan."""

    body: Graph
    consts: int
    carries: int
    length: Size
    reverse: bool

    @property
    def first_x(self) -> int:
        """Position of the first sequence among the arguments."""
        return self.consts + self.carries

    def signature(self, inputs: Sequence[Any], rule: Any = None) -> Signature:
        """The signature for arguments of these types."""
        attrs = (self.body, self.consts, self.carries, self.length, self.reverse, rule)
        return scan.signature(tuple(inputs), attrs)

    def bind(self, args: Sequence[Node]) -> tuple[Node, ...]:
        """The results for arguments, wide where a gradient may be asked for."""
        return saving_results(self.signature([a.aval for a in args]), tuple(args))


def _settle(loop: Loop, flags: Sequence[bool], step: Callable[[Need], Sequence[bool]]) -> Need:
    """`flags` of the arguments, with those of the carry widened until a step adds nothing to them."""
    found = list(flags)
    while True:
        after = step(tuple(found))
        new = [a and not f for a, f in zip(after[: loop.carries], found[loop.consts :], strict=False)]
        if not any(new):
            return tuple(found)
        for i, n in enumerate(new):
            if n:
                found[loop.consts + i] = True


def _moving(loop: Loop, flags: Sequence[bool]) -> Need:
    """Which arguments of the body have a derivative, given which of the scan have."""
    inexact = [a.dtype.inexact for a in loop.body.out_avals]

    def step(now: Need) -> list[bool]:
        found = dependent_results(loop.body, now, differentiably=True)
        return [f and i for f, i in zip(found, inexact, strict=True)]

    return _settle(loop, flags, step)


# -- forward mode -----------------------------------------------------------------------------------------------


def scan_jvp(
    tangents: Sequence[Node | None], args: Sequence[Node], *, rule: Any, **attrs: Any
) -> list[Node | None]:
    """Tangents of the results of a scan."""
    loop = Loop(**attrs)
    moving = _moving(loop, [t is not None for t in tangents])
    wide, present = _tangent_loop(loop, moving)
    given: list[Node] = []
    for lo, hi in ((0, loop.consts), (loop.consts, loop.first_x), (loop.first_x, len(args))):
        given += args[lo:hi]
        for a, t, m in zip(args[lo:hi], tangents[lo:hi], moving[lo:hi], strict=True):
            if m:
                given.append(zeros(a.aval) if t is None else t)
    found = iter(wide.bind(given)[loop.carries :])
    return [next(found) if p else None for p in present]


def _tangent_loop(loop: Loop, moving: Need) -> tuple[Loop, Need]:
    """The loop over values and tangents, and which results have tangents. Its results: carry, its tangents, those of
    the y_i; the values of the y_i are left to the scan that is differentiated."""
    key = ("scan.jvp", loop.consts, loop.carries, moving)
    found = loop.body.memo.get(key)
    if found is None:
        with isolated():
            found = loop.body.memo[key] = _push_body(loop, moving)
    graph, present = found
    consts = loop.consts + sum(moving[: loop.consts])
    carries = loop.carries + sum(moving[loop.consts : loop.first_x])
    return Loop(graph, consts, carries, loop.length, loop.reverse), present


def _push_body(loop: Loop, moving: Need) -> tuple[Graph, Need]:
    args = fresh_inputs(loop.body.in_avals)
    marked = [a for a, m in zip(args, moving, strict=True) if m]
    tangents = fresh_inputs([a.aval for a in marked])
    outs = instantiate(loop.body, args)
    pushed = pushforward(outs, marked, tangents, GRAD)
    given = iter(tangents)
    inputs: list[Node] = []
    for lo, hi in ((0, loop.consts), (loop.consts, loop.first_x), (loop.first_x, len(args))):
        inputs += args[lo:hi]
        inputs += [next(given) for m in moving[lo:hi] if m]
    state = moving[loop.consts : loop.first_x]
    present = (*state, *[p is not None for p in pushed[loop.carries :]])
    final = [
        zeros(o.aval) if p is None else p for o, p, there in zip(outs, pushed, present, strict=True) if there
    ]
    return Graph(inputs, [*outs[: loop.carries], *final]), present


# -- reverse mode -----------------------------------------------------------------------------------------------


class ScanSaved(Saved):
    """The rule of a scan that stacks up what its reverse pass reads.

    `sources` says for each value that the backward body reads where it comes from: an argument (True, i) or a
    result (False, i) of the wide scan. Constants are passed as they are, the others step by step.
    """

    __slots__ = ("active", "backwards", "loop", "pair", "sources")

    def __init__(
        self, plain: Signature, need: Need, loop: Loop, active: Need, pair: Pair, sources: Any
    ) -> None:
        super().__init__(plain, need, tuple(dict.fromkeys(sources)))
        self.loop = loop
        self.active = active
        self.pair = pair
        self.sources = sources
        self.backwards: dict[Need, Loop] = {}

    def backward(self, present: Need) -> Loop:
        """The reverse loop, where `present` tells which y_i have cotangents."""
        found = self.backwards.get(present)
        if found is None:
            with isolated():
                found = self.backwards[present] = _pull_loop(self, present)
        return found


def _attrs(sig: Signature) -> tuple[Loop, Any]:
    attrs = dict(sig.attrs)
    rule = attrs.pop("rule")
    return Loop(**attrs), rule


def _widen(sig: Signature, need: Need) -> Signature:
    loop, _ = _attrs(sig)
    active = _moving(loop, need)
    pair = vjp_pair(loop.body, active)
    stacked: list[Node] = []

    def result(node: Node) -> tuple[bool, int]:
        """The result of the wide scan that holds this value of every step."""
        if node not in stacked:
            stacked.append(node)
        return False, pair.results + stacked.index(node)

    sources: list[tuple[bool, int]] = []
    for is_arg, i in pair.reads:
        if is_arg:
            carried = loop.consts <= i < loop.first_x
            sources.append(result(pair.forward.inputs[i]) if carried else (True, i))
        elif loop.carries <= i < pair.results:
            sources.append((False, i))
        else:
            sources.append(result(pair.forward.outputs[i]))
    forward = Graph(pair.forward.inputs, [*pair.forward.outputs[: pair.results], *stacked])
    wide = Loop(forward, loop.consts, loop.carries, loop.length, loop.reverse)
    return wide.signature(sig.inputs, ScanSaved(sig, need, loop, active, pair, tuple(sources)))


widen[scan] = _widen


def _pull_loop(saved: ScanSaved, present: Need) -> Loop:
    """The body of the reverse loop.

    Its constants are those that the backward graph reads; its carry the cotangents of the active carries, then the
    sums for the constants; its sequences the other reads, then the cotangents of the y_i that are `present`.
    """
    loop, pair, active = saved.loop, saved.pair, saved.active
    reads = fresh_inputs([pair.backward.inputs[k].aval for k in range(len(pair.reads))])
    outs = loop.body.out_avals
    cts: list[Node | None] = []
    for i, o in enumerate(outs):
        moves = active[loop.consts + i] if i < loop.carries else present[i - loop.carries]
        cts.append(fresh_inputs([o])[0] if moves else None)
    given = [zeros(o) if c is None else c for o, c in zip(outs, cts, strict=True) if o.dtype.inexact]
    grads = dict(zip(pair.found, instantiate(pair.backward, [*reads, *given]), strict=True))
    summed = [i for i in pair.found if i < loop.consts]
    sums = fresh_inputs([loop.body.in_avals[i] for i in summed])
    moved = [i for i in range(loop.consts, loop.first_x) if active[i]]
    state = [grads[i] if i in grads else zeros(loop.body.in_avals[i]) for i in moved]
    state += [s + grads[i] for i, s in zip(summed, sums, strict=True)]
    is_const = [_is_const(loop, s) for s in saved.sources]
    consts = [r for r, c in zip(reads, is_const, strict=True) if c]
    carry = [c for c in cts[: loop.carries] if c is not None] + sums
    xs = [r for r, c in zip(reads, is_const, strict=True) if not c]
    xs += [c for c in cts[loop.carries :] if c is not None]
    ys = [grads[i] for i in pair.found if i >= loop.first_x]
    body = Graph([*consts, *carry, *xs], [*state, *ys])
    return Loop(body, len(consts), len(carry), loop.length, not loop.reverse)


def _is_const(loop: Loop, source: tuple[bool, int]) -> bool:
    return source[0] and source[1] < loop.consts


def scan_vjp(
    cts: Sequence[Node | None], outs: Sequence[Node], args: Sequence[Node], need: Need, **attrs: Any
) -> list[Node | None]:
    """Cotangents of the arguments of a scan."""
    rule = attrs.pop("rule")
    loop = Loop(**attrs)
    sig = loop.signature([a.aval for a in args])
    if isinstance(rule, ScanSaved):
        count = rule.pair.results
        if not any(c is not None for c in cts[count:]):
            if rule.covers(need):
                return _pull(rule, cts[:count], outs, args, need)
            cts, outs, sig = cts[:count], outs[:count], rule.plain
    wide = with_residuals(sig, need)
    return _pull(wide.attrs["rule"], cts, results(make_node(wide, tuple(args))), args, need)


def _pull(
    rule: ScanSaved, cts: Sequence[Node | None], saved: Sequence[Node], args: Sequence[Node], need: Need
) -> list[Node | None]:
    loop, pair = rule.loop, rule.pair
    out: list[Node | None] = [None] * len(args)
    present = tuple([c is not None for c in cts[loop.carries :]])
    back = rule.backward(present)
    reads = [args[i] if is_arg else saved[i] for is_arg, i in rule.sources]
    is_const = [_is_const(loop, s) for s in rule.sources]
    summed = [i for i in pair.found if i < loop.consts]
    moved = [i for i in range(loop.consts, loop.first_x) if rule.active[i]]
    given = [r for r, c in zip(reads, is_const, strict=True) if c]
    for i in moved:
        ct = cts[i - loop.consts]
        given.append(zeros(args[i].aval) if ct is None else ct)
    given += [zeros(args[i].aval) for i in summed]
    given += [r for r, c in zip(reads, is_const, strict=True) if not c]
    given += [c for c in cts[loop.carries :] if c is not None]
    if not back.body.outputs:
        return out
    positions = [*moved, *summed, *[i for i in pair.found if i >= loop.first_x]]
    for i, found in zip(positions, back.bind(given), strict=True):
        out[i] = found if need[i] else None
    return out


# -- batching -----------------------------------------------------------------------------------------------------


def scan_batch(
    size: Size, batched: Need, args: Sequence[Node], *, rule: Any, **attrs: Any
) -> tuple[Node, ...]:
    """A scan over one more axis, which sits behind the axis of the steps."""
    loop = Loop(**attrs)
    flags = _settle(loop, batched, lambda now: dependent_results(loop.body, now))
    ys = dependent_results(loop.body, flags)[loop.carries :]
    state = flags[loop.consts : loop.first_x]
    body = batch_graph(loop.body, flags, size, (*state, *ys))
    given = []
    for i, (a, before, now) in enumerate(zip(args, batched, flags, strict=True)):
        if i >= loop.first_x:
            given.append(_swap(a) if before else a)
        else:
            given.append(spread(a, size) if now and not before else a)
    wide = Loop(body, loop.consts, loop.carries, loop.length, loop.reverse)
    outs = wide.bind(given)
    final = [o if b else spread(o, size) for o, b in zip(outs, state, strict=False)]
    final += [_swap(o) if b else spread(o, size) for o, b in zip(outs[loop.carries :], ys, strict=True)]
    return tuple(final)


def _swap(node: Node) -> Node:
    """The first two axes exchanged."""
    return permute(node, axes=(1, 0, *range(2, node.ndim)))
