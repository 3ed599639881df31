"""Products summed over axes: matmul, tensordot, vecdot, einsum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.checked import checked
from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..ir.dtype import int64
from ..ir.node import Node
from ..ir.shape import broadcast_shapes, normalize_axes, show_shape, size_of
from ..ops import contraction
from ..ops import elementwise as e
from ..ops import indexing as at
from ..ops import movement as m
from ..ops import reduce as r
from .cell import Handle
from .dispatch import matrix_product, note_product, promoted, wrap
from .dtypes import astype
from .manipulation import matrix_transpose
from .remembered import remembered

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = ["einsum", "matmul", "matrix_transpose", "outer", "product", "tensordot", "vecdot"]


def _numeric(nodes: Sequence[Node], name: str) -> None:
    for n in nodes:
        if n.dtype.kind == "b":
            raise DTypeError(f"{name} takes numbers, got {n.aval.describe()}; convert it with astype")


def product(x1: Any, x2: Any) -> Any:
    """`x1 @ x2`; NotImplemented where an operand is of a foreign kind."""
    known = matrix_product(contraction.dot_general, x1, x2)
    if known is not None:
        return known
    if not isinstance(x1, (Handle, np.ndarray)) or not isinstance(x2, (Handle, np.ndarray)):
        return NotImplemented
    x, y = promoted(x1, x2)
    _numeric((x, y), "matmul")
    if x.ndim == 0 or y.ndim == 0:
        raise ShapeError("matmul takes no tensors of zero dimensions; multiply by a number with *")
    if x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        raise ShapeError(
            f"matmul of {show_shape(x.shape)} and {show_shape(y.shape)}: the last axis of the first ({x.shape[-1]}) "
            f"and the {'last but one axis' if y.ndim > 1 else 'axis'} of the second "
            f"({y.shape[-2 if y.ndim > 1 else 0]}) must have one size"
        )
    if y.ndim == 1 or (x.ndim == 1 and y.ndim == 2):
        out = contraction.dot_general.bind((x, y), (((x.ndim - 1,), (0,)), ((), ())))
    elif x.ndim == 1:
        out = contraction.matmul(m.reshape.bind((x,), ((1, *x.shape),)), y)
        out = m.reshape.bind((out,), ((*out.shape[:-2], out.shape[-1]),))
    else:
        out = contraction.matmul(x, y)
    if out.prim is contraction.dot_general:
        note_product(contraction.dot_general, x1, x2, out)
    return wrap(out)


def matmul(x1: Any, x2: Any, /, *, dtype: Any = None) -> Tensor:
    """The matrix product; the axes before the last two are broadcast. A vector on the left counts as a row, on the
    right as a column, and that axis leaves the result.

    Args:
        x1: (..., n, k) or (k,).
        x2: (..., k, m) or (k,).
        dtype: what the operands are converted to first, and so the type of the sums. Products of 8- and 16-bit
            integers wrap around unless they are summed as `wf.int32`, which is quick.

    Returns:
        (..., n, m), with the given dtype, or the one that both operands promote to.
    """
    if dtype is not None:
        x1, x2 = (astype(x, dtype) for x in (x1, x2))
    out = product(x1, x2)
    if out is NotImplemented:
        raise DTypeError(f"matmul takes tensors, got {type(x1).__name__} and {type(x2).__name__}")
    return out


@checked
def tensordot(x1: Any, x2: Any, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Tensor:
    """Products summed over pairs of axes: the last `axes` of x1 with the first of x2, or the axes listed for each.

    The result has the other axes of x1, then those of x2.
    """
    x, y = promoted(x1, x2)
    _numeric((x, y), "tensordot")
    if isinstance(axes, (tuple, list)):
        if len(axes) != 2:
            raise ArgumentError(
                f"tensordot: axes is a number of axes or a pair (axes of x1, axes of x2), got {axes!r}; for one "
                "axis of each write axes=([0], [1])"
            )
        first, second = (tuple(a) if isinstance(a, (tuple, list)) else (a,) for a in axes)
    else:
        if not 0 <= axes <= min(x.ndim, y.ndim):
            raise ShapeError(
                f"tensordot over {axes} axes of tensors of shapes {show_shape(x.shape)} and {show_shape(y.shape)}"
            )
        first, second = tuple(range(x.ndim - axes, x.ndim)), tuple(range(axes))
    if len(first) != len(second):
        raise ArgumentError(f"tensordot needs as many axes of one tensor as of the other, got {axes}")
    pairs = normalize_axes(first, x.ndim), normalize_axes(second, y.ndim)
    return wrap(contraction.dot_general.bind((x, y), (pairs, ((), ()))))


@checked
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The dot products of vectors along `axis`: the sum of conj(x1) * x2. The other axes are broadcast."""
    x, y = promoted(x1, x2)
    _numeric((x, y), "vecdot")
    if x.ndim == 0 or y.ndim == 0:
        raise ShapeError("vecdot takes tensors of at least one dimension")
    if axis >= 0 or axis < -min(x.ndim, y.ndim):
        # Counted from the front it would be another axis in the two tensors.
        if axis < 0 or x.ndim != y.ndim or axis >= x.ndim:
            raise ShapeError(
                f"axis {axis} of vecdot must count from the end and exist in both tensors "
                f"({show_shape(x.shape)} and {show_shape(y.shape)})"
            )
        axis -= x.ndim
    if x.shape[axis] != y.shape[axis]:
        raise ShapeError(
            f"vecdot along axis {axis}: sizes {x.shape[axis]} and {y.shape[axis]} of {show_shape(x.shape)} and "
            f"{show_shape(y.shape)} differ"
        )
    if x.dtype.kind == "c":
        x = e.conj(x)
    shape = broadcast_shapes(x.shape, y.shape)
    x, y = m.broadcast_to(x, shape), m.broadcast_to(y, shape)
    k = len(shape) + axis
    lead = tuple([i for i in range(len(shape)) if i != k])
    return wrap(contraction.dot_general.bind((x, y), (((k,), (k,)), (lead, lead))))


@checked
def outer(x1: Any, x2: Any, /) -> Tensor:
    """The products of every element of a vector with every one of another: out[i, j] = x1[i] * x2[j]."""
    x, y = promoted(x1, x2)
    _numeric((x, y), "outer")
    if x.ndim != 1 or y.ndim != 1:
        raise ShapeError(
            f"outer takes two vectors, got shapes {show_shape(x.shape)} and {show_shape(y.shape)}"
        )
    column = m.reshape(x, shape=(*x.shape, 1))
    return wrap(e.mul(column, y))  # no contraction without sums: that starts from 0, and -0.0 would be 0.0


# -- einsum ---------------------------------------------------------------------------------------------------


@remembered
def einsum(subscripts: str, /, *operands: Any) -> Tensor:
    """Products summed over named axes: `einsum("bik,bkj->bij", x, y)` is a batched matrix product.

    Each operand's axes are letters; letters that are not in the result are summed over; "..." stands for axes that are
    broadcast. Without "->" the result has the letters that occur once, in alphabetical order. A letter that occurs
    twice in one operand takes its diagonal. Operands are contracted two at a time, the smallest result first.

    Raises:
        ArgumentError: the subscripts cannot be read.
        ShapeError: they do not fit the operands.
    """
    if not isinstance(subscripts, str):
        raise ArgumentError(f"einsum takes the subscripts as a string first, got {type(subscripts).__name__}")
    nodes = list(promoted(*operands))
    _numeric(nodes, "einsum")
    labels, out = _read(subscripts, nodes)
    terms = [_diagonal(n, own) for n, own in zip(nodes, labels, strict=True)]
    _check_sizes(subscripts, terms)
    while len(terms) > 1:
        i, j = _cheapest(terms, out)
        b, a = terms.pop(j), terms.pop(i)
        needed = set(out).union(*[t[1] for t in terms])
        terms.append(_contract(a, b, needed))
    node, own = _reduced(*terms[0], set(out))
    order = tuple([own.index(c) for c in out])
    if order != tuple(range(len(order))):
        node = m.permute.bind((node,), (order,))
    return wrap(m.identity.bind((node,)) if node is nodes[0] else node)


Term = tuple[Node, str]


def _read(subscripts: str, nodes: list[Node]) -> tuple[list[str], str]:
    """The labels of each operand and of the result. The axes of "..." get labels of their own: digits and beyond."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(nodes):
        raise ArgumentError(f"einsum {subscripts!r} describes {len(parts)} operands, got {len(nodes)}")
    for p in [*parts, right]:
        plain = p.replace("...", "", 1)
        if plain and not (plain.isascii() and plain.isalpha()):
            raise ArgumentError(f"einsum subscripts are letters, ',', '->' and '...', got {subscripts!r}")
    spread = 0
    for p, n in zip(parts, nodes, strict=True):
        extra = n.ndim - len(p.replace("...", ""))
        if extra < 0 or (extra > 0 and "..." not in p):
            raise ShapeError(f"einsum {p!r} does not fit a tensor of shape {show_shape(n.shape)}")
        spread = max(spread, extra if "..." in p else 0)
    dots = "".join([chr(0x2460 + i) for i in range(spread)])
    labels = []
    for p, n in zip(parts, nodes, strict=True):
        extra = n.ndim - len(p.replace("...", ""))
        labels.append(p.replace("...", dots[spread - extra :]))
    if not arrow:
        letters = "".join(parts).replace("...", "")
        return labels, dots + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    out = right.replace("...", dots)
    for c in out:
        if out.count(c) > 1 or not any(c in own for own in labels):
            raise ArgumentError(f"einsum {subscripts!r}: {c!r} of the result occurs twice or in no operand")
    return labels, out


def _diagonal(node: Node, labels: str) -> Term:
    """An operand whose labels are all different: of a repeated one the diagonal is taken."""
    for c in dict.fromkeys(labels):
        axes = tuple([i for i, d in enumerate(labels) if d == c])
        if len(axes) > 1:
            sizes = {node.shape[a] for a in axes}
            if len(sizes) > 1:
                raise ShapeError(f"einsum: {c!r} names axes of sizes {sorted(sizes, key=str)} in one operand")
            line = at.iota(size=node.shape[axes[0]], dtype=int64)
            node = at.gather.bind((node, *[line] * len(axes)), (axes,))
            labels = c + "".join([d for d in labels if d != c])
    return node, labels


def _check_sizes(subscripts: str, terms: list[Term]) -> None:
    """Every label must have one size; axes of "..." may also have size 1, and are broadcast."""
    sizes: dict[str, Any] = {}
    for node, labels in terms:
        for c, n in zip(labels, node.shape, strict=True):
            known = sizes.setdefault(c, n)
            if known != n and not c.isalpha() and (known == 1 or n == 1):
                sizes[c] = n if known == 1 else known
            elif known != n:
                what = f"axis {c!r}" if c.isalpha() else "an axis of '...'"
                raise ShapeError(f"einsum {subscripts!r}: {what} has sizes {known} and {n}")
    for i, (node, labels) in enumerate(terms):
        shape = tuple([sizes[c] for c in labels])
        terms[i] = m.broadcast_to(node, shape), labels


def _cheapest(terms: list[Term], out: str) -> tuple[int, int]:
    """The pair whose contraction leaves the fewest elements."""
    if len(terms) == 2:
        return 0, 1
    best, found = None, (0, 1)
    for i in range(len(terms)):
        for j in range(i + 1, len(terms)):
            needed = set(out).union(*[t[1] for k, t in enumerate(terms) if k not in (i, j)])
            sizes = {c: n for node, own in (terms[i], terms[j]) for c, n in zip(own, node.shape, strict=True)}
            left = size_of([n for c, n in sizes.items() if c in needed])
            if best is None or (isinstance(left, int) and isinstance(best, int) and left < best):
                best, found = left, (i, j)
    return found


def _reduced(node: Node, labels: str, needed: set[str]) -> Term:
    """Labels that nobody else needs summed over."""
    axes = tuple([i for i, c in enumerate(labels) if c not in needed])
    if not axes:
        return node, labels
    return r.sum_.bind((node,), (axes,)), "".join([c for c in labels if c in needed])


def _contract(a: Term, b: Term, needed: set[str]) -> Term:
    """Two operands made one, summed over the labels that only they have."""
    x, own_x = _reduced(*a, needed | set(b[1]))
    y, own_y = _reduced(*b, needed | set(a[1]))
    shared = [c for c in own_x if c in own_y]
    batch = [c for c in shared if c in needed]
    gone = [c for c in shared if c not in needed]
    spec = (
        (tuple([own_x.index(c) for c in gone]), tuple([own_y.index(c) for c in gone])),
        (tuple([own_x.index(c) for c in batch]), tuple([own_y.index(c) for c in batch])),
    )
    node = contraction.dot_general.bind((x, y), spec)
    free = [c for c in own_x if c not in shared] + [c for c in own_y if c not in shared]
    return node, "".join(batch + free)
