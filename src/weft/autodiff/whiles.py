"""Derivatives and batching of `while_loop`. Reverse mode would need storage for an unknown number of steps."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.errors import GradientError
from ..base.state import isolated
from ..ir.dtype import bool_, int64
from ..ir.graph import Graph, fresh_inputs, instantiate
from ..ir.node import GRAD, Aval, Node
from ..ir.primitive import results
from ..ir.shape import Size
from ..ops.comparison import less
from ..ops.define import constant
from ..ops.elementwise import cast
from ..ops.loops import while_loop
from ..ops.movement import reshape, zeros
from ..ops.reduce import sum_
from ..ops.selection import where
from .batching import spread
from .forward import pushforward
from .graphs import batch_graph, dependent_results
from .pairs import Need


def while_vjp() -> list[Node | None]:
    """There is none."""
    raise GradientError(
        "while_loop has no reverse mode: the number of its steps, and so of the values to keep, is not known before "
        "it runs. Use scan over a fixed number of steps, with where or cond for steps that do nothing, or forward "
        "mode (jvp, jacfwd)"
    )


def _settle(body: Graph, consts: int, flags: Need, *, differentiably: bool) -> Need:
    """Flags of the body's arguments, with those of the carry widened until a step adds nothing."""
    while True:
        after = dependent_results(body, flags, differentiably=differentiably)
        state = tuple(
            [
                f or (a and (o.dtype.inexact or not differentiably))
                for f, a, o in zip(flags[consts:], after, body.out_avals, strict=True)
            ]
        )
        if state == flags[consts:]:
            return flags
        flags = (*flags[:consts], *state)


def while_jvp(
    tangents: Sequence[Node | None],
    args: Sequence[Node],
    *,
    cond: Graph,
    body: Graph,
    cond_consts: int,
    body_consts: int,
) -> list[Node | None]:
    """Tangents of the final carry: a loop over values and tangents, with the condition on the values."""
    given = tuple([t is not None for t in tangents[cond_consts:]])
    moving = _settle(body, body_consts, given, differentiably=True)
    state = moving[body_consts:]
    key = ("while.jvp", cond, moving)
    found = body.memo.get(key)
    if found is None:
        with isolated():
            found = body.memo[key] = (
                _widened_condition(cond, cond_consts, state),
                _push(body, body_consts, moving),
            )
    first = cond_consts + body_consts
    inputs = list(args[:first])
    inputs += [t for t in tangents[cond_consts:first] if t is not None]
    inputs += args[first:]
    for a, t, m in zip(args[first:], tangents[first:], state, strict=True):
        if m:
            inputs.append(zeros(a.aval) if t is None else t)
    node = while_loop(
        *inputs,
        cond=found[0],
        body=found[1],
        cond_consts=cond_consts,
        body_consts=body_consts + sum(moving[:body_consts]),
    )
    pushed = iter(results(node)[len(state) :])
    return [next(pushed) if m else None for m in state]


def _widened_condition(cond: Graph, consts: int, moving: Need) -> Graph:
    """The condition as a function of the carry and its tangents, which it does not look at."""
    inputs = fresh_inputs(cond.in_avals)
    ignored = fresh_inputs([a for a, m in zip(cond.in_avals[consts:], moving, strict=True) if m])
    return Graph([*inputs, *ignored], instantiate(cond, inputs))


def _push(body: Graph, consts: int, moving: Need) -> Graph:
    args = fresh_inputs(body.in_avals)
    marked = [a for a, m in zip(args, moving, strict=True) if m]
    tangents = fresh_inputs([a.aval for a in marked])
    outs = instantiate(body, args)
    pushed = pushforward(outs, marked, tangents, GRAD)
    split = sum(moving[:consts])
    inputs = [*args[:consts], *tangents[:split], *args[consts:], *tangents[split:]]
    final = [
        zeros(o.aval) if p is None else p for o, p, m in zip(outs, pushed, moving[consts:], strict=True) if m
    ]
    return Graph(inputs, [*outs, *final])


def while_batch(
    size: Size,
    batched: Need,
    args: Sequence[Node],
    *,
    cond: Graph,
    body: Graph,
    cond_consts: int,
    body_consts: int,
) -> tuple[Node, ...]:
    """The loop for many examples: if they differ in the number of steps, until the last one is done."""
    first = cond_consts + body_consts
    flags = _settle(body, body_consts, batched[cond_consts:], differentiably=False)
    state = flags[body_consts:]
    on_cond = (*batched[:cond_consts], *state)
    if dependent_results(cond, on_cond)[0]:
        return _masked(size, batched, args, cond, body, cond_consts, body_consts)
    given = [*args[:first], *_carry(args[first:], batched[first:], state, size)]
    node = while_loop(
        *given,
        cond=batch_graph(cond, on_cond, size, (False,)),
        body=batch_graph(body, flags, size, state),
        cond_consts=cond_consts,
        body_consts=body_consts,
    )
    return tuple([o if b else spread(o, size) for o, b in zip(results(node), state, strict=True)])


def _carry(args: Sequence[Node], batched: Need, wanted: Need, size: Size) -> list[Node]:
    return [spread(a, size) if w and not b else a for a, b, w in zip(args, batched, wanted, strict=True)]


def _masked(
    size: Size,
    batched: Need,
    args: Sequence[Node],
    cond: Graph,
    body: Graph,
    cond_consts: int,
    body_consts: int,
) -> tuple[Node, ...]:
    """A loop whose carry starts with the examples that go on; those that are done keep their carry."""
    first = cond_consts + body_consts
    every = (True,) * (len(args) - first)
    holds = batch_graph(cond, (*batched[:cond_consts], *every), size, (True,))
    step = batch_graph(body, (*batched[cond_consts:first], *every), size, every)
    carry = _carry(args[first:], batched[first:], every, size)
    go = Aval((size,), bool_)
    with isolated():
        flags, *values = fresh_inputs([go, *[a.aval for a in carry]])
        left = sum_(cast(flags, dtype=int64), axes=(0,))
        more = Graph([flags, *values], [less(constant(0, int64), left)])
        consts = fresh_inputs([a.aval for a in args[:first]])
        flags, *values = fresh_inputs([go, *[a.aval for a in carry]])
        after = instantiate(step, [*consts[cond_consts:], *values])
        kept = [
            where(reshape(flags, shape=(size, *[1] * (v.ndim - 1))), a, v)
            for v, a in zip(values, after, strict=True)
        ]
        still = instantiate(holds, [*consts[:cond_consts], *kept])[0]
        masked = Graph([*consts, flags, *values], [still, *kept])
    start = instantiate(holds, [*args[:cond_consts], *carry])[0]
    node = while_loop(*args[:first], start, *carry, cond=more, body=masked, cond_consts=0, body_consts=first)
    return results(node)[1:]
