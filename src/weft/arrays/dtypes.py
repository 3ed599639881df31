"""Data types as the array API standard handles them: conversion, limits, kinds, promotion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from ..base.checked import checked
from ..base.errors import ArgumentError, DTypeError, nearest
from ..ir.dtype import DType, promote, real_dtype
from ..ir.dtype import dtype as to_dtype
from ..ops.movement import identity
from .cell import Handle
from .dispatch import converted, node_of, result_dtype, wrap
from .remembered import remembered

if TYPE_CHECKING:
    from .tensor import Tensor

_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


def check_device(device: Any) -> None:
    """Raise unless `device` is None or the one there is."""
    if device is not None and device != "cpu":
        raise ArgumentError(f"there is no device {device!r} here; the only one is 'cpu'")


def of(x: Any) -> DType:
    """The dtype of a tensor, or the one that `x` names."""
    return x._cell.node.dtype if isinstance(x, Handle) else to_dtype(x)


@remembered
def astype(x: Tensor, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """x converted to another data type.

    Floats are truncated toward zero to integers; whatever is not zero is True. A complex tensor does not convert to a
    real one: take `real(x)` or `abs(x)`.

    Args:
        copy: if False and x has the dtype already, x itself is returned.

    Raises:
        DTypeError: x is complex and `dtype` is real.
    """
    check_device(device)
    node, want = node_of(x), to_dtype(dtype)
    if node.dtype is want:
        return wrap(identity.bind((node,))) if copy else x
    return wrap(converted(node, want))


@checked
def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether promotion can turn `from_` (a dtype or a tensor) into `to`: whether the two promote to `to`."""
    want = to_dtype(to)
    try:
        return promote(of(from_), want) is want
    except DTypeError:
        return False


@dataclass(frozen=True)
class FInfo:
    """Limits of a floating type; of a complex type, those of its parts."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType

    @property
    def tiny(self) -> float:
        """NumPy's name for `smallest_normal`."""
        return self.smallest_normal


@dataclass(frozen=True)
class IInfo:
    """Limits of an integer type."""

    bits: int
    max: int
    min: int
    dtype: DType


@checked
def finfo(type: Any, /) -> FInfo:
    """Limits of a floating or complex dtype, or of a tensor's: bits, eps, max, min, smallest_normal, dtype."""
    d = of(type)
    if not d.inexact:
        raise DTypeError(f"finfo describes floating and complex types, got {d}; use iinfo")
    real = real_dtype(d)
    # ml_dtypes knows bfloat16 and answers NumPy's types too.
    info = ml_dtypes.finfo(real.numpy)
    return FInfo(
        bits=int(info.bits),
        eps=float(info.eps),
        max=float(info.max),
        min=float(info.min),
        smallest_normal=float(info.smallest_normal),
        dtype=real,
    )


@checked
def iinfo(type: Any, /) -> IInfo:
    """Limits of an integer dtype, or of a tensor's: bits, max, min, dtype."""
    d = of(type)
    if d.kind not in "iu":
        raise DTypeError(f"iinfo describes integer types, got {d}; use finfo")
    info = np.iinfo(d.numpy)
    return IInfo(bits=d.bits, max=int(info.max), min=int(info.min), dtype=d)


@checked
def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether `dtype` is of a kind: a dtype, one of the names below, or a tuple of these (any of them).

    Names: "bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric".
    """
    d = to_dtype(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(d, k) for k in kind)
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise ArgumentError(f"{kind!r} is not a kind of data type. {nearest(kind, _KINDS)}")
        return d.kind in _KINDS[kind]
    return d is to_dtype(kind)


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype that tensors, numbers and dtypes take together. Python numbers give way to tensors and dtypes.

    An integer with a float gives the float. uint64 with a signed integer has no common type and raises `DTypeError`.

        >>> wf.result_type(wf.int8, wf.uint8), wf.result_type(wf.float32, 2.0)
        (weft.int16, weft.float32)
    """
    return result_dtype(arrays_and_dtypes)
