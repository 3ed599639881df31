"""Contractions: products summed over shared axes."""

from __future__ import annotations

import numpy as np

from ..base.errors import DTypeError, ShapeError
from ..ir.dtype import bool_, float32
from ..ir.node import Aval
from ..ir.shape import broadcast_shapes
from .define import Sample, complex_values, primitive, values
from .movement import broadcast_to, permute

Axes = tuple[int, ...]


def _free(rank: int, *used: Axes) -> Axes:
    return tuple([i for i in range(rank) if not any(i in u for u in used)])


def _dot_infer(x: Aval, y: Aval, *, contract: tuple[Axes, Axes], batch: tuple[Axes, Axes]) -> Aval:
    if x.dtype is not y.dtype:
        raise DTypeError(f"operands of one dtype expected, got {x.describe()} and {y.describe()}")
    if x.dtype is bool_:
        raise DTypeError(
            f"takes numbers, got {x.describe()} and {y.describe()}; cast to an integer type first"
        )
    for v, axes in zip((x, y), zip(contract, batch, strict=True), strict=True):
        named = [a for group in axes for a in group]
        if len(set(named)) != len(named) or not all(0 <= a < v.ndim for a in named):
            raise ShapeError(f"{named} are not distinct axes of {v.describe()}")
    for (xs, ys), what in ((contract, "contracted"), (batch, "batch")):
        if len(xs) != len(ys):
            raise ShapeError(
                f"as many {what} axes of one operand as of the other expected, got {xs} and {ys}"
            )
        for i, j in zip(xs, ys, strict=True):
            if x.shape[i] != y.shape[j]:
                raise ShapeError(
                    f"axis {i} of {x.describe()} and axis {j} of {y.describe()} are {what} together, "
                    f"but have sizes {x.shape[i]} and {y.shape[j]}"
                )
    out = [x.shape[i] for i in batch[0]]
    out += [x.shape[i] for i in _free(x.ndim, contract[0], batch[0])]
    out += [y.shape[i] for i in _free(y.ndim, contract[1], batch[1])]
    return Aval(tuple(out), x.dtype)


def _dot_samples() -> list[Sample]:
    def sample(xs, ys, contract, batch=((), ())):
        return Sample((values(xs), values(ys, seed=1)), {"contract": contract, "batch": batch})

    return [
        sample((3, 4), (4, 2), ((1,), (0,))),
        sample((4,), (4,), ((0,), (0,))),
        sample((2, 3, 4), (2, 4, 5), ((2,), (1,)), ((0,), (0,))),
        sample((3, 2, 4), (5, 4, 2), ((1, 2), (2, 1))),
        sample((3,), (2,), ((), ())),
        sample((3, 0), (0, 2), ((1,), (0,))),
        sample((2, 3, 4, 2), (2, 5, 2, 4), ((2, 3), (3, 2)), ((0,), (0,))),
        sample((4, 3, 2), (2, 4), ((0,), (1,)), ((2,), (0,))),
        sample((), (), ((), ())),
        Sample((values((3, 4)).astype(np.float32), values((4, 2), seed=1).astype(np.float32)),
               {"contract": ((1,), (0,)), "batch": ((), ())}),
        Sample((complex_values((2, 3)), complex_values((2, 3), 4)), {"contract": ((1,), (1,)), "batch": ((), ())}),
        Sample((np.array([[np.inf, 1.0], [np.nan, 0.0]]), np.array([[0.0], [1.0]])),
               {"contract": ((1,), (0,)), "batch": ((), ())}, smooth=False),
        Sample((np.arange(6).reshape(2, 3), np.arange(6).reshape(3, 2)),
               {"contract": ((1,), (0,)), "batch": ((), ())}, smooth=False),
    ]  # fmt: skip


@primitive(_dot_infer, attrs=("contract", "batch"), samples=_dot_samples)
def dot_general(x, y, *, contract, batch):
    """Products of x and y summed over the `contract` axes, for each index of the `batch` axes.

    out[b..., i..., j...] = sum over k... of x[b, i, k] * y[b, j, k]; the axes of the result are the batch axes,
    then the free axes of x, then those of y, each in order. A sum of nothing is 0; 0 * inf and 0 * NaN are NaN;
    integers wrap around; complex operands are not conjugated.
    """
    free_x, free_y = _free(x.ndim, contract[0], batch[0]), _free(y.ndim, contract[1], batch[1])
    lead = [x.shape[i] for i in batch[0]]
    rows, columns = [x.shape[i] for i in free_x], [y.shape[i] for i in free_y]
    k = int(np.prod([x.shape[i] for i in contract[0]], dtype=np.int64))
    m, n = int(np.prod(rows, dtype=np.int64)), int(np.prod(columns, dtype=np.int64))
    a = x.transpose(*batch[0], *free_x, *contract[0]).reshape((*lead, m, k))
    b = y.transpose(*batch[1], *contract[1], *free_y).reshape((*lead, k, n))
    return np.matmul(a, b).reshape((*lead, *rows, *columns))


@dot_general.transpose(0, 1, multilinear=True)
def _(ct, index, x, y, *, contract, batch):
    rank_b = len(batch[0])
    free_x, free_y = _free(x.ndim, contract[0], batch[0]), _free(y.ndim, contract[1], batch[1])
    lead = tuple(range(rank_b))
    if index == 0:
        other, keep, along = y, free_y, tuple(range(rank_b + len(free_x), ct.ndim))
        mine, own, free = contract[0], batch[0], free_x
        theirs, side = contract[1], batch[1]
    else:
        other, keep, along = x, free_x, tuple(range(rank_b, rank_b + len(free_x)))
        mine, own, free = contract[1], batch[1], free_y
        theirs, side = contract[0], batch[0]
    left = tuple([mine[theirs.index(j)] for j in sorted(theirs)])  # my axes, as the other operand orders them
    if (*own, *left, *free) == tuple(range(rank_b + len(left) + len(free))):
        return dot_general(other, ct, contract=(keep, along), batch=(side, lead))
    out = dot_general(ct, other, contract=(along, keep), batch=(lead, side))
    order = tuple(int(i) for i in np.argsort((*own, *free, *left)))
    return out if order == tuple(range(len(order))) else permute(out, axes=order)


@dot_general.batch
def _(size, batched, x, y, *, contract, batch):
    return _batched(dot_general, batched, x, y, contract, batch)


def _batched(dot, batched, x, y, contract, batch):
    """`dot` of operands of which some have one more axis in front."""

    def shift(axes, by):
        return tuple([a + by for a in axes])

    bx, by = map(int, batched)
    cx, cy = shift(contract[0], bx), shift(contract[1], by)
    if all(batched):
        return dot(x, y, contract=(cx, cy), batch=((0, *shift(batch[0], 1)), (0, *shift(batch[1], 1))))
    out = dot(x, y, contract=(cx, cy), batch=(shift(batch[0], bx), shift(batch[1], by)))
    lead = len(batch[0])
    # The new axis is the first free axis of the operand that carries it: bring it to the front.
    at = lead if bx else lead + len(_free(x.ndim, cx, batch[0]))
    return out if at == 0 else permute(out, axes=(at, *[i for i in range(out.ndim) if i != at]))


def _wide_infer(x: Aval, y: Aval, *, contract: tuple[Axes, Axes], batch: tuple[Axes, Axes]) -> Aval:
    if x.dtype.kind != "f" or x.dtype.bits > 32:
        raise DTypeError(f"takes floats of 16 or 32 bits, got {x.describe()} and {y.describe()}")
    return Aval(_dot_infer(x, y, contract=contract, batch=batch).shape, float32)


def _wide_samples() -> list[Sample]:
    def sample(xs, ys, contract, batch=((), ())):
        x, y = values(xs).astype(np.float32), values(ys, seed=1).astype(np.float32)
        return Sample((x, y), {"contract": contract, "batch": batch}, smooth=False)

    return [
        sample((3, 4), (4, 2), ((1,), (0,))),
        sample((2, 17, 64), (2, 18, 64), ((2,), (2,)), ((0,), (0,))),
    ]


@primitive(_wide_infer, attrs=("contract", "batch"), samples=_wide_samples)
def wide_dot(x, y, *, contract, batch):
    """`dot_general` of floats of at most 32 bits, with sums that stay float32, not rounded to the operands' type.

    Compilers write it where the processor itself multiplies 16-bit floats. What users ask for is rounded.
    """
    return dot_general.evaluate(x, y, contract=contract, batch=batch)


wide_dot.nondifferentiable("compilers write it when gradients have been taken; those are of dot_general")


@wide_dot.batch
def _(size, batched, x, y, *, contract, batch):
    return _batched(wide_dot, batched, x, y, contract, batch)


def matmul(x, y):
    """Matrix product of two nodes of two or more dimensions, batch axes broadcast."""
    if x.ndim < 2 or y.ndim < 2:
        raise ShapeError(
            f"matmul: two or more dimensions expected of both, got {x.aval.describe()} and {y.aval.describe()}"
        )
    if y.ndim == 2:
        return dot_general(x, y, contract=((x.ndim - 1,), (0,)), batch=((), ()))
    if x.ndim == 2:  # one matrix for all: the stack becomes columns
        out = dot_general(x, y, contract=((1,), (y.ndim - 2,)), batch=((), ()))
        return permute(out, axes=(*range(1, out.ndim - 1), 0, out.ndim - 1))
    lead = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x = broadcast_to(x, (*lead, *x.shape[-2:]))
    y = broadcast_to(y, (*lead, *y.shape[-2:]))
    axes = tuple(range(len(lead)))
    return dot_general(x, y, contract=((x.ndim - 1,), (y.ndim - 2,)), batch=(axes, axes))
