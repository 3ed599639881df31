"""From tensors to nodes and back: promotion, Python numbers, and composites that keep what reverse mode needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autodiff.transforms import saving_node
from ..base.errors import ArgumentError, DTypeError
from ..ir.dtype import DType, promote, weak_dtype
from ..ir.node import Aval, Node
from ..ir.primitive import Primitive, leaf, pick
from ..ops.composite.define import Composite
from ..ops.define import constant
from ..ops.elementwise import cast
from ..runtime.buffer import Buffer


def is_number(x: Any) -> bool:
    """Whether `x` is a Python or NumPy scalar that takes its type from the tensors beside it."""
    return isinstance(x, (bool, int, float, complex)) and not isinstance(x, np.generic)


def node_of(x: Any, beside: DType | None = None) -> Node:
    """The node of a tensor, of a Python number (typed by the tensor beside it) or of a NumPy array."""
    from .tensor import Tensor

    if isinstance(x, Tensor):
        return x._cell.node
    if is_number(x):
        return constant(x, weak_dtype(x, beside))
    if isinstance(x, (np.ndarray, np.generic)):
        from .creation import node_from_numpy

        return node_from_numpy(np.asarray(x))
    raise DTypeError(f"expected a tensor or a number, got {type(x).__name__}")


def promoted(*operands: Any) -> tuple[Node, ...]:
    """The operands as nodes of one dtype; Python numbers and weak scalars give way to tensors."""
    from .tensor import Tensor, WeakScalar

    dtype: DType | None = None
    for x in operands:
        if isinstance(x, WeakScalar) or is_number(x):
            continue
        found = x._cell.node.sig.out.dtype if isinstance(x, Tensor) else node_of(x).dtype  # type: ignore[union-attr]
        dtype = found if dtype is None else promote(dtype, found)
    kinds = {type(x) if is_number(x) else complex if x.dtype.kind == "c" else float for x in operands
             if is_number(x) or isinstance(x, WeakScalar)}  # fmt: skip
    for kind in (bool, int, float, complex):
        if kind in kinds:
            dtype = weak_dtype(kind(), dtype)
    assert dtype is not None
    return tuple([as_dtype(x, dtype) for x in operands])


def as_dtype(x: Any, dtype: DType) -> Node:
    """An operand as a node of the given dtype."""
    if is_number(x):
        return constant(x, dtype)
    node = node_of(x)
    return node if node.sig.out.dtype is dtype else cast.bind((node,), (dtype,))  # type: ignore[union-attr]


def binary(prim: Primitive, x: Any, y: Any) -> Any:
    """An elementwise primitive of two operands, at least one of them a tensor."""
    from .tensor import Tensor

    if type(x) is Tensor and type(y) is Tensor:
        a, b = x._cell.node, y._cell.node
        if a.sig.out.dtype is b.sig.out.dtype:  # type: ignore[union-attr]
            return Tensor(prim.bind((a, b)))
    return Tensor(prim.bind(promoted(x, y)))


def apply(composite: Composite, *args: Any, **attrs: Any) -> Any:
    """A composite applied to tensors; numbers take the dtype of the first inexact tensor, None stays None."""
    from .tensor import Tensor

    dtype = None
    for a in args:
        if isinstance(a, Tensor):
            found = a.dtype
            if dtype is None or (found.inexact and not dtype.inexact):
                dtype = found
    nodes = tuple([None if a is None else node_of(a, dtype) for a in args])
    node = apply_nodes(composite, nodes, composite.attrs(attrs))
    if type(node) is tuple:
        return tuple([Tensor(n) for n in node])
    return Tensor(node)


def apply_nodes(composite: Composite, nodes: tuple[Node | None, ...], attrs: tuple[Any, ...]) -> Any:
    """The same on nodes. Where a gradient may be asked for, the call returns its residuals from the start."""
    given = tuple([n for n in nodes if n is not None])
    sig = composite.signature(tuple([None if n is None else n.aval for n in nodes]), attrs)
    count = len(sig.outs)
    node = saving_node(sig, given)
    if count > 1:
        return tuple([pick(node, i) for i in range(count)])
    return pick(node, 0) if type(node.sig.out) is tuple else node


def buffer_leaf(array: np.ndarray, dtype: DType) -> Node:
    """A leaf that owns `array`."""
    return leaf(Aval(array.shape, dtype), Buffer(array))


def operation(composite: Composite) -> Callable[..., Any]:
    """The tensor-level function of a composite."""

    def function(*args: Any, **attrs: Any) -> Any:
        return apply(composite, *args, **attrs)

    function.__name__ = composite.name
    function.__doc__ = composite.__doc__
    return function


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise unless `value` is one of `choices`."""
    if value not in choices:
        raise ArgumentError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
