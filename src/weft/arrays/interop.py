"""Other libraries' arrays: NumPy's protocols, DLPack, pickling."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.checked import checked, refuse_masked
from ..base.errors import ArgumentError, DTypeError
from ..ir.dtype import DType
from ..ir.dtype import dtype as to_dtype
from ..ir.node import SHARED, Aval
from ..ir.primitive import leaf
from ..runtime.buffer import Buffer, own_copy
from . import dispatch
from .cell import Cell, Handle, value_of
from .dtypes import check_device

if TYPE_CHECKING:
    from .tensor import Tensor

#: DLPack's name of the one device: kDLCPU, number 0.
CPU = (1, 0)


def as_numpy(x: Tensor, dtype: Any, copy: bool | None) -> np.ndarray:
    """`numpy.asarray(x)`: the tensor's memory, read-only; a copy that may be written to where one is asked for."""
    array = x.numpy()
    if dtype is not None and np.dtype(dtype) != array.dtype:
        if copy is False:
            raise ArgumentError(f"a {x.dtype} tensor becomes an array of {np.dtype(dtype)} only by copying")
        return array.astype(dtype)
    return array.copy() if copy else array


#: NumPy's functions whose names differ from the array API standard's.
_UFUNCS = {
    "absolute": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "conjugate": "conj",
    "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift",
    "power": "pow",
    "right_shift": "bitwise_right_shift",
    "rint": "round",
    "true_divide": "divide",
}


def numpy_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`numpy.exp(x)` of a tensor is `weft.exp(x)`, and so on for the functions that Weft has."""
    from . import elementwise, products

    if method != "__call__" or kwargs:
        return NotImplemented
    name = _UFUNCS.get(ufunc.__name__, ufunc.__name__)
    function = getattr(products if name == "matmul" else elementwise, str(name), None)
    return NotImplemented if function is None else function(*inputs)


#: NumPy's functions that ask for no values, so that a pending tensor stays pending.
_ATTRIBUTES = {np.shape: "shape", np.ndim: "ndim", np.size: "size"}


def numpy_function(
    function: Any, types: Collection[type], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """NumPy's other functions see a tensor as the array of its values: `numpy.mean(x)` is `numpy.mean(x.numpy())`."""
    if not all(issubclass(t, (Handle, np.ndarray)) for t in types):
        return NotImplemented
    if function in _ATTRIBUTES and len(args) == 1 and not kwargs:
        return getattr(args[0], _ATTRIBUTES[function])
    return function(*map(_arrays, args), **{name: _arrays(value) for name, value in kwargs.items()})


def _arrays(argument: Any) -> Any:
    """An argument of NumPy's with arrays for tensors, in lists and tuples of them too."""
    if isinstance(argument, Handle):
        return np.asarray(argument)
    if type(argument) in (list, tuple):
        return type(argument)(map(_arrays, argument))
    return argument


def export_dlpack(
    x: Tensor,
    stream: Any,
    max_version: tuple[int, int] | None,
    device: tuple[Any, int] | None,
    copy: bool | None,
) -> Any:
    """A DLPack capsule of the tensor's value.

    A consumer that understands the read-only flag (DLPack 1.0) shares the memory. For an older one, which could write
    to it, the value is copied; if it forbids that (`copy=False`), it gets the memory itself, and the tensor counts as
    shared with the outside from then on.
    """
    if stream is not None:
        raise ArgumentError(f"a tensor on the CPU has no streams, got stream={stream!r}")
    if device is not None and (int(getattr(device[0], "value", device[0])), int(device[1])) != CPU:
        raise BufferError(f"a tensor on the CPU cannot be exported to the device {device!r}")
    array = x.numpy()
    if array.dtype.name == "bfloat16":
        raise BufferError("bfloat16 cannot be exported through NumPy; cast to float32 first")
    if copy:
        array = array.copy()
    elif max_version is None or max_version[0] < 1:
        array = array.copy() if copy is None else _give_out(x)
    if max_version is None:
        return array.__dlpack__()
    return array.__dlpack__(max_version=max_version)


def _give_out(x: Tensor) -> np.ndarray:
    """The tensor's own memory, open for writing; nothing that has been computed or is waiting may depend on it."""
    from .cell import flush

    cell: Cell = x._cell
    if cell.requires_grad:
        raise BufferError(
            "the memory of a tensor that requires a gradient is not given out; detach() it first"
        )
    flush()
    value = value_of(cell)
    if not isinstance(value, Buffer) or not cell.node.flags & SHARED:
        # Other tensors may hold this buffer: the exported memory is a fresh one, which this tensor shows from now on.
        array = x.numpy().copy()
        node = leaf(cell.node.aval, Buffer(array, shared=True))
        node.flags |= SHARED
        cell.rebind(node)
        return array
    return value.array


def shared_tensor(array: np.ndarray) -> Tensor:
    """A tensor that shows memory which others may write to, until the first operation on it copies it."""
    dtype = to_dtype(array.dtype)
    node = leaf(Aval(array.shape, dtype), Buffer(array, shared=True))
    node.flags |= SHARED
    return dispatch.wrap(node)


@checked
def from_numpy(array: np.ndarray, /) -> Tensor:
    """A tensor that shares the memory of a NumPy array, without copying.

    Changes of the array show in the tensor until the tensor is first used in an operation; then it gets a copy of its
    own, so that what is computed later is computed from what it held at that moment. An array that is not contiguous
    or not in the machine's byte order is copied at once. `weft.tensor` always copies.
    """
    if not isinstance(array, np.ndarray):
        raise DTypeError(
            f"from_numpy takes a NumPy array, got {type(array).__name__}; weft.asarray takes anything"
        )
    refuse_masked(array)
    dtype = to_dtype(array.dtype.newbyteorder("="))
    if not array.flags.c_contiguous or array.dtype != dtype.numpy or not array.flags.aligned:
        return dispatch.wrap(dispatch.buffer_leaf(own_copy(array, dtype.numpy), dtype))
    return shared_tensor(array)


@checked
def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor from an array of any library that exports DLPack, sharing its memory where it can (see `from_numpy`).

    Args:
        device: None or "cpu".
        copy: True copies at once; False raises where sharing is impossible; None decides.

    Raises:
        ArgumentError: x does not export DLPack.
        DTypeError: NumPy, which reads the memory, does not have x's dtype (bfloat16, for one).
        BufferError: the exporting library refuses, or `copy=False` and the memory is not contiguous.
    """
    check_device(device)
    refuse_masked(x)
    if isinstance(x, Handle):
        return dispatch.wrap(_same_value(x, copy))
    if not hasattr(x, "__dlpack__"):
        raise ArgumentError(
            f"{type(x).__name__} does not export DLPack (it has no __dlpack__); try weft.asarray"
        )
    # NumPy writes the capsule's reader; a library that does not know the newer keywords gets none.
    try:
        array = np.from_dlpack(x, copy=copy) if copy is not None else np.from_dlpack(x)
    except RuntimeError as e:
        dtype = getattr(x, "dtype", "dtype")
        raise DTypeError(
            f"an array of {dtype} cannot be read through DLPack ({e}); convert it first"
        ) from None
    if not array.flags.c_contiguous:
        if copy is False:
            raise BufferError("the memory is not contiguous: a tensor can hold it only as a copy")
        array = np.array(array, order="C", copy=True)
    return shared_tensor(array)


def _same_value(x: Handle, copy: bool | None) -> Any:
    from .cell import own_node

    return own_node(x._cell.node)


def unpickle(kind: type, array: np.ndarray, dtype: DType, requires_grad: bool, grad: Any) -> Any:
    """What a pickled tensor is rebuilt by."""
    x: Any = object.__new__(kind)
    x._cell = Cell(dispatch.buffer_leaf(own_copy(array, dtype.numpy), dtype))
    x._cell.require_grad(requires_grad)
    x._cell.grad = grad
    return x
