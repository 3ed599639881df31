"""Initial values of parameters, drawn from Weft's generator. All functions change a tensor in place and return it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..arrays import random
from ..arrays.cell import own_node
from ..arrays.creation import tensor as make_tensor
from ..arrays.grad import no_grad
from ..arrays.tensor import Tensor
from ..base.absent import absence
from ..base.checked import checked
from ..base.errors import ArgumentError, ShapeError, nearest
from ..ir.dtype import DType, float32
from ..ir.node import Node
from ..ir.primitive import results
from ..ir.shape import show_shape
from ..ops.elementwise import cast, equal, less, logical_and, remainder, where
from ..ops.factorization import qr
from ..ops.indexing import iota_along
from ..ops.movement import full, permute, reshape
from ..ops.rearrange import diagonal, eye
from ..ops.sorting import argsort
from .absent import INITIAL


def _fill(tensor: Tensor, node: Node) -> Tensor:
    """Let `tensor` hold the value of `node`, in its own dtype."""
    with no_grad():
        if node.dtype is not tensor.dtype:
            node = cast(node, dtype=tensor.dtype)
        tensor._cell.rebind(own_node(node))
    return tensor


def _wide(tensor: Tensor) -> DType:
    """What numbers for `tensor` are drawn in: its own type, and float32 for those of 16 bits."""
    return float32 if tensor.dtype.storage_only else tensor.dtype


@checked
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every element `val`. Changes the tensor in place, and returns it.

    Shapes: any.
    """
    return _fill(tensor, full(tensor._node.aval, float(val)))


@checked
def zeros_(tensor: Tensor) -> Tensor:
    """Every element 0. Changes the tensor in place, and returns it.

    Shapes: any.
    """
    return _fill(tensor, full(tensor._node.aval, 0))


@checked
def ones_(tensor: Tensor) -> Tensor:
    """Every element 1. Changes the tensor in place, and returns it.

    Shapes: any.
    """
    return _fill(tensor, full(tensor._node.aval, 1))


@checked
def eye_(tensor: Tensor) -> Tensor:
    """1 on the diagonal of a matrix, 0 elsewhere: a linear layer that passes its input on.

    Shapes: (rows, columns). Raises: ShapeError for others.
    """
    if tensor.ndim != 2:
        raise ShapeError(f"eye_ takes a matrix, got shape {show_shape(tensor.shape)}")
    return _fill(tensor, eye(tensor.shape[0], tensor.shape[1], 0, tensor.dtype))


@checked
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Evenly distributed on [a, b): mean (a + b) / 2, standard deviation (b - a) / sqrt(12).

    Args:
        generator: where random bits come from (default: the generator of `weft.manual_seed`).

    Shapes: any.
    """
    return _fill(tensor, random.uniform(tensor.shape, a, b, dtype=_wide(tensor), generator=generator)._node)


@checked
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normally distributed with mean `mean` and standard deviation `std`.

    Args:
        generator: where random bits come from (default: the generator of `weft.manual_seed`).

    Shapes: any. Raises: ArgumentError for a negative std.
    """
    if std < 0:
        raise ArgumentError(f"normal_: std must not be negative, got {std}")
    drawn = random.normal(tensor.shape, mean, std, dtype=_wide(tensor), generator=generator)
    return _fill(tensor, drawn._node)


@checked
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Normally distributed with mean `mean` and standard deviation `std`, under the condition of lying in [a, b].

    The limits are not multiples of `std`, and with them the standard deviation is less than `std`.

    Shapes: any. Raises: ArgumentError unless std > 0 and a < b.
    """
    if std <= 0 or not a < b:
        raise ArgumentError(f"trunc_normal_ needs std > 0 and a < b, got std={std}, a={a}, b={b}")
    drawn = random.truncated_normal(tensor.shape, mean, std, a, b, dtype=_wide(tensor), generator=generator)
    return _fill(tensor, drawn._node)


@checked
def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Orthonormal rows (or columns, if there are more rows than columns) times gain; trailing axes are flattened.

        w w^T = gain**2 1        (or w^T w), drawn evenly from all such matrices

    Shapes: (rows, ...) with two axes or more. Raises: ShapeError for others.

    Reference: A. Saxe, J. McClelland, S. Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", 2013, https://arxiv.org/abs/1312.6120
    """
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_ takes a matrix or more axes, got shape {show_shape(tensor.shape)}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])  # type: ignore[arg-type]
    if tensor.size == 0:
        return tensor
    tall = rows >= columns  # type: ignore[operator]
    shape = (rows, columns) if tall else (columns, rows)
    drawn = random.normal(shape, dtype=_wide(tensor), generator=generator)
    q, r = results(qr(drawn._node, complete=False))
    # Without fixing the signs of r's diagonal the distribution of q would depend on the algorithm.
    diagonal_sign = where(less(diagonal(r), 0), -1.0, 1.0, dtype=r.dtype)
    q = q * reshape(diagonal_sign, shape=(1, diagonal_sign.shape[0])) * gain
    return _fill(tensor, reshape(q if tall else permute(q, axes=(1, 0)), shape=tensor.shape))


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


@checked
def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance of activations through the given nonlinearity.

        linear maps, convolutions, sigmoid 1        tanh 5/3        relu sqrt(2)        selu 3/4
        leaky_relu sqrt(2 / (1 + param**2))

    Args:
        nonlinearity: its name, as in `nn.functional`.
        param: the slope of a leaky ReLU (default 0.01).

    Raises: ArgumentError for a name without a known gain; the nearest one is offered.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else float(param)
        return math.sqrt(2.0 / (1.0 + slope * slope))
    if nonlinearity not in _GAINS:
        raise ArgumentError(
            f"no gain is known for {nonlinearity!r}. {nearest(nonlinearity, [*_GAINS, 'leaky_relu'])}"
        )
    return _GAINS[nonlinearity]


@checked
def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform on [-b, b], such that variances are kept forwards and backwards.

        b = gain sqrt(6 / (fan in + fan out))

    Shapes: (out, in, *kernel); fan in is in * kernel, fan out is out * kernel. Raises: ShapeError for fewer than two
    axes.

    Reference: X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    bound = gain * math.sqrt(6.0 / _positive(sum(_fans(tensor))))
    return uniform_(tensor, -bound, bound, generator)


@checked
def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with mean 0, such that variances are kept forwards and backwards.

        std = gain sqrt(2 / (fan in + fan out))

    Shapes: (out, in, *kernel); fan in is in * kernel, fan out is out * kernel. Raises: ShapeError for fewer than two
    axes.

    Reference: X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / _positive(sum(_fans(tensor)))), generator)


def _positive(fan: int) -> int:
    return fan if fan > 0 else 1


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = _fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(_positive(fan))


@checked
def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Uniform on [-b, b], such that the variance is kept through layers of rectifiers.

        b = gain sqrt(3 / fan)        gain is that of `calculate_gain(nonlinearity, a)`

    Args:
        a: the slope of a leaky ReLU below 0.
        mode: "fan_in" keeps the variance forwards, "fan_out" backwards.
        nonlinearity: what follows the layer.

    Shapes: (out, in, *kernel); fan in is in * kernel, fan out is out * kernel. Raises: ShapeError for fewer than two
    axes; ArgumentError for an unknown mode.

    Reference: K. He et al., "Delving Deep into Rectifiers", 2015, https://arxiv.org/abs/1502.01852
    """
    bound = math.sqrt(3.0) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


@checked
def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Normal with mean 0, such that the variance is kept through layers of rectifiers.

        std = gain / sqrt(fan)        gain is that of `calculate_gain(nonlinearity, a)`

    Arguments are those of `kaiming_uniform_`.

    Shapes: (out, in, *kernel); fan in is in * kernel, fan out is out * kernel. Raises: ShapeError for fewer than two
    axes.

    Reference: K. He et al., "Delving Deep into Rectifiers", 2015, https://arxiv.org/abs/1502.01852
    """
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity), generator)


@checked
def copy_(tensor: Tensor, values: Tensor | Sequence[Any] | Any) -> Tensor:
    """The given values: a tensor, an array or nested lists. Changes the tensor in place, and returns it.

    Shapes: those of the values. Raises: ShapeError for others.
    """
    source = values if isinstance(values, Tensor) else make_tensor(values)
    if source.shape != tensor.shape:
        raise ShapeError(
            f"copy_: a tensor of shape {show_shape(tensor.shape)} cannot take {show_shape(source.shape)}"
        )
    return _fill(tensor, source._node)


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution that passes its input on: 1 in the middle of kernel (i, i), 0 elsewhere.

    With `groups` each run of output channels takes the first input channels in the same way.

    Shapes: (out, in, *kernel) with one to three axes of space. Raises: ShapeError for others; ArgumentError if the
    output channels do not divide into the groups.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ShapeError(f"dirac_ takes a weight (out, in, *kernel), got shape {show_shape(tensor.shape)}")
    rows = int(tensor.shape[0])  # type: ignore[arg-type]
    if groups < 1 or rows % groups:
        raise ArgumentError(f"dirac_: {rows} output channels do not divide into {groups} groups")
    each = rows // groups
    found = None
    for axis, size in enumerate(tensor.shape):
        at = iota_along(tensor.shape, axis)
        if axis == 0:
            channel = remainder(at, each)
            continue
        hit = equal(at, channel) if axis == 1 else equal(at, size // 2)  # type: ignore[operator]
        found = hit if found is None else logical_and(found, hit)
    return _fill(tensor, cast(found, dtype=tensor.dtype))  # type: ignore[arg-type]


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal with standard deviation std, but a part `sparsity` of each column, at random places, is 0.

    Shapes: (rows, columns). Raises: ShapeError for others; ArgumentError unless sparsity lies between 0 and 1.

    Reference: J. Martens, "Deep learning via Hessian-free optimization", 2010.
    """
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_ takes a matrix, got shape {show_shape(tensor.shape)}")
    if not 0 <= sparsity <= 1:
        raise ArgumentError(f"sparse_: sparsity lies between 0 and 1, got {sparsity}")
    zeros = math.ceil(sparsity * int(tensor.shape[0]))  # type: ignore[arg-type]
    keys = random.uniform(tensor.shape, generator=generator)._node
    rank = argsort(argsort(keys, axis=0, descending=False), axis=0, descending=False)
    drawn = random.normal(tensor.shape, 0.0, std, dtype=_wide(tensor), generator=generator)._node
    return _fill(tensor, where(less(rank, zeros), 0, drawn))


if TYPE_CHECKING:
    """Type checkers know the names."""
else:
    __getattr__ = absence(__name__, [n for n in globals() if n.endswith("_")], INITIAL)
