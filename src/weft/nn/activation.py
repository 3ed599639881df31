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
        if not self._settings:
            return type(self)._function(x)
        return type(self)._function(x, *[getattr(self, name) for name in self._settings])

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._settings)


class _Plain(_Activation):
    def __init__(self, inplace: bool = False) -> None:
        super().__init__()


class ReLU(_Plain):
    """The rectifier: what is negative becomes 0.

        y = max(x, 0)        dy/dx = 1 for x > 0, else 0

    Shapes: any, kept.

    Reference: V. Nair, G. Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", 2010.
    """

    _function = F.relu


class ReLU6(_Plain):
    """The rectifier with a ceiling.

        y = min(max(x, 0), 6)

    Shapes: any, kept.

    Reference: A. Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10", 2010.
    """

    _function = F.relu6


class SELU(_Plain):
    """The scaled ELU, under which mean 0 and variance 1 are kept from layer to layer.

        y = 1.0507 x                          for x > 0
        y = 1.0507 * 1.67326 (e**x - 1)       else

    Shapes: any, kept.

    Reference: G. Klambauer et al., "Self-Normalizing Neural Networks", 2017, https://arxiv.org/abs/1706.02515
    """

    _function = F.selu


class SiLU(_Plain):
    """The input weighted by its own sigmoid, also called swish.

        y = x sigmoid(x) = x / (1 + e**-x)

    Shapes: any, kept.

    Reference: S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-Weighted Linear Units", 2017, https://arxiv.org/abs/1702.03118
    """

    _function = F.silu


class Mish(_Plain):
    """A smooth curve that dips below 0 before it rises.

        y = x tanh(softplus(x)) = x tanh(log(1 + e**x))

    Shapes: any, kept.

    Reference: D. Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", 2019,
    https://arxiv.org/abs/1908.08681
    """

    _function = F.mish


class Hardswish(_Plain):
    """`SiLU` of straight lines and a parabola.

        y = x min(max(x + 3, 0), 6) / 6

    Shapes: any, kept.

    Reference: A. Howard et al., "Searching for MobileNetV3", 2019, https://arxiv.org/abs/1905.02244
    """

    _function = F.hardswish


class Hardsigmoid(_Plain):
    """The sigmoid of straight lines.

        y = min(max(x / 6 + 1/2, 0), 1)

    Shapes: any, kept.
    """

    _function = F.hardsigmoid


class Sigmoid(_Activation):
    """The logistic function: any number to one between 0 and 1.

        y = 1 / (1 + e**-x)

    Shapes: any, kept.
    """

    _function = F.sigmoid


class LogSigmoid(_Activation):
    """The logarithm of the sigmoid, accurate where the sigmoid itself would be 0.

        y = log(1 / (1 + e**-x)) = -softplus(-x)

    Shapes: any, kept.
    """

    _function = F.logsigmoid


class Tanh(_Activation):
    """The hyperbolic tangent: any number to one between -1 and 1.

        y = (e**x - e**-x) / (e**x + e**-x)

    Shapes: any, kept.
    """

    _function = F.tanh


class Softsign(_Activation):
    """Any number to one between -1 and 1, more slowly than `Tanh`.

        y = x / (1 + |x|)

    Shapes: any, kept.
    """

    _function = F.softsign


class Tanhshrink(_Activation):
    """What the hyperbolic tangent leaves over.

        y = x - tanh(x)

    Shapes: any, kept.
    """

    _function = F.tanhshrink


class GELU(_Activation):
    """The input times the probability that a standard normal number is below it.

        y = x (1 + erf(x / sqrt(2))) / 2
        y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))) / 2        approximate="tanh"

    Args:
        approximate: "none" or "tanh".

    Shapes: any, kept.

    Reference: D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", 2016, https://arxiv.org/abs/1606.08415
    """

    _function = F.gelu
    _settings = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate


class LeakyReLU(_Activation):
    """The rectifier with a small slope below 0.

        y = x for x > 0, else negative_slope * x

    Shapes: any, kept.

    Reference: A. Maas, A. Hannun, A. Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", 2013.
    """

    _function = F.leaky_relu
    _settings = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope


class ELU(_Activation):
    """The rectifier that goes towards -alpha along an exponential.

        y = x for x > 0, else alpha (e**x - 1)

    Shapes: any, kept.

    Reference: D.-A. Clevert, T. Unterthiner, S. Hochreiter, "Exponential Linear Units", 2015,
    https://arxiv.org/abs/1511.07289
    """

    _function = F.elu
    _settings = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha


class CELU(_Activation):
    """`ELU` with a slope that is continuous for every alpha.

        y = x for x > 0, else alpha (e**(x / alpha) - 1)

    Shapes: any, kept.

    Reference: J. Barron, "Continuously Differentiable Exponential Linear Units", 2017, https://arxiv.org/abs/1704.07483
    """

    _function = F.celu
    _settings = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha


class Hardtanh(_Activation):
    """The input cut off at two limits.

        y = min(max(x, min_val), max_val)        dy/dx = 0 outside

    Shapes: any, kept. Raises: ArgumentError when called, if min_val is larger than max_val.
    """

    _function = F.hardtanh
    _settings = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.min_val = min_val
        self.max_val = max_val


class Softplus(_Activation):
    """A smooth rectifier.

        y = log(1 + e**(beta x)) / beta        x itself where beta x > threshold

    Shapes: any, kept.
    """

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
    """The input moved towards 0.

        y = x - lambd for x > lambd, x + lambd for x < -lambd, else 0

    Shapes: any, kept.
    """

    _function = F.softshrink


class Hardshrink(_Shrink):
    """The input without what is small.

        y = x where |x| > lambd, else 0

    Shapes: any, kept.
    """

    _function = F.hardshrink


class Threshold(_Activation):
    """Another number for all that is small.

        y = x where x > threshold, else value

    Shapes: any, kept.
    """

    _function = F.threshold
    _settings = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value


class PReLU(_Activation):
    """The rectifier whose slope below 0 is learned.

        y = x for x > 0, else weight * x

    Args:
        num_parameters: 1, or the number of channels C for a slope of each.
        init: the first value of all slopes.

    Shapes: any, kept; with a slope for each channel (N, C, ...). weight (num_parameters).

    Reference: K. He et al., "Delving Deep into Rectifiers", 2015, https://arxiv.org/abs/1502.01852
    """

    _settings = ("num_parameters",)
    weight: Parameter

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, *, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_parameters = positive_int("PReLU", "num_parameters", num_parameters)
        self.weight = Parameter(empty((num_parameters,), dtype, device) + init)

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.weight)


class RReLU(_Activation):
    """The rectifier with a slope below 0 that is drawn for each element.

        y = x for x > 0, else slope * x

    In training slopes are drawn evenly from [lower, upper); in evaluation all are (lower + upper) / 2.

    Shapes: any, kept.

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
    """The first half of an axis, let through by the second half.

        y = a sigmoid(b)        x = [a, b] along `dim`

    Shapes: (..., 2 n, ...) to (..., n, ...). Raises: ShapeError when called, if the axis does not halve.

    Reference: Y. Dauphin et al., "Language Modeling with Gated Convolutional Networks", 2016,
    https://arxiv.org/abs/1612.08083
    """

    _function = F.glu
    _settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim
