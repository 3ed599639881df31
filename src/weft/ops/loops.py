"""Loops as primitives: `scan` over a fixed number of steps, and `while_loop` until a condition fails."""

from __future__ import annotations

from typing import Any

from ..base.errors import DTypeError, ShapeError
from ..ir.dtype import bool_
from ..ir.graph import Graph
from ..ir.node import Aval
from ..ir.shape import Size
from .define import primitive


def _expect(what: str, wanted: tuple[Aval, ...], got: tuple[Aval, ...]) -> None:
    if wanted != got:
        raise ShapeError(f"{what} has types {list(got)}, {list(wanted)} are expected")


def _scan_infer(
    *avals: Aval, body: Graph, consts: int, carries: int, length: Size, reverse: bool, rule: Any
) -> Aval | tuple[Aval, ...]:
    elements = []
    for x in avals[consts + carries :]:
        if not x.shape or x.shape[0] != length:
            raise ShapeError(
                f"a sequence of {length} steps is expected along the first axis of {x.describe()}"
            )
        elements.append(Aval(x.shape[1:], x.dtype))
    _expect("the body", (*avals[: consts + carries], *elements), body.in_avals)
    state = avals[consts : consts + carries]
    _expect("the carry after a step", state, body.out_avals[:carries])
    stacked = [Aval((length, *y.shape), y.dtype) for y in body.out_avals[carries:]]
    outs = (*state, *stacked)
    return outs[0] if len(outs) == 1 else outs


@primitive(_scan_infer, attrs=("body", "consts", "carries", "length", "reverse", "rule"), higher_order=True)
def scan(*args, body, consts, carries, length, reverse, rule):
    """Apply `body` `length` times: (consts, carry, x_i) -> (carry, y_i).

    The arguments are `consts` tensors that every step sees, `carries` initial values of the carry, and sequences
    whose first axis counts the steps (the last step first, if `reverse`). The results are the final carry, then
    the y_i stacked along a new first axis, each at the place of its x_i. `rule` is None, or knows how to use
    results that were added for reverse mode.
    """
    raise NotImplementedError("backends evaluate the body")


scan.advisory = ("rule",)


@scan.vjp
def _(cts, outs, *args, need, ad, **attrs):
    return ad.scan_vjp(cts, outs, args, need, **attrs)


@scan.jvp
def _(tangents, outs, *args, ad, **attrs):
    return ad.scan_jvp(tangents, args, **attrs)


@scan.batch
def _(size, batched, *args, ad, **attrs):
    return ad.scan_batch(size, batched, args, **attrs)


def _while_infer(
    *avals: Aval, cond: Graph, body: Graph, cond_consts: int, body_consts: int
) -> Aval | tuple[Aval, ...]:
    state = avals[cond_consts + body_consts :]
    _expect("the condition", (*avals[:cond_consts], *state), cond.in_avals)
    _expect("the body", avals[cond_consts:], body.in_avals)
    _expect("the carry after a step", state, body.out_avals)
    if cond.out_avals != (Aval((), bool_),):
        raise DTypeError(f"the condition must give one boolean, got {list(cond.out_avals)}")
    return state[0] if len(state) == 1 else state


@primitive(_while_infer, attrs=("cond", "body", "cond_consts", "body_consts"), higher_order=True)
def while_loop(*args, cond, body, cond_consts, body_consts):
    """Apply `body`: (consts, carry) -> carry as long as `cond`: (consts, carry) -> bool holds before the step.

    The arguments are the constants of the condition, those of the body, and the initial carry.
    """
    raise NotImplementedError("backends evaluate the bodies")


@while_loop.vjp
def _(cts, outs, *args, need, ad, **attrs):
    return ad.while_vjp()


@while_loop.jvp
def _(tangents, outs, *args, ad, **attrs):
    return ad.while_jvp(tangents, args, **attrs)


@while_loop.batch
def _(size, batched, *args, ad, **attrs):
    return ad.while_batch(size, batched, args, **attrs)
