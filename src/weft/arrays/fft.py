"""Discrete Fourier transforms, as the `fft` extension of the Python array API standard.

Forward transforms have the exponent exp(-2 pi i j k / n). `norm` says where the factor 1/n goes: "backward" (the
default) on the inverse transforms, "forward" on the others, "ortho" 1/sqrt(n) on both. float32 gives complex64, float64
complex128. Sizes: where `n` (or `s`) is larger than the axis, zeros are added at its end; where it is smaller, the rest
is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any

from ..base.checked import checked
from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..ir.dtype import DEFAULT_FLOAT, float32, int64
from ..ir.dtype import dtype as as_dtype
from ..ir.node import Node
from ..ir.shape import normalize_axes, normalize_axis
from ..ops import fft as prims
from ..ops.complex import conj, make_complex
from ..ops.define import constant
from ..ops.elementwise import cast, div, less, where
from ..ops.indexing import iota
from ..ops.movement import concatenate, pad, slice_axis, zeros
from . import dispatch
from .tensor import Tensor

_NORMS = ("backward", "ortho", "forward")


# -- operands ---------------------------------------------------------------------------------------------------


def _complex(x: Any) -> Node:
    """The operand as a complex node."""
    node = _floating(x)
    return node if node.dtype.kind == "c" else make_complex(node, zeros(node.aval))


def _floating(x: Any) -> Node:
    node = dispatch.node_of(x)
    if not node.dtype.inexact:
        return cast(node, dtype=DEFAULT_FLOAT)
    return cast(node, dtype=float32) if node.dtype.storage_only else node


def _real(x: Any, name: str) -> Node:
    node = _floating(x)
    if node.dtype.kind == "c":
        raise DTypeError(
            f"{name} takes real numbers, got {node.aval.describe()}; use {name.replace('r', '', 1)}"
        )
    return node


def _resized(x: Node, axis: int, size: int) -> Node:
    """x with `size` elements along an axis: cut, or continued with zeros."""
    if size < 1:
        raise ArgumentError(f"the size of a transform must be at least 1, got {size}")
    have = x.shape[axis]
    if have == size:
        return x
    if isinstance(have, int) and have > size:
        return slice_axis(x, axis, 0, size)
    high = tuple([size - n if i == axis else 0 for i, n in enumerate(x.shape)])
    none = (0,) * x.ndim
    return pad(x, constant(0, x.dtype), low=none, high=high, interior=none)  # type: ignore[arg-type]


def _size(n: Any, default: Any) -> int:
    if n is None:
        return index(default)
    try:
        return n.__index__()
    except AttributeError:
        raise ArgumentError(f"the size of a transform is an integer, got {n!r}") from None


def _axis(x: Node, axis: int, name: str) -> int:
    if not x.ndim:
        raise ShapeError(f"{name} takes tensors of at least one dimension")
    return normalize_axis(axis, x.ndim)


def _sizes(x: Node, s: Any, axes: Any) -> tuple[tuple[int, ...], list[int]]:
    """The transformed axes, and the sizes asked for along them (-1 and None: the size of x)."""
    if s is not None and axes is None:
        raise ArgumentError("s names sizes for the axes in `axes`, which must be given too")
    along = normalize_axes(None if axes is None else tuple(axes), x.ndim, "axes")
    if s is None:
        return along, [-1] * len(along)
    sizes = [_size(n, -1) for n in s]
    if len(sizes) != len(along):
        raise ArgumentError(f"s gives {len(sizes)} sizes for {len(along)} axes")
    return along, sizes


def _scaled(x: Node, count: Any, norm: str, inverse: bool) -> Tensor:
    """The factor that `norm` asks for after a transform of `count` points."""
    dispatch.check_choice("norm", norm, _NORMS)
    if norm == "ortho":
        return Tensor(div(x, _number(math.sqrt(count), x)))
    if inverse == (norm == "backward"):
        return Tensor(div(x, _number(count, x)))
    return Tensor(x)


def _number(value: float, like: Node) -> Node:
    return constant(complex(value) if like.dtype.kind == "c" else float(value), like.dtype)


# -- complex transforms -----------------------------------------------------------------------------------------


@checked
def fft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The transform along `axis`: out[k] = sum over j of x[j] exp(-2 pi i j k / n).

    Args:
        x: complex, or real numbers taken as complex.
        n: the size of the transform. None: that of the axis.
        norm: see the module.

    Returns:
        Complex, of size n along `axis`.
    """
    return _one("fft", x, n, axis, norm, False)


@checked
def ifft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The inverse of `fft`."""
    return _one("ifft", x, n, axis, norm, True)


def _one(name: str, x: Any, n: int | None, axis: int, norm: str, inverse: bool) -> Tensor:
    node = _complex(x)
    at = _axis(node, axis, name)
    size = _size(n, node.shape[at])
    out = prims.fft(_resized(node, at, size), axes=(at,), inverse=inverse)
    return _scaled(out, size, norm, inverse)


@checked
def fftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Tensor:
    """The transform along several axes (None: all), with sizes `s` along them (-1: that of the axis)."""
    return _many(x, s, axes, norm, False)


@checked
def ifftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Tensor:
    """The inverse of `fftn`."""
    return _many(x, s, axes, norm, True)


def _many(x: Any, s: Any, axes: Any, norm: str, inverse: bool) -> Tensor:
    node = _complex(x)
    along, sizes = _sizes(node, s, axes)
    count = 1
    for a, n in zip(along, sizes, strict=True):
        size = index(node.shape[a]) if n == -1 else n
        node = _resized(node, a, size)
        count *= size
    return _scaled(prims.fft(node, axes=along, inverse=inverse), count, norm, inverse)


# -- real signals -------------------------------------------------------------------------------------------------


@checked
def rfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The transform of real numbers along `axis`: frequencies 0 ... n // 2, which determine the others."""
    node = _real(x, "rfft")
    at = _axis(node, axis, "rfft")
    size = _size(n, node.shape[at])
    out = prims.rfft(_resized(node, at, size), axis=at, double=False)
    return _scaled(out, size, norm, False)


@checked
def irfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The inverse of `rfft`: n real numbers from frequencies 0 ... n // 2. None: n = 2 (size of the axis - 1).

    For an odd number of elements n must be given. The imaginary parts of frequencies 0 and n / 2 are not read.
    """
    node = _complex(x)
    at = _axis(node, axis, "irfft")
    size = _size(n, 2 * (node.shape[at] - 1))
    return _scaled(_to_real(node, at, size), size, norm, True)


def _to_real(node: Node, axis: int, size: int) -> Node:
    if size < 1:
        raise ArgumentError(f"the size of the real signal must be at least 1, got {size}; give it explicitly")
    return prims.irfft(_resized(node, axis, size // 2 + 1), axis=axis, n=size, double=True)


@checked
def rfftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Tensor:
    """The transform of real numbers along several axes; of the last one only frequencies 0 ... n // 2."""
    node = _real(x, "rfftn")
    along, sizes = _sizes(node, s, axes)
    if not along:
        raise ArgumentError("rfftn needs at least one axis")
    count = 1
    for a, n in zip(along, sizes, strict=True):
        size = index(node.shape[a]) if n == -1 else n
        node = _resized(node, a, size)
        count *= size
    half = prims.rfft(node, axis=along[-1], double=False)
    out = prims.fft(half, axes=along[:-1], inverse=False) if len(along) > 1 else half
    return _scaled(out, count, norm, False)


@checked
def irfftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Tensor:
    """The inverse of `rfftn`; `s` are the sizes of the result, of the last axis 2 (size - 1) if it is not given."""
    node = _complex(x)
    along, sizes = _sizes(node, s, axes)
    if not along:
        raise ArgumentError("irfftn needs at least one axis")
    *others, end = along
    count = 1
    for a, n in zip(others, sizes, strict=False):
        size = index(node.shape[a]) if n == -1 else n
        node = _resized(node, a, size)
        count *= size
    if others:
        node = prims.fft(node, axes=tuple(others), inverse=True)
    last = 2 * (index(node.shape[end]) - 1) if sizes[-1] == -1 else sizes[-1]
    return _scaled(_to_real(node, end, last), count * last, norm, True)


@checked
def hfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The real transform of a signal with Hermitian symmetry, given by its elements 0 ... n // 2."""
    node = conj(_complex(x))
    at = _axis(node, axis, "hfft")
    size = _size(n, 2 * (node.shape[at] - 1))
    return _scaled(_to_real(node, at, size), size, norm, False)


@checked
def ihfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The inverse of `hfft`: elements 0 ... n // 2 of the signal whose transform is the real x."""
    node = _real(x, "ihfft")
    at = _axis(node, axis, "ihfft")
    size = _size(n, node.shape[at])
    out = conj(prims.rfft(_resized(node, at, size), axis=at, double=False))
    return _scaled(out, size, norm, True)


# -- frequencies ----------------------------------------------------------------------------------------------------


@checked
def fftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies that `fft` gives, for samples d apart: 0, 1, ..., then the negative ones, over n d."""
    size, real = _count(n, dtype)
    position = iota(size=size, dtype=int64)
    half = constant((size + 1) // 2, int64)
    folded = where(less(position, half), position, position - constant(size, int64))
    return Tensor(div(cast(folded, dtype=real), constant(size * float(d), real)))


@checked
def rfftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies that `rfft` gives, for samples d apart: 0, 1, ..., n // 2 over n d."""
    size, real = _count(n, dtype)
    position = iota(size=size // 2 + 1, dtype=int64)
    return Tensor(div(cast(position, dtype=real), constant(size * float(d), real)))


def _count(n: Any, dtype: Any) -> tuple[int, Any]:
    size = _size(n, 0)
    if size < 1:
        raise ArgumentError(f"n must be an integer of at least 1, got {n!r}")
    real = DEFAULT_FLOAT if dtype is None else as_dtype(dtype)
    if real.kind != "f":
        raise DTypeError(f"frequencies are real floating numbers, got dtype {real}")
    return size, real


@checked
def fftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """The halves of `axes` (None: all) exchanged, so that frequency 0 is in the middle."""
    return _rolled(x, axes, lambda n: (n + 1) // 2)


@checked
def ifftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _rolled(x, axes, lambda n: n // 2)


def _rolled(x: Tensor, axes: Any, first: Any) -> Tensor:
    node = dispatch.node_of(x)
    along = normalize_axes(tuple(axes) if isinstance(axes, Sequence) else axes, node.ndim, "axes")
    for a in along:
        n = node.shape[a]
        at = first(n)
        if 0 < at < n:
            node = concatenate(slice_axis(node, a, at, n), slice_axis(node, a, 0, at), axis=a)
    return Tensor(node)


__all__ = [
    "fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft", "irfft", "irfftn", "rfft",
    "rfftfreq", "rfftn",
]  # fmt: skip
