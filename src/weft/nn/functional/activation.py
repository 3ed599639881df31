"""Activation functions on tensors."""

from __future__ import annotations

from typing import Any

from ...arrays import random
from ...arrays.dispatch import apply
from ...arrays.manipulation import moveaxis
from ...arrays.remembered import remembered
from ...arrays.searching import argmax
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError, DTypeError, ShapeError
from ...ir.dtype import DType
from ...ir.dtype import dtype as as_dtype
from ...ir.shape import divide, normalize_axis, show_shape
from ...ops.composite import activations as a
from ...ops.composite import softmax as s
from ...ops.composite.define import Composite
from ...ops.elementwise import cast
from ...ops.elementwise import tanh as tanh_
from .operands import checked
from .sparse import one_hot


def _floating(name: str, x: Any) -> Tensor:
    """`x` as a floating tensor, or an error that names the function."""
    x = checked(name, x)
    if x.dtype.kind != "f":
        raise DTypeError(
            f"{name} takes a floating tensor, got {x._node.aval.describe()}; use x.astype('float32')"
        )
    return x


def _unary(composite: Composite, x: Any, *numbers: Any, **attrs: Any) -> Tensor:
    return apply(composite, _floating(composite.name, x), *numbers, **attrs)


@remembered
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), with derivative 0 at 0. `inplace` is accepted and means nothing: values are never shared.

    Shapes: any, kept; integers stay integers. As a layer: `nn.ReLU`.
    """
    return apply(a.relu, checked("relu", input))


@remembered
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6).

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.ReLU6`.
    """
    return _unary(a.relu6, input)


@remembered
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """min(max(x, min_val), max_val), with derivative 0 outside.

    Shapes: any, kept. Raises: ArgumentError if min_val is larger than max_val. As a layer: `nn.Hardtanh`.
    """
    if isinstance(min_val, (int, float)) and isinstance(max_val, (int, float)) and min_val > max_val:
        raise ArgumentError(f"hardtanh: min_val {min_val} is larger than max_val {max_val}")
    return _unary(a.hardtanh, input, min_val, max_val)


@remembered
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x for x > 0, else negative_slope * x.

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.LeakyReLU`.
    """
    return _unary(a.leaky_relu, input, negative_slope)


@remembered
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x for x > 0, else weight * x.

    Shapes: any, kept; weight (1) or (), or (C) with one slope for each channel of (N, C, ...).

    Raises: ShapeError if weight fits neither. As a layer: `nn.PReLU`.
    """
    x, weight = _floating("prelu", input), checked("prelu", weight)
    if weight.size != 1:
        if x.ndim < 2 or weight.shape != x.shape[1:2]:
            raise ShapeError(
                f"prelu: weight {show_shape(weight.shape)} does not fit the channels of {show_shape(x.shape)}"
            )
        weight = weight.reshape((weight.shape[0], *[1] * (x.ndim - 2)))
    return apply(a.prelu, x, weight)


@remembered
def rrelu(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """x for x > 0, else slope * x, with a slope for each element.

    In training slopes are drawn evenly from [lower, upper), by `generator` or the default one; else all are
    (lower + upper) / 2.

    Shapes: any, kept. Raises: ArgumentError if lower is larger than upper. As a layer: `nn.RReLU`.
    """
    x = _floating("rrelu", input)
    if not lower <= upper:
        raise ArgumentError(f"rrelu: lower {lower} is larger than upper {upper}")
    if not training:
        return _unary(a.leaky_relu, x, (lower + upper) / 2)
    return apply(a.prelu, x, random.uniform(x.shape, lower, upper, generator=generator).astype(x.dtype))


@remembered
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x for x > 0, else alpha (e**x - 1).

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.ELU`.
    """
    return _unary(a.elu, input, alpha)


@remembered
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x for x > 0, else alpha (e**(x / alpha) - 1).

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.CELU`.
    """
    return _unary(a.celu, input, alpha)


@remembered
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """1.0507 x for x > 0, else 1.0507 * 1.67326 (e**x - 1): the self-normalising scaled ELU.

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.SELU`.
    """
    return _unary(a.selu, input)


@remembered
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the probability that a standard normal number is below x.

        y = x (1 + erf(x / sqrt(2))) / 2
        y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))) / 2        approximate="tanh"

    Shapes: any, kept. Raises: ArgumentError for another `approximate`. As a layer: `nn.GELU`.
    """
    if approximate not in ("none", "tanh"):
        raise ArgumentError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return _unary(a.gelu, input, approximate=approximate)


@remembered
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x) = x / (1 + e**-x), also called swish.

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.SiLU`.
    """
    return _unary(a.silu, input)


@remembered
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(log(1 + e**x)).

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.Mish`.
    """
    return _unary(a.mish, input)


@remembered
def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e**-x).

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.Sigmoid`.
    """
    return _unary(a.sigmoid, input)


@remembered
def logsigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + e**-x)), accurate for very negative x.

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.LogSigmoid`.
    """
    return _unary(a.log_sigmoid, input)


@remembered
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e**(beta x)) / beta, and x itself where beta x > threshold.

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.Softplus`.
    """
    return _unary(a.softplus, input, beta, threshold)


@remembered
def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent (e**x - e**-x) / (e**x + e**-x).

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.Tanh`.
    """
    return Tensor(tanh_.bind((_floating("tanh", input)._node,)))


@remembered
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x / 6 + 1/2, 0), 1).

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.Hardsigmoid`.
    """
    return _unary(a.hardsigmoid, input)


@remembered
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x min(max(x + 3, 0), 6) / 6.

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.Hardswish`.
    """
    return _unary(a.hardswish, input)


@remembered
def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|).

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.Softsign`.
    """
    return _unary(a.softsign, input)


@remembered
def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x).

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.Tanhshrink`.
    """
    return _unary(a.tanhshrink, input)


@remembered
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd: x - lambd above lambd, x + lambd below -lambd, else 0.

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.Softshrink`.
    """
    return _unary(a.softshrink, input, lambd)


@remembered
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, else 0.

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.Hardshrink`.
    """
    return _unary(a.hardshrink, input, lambd)


@remembered
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else value.

    Shapes: any, kept. Raises: DTypeError unless floating. As a layer: `nn.Threshold`.
    """
    return _unary(a.threshold, input, threshold, value)


@remembered
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b), where a and b are the first and second half of the input along `dim`.

    Shapes: (..., 2 n, ...) to (..., n, ...). Raises: ShapeError if the axis does not halve. As a layer: `nn.GLU`.
    """
    x = _floating("glu", input)
    axis = normalize_axis(dim, x.ndim, "dim")
    half = divide(x.shape[axis], 2)
    if half is None:
        raise ShapeError(
            f"glu halves axis {axis}, whose size is {x.shape[axis]} (shape {show_shape(x.shape)})"
        )
    return apply(a.glu, x, axis=axis)


# -- along an axis --------------------------------------------------------------------------------------------


def _along(composite: Composite, x: Any, dim: Any, dtype: Any) -> Tensor:
    if dtype is not None:
        want: DType = as_dtype(dtype)
        x = Tensor(cast(checked(composite.name, x)._node, dtype=want))
    x = _floating(composite.name, x)
    if dim is None:
        raise ArgumentError(
            f"{composite.name} needs the axis to run along: dim=-1 for the last, dim=1 for classes"
        )
    if x.ndim == 0:
        raise ShapeError(f"{composite.name} needs at least one axis, got a single number")
    return apply(composite, x, axis=normalize_axis(dim, x.ndim, "dim"))


@remembered
def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """e**x_i / sum_j e**x_j along `dim`, without overflow: the largest element is taken off first.

    Args:
        dim: the axis.
        dtype: what the input is cast to before.

    Shapes: any with one axis or more, kept. Raises: ArgumentError without `dim`. As a layer: `nn.Softmax`.
    """
    return _along(s.softmax, input, dim, dtype)


@remembered
def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """e**-x_i / sum_j e**-x_j along `dim`: `softmax` of the negated input.

    Shapes: any with one axis or more, kept. Raises: ArgumentError without `dim`. As a layer: `nn.Softmin`.
    """
    return _along(s.softmax, -checked("softmin", input), dim, dtype)


@remembered
def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """x_i - log sum_j e**x_j along `dim`: the logarithm of `softmax`, accurate where that would be 0.

    Shapes: any with one axis or more, kept. Raises: ArgumentError without `dim`. As a layer: `nn.LogSoftmax`.
    """
    return _along(s.log_softmax, input, dim, dtype)


@remembered
def gumbel_softmax(
    logits: Tensor,
    tau: float = 1.0,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
    *,
    generator: Any = None,
) -> Tensor:
    """Samples of classes that can be differentiated.

        y = softmax((logits + g) / tau) along `dim`        g = -log(-log(u)), u even on (0, 1)

    With this noise the largest element is a sample of softmax(logits). With `hard` the result is that sample, 1 at
    its class and 0 elsewhere, with the gradient of the soft one. `eps` is accepted and means nothing.

    Shapes: any with one axis or more, kept. Raises: ArgumentError unless tau is positive.

    Reference: E. Jang, S. Gu, B. Poole, "Categorical Reparameterization with Gumbel-Softmax", 2017,
    https://arxiv.org/abs/1611.01144
    """
    x = _floating("gumbel_softmax", logits)
    if isinstance(tau, (int, float)) and not tau > 0:
        raise ArgumentError(f"gumbel_softmax: tau must be positive, got {tau}")
    noise = random.gumbel(x.shape, generator=generator).astype(x.dtype)
    soft = softmax((x + noise) / tau, dim)
    if not hard:
        return soft
    axis = normalize_axis(dim, x.ndim, "dim")
    chosen = one_hot(argmax(soft, axis=axis), num_classes=int(x.shape[axis]), dtype=x.dtype)
    return moveaxis(chosen, -1, axis) - soft.detach() + soft
