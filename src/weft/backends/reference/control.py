"""Loops and branches on the reference backend: Python loops over the interpreter of the body."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ir.graph import Graph
from ...ir.node import Node

Run = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
BodyOf = Callable[[Graph], Run]


def _one_or_all(outs: Sequence[np.ndarray]) -> Any:
    return outs[0] if len(outs) == 1 else tuple(outs)


def scan(body_of: BodyOf, node: Node, arrays: list[np.ndarray]) -> Any:
    """The steps one after the other, each result written to its place."""
    attrs = node.attrs
    first, count, length = attrs["consts"], attrs["carries"], attrs["length"]
    run = body_of(attrs["body"])
    consts, carry, xs = arrays[:first], arrays[first : first + count], arrays[first + count :]
    ys = [np.empty(y.shape, y.dtype.numpy) for y in node.sig.outs[count:]]
    for i in reversed(range(length)) if attrs["reverse"] else range(length):
        outs = run([*consts, *carry, *[x[i, ...] for x in xs]])
        carry = outs[:count]
        for y, out in zip(ys, outs[count:], strict=True):
            y[i, ...] = out
    return _one_or_all([*carry, *ys])


def while_loop(body_of: BodyOf, node: Node, arrays: list[np.ndarray]) -> Any:
    """Steps for as long as the condition holds."""
    attrs = node.attrs
    first, second = attrs["cond_consts"], attrs["cond_consts"] + attrs["body_consts"]
    holds, step = body_of(attrs["cond"]), body_of(attrs["body"])
    carry = arrays[second:]
    while holds([*arrays[:first], *carry])[0]:
        carry = step([*arrays[first:second], *carry])
    return _one_or_all(carry)


def cond(body_of: BodyOf, node: Node, arrays: list[np.ndarray]) -> Any:
    """The branch that the index names."""
    branches = node.attrs["branches"]
    index = min(max(int(arrays[0]), 0), len(branches) - 1)
    return _one_or_all(body_of(branches[index])(arrays[1:]))


def call(body_of: BodyOf, node: Node, arrays: list[np.ndarray]) -> Any:
    """The body."""
    return _one_or_all(body_of(node.attrs["body"])(arrays))


#: Primitive -> how it runs.
LOWERINGS = {"call": call, "scan": scan, "while_loop": while_loop, "cond": cond}
