"""Activation functions as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..arrays.tensor import Tensor
from . import functional as F
from .factory import empty, positive_int
from .module import Module
from .parameter import Parameter


class _Activation(Module):
    """`_function` of the input and the settings. `inplace` is accepted and means nothing: values are never shared."""

    _function: Callable[..., Tensor]
    _settings: tuple[str, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        return type(self)._function(x, *[getattr(self, name) for name in self._settings])

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._settings)


class _Plain(_Activation):
    def __init__(self, inplace: bool = False) -> None:
        super().__init__()


class ReLU(_Plain):
    """max(x, 0), with derivative 0 at 0."""

    _function = F.relu


class ReLU6(_Plain):
    """min(max(x, 0), 6)."""

    _function = F.relu6


class SELU(_Plain):
    """The self-normalising scaled ELU: 1.0507 x for x > 0, else 1.0507 * 1.67326 (e**x - 1).

    Reference: G. Klambauer et al., "Self-Normalizing Neural Networks", 2017, https://arxiv.org/abs/1706.02515
    """

    _function = F.selu


class SiLU(_Plain):
    """x * sigmoid(x), also called swish."""

    _function = F.silu


class Mish(_Plain):
    """x * tanh(softplus(x))."""

    _function = F.mish


class Hardswish(_Plain):
    """x * hardsigmoid(x)."""

    _function = F.hardswish


class Hardsigmoid(_Plain):
    """x / 6 + 1/2 clamped to [0, 1]."""

    _function = F.hardsigmoid


class Sigmoid(_Activation):
    """1 / (1 + e**-x)."""

    _function = F.sigmoid


class LogSigmoid(_Activation):
    """log(sigmoid(x))."""

    _function = F.logsigmoid


class Tanh(_Activation):
    """The hyperbolic tangent (e**x - e**-x) / (e**x + e**-x)."""

    _function = F.tanh


class Softsign(_Activation):
    """x / (1 + |x|)."""

    _function = F.softsign


class Tanhshrink(_Activation):
    """x - tanh(x)."""

    _function = F.tanhshrink


class GELU(_Activation):
    """x * P(Z <= x) for a standard normal Z: x (1 + erf(x / sqrt(2))) / 2.

    approximate="tanh" takes x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))) / 2.

    Reference: D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", 2016, https://arxiv.org/abs/1606.08415
    """

    _function = F.gelu
    _settings = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate


class LeakyReLU(_Activation):
    """x for x > 0, else negative_slope * x."""

    _function = F.leaky_relu
    _settings = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope


class ELU(_Activation):
    """x for x > 0, else alpha * (e**x - 1)."""

    _function = F.elu
    _settings = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha


class CELU(_Activation):
    """x for x > 0, else alpha * (e**(x / alpha) - 1)."""

    _function = F.celu
    _settings = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha


class Hardtanh(_Activation):
    """x clamped to [min_val, max_val]; outside the derivative is 0."""

    _function = F.hardtanh
    _settings = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.min_val = min_val
        self.max_val = max_val


class Softplus(_Activation):
    """log(1 + e**(beta * x)) / beta, and x itself where beta * x > threshold."""

    _function = F.softplus
    _settings = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold


class _Shrink(_Activation):
    _settings = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        return str(self.lambd)


class Softshrink(_Shrink):
    """x moved towards 0 by lambd: x - lambd above lambd, x + lambd below -lambd, else 0."""

    _function = F.softshrink


class Hardshrink(_Shrink):
    """x where |x| > lambd, else 0."""

    _function = F.hardshrink


class Threshold(_Activation):
    """x where x > threshold, else value."""

    _function = F.threshold
    _settings = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value


class PReLU(_Activation):
    """x for x > 0, else weight * x, with one learned slope or one for each channel."""

    _settings = ("num_parameters",)
    weight: Parameter

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = positive_int("PReLU", "num_parameters", num_parameters)
        self.weight = Parameter(empty((num_parameters,), dtype) + init)

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.weight)


class RReLU(_Activation):
    """x for x > 0, else slope * x: in training with random slopes from [lower, upper), in evaluation with their mean.

    Reference: B. Xu et al., "Empirical Evaluation of Rectified Activations", 2015, https://arxiv.org/abs/1505.00853
    """

    _settings = ("lower", "upper")

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper

    def forward(self, x: Tensor) -> Tensor:
        return F.rrelu(x, self.lower, self.upper, self.training)


class GLU(_Activation):
    """The first half along `dim` times the sigmoid of the second half."""

    _function = F.glu
    _settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim


class Softmax(_Activation):
    """e**x / sum(e**x) along `dim`."""

    _function = F.softmax
    _settings = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim


class Softmin(Softmax):
    """softmax(-x) along `dim`."""

    _function = F.softmin


class LogSoftmax(Softmax):
    """log(softmax(x)) along `dim`."""

    _function = F.log_softmax


class Softmax2d(_Activation):
    """e**x / sum(e**x) over the channels of (N, C, H, W) or (C, H, W), at each position."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, -3)
