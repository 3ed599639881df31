"""Dropout, from random bits that the caller draws."""

from __future__ import annotations

from ...base.errors import DTypeError
from ...ir.dtype import float32
from ...ir.node import Node
from ..elementwise import cast, equal, less_equal, shift_right, where
from .common import as_type
from .define import composite


def uniform_from(bits: Node) -> Node:
    """Numbers spread evenly over [0, 1) in float32, from the upper 24 of 32 random bits."""
    return cast(shift_right(bits, 8), dtype=float32) * 2.0**-24


def dropped(x: Node, bits: Node, p: Node) -> Node:
    """x with elements put to 0 with probability p, the others divided by 1 - p. With p = 1 all are 0."""
    if bits.dtype.kind != "u":
        raise DTypeError(f"dropout takes random bits, got {bits.aval.describe()}")
    kept = less_equal(as_type(p, float32), uniform_from(bits))
    rest = 1 - p
    return where(kept, x / where(equal(rest, 0), 1, rest), 0)


@composite
def dropout(x, bits, p):
    """x with elements put to 0 with probability p, the others divided by 1 - p.

    `bits` are random 32-bit numbers, of the shape of x or such that they broadcast to it (whole channels at once).
    """
    if x.dtype.kind != "f":
        raise DTypeError(f"dropout takes a floating tensor, got {x.aval.describe()}")
    return dropped(x, bits, p)
