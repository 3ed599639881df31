"""What one operation does in a graph that runs operation by operation: NumPy's part, calls of kernels, programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...base.errors import IndexingError, WeftError
from ...ir.dtype import real_dtype
from ...ir.node import Aval, Node, Signature
from ...ir.primitive import pick_prim
from ...kernel.single import FEW, combines_nothing, single
from ...kernel.target import Target
from ...ops.indexing import iota
from ...runtime.backend import Executable, Fault
from ...runtime.buffer import Buffer, own_copy
from .host import CONTROL, evaluate, on_host
from .single_calls import Call, Operation, Result, kernel_of

#: Primitives that compute nothing: their NumPy bodies move elements.
_MOVES = frozenset(
    ("broadcast_in_dim", "concatenate", "dynamic_slice", "dynamic_update_slice", "flip", "gather", "identity", "imag",
     "pad", "permute", "real", "reshape", "slice", "stop_gradient", "triangle")
)  # fmt: skip

#: These choose and compare, and their bodies know no storage types.
_CHOICES = frozenset(
    ("argmax", "argmin", "argsort", "equal", "isfinite", "isinf", "isnan", "less", "less_equal", "signbit", "sort",
     "where")
)  # fmt: skip

#: These round nothing where there are but integers and booleans.
_EXACT = frozenset(
    ("abs", "add", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "cast", "clip", "maximum", "minimum",
     "mul", "neg", "sign", "sub")
)  # fmt: skip


def operation_of(sig: Signature, target: Target) -> Operation | None:
    """What nodes of one signature do, which share it unless it must be a program. None for what is not run so."""
    if sig.prim.name in CONTROL or any(a.size > FEW for a in (*sig.inputs, *sig.outs)):
        return None
    found = _in_numpy(sig) or _called(sig, target) or _in_parts(sig, target)
    if found is None:
        return Alone(sig)
    sig.memo["at once"] = found
    return found


def _in_numpy(sig: Signature) -> Operation | None:
    """An operation that NumPy does with the bits of any kernel, or that Python does anyway."""
    if sig.prim is iota:
        return Constant(iota.evaluate(**sig.attrs).astype(sig.out.dtype.numpy))  # type: ignore[union-attr]
    if sig.prim is pick_prim:
        return _Pick(sig.attrs["index"])
    if _is_exact(sig):
        return _InNumPy(sig.prim.name, sig.prim.evaluate, sig.attrs)  # type: ignore[arg-type]
    if combines_nothing(sig):
        return _InNumPy(sig.prim.name, np.reshape, {"shape": sig.out.shape})  # type: ignore[union-attr]
    return _OnHost(sig) if on_host(sig) else None


def _is_exact(sig: Signature) -> bool:
    """Whether an operation has the same bits whoever does it: then NumPy does."""
    name, avals = sig.prim.name, (*sig.inputs, *sig.outs)
    if name in _CHOICES:
        return not any(a.dtype.storage_only for a in avals)
    return name in _MOVES or (name in _EXACT and all(a.dtype.kind in "bui" for a in avals))


def _called(sig: Signature, target: Target) -> Call | None:
    """An operation that has a generic kernel."""
    found = single(sig)
    kernel = None if found is None else kernel_of(found, target)
    return None if found is None or kernel is None else Call(sig, found, kernel)


def _in_parts(sig: Signature, target: Target) -> _InParts | None:
    """A sum or a product of complex numbers: of their parts."""
    kind = {"sum": _InParts, "cumsum": _InParts, "dot_general": _ProductInParts}.get(sig.prim.name)
    if kind is None or not sig.is_complex:
        return None
    parts = tuple([Aval(a.shape, real_dtype(a.dtype)) for a in sig.inputs])
    call = _called(sig.prim.signature(parts, tuple(sig.attrs.values())), target)
    return None if call is None else kind(sig, call)


class Constant(Operation):
    """What is the same in every run."""

    __slots__ = ("value",)

    shares = True

    def __init__(self, array: np.ndarray) -> None:
        self.value = Buffer(np.asarray(array, order="C"))

    def __call__(self, args: Sequence[Any]) -> Buffer:
        return self.value


class _Pick(Operation):
    """One of the results of a node."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __call__(self, args: Sequence[Any]) -> Buffer:
        return args[0][self.index]


class _InNumPy(Operation):
    """What NumPy does: the same elements in another order or shape, or operations on them that are exact."""

    __slots__ = ("attrs", "body", "name")

    shares = True

    def __init__(self, name: str, body: Callable[..., np.ndarray], attrs: Mapping[str, Any]) -> None:
        self.name, self.body, self.attrs = name, body, attrs

    def __call__(self, args: Sequence[Buffer]) -> Buffer:
        try:
            found = self.body(*[a.array for a in args], **self.attrs)
        except IndexError as e:
            raise Fault(0, IndexingError(f"{self.name}: {e}")) from None
        return Buffer(np.asarray(found, order="C"))


class _OnHost(Operation):
    """What Python computes in planned programs, too."""

    __slots__ = ("node", "several", "types")

    def __init__(self, sig: Signature) -> None:
        self.node = Node(sig, (), None, 0, None)
        self.types = [o.dtype.numpy for o in sig.outs]
        self.several = type(sig.out) is tuple

    def __call__(self, args: Sequence[Buffer]) -> Result:
        try:
            with np.errstate(all="ignore"):
                found = evaluate(self.node, [a.array for a in args])
        except WeftError as e:
            raise Fault(0, e) from None
        several = found if self.several else [found]
        outs = [Buffer(own_copy(f, t)) for f, t in zip(several, self.types, strict=True)]
        return outs if self.several else outs[0]


class _InParts(Operation):
    """An operation on complex numbers that does the same to both parts."""

    __slots__ = ("call", "dtype", "kernel", "shape")

    def __init__(self, sig: Signature, call: Call) -> None:
        self.call, self.kernel = call, call.kernel
        out: Any = sig.out
        self.shape, self.dtype = out.shape, out.dtype.numpy

    def __call__(self, args: Sequence[Buffer]) -> Buffer:
        out: Any = np.empty(self.shape, self.dtype)
        arrays: list[Any] = [a.array for a in args]
        out.real[...], out.imag[...] = self.parts(*[(_copied(a.real), _copied(a.imag)) for a in arrays])
        return Buffer(out)

    def parts(self, *args: tuple[Buffer, Buffer]) -> tuple[np.ndarray, np.ndarray]:
        """The real and the imaginary part of the result."""
        ((re, im),) = args
        return self.call([re]).array, self.call([im]).array


class _ProductInParts(_InParts):
    """A product of complex numbers: four products of their parts."""

    __slots__ = ()

    def parts(self, *args: tuple[Buffer, Buffer]) -> tuple[np.ndarray, np.ndarray]:
        first, second = args
        (a, b), (c, d) = ([self.call([part, of]).array for of in second] for part in first)
        with np.errstate(all="ignore"):
            return a - d, b + c


def _copied(array: np.ndarray) -> Buffer:
    return Buffer(np.array(array, order="C"))


class Alone(Operation):
    """A program of one operation."""

    __slots__ = ("program", "several", "sig")

    program: Executable

    def __init__(self, sig: Signature) -> None:
        self.sig = sig
        self.several = type(sig.out) is tuple

    def __call__(self, args: Sequence[Buffer]) -> Result:
        outs = self.program.run(args)
        return outs if self.several else outs[0]
