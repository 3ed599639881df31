"""Forward mode and batching of `scan`: a scan that carries tangents beside values, or one more axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..base.state import isolated
from ..ir.graph import Graph, fresh_inputs, instantiate
from ..ir.node import GRAD, Node, Signature
from ..ir.shape import Size
from ..ops.loops import scan
from ..ops.movement import permute, zeros
from .batching import spread
from .forward import pushforward
from .graphs import batch_graph, dependent_results
from .pairs import Need
from .saved import saving_results


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


def moving_arguments(loop: Loop, flags: Sequence[bool]) -> Need:
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
    moving = moving_arguments(loop, [t is not None for t in tangents])
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
