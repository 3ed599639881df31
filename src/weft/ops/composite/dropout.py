"""Dropout, from random bits that the caller draws."""

from __future__ import annotations

from ...base.errors import DTypeError
from ...ir.dtype import float32
from ...ir.node import Node
from ..elementwise import cast, equal, less_equal, rsqrt, shift_right, where
from .common import as_type
from .define import composite


def uniform_from(bits: Node) -> Node:
    """Numbers spread evenly over [0, 1) in float32, from the upper 24 of 32 random bits."""
    return cast(shift_right(bits, 8), dtype=float32) * 2.0**-24


def _kept(bits: Node, p: Node) -> Node:
    """True with probability 1 - p."""
    return less_equal(as_type(p, float32), uniform_from(bits))


def rest_of(p: Node) -> Node:
    """1 - p, what elements that are kept are divided by; 1 where none are."""
    rest = 1 - p
    return where(equal(rest, 0), 1, rest)


def dropped(x: Node, bits: Node, p: Node) -> Node:
    """x with elements put to 0 with probability p, the others divided by 1 - p. With p = 1 all are 0."""
    if bits.dtype.kind != "u":
        raise DTypeError(f"dropout takes random bits, got {bits.aval.describe()}")
    return where(_kept(bits, p), x / rest_of(p), 0)


@composite
def dropout(x, bits, p):
    """x with elements put to 0 with probability p, the others divided by 1 - p.

    `bits` are random 32-bit numbers, of the shape of x or such that they broadcast to it (whole channels at once).
    """
    if x.dtype.kind != "f":
        raise DTypeError(f"dropout takes a floating tensor, got {x.aval.describe()}")
    return dropped(x, bits, p)


_SELU_FLOOR = -1.7580993408473766  # what a SELU tends to for very negative x


@composite
def alpha_dropout(x, bits, p):
    """x with elements put to the least value of a SELU with probability p, then scaled and shifted.

    Scale and shift keep mean 0 and variance 1. `bits` are as in `dropout`; with p = 1 all are 0.
    """
    if x.dtype.kind != "f":
        raise DTypeError(f"alpha_dropout takes a floating tensor, got {x.aval.describe()}")
    rest = as_type(1 - p, x.dtype)
    none = equal(rest, 0)
    scale = where(none, 0, rsqrt(where(none, 1, rest) * (1 + (1 - rest) * _SELU_FLOOR**2)))
    return (where(_kept(bits, p), x, _SELU_FLOOR) - _SELU_FLOOR * (1 - rest)) * scale
