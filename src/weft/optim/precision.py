"""Storage types are updated in float32: what a rule computes in, and how it gets there and back."""

from __future__ import annotations

from ..ir.dtype import float32
from ..ir.node import Node
from ..ops.elementwise import cast


def widen(x: Node) -> Node:
    """float16 and bfloat16 as float32; everything else as it is."""
    return cast(x, dtype=float32) if x.dtype.storage_only else x


def narrow(x: Node, like: Node) -> Node:
    """Back to the dtype of the parameter."""
    return x if x.dtype is like.dtype else cast(x, dtype=like.dtype)


def scalar(value: Node, like: Node) -> Node:
    """A float64 number, rounded once to the dtype it is used in."""
    return cast(value, dtype=like.dtype)
