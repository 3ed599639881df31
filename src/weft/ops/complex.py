"""Complex numbers: parts, conjugate, angle.

These are linear over the real numbers only. Cotangents pair with tangents through Re(conj(ct) * t), and each rule
is the adjoint for that pairing.
"""

from __future__ import annotations

import numpy as np

from ..base.errors import DTypeError
from ..ir.dtype import complex_dtype
from ..ir.node import Aval
from ..ir.primitive import Primitive
from ..ir.shape import broadcast_shapes
from .define import Sample, elementwise, pairs, unary
from .movement import sum_to, zeros

_COMPLEX = unary(complex=True, real=False)


@elementwise("c", out="real", samples=_COMPLEX)
def real(x):
    """The real part of a complex operand."""
    return np.real(x)


@real.vjp
def _(cts, outs, x):
    return (make_complex(cts[0], zeros(cts[0].aval)),)


@elementwise("c", out="real", samples=_COMPLEX)
def imag(x):
    """The imaginary part of a complex operand."""
    return np.imag(x)


@imag.vjp
def _(cts, outs, x):
    return (make_complex(zeros(cts[0].aval), cts[0]),)


@elementwise("fc", samples=unary(complex=True))
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
    """x + i y from real and imaginary parts of one floating type, broadcast. Infinities and NaN stay in their part."""
    kind = np.complex128 if np.result_type(x, y) == np.float64 else np.complex64
    out = np.empty(np.broadcast_shapes(x.shape, y.shape), kind)
    out.real, out.imag = x, y
    return out


def _complex_samples() -> list[Sample]:
    return pairs(nan=True)()


make_complex = Primitive("complex", _complex, _complex_infer, samples=_complex_samples)
make_complex.elementwise = True
make_complex.exact = True


@make_complex.vjp
def _(cts, outs, x, y):
    return sum_to(real(cts[0]), x.shape), sum_to(imag(cts[0]), y.shape)


def angle(x):
    """The argument of a complex number in [-pi, pi], with gradient 0 at the origin; of a real one 0 or pi."""
    from .transcendental import atan2

    if x.dtype.kind == "c":
        return atan2(imag(x), real(x))
    return atan2(zeros(x.aval), x)
