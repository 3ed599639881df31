"""Kernels for one operation by itself, on operands of any size.

Elementwise operations go through memory as one long row. What works along axes sees three: those in front of them,
they themselves, and those behind; a sum of floats whose vectors run along what is reduced sees what is left, and of
what is reduced all axes but the last and the last one. Where the axes do not lie so, elements are moved first. A kernel
then has sizes that are open, and makes the same arithmetic in the same order as that of the planner for these shapes:
its bits are those of larger kernels that have the operation inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, NamedTuple

from ..ir.node import Aval, Signature
from .summation import LONG_DOT, REDUCTIONS, SHORT_DOT, in_rows, runs_across

#: Elements of an operand, at most.
FEW = 1 << 12

#: Operations on single elements that are not declared as such.
_PER_ELEMENT = frozenset(("cast", "integer_pow", "polygamma"))

#: Operations along one axis.
_ALONG = ("cumsum", "cumprod", "cummax", "cummin")

#: The sizes that kernels are written for before their generic form is made: primes, so that what a number in a kernel
#: is the product of can be told. What is gone through along an axis is longer there than it ever is.
_ROW = (1009,)
_COLUMNS = (37, 4099, 3)  # in front, along, behind
_ROWS = (37, 41, 1009)  # left, reduced, reduced last
_PRODUCT = (37, 29, 4099, 3)  # batch, rows, summed over, columns


class Single(NamedTuple):
    """An operation as a call of a kernel for all sizes."""

    sig: Signature  #: the operation on operands of sizes that stand for all others
    stands: tuple[int, ...]  #: these sizes
    sizes: tuple[int, ...]  #: what they stand for here
    #: for each operand, if it has to be moved first: the shape it is broadcast to, or the order of its axes
    spread: Sequence[tuple[int, ...] | None] = (None, None)
    turned: Sequence[tuple[int, ...] | None] = (None, None)


def single(sig: Signature) -> Single | None:
    """An operation by itself; None where the order of its arithmetic depends on the shape in another way."""
    out = sig.out
    if isinstance(out, tuple) or not sig.inputs:
        return None
    avals = (*sig.inputs, out)
    if any(a.dtype.storage_only or a.size > FEW for a in avals):
        return None
    name = sig.prim.name
    if sig.prim.elementwise or name in _PER_ELEMENT:
        return _elementwise(sig, out)
    if sig.is_complex:
        return None
    if name in REDUCTIONS:
        return _reduction(sig, sig.inputs[0])
    if name in _ALONG:
        return _along(sig, sig.inputs[0])
    return _product(sig, sig.inputs[0], sig.inputs[1], out) if name == "dot_general" else None


def combines_nothing(sig: Signature) -> bool:
    """Whether an operation is a reduction over axes of one element, if any: only the shape changes."""
    if sig.prim.name not in REDUCTIONS:
        return False
    return all(sig.inputs[0].shape[a] == 1 for a in sig.attrs["axes"])


def _elementwise(sig: Signature, out: Aval) -> Single:
    length: int = out.size
    sizes = [a.size for a in sig.inputs]
    stands = tuple(
        [Aval(() if n == 1 < length else _ROW, a.dtype) for n, a in zip(sizes, sig.inputs, strict=True)]
    )
    spread = [None if n in (1, length) else out.shape for n in sizes]
    of_rows = sig.prim.signature(stands, tuple(sig.attrs.values()))
    return Single(of_rows, _ROW, (length,), spread, (None,) * len(sizes))  # type: ignore[arg-type]


def _reduction(sig: Signature, x: Aval) -> Single | None:
    shape: Any = x.shape
    axes = sig.attrs["axes"]
    long = [a for a in range(x.ndim) if shape[a] != 1]
    gone, left = [a for a in long if a in axes], [a for a in long if a not in axes]
    if not gone or (sig.prim.name == "sum" and in_rows(x, axes)):
        return None
    ordered = x.dtype.kind == "f"  # of zeros, too, one is the greatest
    apart = (*left, *gone, *[a for a in range(x.ndim) if a not in long])
    turned = None if gone == long[len(left) :] else apart
    if ordered and not (runs_across(shape, axes) and left):
        return _of_one(sig, x, (1, 2), _ROWS, (_size(x, left), _size(x, gone[:-1]), shape[gone[-1]]), turned)
    if not ordered and turned is None:
        return _of_one(sig, x, (1, 2), _ROWS, (_size(x, left), 1, _size(x, gone)), None)
    first, last = long.index(gone[0]), long.index(gone[-1])
    if gone == long[first : last + 1]:
        sizes = _size(x, long[:first]), _size(x, gone), _size(x, long[last + 1 :])
        return _of_one(sig, x, (1,), _COLUMNS, sizes, None)
    return _of_one(sig, x, (1,), _COLUMNS, (_size(x, left), _size(x, gone), 1), apart)


def _of_one(
    sig: Signature, x: Aval, axes: Any, stands: tuple[int, ...], sizes: tuple[int, ...], turned: Any
) -> Single:
    attrs = tuple([axes if k in ("axes", "axis") else v for k, v in sig.attrs.items()])
    return Single(sig.prim.signature((Aval(stands, x.dtype),), attrs), stands, sizes, (None,), (turned,))


def _along(sig: Signature, x: Aval) -> Single | None:
    axis = sig.attrs["axis"]
    if sig.attrs.get("reverse", False):
        return None
    sizes = _size(x, range(axis)), _size(x, (axis,)), _size(x, range(axis + 1, x.ndim))
    return _of_one(sig, x, 1, _COLUMNS, sizes, None)


def _product(sig: Signature, x: Aval, y: Aval, out: Aval) -> Single | None:
    """Each element of a product is added up in order, where there are several; a single one is a sum like others."""
    (cx, cy), (bx, by) = sig.attrs["contract"], sig.attrs["batch"]
    length = _size(x, cx)
    if out.dtype.kind == "f" and not _is_in_order(out.shape, length):
        along = [a for a in cx if x.shape[a] != 1]
        return _dot(sig, x, y, length) if out.size == 1 and len(along) == 1 and length < LONG_DOT else None
    rows, columns = _others(x, cx, bx), _others(y, cy, by)
    turned = [
        None if order == tuple(range(len(order))) else order
        for order in ((*bx, *rows, *cx), (*by, *cy, *columns))
    ]
    batch, m, k, n = _PRODUCT
    of_matrices = sig.prim.signature(
        (Aval((batch, m, k), x.dtype), Aval((batch, k, n), y.dtype)), (((2,), (1,)), ((0,), (0,)))
    )
    sizes = _size(x, bx), _size(x, rows), length, _size(y, columns)
    return Single(of_matrices, _PRODUCT, sizes, turned=turned)


def _dot(sig: Signature, x: Aval, y: Aval, length: int) -> Single:
    """The product of two rows, which lie in memory as they are."""
    of_rows = sig.prim.signature((Aval(_ROW, x.dtype), Aval(_ROW, y.dtype)), (((0,), (0,)), ((), ())))
    return Single(of_rows, _ROW, (length,))


def _is_in_order(shape: Any, length: int) -> bool:
    """Whether each element of a product of floats is added up from first to last; one that contracts nothing is not."""
    if length < SHORT_DOT:
        return length != 1 and prod(shape) != 1
    return length < LONG_DOT and shape != () and shape[-1] != 1


def _size(x: Aval, axes: Iterable[int]) -> int:
    return prod([x.shape[a] for a in axes])  # type: ignore[misc]


def _others(x: Aval, *axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([a for a in range(x.ndim) if not any(a in group for group in axes)])


class Filling(NamedTuple):
    """What a number in a kernel is: a number, or the product of those of the sizes that have these positions."""

    number: int
    sizes: tuple[int, ...]

    def of(self, sizes: Sequence[int]) -> int:
        return prod([sizes[i] for i in self.sizes], start=self.number)
