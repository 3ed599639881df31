"""`Tensor`: a handle on a cell, with the operators and methods that users call."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.errors import ShapeError
from ..ir.dtype import DType
from ..ir.node import GRAD, Aval, Node
from ..ir.primitive import leaf
from ..ir.shape import Shape, show_shape
from ..ops import elementwise as e
from ..ops.contraction import matmul
from ..ops.reduce import sum_
from ..runtime.buffer import Buffer
from . import dispatch
from .cell import Cell, own_node, value_of

Scalar = bool | int | float | complex


class Tensor:
    """An array whose value is computed when it is looked at.

    Operations check shapes and dtypes at once and build a graph; `item`, `numpy`, `print`, `bool` and
    `realize` run it. Tensors never share memory visibly: assignment and `+=` rebind the one tensor they name.
    """

    __slots__ = ("_cell", "__weakref__")

    _cell: Cell
    __array_priority__ = 1000

    def __init__(self, node: Node) -> None:
        if not isinstance(node, Node):
            raise TypeError("make tensors with weft.tensor, weft.asarray, weft.zeros, ...")
        self._cell = Cell(node)

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
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._cell.node.size

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

    def item(self) -> Any:
        """The value of a tensor of one element, as a Python number."""
        if self.size != 1:
            raise ShapeError(
                f"item() needs exactly one element, this tensor has shape {show_shape(self.shape)}"
            )
        return self.numpy().item()

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

    def detach(self) -> Tensor:
        """The same value, through which no gradient flows."""
        return Tensor(own_node(self._cell.node))

    def backward(
        self, gradient: Tensor | None = None, *, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add d self / d leaf to `leaf.grad` for every leaf that requires a gradient."""
        from .backward import backward

        backward([self], [gradient], retain_graph=retain_graph, create_graph=create_graph)

    # -- operators ------------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return dispatch.binary(e.add, self, other)

    def __radd__(self, other: Any) -> Tensor:
        return dispatch.binary(e.add, other, self)

    def __sub__(self, other: Any) -> Tensor:
        return dispatch.binary(e.sub, self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return dispatch.binary(e.sub, other, self)

    def __mul__(self, other: Any) -> Tensor:
        return dispatch.binary(e.mul, self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return dispatch.binary(e.mul, other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return dispatch.binary(e.div, self, other)

    def __matmul__(self, other: Any) -> Tensor:
        return Tensor(matmul(*dispatch.promoted(self, other)))

    def __neg__(self) -> Tensor:
        return Tensor(e.neg.bind((self._cell.node,)))

    def sum(self) -> Tensor:
        """The sum of all elements."""
        return Tensor(sum_(self._node, axes=tuple(range(self.ndim))))


class WeakScalar(Tensor):
    """A Python number that became the argument of a traced function: it takes the dtype of the tensors beside it."""

    __slots__ = ()


def wrap(node: Node) -> Tensor:
    """A tensor for a node."""
    return Tensor(node)


def from_array(array: np.ndarray, dtype: DType) -> Tensor:
    """A tensor with the given memory as its value. The array must be its own: contiguous, of the dtype, unshared."""
    return Tensor(leaf(Aval(array.shape, dtype), Buffer(array)))
