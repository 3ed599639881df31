"""Data types and how they combine."""

from __future__ import annotations

from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from ..base.errors import DTypeError, nearest

#: Kinds, from narrow to wide: bool, unsigned, signed, float, complex.
KINDS = "buifc"


class DType:
    """The type of a tensor's elements. Instances are unique: compare with `is` or `==`."""

    __slots__ = ("name", "kind", "bits", "numpy", "short")

    def __init__(self, name: str, kind: str, bits: int, numpy: Any, short: str) -> None:
        self.name = name
        self.kind = kind
        self.bits = bits
        self.numpy = np.dtype(numpy)
        self.short = short

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.numpy.itemsize

    @property
    def inexact(self) -> bool:
        """Floating or complex: the types that have derivatives."""
        return self.kind in "fc"

    @property
    def storage_only(self) -> bool:
        """Arithmetic is done in float32 and rounded back (bfloat16, float16)."""
        return self.kind == "f" and self.bits == 16

    def __repr__(self) -> str:
        return f"weft.{self.name}"

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> Any:
        return dtype, (self.name,)

    def __deepcopy__(self, memo: Any) -> DType:
        return self


bool_ = DType("bool", "b", 8, np.bool_, "b1")
uint8 = DType("uint8", "u", 8, np.uint8, "u8")
uint16 = DType("uint16", "u", 16, np.uint16, "u16")
uint32 = DType("uint32", "u", 32, np.uint32, "u32")
uint64 = DType("uint64", "u", 64, np.uint64, "u64")
int8 = DType("int8", "i", 8, np.int8, "i8")
int16 = DType("int16", "i", 16, np.int16, "i16")
int32 = DType("int32", "i", 32, np.int32, "i32")
int64 = DType("int64", "i", 64, np.int64, "i64")
bfloat16 = DType("bfloat16", "f", 16, ml_dtypes.bfloat16, "bf16")
float16 = DType("float16", "f", 16, np.float16, "f16")
float32 = DType("float32", "f", 32, np.float32, "f32")
float64 = DType("float64", "f", 64, np.float64, "f64")
complex64 = DType("complex64", "c", 64, np.complex64, "c64")
complex128 = DType("complex128", "c", 128, np.complex128, "c128")

ALL = (
    bool_, uint8, uint16, uint32, uint64, int8, int16, int32, int64,
    bfloat16, float16, float32, float64, complex64, complex128,
)  # fmt: skip
INTEGERS = tuple(d for d in ALL if d.kind in "ui")
FLOATS = tuple(d for d in ALL if d.kind == "f")
COMPLEX = (complex64, complex128)

DEFAULT_INT = int64
DEFAULT_FLOAT = float32
DEFAULT_COMPLEX = complex64

_by_name = {d.name: d for d in ALL}
_by_numpy = {d.numpy: d for d in ALL}


def dtype(spec: Any) -> DType:
    """The data type meant by a `DType`, a name, a NumPy dtype or the Python types bool, int, float, complex."""
    if isinstance(spec, DType):
        return spec
    if spec is bool:
        return bool_
    if spec is int:
        return DEFAULT_INT
    if spec is float:
        return DEFAULT_FLOAT
    if spec is complex:
        return DEFAULT_COMPLEX
    if isinstance(spec, str) and spec in _by_name:
        return _by_name[spec]
    if spec is not None:
        try:
            return _by_numpy[np.dtype(spec)]
        except (TypeError, KeyError, ValueError):
            pass
    raise DTypeError(f"{spec!r} is not a data type. {nearest(str(spec), _by_name)}")


@cache
def promote(a: DType, b: DType) -> DType:
    """The smallest type that holds both, where Weft defines one: symmetric and associative inside a kind.

    An integer with a float gives the float; float16 with bfloat16 gives float32; uint64 with a signed integer
    has no common integer type and raises `DTypeError`.
    """
    if a is b:
        return a
    if KINDS.index(a.kind) > KINDS.index(b.kind):
        a, b = b, a
    if a.kind == "b":
        return b
    if a.kind == b.kind:
        if a.bits == b.bits:  # float16 with bfloat16
            return float32
        return a if a.bits > b.bits else b
    if a.kind == "u" and b.kind == "i":
        if a.bits < b.bits:
            return b
        wider = {8: int16, 16: int32, 32: int64}.get(a.bits)
        if wider is None:
            raise DTypeError(f"{a} and {b} have no common integer type; cast one of them with astype")
        return wider
    if a.kind in "ui":
        return b
    return complex128 if a.bits == 64 or b.bits == 128 else complex64


def weak_dtype(value: Any, other: DType | None) -> DType:
    """The type that a Python number takes beside a tensor of type `other` (or alone, if None)."""
    if isinstance(value, bool):
        return other if other is not None else bool_
    if isinstance(value, int):
        if other is None or other.kind == "b":
            return DEFAULT_INT
        return other
    if isinstance(value, float):
        if other is None or other.kind in "bui":
            return DEFAULT_FLOAT
        return other
    if isinstance(value, complex):
        if other is None or other.kind in "bui":
            return DEFAULT_COMPLEX
        if other.kind == "f":
            return complex128 if other.bits == 64 else complex64
        return other
    raise DTypeError(f"expected a number, got {type(value).__name__}")


def real_dtype(d: DType) -> DType:
    """The type of the real part."""
    return {complex64: float32, complex128: float64}.get(d, d)


def complex_dtype(d: DType) -> DType:
    """The complex type whose parts are of the floating type `d`."""
    return complex128 if d in (float64, complex128) else complex64
