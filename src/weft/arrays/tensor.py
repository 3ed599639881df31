"""`Tensor`: a handle on a cell, with the operators and methods that users call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..ir.dtype import DType
from ..ir.node import GRAD, SHARED, Aval, Node
from ..ir.primitive import leaf
from ..ir.shape import Shape, show_shape
from ..ops import elementwise as e
from ..ops.movement import identity
from ..runtime.buffer import Buffer
from . import dispatch, elementwise, reductions
from .cell import Cell, Handle, own_node, value_of
from .dispatch import binary
from .elementwise import power
from .indexing import get, put
from .methods import Methods
from .products import product

Scalar = bool | int | float | complex

_backward: Any = None  # of a module that imports this one


class Tensor(Methods, Handle):
    """An array whose value is computed when it is looked at.

    Operations check shapes and dtypes at once and build a graph; `item`, `numpy`, `print`, `bool` and
    `realize` run it. Tensors never share memory visibly: assignment and `+=` rebind the one tensor they name.

    Tensors are made by `weft.tensor`, `weft.asarray`, `weft.zeros` and the like, not by calling the class.
    """

    __slots__ = ()

    __array_priority__ = 1000

    def __init__(self, node: Node) -> None:
        if not isinstance(node, Node):
            raise ArgumentError("make tensors with weft.tensor, weft.asarray, weft.zeros, ...")
        self._cell = Cell(node)

    def __init_subclass__(cls, *, weak: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not weak:
            dispatch.strong.add(cls)
        if not weak and cls.__module__.startswith("weft."):
            dispatch.ours.add(cls)

    # -- what it is -----------------------------------------------------------------------------------------

    @property
    def _node(self) -> Node:
        return self._cell.node

    @property
    def shape(self) -> Shape:
        """The size of each dimension."""
        return self._cell.node.sig.out.shape  # type: ignore[union-attr]

    @property
    def dtype(self) -> DType:
        """The type of the elements."""
        return self._cell.node.sig.out.dtype  # type: ignore[union-attr]

    @property
    def device(self) -> str:
        """Where the value lives: "cpu"."""
        return "cpu"

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._cell.node.sig.out.shape)  # type: ignore[union-attr]

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._cell.node.size

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.itemsize

    def __len__(self) -> int:
        shape = self.shape
        if not shape:
            raise DTypeError("a tensor of no dimensions has no len()")
        return shape[0]  # type: ignore[return-value]

    def __hash__(self) -> int:
        return id(self)

    # -- looking at it --------------------------------------------------------------------------------------

    def realize(self) -> Tensor:
        """Compute the value now, with everything else that is pending; returns the tensor itself."""
        value_of(self._cell)
        return self

    def numpy(self) -> np.ndarray:
        """The value as a read-only NumPy array that shares the tensor's memory."""
        value = value_of(self._cell)
        array = value.array if isinstance(value, Buffer) else np.asarray(value, dtype=self.dtype.numpy)
        view = array.view()
        view.flags.writeable = False
        return view

    def item(self, *index: int) -> Any:
        """The value of a tensor of one element, or of the element at `index`, as a Python number."""
        if index:
            return self[index if len(index) > 1 else index[0]].item()  # type: ignore[index]
        if self.size != 1:
            raise ShapeError(
                f"item() needs exactly one element, this tensor has shape {show_shape(self.shape)}"
            )
        value = value_of(self._cell)
        return (value.array if isinstance(value, Buffer) else np.asarray(value, self.dtype.numpy)).item()

    def tolist(self) -> Any:
        """The value as nested lists of Python numbers."""
        return self.numpy().tolist()

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(
                f"the truth value of a tensor of shape {show_shape(self.shape)} is ambiguous; use all() or any()"
            )
        return bool(self.numpy().item())

    def __int__(self) -> int:
        return int(self._real("int"))

    def __float__(self) -> float:
        return float(self._real("float"))

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "ui" or self.ndim:
            raise DTypeError(
                f"only an integer tensor of no dimensions is an index, not {self._node.aval.describe()}"
            )
        return self.item()

    def _real(self, kind: str) -> Any:
        if self.dtype.kind == "c":
            raise DTypeError(f"a complex tensor has no {kind}(); take weft.real(x) or weft.abs(x) first")
        return self.item()

    def __repr__(self) -> str:
        from .printing import show_tensor

        return show_tensor(self)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.size == 1 else format(str(self), spec)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        from .interop import as_numpy

        return as_numpy(self, dtype, copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from .interop import numpy_ufunc

        return numpy_ufunc(ufunc, method, inputs, kwargs)

    def __array_namespace__(self, /, *, api_version: str | None = None) -> Any:
        from .info import namespace

        return namespace(api_version)

    def __dlpack__(
        self,
        /,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[Any, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        from .interop import export_dlpack

        return export_dlpack(self, stream, max_version, dl_device, copy)

    def __dlpack_device__(self, /) -> tuple[int, int]:
        from .interop import CPU

        return CPU

    def __reduce_ex__(self, protocol: Any) -> Any:
        from .interop import unpickle

        grad = self._cell.grad
        return unpickle, (type(self), self.numpy(), self.dtype, self._cell.requires_grad, grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        new = self._with_value_of(self)
        memo[id(self)] = new
        if self._cell.grad is not None:
            new._cell.grad = self._cell.grad.__deepcopy__(memo)
        return new

    def __copy__(self) -> Tensor:
        return self._with_value_of(self)

    def _with_value_of(self, other: Tensor) -> Any:
        new = type(self).__new__(type(self))
        new._cell = Cell(own_node(other._cell.node))
        new._cell.require_grad(other._cell.requires_grad)
        return new

    # -- gradients ------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether `backward` reaches this tensor."""
        return bool(self._cell.node.flags & GRAD)

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        self._cell.require_grad(bool(wanted))

    def requires_grad_(self, wanted: bool = True) -> Tensor:
        """Set `requires_grad`; returns the tensor itself."""
        self._cell.require_grad(wanted)
        return self

    @property
    def grad(self) -> Tensor | None:
        """What `backward` has accumulated here, or None."""
        return self._cell.grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None and (not isinstance(value, Tensor) or value._node.aval is not self._node.aval):
            got = value._node.aval.describe() if isinstance(value, Tensor) else type(value).__name__
            raise ShapeError(
                f"the gradient of a {self._node.aval.describe()} tensor must be of that type, got {got}"
            )
        self._cell.grad = value

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor is not computed from one that requires a gradient."""
        return self._cell.requires_grad or not self._cell.node.flags & GRAD

    def detach(self) -> Tensor:
        """The same value, through which no gradient flows."""
        return Tensor(own_node(self._cell.node))

    def backward(
        self, gradient: Tensor | None = None, *, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add d self / d leaf to `leaf.grad` for every leaf that requires a gradient."""
        global _backward
        if _backward is None:
            from .backward import backward as _backward

        _backward([self], [gradient], retain_graph=retain_graph, create_graph=create_graph)

    # -- operators ------------------------------------------------------------------------------------------

    def __add__(self, other: Any, /) -> Tensor:
        return binary(e.add, self, other)

    def __radd__(self, other: Any, /) -> Tensor:
        return binary(e.add, other, self)

    def __sub__(self, other: Any, /) -> Tensor:
        return binary(e.sub, self, other)

    def __rsub__(self, other: Any, /) -> Tensor:
        return binary(e.sub, other, self)

    def __mul__(self, other: Any, /) -> Tensor:
        return binary(e.mul, self, other)

    def __rmul__(self, other: Any, /) -> Tensor:
        return binary(e.mul, other, self)

    def __truediv__(self, other: Any, /) -> Tensor:
        return binary(e.div, self, other)

    def __rtruediv__(self, other: Any, /) -> Tensor:
        return binary(e.div, other, self)

    def __floordiv__(self, other: Any, /) -> Tensor:
        return binary(e.floor_divide, self, other)

    def __rfloordiv__(self, other: Any, /) -> Tensor:
        return binary(e.floor_divide, other, self)

    def __mod__(self, other: Any, /) -> Tensor:
        return binary(e.remainder, self, other)

    def __rmod__(self, other: Any, /) -> Tensor:
        return binary(e.remainder, other, self)

    def __divmod__(self, other: Any, /) -> tuple[Tensor, Tensor]:
        return self // other, self % other

    def __pow__(self, other: Any, /) -> Tensor:
        return power(self, other)

    def __rpow__(self, other: Any, /) -> Tensor:
        return power(other, self)

    def __matmul__(self, other: Any, /) -> Tensor:
        return product(self, other)

    def __rmatmul__(self, other: Any, /) -> Tensor:
        return product(other, self)

    def __and__(self, other: Any, /) -> Tensor:
        return binary(e.bitwise_and, self, other)

    def __rand__(self, other: Any, /) -> Tensor:
        return binary(e.bitwise_and, other, self)

    def __or__(self, other: Any, /) -> Tensor:
        return binary(e.bitwise_or, self, other)

    def __ror__(self, other: Any, /) -> Tensor:
        return binary(e.bitwise_or, other, self)

    def __xor__(self, other: Any, /) -> Tensor:
        return binary(e.bitwise_xor, self, other)

    def __rxor__(self, other: Any, /) -> Tensor:
        return binary(e.bitwise_xor, other, self)

    def __lshift__(self, other: Any, /) -> Tensor:
        return binary(e.shift_left, self, other)

    def __rlshift__(self, other: Any, /) -> Tensor:
        return binary(e.shift_left, other, self)

    def __rshift__(self, other: Any, /) -> Tensor:
        return binary(e.shift_right, self, other)

    def __rrshift__(self, other: Any, /) -> Tensor:
        return binary(e.shift_right, other, self)

    def __eq__(self, other: Any, /) -> Any:
        return binary(e.equal, self, other)

    def __ne__(self, other: Any, /) -> Any:
        same = binary(e.equal, self, other)
        return same if same is NotImplemented else Tensor(e.bitwise_not.bind((same._cell.node,)))

    def __lt__(self, other: Any, /) -> Tensor:
        return binary(e.less, self, other)

    def __le__(self, other: Any, /) -> Tensor:
        return binary(e.less_equal, self, other)

    def __gt__(self, other: Any, /) -> Tensor:
        return binary(e.less, other, self)

    def __ge__(self, other: Any, /) -> Tensor:
        return binary(e.less_equal, other, self)

    def __neg__(self, /) -> Tensor:
        return dispatch.unary(e.neg, self._cell.node)

    def __pos__(self, /) -> Tensor:
        return Tensor(identity.bind((self._cell.node,)))

    def __abs__(self, /) -> Tensor:
        return elementwise.abs(self)

    def __invert__(self, /) -> Tensor:
        return Tensor(e.bitwise_not.bind((self._cell.node,)))

    # In place: the tensor holds another value from now on; whoever holds this tensor sees it, nobody else does.

    def _become(self, result: Any) -> Any:
        if result is NotImplemented:
            return NotImplemented
        node, mine = result._cell.node, self._cell.node
        if node.sig.out is not mine.sig.out:
            raise DTypeError(
                f"the result is {node.aval.describe()} and does not fit in place of {mine.aval.describe()}; "
                "write x = x + y, or cast the other operand"
            )
        self._cell.rebind(node)
        return self

    def __iadd__(self, other: Any, /) -> Tensor:
        return self._become(self + other)

    def __isub__(self, other: Any, /) -> Tensor:
        return self._become(self - other)

    def __imul__(self, other: Any, /) -> Tensor:
        return self._become(self * other)

    def __itruediv__(self, other: Any, /) -> Tensor:
        return self._become(self / other)

    def __ifloordiv__(self, other: Any, /) -> Tensor:
        return self._become(self // other)

    def __imod__(self, other: Any, /) -> Tensor:
        return self._become(self % other)

    def __ipow__(self, other: Any, /) -> Tensor:  # type: ignore[misc]
        return self._become(self**other)

    def __imatmul__(self, other: Any, /) -> Tensor:
        return self._become(self @ other)

    def __iand__(self, other: Any, /) -> Tensor:
        return self._become(self & other)

    def __ior__(self, other: Any, /) -> Tensor:
        return self._become(self | other)

    def __ixor__(self, other: Any, /) -> Tensor:
        return self._become(self ^ other)

    def __ilshift__(self, other: Any, /) -> Tensor:
        return self._become(self << other)

    def __irshift__(self, other: Any, /) -> Tensor:
        return self._become(self >> other)

    # -- indexing -------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any, /) -> Tensor:
        return dispatch.wrap(get(self._cell.node, key))

    def __setitem__(self, key: Any, value: Any, /) -> None:
        self._cell.rebind(put(self, key, value))

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise DTypeError("a tensor of no dimensions cannot be iterated over")
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool(reductions.any(self == value))


class WeakScalar(Tensor, weak=True):
    """A Python number that became the argument of a traced function: it takes the dtype of the tensors beside it.

    Arithmetic with numbers and other weak scalars stays weak, and is done in double precision, as Python's is.
    """

    __slots__ = ()

    def _become(self, result: Any) -> Any:
        return result  # as with a Python number, `x += 1` gives the name x another one

    def __neg__(self, /) -> Tensor:
        return dispatch.weak(e.neg.bind((self._cell.node,)))

    def __pos__(self, /) -> Tensor:
        return self

    def __abs__(self, /) -> Tensor:
        return dispatch.weak(e.abs_.bind((self._cell.node,)))

    def __pow__(self, other: Any, /) -> Tensor:
        return binary(e.pow_, self, other)


dispatch.install(Tensor, WeakScalar)


def wrap(node: Node) -> Tensor:
    """A tensor for a node."""
    return Tensor(node)


def from_array(array: np.ndarray, dtype: DType, *, shared: bool = False) -> Tensor:
    """A tensor with the given memory as its value: contiguous, of the dtype.

    Unless `shared`, nobody else may write to it.
    """
    node = leaf(Aval(array.shape, dtype), Buffer(array, shared=shared))
    if shared:
        node.flags |= SHARED
    return Tensor(node)
