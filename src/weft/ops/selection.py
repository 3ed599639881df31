"""Selection and conversion: where, cast, stop_gradient."""

from __future__ import annotations

import numpy as np

from ..base.errors import DTypeError
from ..ir.dtype import DType, bfloat16, bool_, complex64, float32, float64, int32, uint8
from ..ir.node import Aval, Node
from ..ir.primitive import Primitive
from ..ir.shape import broadcast_shapes
from .define import SPECIAL, Sample, complex_values, lift, primitive, values


def _where_infer(condition: Aval, x: Aval, y: Aval) -> Aval:
    if condition.dtype is not bool_:
        raise DTypeError(f"the condition must be boolean, got {condition.describe()}")
    if x.dtype is not y.dtype:
        raise DTypeError(f"both branches need one dtype, got {x.describe()} and {y.describe()}")
    return Aval(broadcast_shapes(condition.shape, x.shape, y.shape), x.dtype)


def _where_samples() -> list[Sample]:
    x, y = values((3, 4)), values((3, 4), seed=1)
    return [
        Sample((x > 0, x, y)),
        Sample((x[0] > 0, x, y[:, :1])),
        Sample((x > 0, x.astype(np.float32), y.astype(np.float32))),
        Sample((x > 0, complex_values(), complex_values(seed=5))),
        Sample((x > 0, np.arange(12).reshape(3, 4), np.arange(4)), smooth=False),
        Sample((x > 0, np.full((3, 4), np.nan), y), smooth=False),
        Sample((x[:0] > 0, x[:0], y[:1])),
        Sample((np.asarray(True), x, y)),
        Sample((x > 0, x > 1, y > 0), smooth=False),
    ]


class _Where(Primitive):
    def __call__(self, condition: Node, x, y, *, dtype: DType | None = None) -> Node:  # type: ignore[override]
        return self.bind((condition, *lift((x, y), dtype)))


def _where(condition, x, y):
    """x where the condition holds, else y, all three broadcast.

    A NaN on the side that is not taken does not reach the value, and that side receives a gradient of exactly 0.
    What lies behind it multiplies this 0 by its own derivative: `where(x > 0, sqrt(x), 0)` still has a NaN
    gradient at 0, where sqrt's is infinite. Mend the operand, not the result: `sqrt(where(x > 0, x, 1))`.
    """
    return np.where(condition, x, y)


where = _Where("where", _where, _where_infer, samples=_where_samples)
where.elementwise = True
where.computes = False


@where.transpose(1, 2)
def _(ct, index, condition, x, y):
    return where(condition, ct, 0) if index == 1 else where(condition, 0, ct)


def _cast_samples() -> list[Sample]:
    x = values((3, 4))
    special = np.array([*SPECIAL, 300.0, -300.0, 2.0**31, -(2.0**31), 2.0**63, 0.7, -0.7])
    return [
        Sample((x,), {"dtype": float32}, smooth=False),
        Sample((x.astype(np.float32),), {"dtype": float64}),
        Sample((x,), {"dtype": complex64}, smooth=False),
        Sample((complex_values(),), {"dtype": complex64}, smooth=False),
        Sample((x,), {"dtype": int32}, smooth=False),
        Sample((special,), {"dtype": int32}, smooth=False),
        Sample((special,), {"dtype": uint8}, smooth=False),
        Sample((np.arange(4),), {"dtype": float32}, smooth=False),
        Sample((np.arange(-200, 200),), {"dtype": uint8}, smooth=False),
        Sample((x > 0,), {"dtype": float32}, smooth=False),
        Sample((special,), {"dtype": bool_}, smooth=False),
        Sample((x,), {"dtype": bfloat16}, smooth=False),
        Sample((x[:0],), {"dtype": bfloat16}, smooth=False),
    ]


def _cast_infer(x: Aval, *, dtype: DType) -> Aval:
    if x.dtype.kind == "c" and dtype.kind != "c" and dtype is not bool_:
        raise DTypeError(f"cannot cast {x.dtype} to {dtype}; take real(x) or abs(x) first")
    return Aval(x.shape, dtype)


@primitive(_cast_infer, attrs=("dtype",), samples=_cast_samples)
def cast(x, *, dtype):
    """x as another data type.

    Floats go to integers by truncation toward zero; what lies outside the integer type's range becomes its nearest
    end, NaN becomes 0. Integers go to narrower integers modulo 2**bits. Anything nonzero (NaN too) is True. Floats
    round to the nearest, ties to even. Between floating and complex types the gradient is cast back (of a real
    operand's complex cotangent: the real part); through any other type there is none.
    """
    target = dtype.numpy
    if x.dtype.kind in "fV" and dtype.kind in "ui":
        wide = np.trunc(x.astype(np.float64))
        info = np.iinfo(target)
        low, above = float(info.min), float(info.max // 2 + 1) * 2.0
        inside = np.where((wide >= low) & (wide < above), wide, 0.0).astype(target)
        return np.where(
            wide >= above, target.type(info.max), np.where(wide < low, target.type(info.min), inside)
        )
    if dtype.name == "bfloat16" and (x.dtype.kind in "ui" or x.dtype == np.float64):
        x = _to_odd(x.astype(np.float64))
    return x.astype(target)


def _to_odd(x):
    """float64 to float32 so that rounding on to fewer bits is right: what is inexact ends in an odd bit."""
    near = x.astype(np.float32)
    wide = near.astype(np.float64)
    bits = near.view(np.uint32)
    bits = np.where(np.abs(wide) > np.abs(x), bits - np.uint32(1), bits)
    inexact = (wide != x) & ~np.isnan(x)
    return np.where(inexact, bits | np.uint32(1), near.view(np.uint32)).astype(np.uint32).view(np.float32)


cast.computes = False


@cast.transpose()
def _(ct, index, x, *, dtype):
    from .complex import real

    if not x.dtype.inexact or not dtype.inexact:
        return None
    if ct.dtype.kind == "c" and x.dtype.kind != "c":
        ct = real(ct)
    return cast(ct, dtype=x.dtype)


@cast.batch
def _(size, batched, x, *, dtype):
    return cast(x, dtype=dtype)


def as_dtype(x: Node, dtype: DType) -> Node:
    """x as a node of the given type; x itself if it has it."""
    return x if x.dtype is dtype else cast(x, dtype=dtype)


@primitive(
    lambda x: x,
    samples=lambda: [
        Sample((values(),), smooth=False),
        Sample((values().astype(np.float32),), smooth=False),
        Sample((complex_values((0, 3)),), smooth=False),
        Sample((np.arange(3),), smooth=False),
    ],
)
def stop_gradient(x):
    """x itself, as a constant to every kind of differentiation: tangents and cotangents end here."""
    return x


stop_gradient.nondifferentiable("it is there to stop the gradient")
stop_gradient.computes = False


@stop_gradient.batch
def _(size, batched, x):
    return stop_gradient(x)
