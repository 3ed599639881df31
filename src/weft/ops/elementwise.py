"""Elementwise primitives: arithmetic, comparison, selection."""

from __future__ import annotations

import numpy as np

from ..base.errors import DTypeError
from ..ir.dtype import DType, bool_, complex_dtype
from ..ir.node import Aval, Node
from ..ir.primitive import Primitive
from ..ir.shape import broadcast_shapes
from .define import Sample, elementwise, lift, pairs, primitive, unary, values
from .movement import sum_to, zeros

NUMERIC = "uifc"


@elementwise(NUMERIC, samples=pairs(integers=True, complex=True))
def add(x, y):
    """x + y."""
    return np.add(x, y)


@add.partials
def _(out, x, y):
    return 1, 1


@elementwise(NUMERIC, samples=pairs(integers=True, complex=True))
def sub(x, y):
    """x - y. Unsigned integers wrap around."""
    return np.subtract(x, y)


@sub.partials
def _(out, x, y):
    return 1, -1


@elementwise(NUMERIC, samples=pairs(integers=True, complex=True))
def mul(x, y):
    """x * y."""
    return np.multiply(x, y)


@mul.partials
def _(out, x, y):
    return y, x


@elementwise("fc", samples=pairs(0.5, 2.0, complex=True))
def div(x, y):
    """x / y for floating and complex operands; division by zero gives infinities and NaN as IEEE 754 says."""
    return np.divide(x, y)


@div.partials
def _(out, x, y):
    return 1 / y, -out / y


@elementwise("uifc", samples=unary(complex=True))
def neg(x):
    """-x."""
    return np.negative(x)


@neg.partials
def _(out, x):
    return (-1,)


@elementwise("fc", samples=unary(complex=True))
def exp(x):
    """e**x."""
    return np.exp(x)


@exp.partials
def _(out, x):
    return (out,)


@elementwise("fc", samples=unary(0.1, 3.0, complex=True))
def log(x):
    """The natural logarithm. At 0 it is -inf with derivative inf; of a negative real number it is NaN."""
    return np.log(x)


@log.partials
def _(out, x):
    return (1 / x,)


@elementwise("f", samples=unary())
def tanh(x):
    """The hyperbolic tangent."""
    return np.tanh(x)


@tanh.partials
def _(out, x):
    return (1 - out * out,)


@elementwise("buif", samples=pairs(ties=True, nan=True, integers=True))
def maximum(x, y):
    """The larger of x and y, elementwise. A NaN wins. At a tie each side gets half of the gradient."""
    return np.maximum(x, y)


@maximum.partials
def _(out, x, y):
    half = where(equal(x, y), 0.5, 0.0, dtype=out.dtype)
    return where(greater(x, y), 1.0, half), where(greater(y, x), 1.0, half)


# -- comparison: the result is boolean and carries no gradient ---------------------------------------------------


@elementwise("buifc", out="bool", samples=pairs(ties=True, nan=True, integers=True))
def equal(x, y):
    """x == y. NaN equals nothing."""
    return np.equal(x, y)


@elementwise("buif", out="bool", samples=pairs(ties=True, nan=True, integers=True))
def less(x, y):
    """x < y. False where either is NaN."""
    return np.less(x, y)


@elementwise("buif", out="bool", samples=pairs(ties=True, nan=True, integers=True))
def less_equal(x, y):
    """x <= y. False where either is NaN."""
    return np.less_equal(x, y)


for _prim in (equal, less, less_equal):
    _prim.nondifferentiable("the result is boolean")


def greater(x, y):
    """x > y."""
    return less(y, x)


# -- selection and conversion -------------------------------------------------------------------------------------


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
        Sample((x > 0, np.arange(12).reshape(3, 4), np.arange(4)), smooth=False),
    ]


class _Where(Primitive):
    def __call__(self, condition: Node, x, y, *, dtype: DType | None = None) -> Node:  # type: ignore[override]
        return self.bind((condition, *lift((x, y), dtype)))


def _where(condition, x, y):
    """x where the condition holds, else y. A NaN on the side not taken reaches neither value nor gradient."""
    return np.where(condition, x, y)


where = _Where("where", _where, _where_infer, samples=_where_samples)
where.elementwise = True


@where.transpose(1, 2)
def _(ct, index, condition, x, y):
    return where(condition, ct, 0) if index == 1 else where(condition, 0, ct)


def _cast_samples() -> list[Sample]:
    from ..ir import dtype as d

    x = values((3, 4))
    return [
        Sample((x,), {"dtype": d.float32}, smooth=False),
        Sample((x.astype(np.float32),), {"dtype": d.float64}, smooth=False),
        Sample((x,), {"dtype": d.int32}, smooth=False),
        Sample((np.arange(4),), {"dtype": d.float32}, smooth=False),
        Sample((x,), {"dtype": d.bool_}, smooth=False),
        Sample((x,), {"dtype": d.bfloat16}, smooth=False),
    ]


def _cast_infer(x: Aval, *, dtype: DType) -> Aval:
    if x.dtype.kind == "c" and dtype.kind != "c" and dtype is not bool_:
        raise DTypeError(f"cannot cast {x.dtype} to {dtype}; take real(x) or abs(x) first")
    return Aval(x.shape, dtype)


@primitive(_cast_infer, attrs=("dtype",), samples=_cast_samples)
def cast(x, *, dtype):
    """x as another data type. Floats are truncated toward zero to integers; anything nonzero is True."""
    return x.astype(dtype.numpy)


cast.computes = False


@cast.transpose()
def _(ct, index, x, *, dtype):
    if not x.dtype.inexact or not dtype.inexact:
        return None
    if ct.dtype.kind == "c" and x.dtype.kind != "c":
        ct = real(ct)
    return cast(ct, dtype=x.dtype)


@cast.batch
def _(size, batched, x, *, dtype):
    return cast(x, dtype=dtype)


@elementwise("c", out="real", samples=lambda: [Sample((values() + 1j * values(seed=1),))])
def real(x):
    """The real part of a complex operand."""
    return np.real(x)


@real.vjp
def _(cts, outs, x):
    return (make_complex(cts[0], zeros(cts[0].aval)),)


@elementwise("fc", samples=lambda: [Sample((values() + 1j * values(seed=1),)), Sample((values(),))])
def conj(x):
    """The complex conjugate; of a real operand the operand itself."""
    return np.conj(x)


@conj.vjp
def _(cts, outs, x):
    return (conj(cts[0]),)


def _complex_infer(x: Aval, y: Aval) -> Aval:
    if x.dtype is not y.dtype or x.dtype.kind != "f":
        raise DTypeError(f"takes two floating operands of one dtype, got {x.describe()} and {y.describe()}")
    return Aval(broadcast_shapes(x.shape, y.shape), complex_dtype(x.dtype))


def _complex(x, y):
    """x + i y from real and imaginary parts."""
    return x + 1j * y


make_complex = Primitive("complex", _complex, _complex_infer, samples=pairs())
make_complex.elementwise = True


@make_complex.vjp
def _(cts, outs, x, y):
    return sum_to(real(cts[0]), x.shape), sum_to(imag(cts[0]), y.shape)


@elementwise("c", out="real", samples=lambda: [Sample((values() + 1j * values(seed=1),))])
def imag(x):
    """The imaginary part of a complex operand."""
    return np.imag(x)


@imag.vjp
def _(cts, outs, x):
    return (make_complex(zeros(cts[0].aval), cts[0]),)
