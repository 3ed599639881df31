"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from ...arrays.grad import no_grad
from ...arrays.manipulation import concat
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError, ShapeError
from ...ops.movement import slice_axis


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters one after the other.

    Shapes: (sum of the sizes). Raises: ArgumentError for no parameters.
    """
    items = list(parameters)
    if not items:
        raise ArgumentError("parameters_to_vector got no parameters")
    return concat([p.reshape((-1,)) for p in items])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give parameters the elements of a vector, one after the other. They stay the objects they are.

    Shapes: vec (sum of the sizes). Raises: ShapeError for another length; nothing is changed then.
    """
    items = list(parameters)
    total = sum(p.size for p in items)
    if vec.shape != (total,):
        raise ShapeError(f"the parameters have {total} elements together, the vector is of shape {vec.shape}")
    at = 0
    with no_grad():
        for p in items:
            part = Tensor(slice_axis(vec.detach()._node, 0, at, at + p.size))
            p._cell.rebind(part.reshape(p.shape).astype(p.dtype)._node)
            at += p.size
