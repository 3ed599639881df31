"""Discrete Fourier transforms without normalisation: host primitives that run in NumPy.

With t(j, k) = 2 pi j k / n the three are, along one axis of length n,

    fft    X_k = sum over j of x_j exp(-i t(j, k)), or exp(+i t(j, k)) if inverse, along several axes in turn
    rfft   X_k for k = 0 ... n // 2 of real x
    irfft  x_j = sum over k = 0 ... n // 2 of w_k Re(X_k exp(+i t(j, k)))

where the weight w_k is 1, or with `double` 2 for the frequencies that stand for their mirror images too (all but 0
and n / 2). `rfft` with `double` multiplies its result by the same weights. So each of them transposes to one of them.
"""

from __future__ import annotations

import numpy as np

from ..base.errors import DTypeError, ShapeError
from ..ir.dtype import complex_dtype, real_dtype
from ..ir.node import Aval
from ..ir.shape import show_shape
from .complex import conj
from .define import Sample, primitive, values


def _check_axes(x: Aval, axes: tuple[int, ...]) -> None:
    if len(set(axes)) != len(axes) or not all(0 <= a < x.ndim for a in axes):
        raise ShapeError(f"axes {axes} are not distinct axes of {show_shape(x.shape)}")
    for a in axes:
        if x.shape[a] == 0:
            raise ShapeError(
                f"axis {a} of a tensor of shape {show_shape(x.shape)} is empty: nothing to transform"
            )


# -- complex to complex -----------------------------------------------------------------------------------------


def _fft_infer(x: Aval, *, axes: tuple[int, ...], inverse: bool) -> Aval:
    if x.dtype.kind != "c":
        raise DTypeError(f"a complex operand expected, got {x.describe()}")
    _check_axes(x, axes)
    return x


def _complex(shape, dtype=np.complex128):
    return (values(shape) + 1j * values(shape, seed=1)).astype(dtype)


def _fft_samples() -> list[Sample]:
    return [
        Sample((_complex((2, 5)),), {"axes": (1,), "inverse": False}),
        Sample((_complex((4, 3)),), {"axes": (0,), "inverse": True}),
        Sample((_complex((2, 3, 4)),), {"axes": (2, 0), "inverse": False}),
        Sample((_complex((3, 2), np.complex64),), {"axes": (0, 1), "inverse": True}),
        Sample((_complex((1,)),), {"axes": (0,), "inverse": False}),
        Sample((_complex((2, 3)),), {"axes": (), "inverse": False}),
        Sample((_complex((0, 3)),), {"axes": (1,), "inverse": False}),
    ]


@primitive(_fft_infer, attrs=("axes", "inverse"), samples=_fft_samples)
def fft(x, *, axes, inverse):
    """The discrete Fourier transform along `axes`, not normalised, with the sign of the exponent + if `inverse`."""
    for a in axes:
        x = np.fft.ifft(x, axis=a, norm="forward") if inverse else np.fft.fft(x, axis=a)
    return x


@fft.transpose()
def _(ct, index, x, *, axes, inverse):
    return fft(ct, axes=axes, inverse=inverse)


@fft.batch
def _(size, batched, x, *, axes, inverse):
    return fft(x, axes=tuple([a + 1 for a in axes]), inverse=inverse)


# -- real to half of the spectrum, and back -----------------------------------------------------------------------


def _rfft_infer(x: Aval, *, axis: int, double: bool) -> Aval:
    if x.dtype.kind != "f":
        raise DTypeError(f"a real floating operand expected, got {x.describe()}")
    _check_axes(x, (axis,))
    shape = list(x.shape)
    shape[axis] = shape[axis] // 2 + 1
    return Aval(tuple(shape), complex_dtype(x.dtype))


def _rfft_samples() -> list[Sample]:
    shapes = [((2, 6), 1), ((5, 2), 0), ((3, 1), 1), ((2,), 0), ((0, 4), 1)]
    return [
        *[Sample((values(s),), {"axis": a, "double": d}) for s, a in shapes for d in (False, True)],
        Sample((values((2, 6)).astype(np.float32),), {"axis": 1, "double": False}),
    ]


def _between(x, axis, n):
    """The frequencies along `axis` that stand for their mirror images too."""
    return np.moveaxis(x, axis, 0)[1 : (n + 1) // 2]


@primitive(_rfft_infer, attrs=("axis", "double"), samples=_rfft_samples)
def rfft(x, *, axis, double):
    """Frequencies 0 ... n // 2 of the transform of real x along `axis`, not normalised; see the module for `double`."""
    out = np.fft.rfft(x, axis=axis)
    if double:
        _between(out, axis, x.shape[axis])[...] *= 2
    return out


@rfft.transpose()
def _(ct, index, x, *, axis, double):
    return irfft(conj(ct), axis=axis, n=x.shape[axis], double=double)


@rfft.batch
def _(size, batched, x, *, axis, double):
    return rfft(x, axis=axis + 1, double=double)


def _irfft_infer(x: Aval, *, axis: int, n: int, double: bool) -> Aval:
    if x.dtype.kind != "c":
        raise DTypeError(f"a complex operand expected, got {x.describe()}")
    _check_axes(x, (axis,))
    if n < 1 or x.shape[axis] != n // 2 + 1:
        raise ShapeError(
            f"a real signal of length {n} has {n // 2 + 1} frequencies, got {x.shape[axis]} along axis {axis} of "
            f"{show_shape(x.shape)}"
        )
    shape = list(x.shape)
    shape[axis] = n
    return Aval(tuple(shape), real_dtype(x.dtype))


def _irfft_samples() -> list[Sample]:
    shapes = [((2, 4), 1, 6), ((3, 2), 0, 5), ((2, 1), 1, 1), ((2,), 0, 2), ((0, 2), 1, 3)]
    return [
        *[
            Sample((_complex(s),), {"axis": a, "n": n, "double": d})
            for s, a, n in shapes
            for d in (False, True)
        ],
        Sample((_complex((2, 4), np.complex64),), {"axis": 1, "n": 7, "double": True}),
    ]


@primitive(_irfft_infer, attrs=("axis", "n", "double"), samples=_irfft_samples)
def irfft(x, *, axis, n, double):
    """The real signal of length n from its frequencies 0 ... n // 2 along `axis`, not normalised; with `double` the
    inverse of `rfft` but for a factor n. The imaginary parts of frequencies 0 and n / 2 do not matter."""
    if not double:
        x = np.array(x)
        _between(x, axis, n)[...] /= 2
    return np.fft.irfft(x, n, axis=axis, norm="forward")


@irfft.transpose()
def _(ct, index, x, *, axis, n, double):
    return conj(rfft(ct, axis=axis, double=double))


@irfft.batch
def _(size, batched, x, *, axis, n, double):
    return irfft(x, axis=axis + 1, n=n, double=double)
