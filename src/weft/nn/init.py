"""Initial values of parameters, drawn from Weft's generator. All functions change a tensor in place and return it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..arrays import random
from ..arrays.cell import own_node
from ..arrays.creation import tensor as make_tensor
from ..arrays.grad import no_grad
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, ShapeError, nearest
from ..ir.node import Node
from ..ir.shape import show_shape
from ..ops.composite.dropout import uniform_from
from ..ops.elementwise import cast, cos, log, sqrt
from ..ops.movement import full


def _fill(tensor: Tensor, node: Node) -> Tensor:
    """Let `tensor` hold the value of `node`, in its own dtype."""
    with no_grad():
        if node.dtype is not tensor.dtype:
            node = cast(node, dtype=tensor.dtype)
        tensor._cell.rebind(own_node(node))
    return tensor


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every element `val`."""
    return _fill(tensor, full(tensor._node.aval, float(val)))


def zeros_(tensor: Tensor) -> Tensor:
    """Every element 0."""
    return _fill(tensor, full(tensor._node.aval, 0))


def ones_(tensor: Tensor) -> Tensor:
    """Every element 1."""
    return _fill(tensor, full(tensor._node.aval, 1))


def eye_(tensor: Tensor) -> Tensor:
    """1 on the diagonal of a matrix, 0 elsewhere."""
    if tensor.ndim != 2:
        raise ShapeError(f"eye_ takes a matrix, got shape {show_shape(tensor.shape)}")
    from ..ops.rearrange import eye

    return _fill(tensor, eye(tensor.shape[0], tensor.shape[1], 0, tensor.dtype))


def _uniform(tensor: Tensor, generator: Any) -> Node:
    """Numbers evenly distributed on [0, 1), in float32."""
    return uniform_from(random.bits(tensor.shape, generator=generator)._node)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Evenly distributed on [a, b)."""
    return _fill(tensor, _uniform(tensor, generator) * (b - a) + a)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normally distributed."""
    if std < 0:
        raise ArgumentError(f"normal_: std must not be negative, got {std}")
    # Box and Muller, 1958: an angle and a radius make a normal number; 1 - u is never 0.
    radius = sqrt(log(1 - _uniform(tensor, generator)) * -2)
    angle = _uniform(tensor, generator) * (2 * math.pi)
    return _fill(tensor, radius * cos(angle) * std + mean)


def _fans(tensor: Tensor) -> tuple[int, int]:
    """(fan in, fan out): how many inputs feed one output, and the other way round."""
    if tensor.ndim < 2:
        raise ShapeError(
            f"fans need a weight of two or more axes (out, in, *kernel), got shape {show_shape(tensor.shape)}"
        )
    window = math.prod(tensor.shape[2:])  # type: ignore[arg-type]
    return int(tensor.shape[1] * window), int(tensor.shape[0] * window)


_GAINS = {
    "linear": 1.0, "identity": 1.0, "sigmoid": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0,
    "conv_transpose1d": 1.0, "conv_transpose2d": 1.0, "conv_transpose3d": 1.0,
    "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 0.75,
}  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance of activations through the given nonlinearity."""
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else float(param)
        return math.sqrt(2.0 / (1.0 + slope * slope))
    if nonlinearity not in _GAINS:
        raise ArgumentError(
            f"no gain is known for {nonlinearity!r}. {nearest(nonlinearity, [*_GAINS, 'leaky_relu'])}"
        )
    return _GAINS[nonlinearity]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform on [-b, b] with b = gain * sqrt(6 / (fan in + fan out)) (Glorot and Bengio, 2010)."""
    bound = gain * math.sqrt(6.0 / _positive(sum(_fans(tensor))))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with standard deviation gain * sqrt(2 / (fan in + fan out)) (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / _positive(sum(_fans(tensor)))), generator)


def _positive(fan: int) -> int:
    return fan if fan > 0 else 1


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = _fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(_positive(fan))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Uniform on [-b, b] with b = gain * sqrt(3 / fan) (He et al., 2015); `a` is the slope of a leaky ReLU."""
    bound = math.sqrt(3.0) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan) (He et al., 2015)."""
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity), generator)


def copy_(tensor: Tensor, values: Tensor | Sequence[Any] | Any) -> Tensor:
    """The given values."""
    source = values if isinstance(values, Tensor) else make_tensor(values)
    if source.shape != tensor.shape:
        raise ShapeError(
            f"copy_: a tensor of shape {show_shape(tensor.shape)} cannot take {show_shape(source.shape)}"
        )
    return _fill(tensor, source._node)
