"""Primitives that hold sub-graphs. `call` is what a composite becomes: one node, whatever its body's size."""

from __future__ import annotations

from typing import Any

from ..base.errors import DTypeError, ShapeError
from ..ir.graph import Graph
from ..ir.node import Aval
from .define import primitive


def _call_infer(*avals: Aval, name: str, body: Graph, rule: Any) -> Aval | tuple[Aval, ...]:
    if avals != body.in_avals:
        raise ShapeError(f"{name} was traced for {body.in_avals}, got {avals}")
    outs = body.out_avals
    return outs[0] if len(outs) == 1 else outs


@primitive(_call_infer, attrs=("name", "body", "rule"), higher_order=True)
def call(*args, name, body, rule):
    """Apply a named body. `rule` is None, or an object with derivatives of its own (see `autodiff.rules`)."""
    raise NotImplementedError("backends evaluate the body")


call.advisory = ("rule",)


@call.vjp
def _(cts, outs, *args, name, body, rule, need, ad):
    return ad.call_vjp(cts, outs, args, name, body, rule, need)


@call.jvp
def _(tangents, outs, *args, name, body, rule, ad):
    return ad.call_jvp(tangents, outs, args, name, body, rule)


@call.batch
def _(size, batched, *args, name, body, rule, ad):
    return ad.call_batch(size, batched, args, name, body, rule)


def _cond_infer(index: Aval, *avals: Aval, branches: tuple[Graph, ...], rule: Any) -> Aval | tuple[Aval, ...]:
    if index.shape or index.dtype.kind not in "ui":
        raise DTypeError(f"the index of a branch is one integer, got {index.describe()}")
    outs = branches[0].out_avals
    for b in branches:
        if b.in_avals != avals:
            raise ShapeError(f"a branch takes {list(b.in_avals)}, the operands are {list(avals)}")
        if b.out_avals != outs:
            raise ShapeError(f"one branch returns {list(outs)}, another {list(b.out_avals)}")
    return outs[0] if len(outs) == 1 else outs


@primitive(_cond_infer, attrs=("branches", "rule"), higher_order=True)
def cond(index, *operands, branches, rule):
    """The results of branch number `index` applied to the operands; only that branch is computed.

    An index below 0 or past the end takes the first or the last branch. `rule` is None, or knows how to use
    results that were added for reverse mode.
    """
    raise NotImplementedError("backends evaluate the branch")


cond.advisory = ("rule",)


@cond.vjp
def _(cts, outs, index, *operands, branches, rule, need, ad):
    return ad.cond_vjp(cts, outs, index, operands, branches, rule, need)


@cond.jvp
def _(tangents, outs, index, *operands, branches, rule, ad):
    return ad.cond_jvp(tangents, index, operands, branches)


@cond.batch
def _(size, batched, index, *operands, branches, rule, ad):
    return ad.cond_batch(size, batched, index, operands, branches)
