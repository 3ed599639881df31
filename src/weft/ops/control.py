"""Primitives that hold sub-graphs. `call` is what a composite becomes: one node, whatever its body's size."""

from __future__ import annotations

from typing import Any

from ..base.errors import ShapeError
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
