"""Activation functions. Where one has a kink, its derivative there is stated."""

from __future__ import annotations

import math

from ...base.errors import DTypeError
from ...ir.node import Node
from ..elementwise import erf, exp, expm1, less, less_equal, log1p, tanh, where
from ..movement import slice_axis
from .common import positive
from .define import cheap, composite


def _negative_abs(x: Node) -> Node:
    """-|x|, with derivative -1 at 0 like the branch x >= 0."""
    return where(less(x, 0), x, -x)


@composite
def relu(x):
    """max(x, 0). The derivative at 0 is 0. A NaN stays."""
    if x.dtype.kind not in "uif":
        raise DTypeError(f"relu takes real numbers, got {x.aval.describe()}")
    return positive(x)


@relu.vjp
def _(cts, outs, x):
    return (where(less_equal(outs[0], 0), 0, cts[0]),)


@cheap
def relu6(x):
    """min(max(x, 0), 6). The derivative at 0 and at 6 is 0."""
    return _clamped(x, 0, 6)


def _clamped(x, low, high):
    return where(less_equal(x, low), low, where(less_equal(high, x), high, x))


@cheap
def hardtanh(x, low, high):
    """x clamped to [low, high]. The derivative at both ends is 0."""
    return _clamped(x, low, high)


@cheap
def leaky_relu(x, slope):
    """x for x > 0, else slope * x. The derivative at 0 is `slope`."""
    return where(less_equal(x, 0), x * slope, x)


@cheap
def prelu(x, slope):
    """x for x > 0, else slope * x, with a learned slope that broadcasts against x."""
    return where(less_equal(x, 0), x * slope, x)


def _expm1_negative(x):
    """e**x - 1 for x <= 0; 0 above, where e**x might overflow."""
    return expm1(where(less_equal(x, 0), x, 0))


@cheap
def elu(x, alpha):
    """x for x > 0, else alpha * (e**x - 1). The derivative at 0 is `alpha`."""
    return where(less_equal(x, 0), _expm1_negative(x) * alpha, x)


@cheap
def celu(x, alpha):
    """x for x > 0, else alpha * (e**(x / alpha) - 1): an ELU whose derivative at 0 is 1 for every alpha."""
    return where(less_equal(x, 0), _expm1_negative(x / alpha) * alpha, x)


_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


@cheap
def selu(x):
    """scale * elu(x, alpha), with the constants that keep the mean 0 and the variance 1 through many layers."""
    return where(less_equal(x, 0), _expm1_negative(x) * (_SELU_SCALE * _SELU_ALPHA), x * _SELU_SCALE)


@composite
def sigmoid(x):
    """1 / (1 + e**-x), without overflow on either side."""
    z = exp(_negative_abs(x))
    return where(less(x, 0), z, 1) / (z + 1)


@sigmoid.vjp
def _(cts, outs, x):
    y = outs[0]
    return (cts[0] * y * (1 - y),)


@composite
def log_sigmoid(x):
    """log(1 / (1 + e**-x)), without overflow: about x for very negative x."""
    return where(less(x, 0), x, 0) - log1p(exp(_negative_abs(x)))


@log_sigmoid.vjp
def _(cts, outs, x):
    return (cts[0] * sigmoid(-x),)


@cheap
def silu(x):
    """x * sigmoid(x), also known as swish."""
    return x * sigmoid(x)


def softplus_(x):
    """log(1 + e**x), without overflow."""
    return where(less(x, 0), 0, x) + log1p(exp(_negative_abs(x)))


@cheap
def softplus(x, beta, threshold):
    """log(1 + e**(beta * x)) / beta; x itself where beta * x > threshold, as they are the same there."""
    scaled = x * beta
    return where(less(threshold, scaled), x, softplus_(scaled) / beta)


@cheap
def mish(x):
    """x * tanh(softplus(x))."""
    return x * tanh(softplus_(x))


@cheap
def gelu(x, *, approximate="none"):
    """x * P(Z <= x) for a standard normal Z: with erf, or (approximate="tanh") by a formula with tanh."""
    if approximate == "tanh":
        inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
        return x * 0.5 * (tanh(inner) + 1)
    return x * 0.5 * (erf(x * math.sqrt(0.5)) + 1)


@cheap
def hardsigmoid(x):
    """x / 6 + 1/2 clamped to [0, 1]. The derivative at -3 and at 3 is 0."""
    return where(less_equal(x, -3), 0, where(less_equal(3, x), 1, x / 6 + 0.5))


@cheap
def hardswish(x):
    """x * (x + 3) / 6 between -3 and 3, 0 below, x above. The derivative is 0 at -3 and 1 at 3."""
    return where(less_equal(x, -3), 0, where(less(x, 3), x * (x + 3) / 6, x))


@cheap
def softsign(x):
    """x / (1 + |x|)."""
    return x / (1 - _negative_abs(x))


@cheap
def tanhshrink(x):
    """x - tanh(x)."""
    return x - tanh(x)


@cheap
def softshrink(x, bound):
    """x moved towards 0 by `bound`; 0 in between, both ends included."""
    return x - where(less(x, -bound), -bound, where(less(bound, x), bound, x))


@cheap
def hardshrink(x, bound):
    """x where |x| > bound, else 0."""
    return where(less_equal(-_negative_abs(x), bound), 0, x)


@cheap
def threshold(x, bound, value):
    """x where x > bound, else `value`."""
    return where(less_equal(x, bound), value, x)


@cheap
def glu(x, *, axis):
    """The first half along `axis` times the sigmoid of the second half."""
    half = x.shape[axis] // 2
    return slice_axis(x, axis, 0, half) * sigmoid(slice_axis(x, axis, half, 2 * half))
