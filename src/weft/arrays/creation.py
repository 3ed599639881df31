"""Tensors from Python values, other arrays, and nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.checked import checked, refuse_masked
from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..ir.dtype import (
    DEFAULT_COMPLEX,
    DEFAULT_FLOAT,
    DEFAULT_INT,
    DType,
    bool_,
    complex128,
    float64,
    int64,
    weak_dtype,
)
from ..ir.dtype import dtype as as_dtype
from ..ir.node import Aval, Node
from ..ir.shape import Dim, Shape, Size, check_shape, show_shape
from ..ops import elementwise as e
from ..ops import rearrange
from ..ops.indexing import iota
from ..ops.movement import broadcast_in_dim, identity
from ..runtime.buffer import own_copy
from . import dispatch
from .cell import Handle, own_node
from .dispatch import converted, is_number, node_of, number_leaf, wrap
from .dtypes import check_device
from .interop import from_dlpack, shared_tensor
from .remembered import remembered

if TYPE_CHECKING:
    from .tensor import Tensor


# -- from data ------------------------------------------------------------------------------------------------


def node_from_numpy(array: np.ndarray) -> Node:
    """A leaf with a copy of a NumPy array."""
    return node_of(np.asarray(array))


def _array_of(data: Any, want: DType | None) -> np.ndarray:
    """`data` as a NumPy array; Python floats become float32, complex numbers complex64."""
    if type(data) is not np.ndarray:
        refuse_masked(data)
    if isinstance(data, (np.ndarray, np.generic)):
        return np.asarray(data)
    try:
        with np.errstate(all="ignore"):
            if want is not None and want.kind in "uifc" and not hasattr(data, "__array__"):
                return np.asarray(data, dtype=want.numpy)
            array = np.asarray(data)
    except (ValueError, TypeError) as e:
        raise DTypeError(f"cannot make a tensor of {type(data).__name__}: {e}") from None
    except OverflowError as e:
        raise DTypeError(f"cannot make a tensor of {want}: {e}") from None
    if hasattr(data, "__array__") or isinstance(data, (bytes, bytearray, memoryview)):
        return array
    short = {np.dtype(np.float64): DEFAULT_FLOAT, np.dtype(np.complex128): DEFAULT_COMPLEX}.get(array.dtype)
    if short is not None and want is None:
        with np.errstate(all="ignore"):
            array = array.astype(short.numpy)
    return array


def _data_node(data: Any, dtype: DType | None) -> Node:
    array = _array_of(data, dtype)
    if array.dtype.kind not in "buifcV" or (array.dtype.kind == "V" and array.dtype.fields):
        raise DTypeError(
            f"cannot make a tensor of {type(data).__name__}: its elements are {array.dtype}, not numbers "
            "(integers beyond 64 bits, strings and ragged lists have no tensor)"
        )
    given = array.dtype
    want = as_dtype(given if given.isnative else given.newbyteorder("=")) if dtype is None else dtype
    if array.dtype.kind == "c" and want.kind not in "cb":
        raise DTypeError(f"cannot make a {want} tensor of complex numbers; take the real part or abs first")
    if given == want.numpy:  # nothing to ignore: entering `errstate` takes longer than a small copy
        return dispatch.buffer_leaf(own_copy(array, given), want)
    with np.errstate(all="ignore"):
        own = own_copy(array, want.numpy)
    return dispatch.buffer_leaf(own, want)


@checked
def tensor(data: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data`: nested lists of numbers, a NumPy array, a number or a tensor.

    Python floats become float32, integers int64; NumPy arrays and tensors keep their dtype.

        >>> wf.tensor([[1.0, 2.0], [3.0, 4.0]])
        tensor([[1., 2.],
                [3., 4.]], dtype=float32)
    """
    want = None if dtype is None else as_dtype(dtype)
    node = own_node(data._cell.node) if isinstance(data, Handle) else _data_node(data, want)
    if want is not None:
        node = converted(node, want)
    out = wrap(node)
    if requires_grad:
        out.requires_grad = True
    return out


@checked
def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Tensor:
    """`obj` as a tensor: a tensor, number, nested sequence, NumPy array, or anything that speaks DLPack or the buffer
    protocol.

    Args:
        dtype: converts to this type; by default Python floats become float32, everything else keeps its type.
        copy: True always gives a tensor of its own. None returns a tensor of the right dtype as it is, and copies
            other data. False shares the memory (see `from_numpy`) and raises where that is impossible.
    """
    check_device(device)
    want = None if dtype is None else as_dtype(dtype)
    if isinstance(obj, Handle):
        node = obj._cell.node
        if want is None or node.dtype is want:
            return wrap(identity.bind((node,))) if copy else obj  # type: ignore[return-value]
        if copy is False:
            raise ArgumentError(f"a {node.dtype} tensor becomes {want} only by copying")
        return wrap(converted(node, want))
    if not copy and not isinstance(obj, (np.ndarray, np.generic)) and hasattr(obj, "__dlpack__"):
        out = from_dlpack(obj, copy=copy)
        return out if want is None else asarray(out, dtype=want, copy=copy)
    if copy is False:
        return _share(obj, want)
    return wrap(_data_node(obj, want))


def _share(obj: Any, want: DType | None) -> Tensor:
    if isinstance(obj, (bytes, bytearray, memoryview)) or hasattr(obj, "__array_interface__"):
        array = np.asarray(obj)
        if array.flags.c_contiguous and (want is None or want.numpy == array.dtype):
            return shared_tensor(array)
    raise ArgumentError(
        f"a value of type {type(obj).__name__} cannot be shared without a copy as a {want or 'tensor'}: it must be an "
        "array of that dtype that lies in memory in C order; leave out copy=False"
    )


# -- filled ---------------------------------------------------------------------------------------------------


def _filled(shape: Any, value: Any, dtype: DType) -> Tensor:
    aval = Aval(check_shape(shape), dtype)
    return wrap(broadcast_in_dim(number_leaf(value, dtype), shape=aval.shape, axes=()))


@remembered
def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Zeros of the given shape, float32 by default."""
    check_device(device)
    return _filled(shape, 0, DEFAULT_FLOAT if dtype is None else as_dtype(dtype))


@remembered
def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones of the given shape, float32 by default."""
    check_device(device)
    return _filled(shape, 1, DEFAULT_FLOAT if dtype is None else as_dtype(dtype))


@checked
def empty(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor whose values do not matter. Weft has no uninitialised memory: they are zeros."""
    return zeros(shape, dtype=dtype, device=device)


@checked
def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor that repeats one number. Without a dtype: bool, int64, float32 or complex64, by the number's type."""
    check_device(device)
    if isinstance(fill_value, Handle):
        node = fill_value._cell.node
        if node.shape != ():
            raise ShapeError(f"full takes one number, got a tensor of shape {show_shape(node.shape)}")
        node = node if dtype is None else converted(node, as_dtype(dtype))
        return wrap(broadcast_in_dim(node, shape=check_shape(shape), axes=()))
    if not is_number(fill_value):
        one = np.asarray(fill_value, dtype=None if isinstance(fill_value, np.generic) else object)
        if one.ndim or not is_number(one.item()):
            raise ArgumentError(f"full takes one number, got {fill_value!r}")
        fill_value = one.item()
    want = weak_dtype(fill_value, None) if dtype is None else as_dtype(dtype)
    if isinstance(fill_value, complex) and want.kind not in "cb":
        raise DTypeError(f"cannot fill a {want} tensor with the complex number {fill_value}")
    return _filled(shape, fill_value, want)


def shape_and_dtype(x: Any, dtype: Any) -> tuple[Shape, DType]:
    """What a tensor "like x" has: the shape of x, and its dtype unless another one is given."""
    aval = node_of(x).aval
    return aval.shape, aval.dtype if dtype is None else as_dtype(dtype)


@remembered
def zeros_like(x: Tensor, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Zeros of the shape and dtype of x."""
    shape, want = shape_and_dtype(x, dtype)
    return zeros(shape, dtype=want, device=device)


@remembered
def ones_like(x: Tensor, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones of the shape and dtype of x."""
    shape, want = shape_and_dtype(x, dtype)
    return ones(shape, dtype=want, device=device)


@checked
def empty_like(x: Tensor, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of the shape and dtype of x whose values do not matter (zeros)."""
    shape, want = shape_and_dtype(x, dtype)
    return zeros(shape, dtype=want, device=device)


@checked
def full_like(x: Tensor, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """One number repeated in the shape and dtype of x."""
    shape, want = shape_and_dtype(x, dtype)
    return full(shape, fill_value, dtype=want, device=device)


# -- ranges and grids -----------------------------------------------------------------------------------------


@remembered
def arange(
    start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """start, start + step, ... up to but not including stop; with one argument, from 0 to it.

    int64 if all arguments are integers, else float32. The length is part of a program's structure, the values are not.

        >>> wf.arange(2, 8, 3)
        tensor([2, 5], dtype=int64)
    """
    check_device(device)
    if stop is None:
        start, stop = 0, start
    start, stop, step = [x.item() if hasattr(x, "item") else x for x in (start, stop, step)]
    if isinstance(stop, Dim) and isinstance(start, int) and step == 1:
        want = as_dtype(dtype) if dtype is not None else DEFAULT_INT
        return wrap(converted(_progression(stop - start, start, 1, int64), want))
    if any(isinstance(x, Dim) for x in (start, stop, step)):
        raise ArgumentError(
            f"arange to an open dimension starts at an integer and has step 1, got {start}, {stop}, {step}"
        )
    if step == 0:
        raise ArgumentError("the step of arange must not be 0")
    for x in (start, stop, step):
        if not isinstance(x, (int, float)) or not math.isfinite(x):
            raise ArgumentError(f"arange takes finite real numbers, got {x!r}")
    whole = all(isinstance(x, int) for x in (start, stop, step))
    want = as_dtype(dtype) if dtype is not None else (DEFAULT_INT if whole else DEFAULT_FLOAT)
    if want is bool_:
        raise DTypeError("arange has no booleans; compare a range of integers instead")
    if whole:
        size = max(0, -((start - stop) // step))
    else:
        size = max(0, math.ceil((stop - start) / step))
    if whole and want.kind in "ui":
        last = start + (size - 1) * step if size else start
        number_leaf(last, want)  # raises if the range does not fit the type
        if want.bits < 64:
            return wrap(converted(_progression(size, start, step, int64), want))
        return wrap(_progression(size, start, step, want))
    out = _progression(size, start, step, complex128 if want.kind == "c" else float64)
    return wrap(converted(out, want))


def _progression(size: Size, start: Any, step: Any, dtype: DType) -> Node:
    """start + i * step. Integers may wrap around on the way; the results do not."""
    i = iota(size=size, dtype=int64 if dtype.inexact else dtype)
    i = converted(i, dtype)
    if step != 1:
        if dtype.kind == "u" and step < 0:
            step %= 2**dtype.bits
        i = i * number_leaf(step, dtype)
    return i if start == 0 else i + number_leaf(start, dtype)


@checked
def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Tensor:
    """`num` evenly spaced numbers from start to stop, which is the last one unless `endpoint` is False.

    float32 by default, complex64 between complex numbers.
    """
    check_device(device)
    start, stop = [x.item() if hasattr(x, "item") else x for x in (start, stop)]
    if num < 0:
        raise ArgumentError(f"linspace makes no negative number of points, got num={num}")
    is_complex = isinstance(start, complex) or isinstance(stop, complex)
    want = as_dtype(dtype) if dtype is not None else (DEFAULT_COMPLEX if is_complex else DEFAULT_FLOAT)
    if is_complex and want.kind != "c":
        raise DTypeError(f"the points between {start} and {stop} are complex, not {want}")
    wide = complex128 if want.kind == "c" else float64
    gaps = num - 1 if endpoint else num
    i = converted(iota(size=num, dtype=int64), wide)
    a, b = number_leaf(start, wide), number_leaf(stop, wide)
    if gaps < 1:
        return wrap(converted(i * number_leaf(0, wide) + a, want))
    share = i / number_leaf(gaps, wide)
    # Neither end is rounded, and the sum does not overflow where the difference of the ends would.
    points = a * (number_leaf(1, wide) - share) + b * share
    if want.kind in "ui":
        points = e.floor(points)
    return wrap(converted(points, want))


@remembered
def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None
) -> Tensor:
    """Ones on the k-th diagonal (0 the main one, positive above it), zeros elsewhere; square without `n_cols`."""
    check_device(device)
    want = DEFAULT_FLOAT if dtype is None else as_dtype(dtype)
    rows, columns = check_shape((n_rows, n_rows if n_cols is None else n_cols))
    return wrap(rearrange.eye(rows, columns, _diagonal(k), want))


def _diagonal(k: int) -> Node:
    """The number of a diagonal; what lies outside every matrix may as well be near its border."""
    return number_leaf(max(-(2**62), min(int(k), 2**62)), int64)


def _matrix(x: Any, name: str) -> Node:
    node = node_of(x)
    if node.ndim < 2:
        raise ShapeError(
            f"{name} takes matrices (two or more dimensions), got shape {show_shape(node.shape)}"
        )
    return node


@checked
def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """x with everything above the k-th diagonal set to zero, in each matrix of a stack."""
    node = _matrix(x, "tril")
    kept = rearrange.tri(node.shape[-2], node.shape[-1], _diagonal(k))  # type: ignore[arg-type]
    return wrap(e.where.bind((kept, node, number_leaf(0, node.dtype))))


@checked
def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """x with everything below the k-th diagonal set to zero, in each matrix of a stack."""
    node = _matrix(x, "triu")
    gone = rearrange.tri(node.shape[-2], node.shape[-1], _diagonal(k - 1))  # type: ignore[arg-type]
    return wrap(e.where.bind((gone, number_leaf(0, node.dtype), node)))


@checked
def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Coordinate tensors of the grid spanned by one-dimensional tensors.

    With "ij" the i-th tensor varies along axis i; with "xy" (the default) the first two axes are swapped.
    """
    dispatch.check_choice("indexing", indexing, ("xy", "ij"))
    nodes = [node_of(a) for a in arrays]
    for n in nodes:
        if n.ndim > 1:
            raise ShapeError(f"meshgrid takes one-dimensional tensors, got shape {show_shape(n.shape)}")
    if len({n.dtype for n in nodes}) > 1:
        raise DTypeError(f"meshgrid takes tensors of one dtype, got {', '.join(str(n.dtype) for n in nodes)}")
    order = list(range(len(nodes)))
    if indexing == "xy" and len(nodes) > 1:
        order[0], order[1] = 1, 0
    shape = [1 if n.ndim == 0 else n.shape[0] for n in nodes]
    full_shape = tuple([shape[i] for i in order])
    out = []
    for i, n in enumerate(nodes):
        axes = (order.index(i),) if n.ndim else ()
        out.append(wrap(broadcast_in_dim(n, shape=full_shape, axes=axes)))
    return tuple(out)
