"""The gamma function's logarithm and the derivatives of that."""

from __future__ import annotations

import math

import numpy as np

from ..base.errors import ArgumentError
from ..ir.node import Aval
from .define import Sample, elementwise, unary

# Chebyshev expansions, computed to 60 digits and rounded.
#
#: lgamma(x) / ((x - 1) (x - 2)) on [0.5, 2].
_LGAMMA = (
    0.5562605514259185, -0.16101568672557182, 0.034242297261238556, -0.008476274047076085,
    0.002265961581136819, -0.000633607087287952, 0.00018238962431238353, -5.3576383985208115e-05,
    1.597522347016356e-05, -4.818898330857947e-06, 1.4671482892843103e-06, -4.5010187854970784e-07,
    1.389720426419949e-07, -4.3143636265105565e-08, 1.3457305543033182e-08, -4.214960953305166e-09,
    1.3249876336714564e-09, -4.178663725355441e-10, 1.3216692174834174e-10, -4.1912396810530114e-11,
    1.3322603461673726e-11, -4.243944688812779e-12, 1.3545764737012027e-12, -4.3313151628858637e-13,
    1.3872546183113288e-13, -4.4499748299595596e-14, 1.4294693734406044e-14, -4.597950115690431e-15,
    1.4807660295701394e-15, -4.774259479427262e-16, 1.5409586947545437e-16, -4.978658968018719e-17,
    1.610066407397001e-17, -5.2114811852567556e-18,
)  # fmt: skip

#: digamma(x) / (x - its zero) on [1, 2].
_DIGAMMA = (
    0.983570260441567, -0.2270640863346444, 0.03336889902393011, -0.005320077271596548,
    0.0008788656937820505, -0.00014773492650606044, 2.5060543468359146e-05, -4.2721034029993324e-06,
    7.302769272465923e-07, -1.2502886813559594e-07, 2.1425009322359472e-08, -3.673295918565179e-09,
    6.299717236108931e-10, -1.080593028883266e-10, 1.853735192053638e-11, -3.18023536582553e-12,
    5.456147570322795e-13, -9.360993131036438e-14, 1.606064636295075e-14, -2.7555431377438815e-15,
    4.727736178601912e-16, -8.11148420346509e-17, 1.391707769474154e-17,
)  # fmt: skip

_ZERO, _ZERO_LOW = (
    1.4616321449683622,
    9.549995429965697e-17,
)  #: digamma's positive zero, as the sum of two numbers
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798)
_FAR = 10.0  #: from here on the asymptotic series in 1/x is exact to the last place


def _series(coefficients, x, low):
    """A Chebyshev expansion on [low, 2]."""
    return np.polynomial.chebyshev.chebval((2 * x - (low + 2)) / (2 - low), coefficients)


def _whole(x):
    return x == np.floor(x)


def _lgamma_positive(x):
    """lgamma(x) for x > 0."""
    # In between: x = base + n with base in [0.5, 2], and lgamma(x) = lgamma(base) + log(base ... (x - 1)).
    base, product = np.clip(x, 5e-324, _FAR), np.ones_like(x)
    for _ in range(int(_FAR)):
        step = base > 2
        base = np.where(step, base - 1, base)
        product = np.where(step, product * base, product)
    shift = np.where(base < 0.5, -np.log(base), np.log(product))
    base = np.where(base < 0.5, base + 1, base)
    near = (base - 1) * (base - 2) * _series(_LGAMMA, base, 0.5) + shift
    y = np.maximum(x, _FAR)
    tail = sum(b / (2 * k * (2 * k - 1)) * y ** (1 - 2 * k) for k, b in enumerate(_BERNOULLI, 1))
    far = (y - 0.5) * np.log(y) - y + 0.5 * math.log(2 * math.pi) + tail
    return np.where(x < _FAR, near, np.where(np.isinf(x), x, far))


def _lgamma_double(x):
    up = _lgamma_positive(np.where(x > 0, x, 1 - x))
    # Reflection: gamma(x) gamma(1 - x) = pi / sin(pi x).
    sine = np.abs(np.sin(np.pi * (x - np.round(x))))
    down = np.where(x > -1e-20, -np.log(np.abs(x)), math.log(math.pi) - np.log(sine) - up)
    return np.where(x > 0, up, np.where(np.isinf(x) | _whole(x), np.inf, down))


def _digamma_positive(x):
    """digamma(x) for x > 0."""
    base, total = np.clip(x, 5e-324, _FAR), np.zeros_like(x)
    for _ in range(int(_FAR)):
        step = base > 2
        base = np.where(step, base - 1, base)
        total = np.where(step, total + 1 / base, total)
    below = base < 1
    total = np.where(below, -1 / base, total)
    base = np.where(below, base + 1, base)
    near = ((base - _ZERO) - _ZERO_LOW) * _series(_DIGAMMA, base, 1.0) + total
    y = np.maximum(x, _FAR)
    far = np.log(y) - 0.5 / y - sum(b / (2 * k) * y ** (-2 * k) for k, b in enumerate(_BERNOULLI, 1))
    return np.where(x < _FAR, near, np.where(np.isinf(x), x, far))


def _digamma_double(x):
    up = _digamma_positive(np.where(x > 0, x, 1 - x))
    down = up - np.pi / np.tan(np.pi * (x - np.round(x)))
    poles = np.where(x == 0, np.copysign(np.inf, -x), np.nan)
    return np.where(x > 0, up, np.where(np.isinf(x) | _whole(x), poles, down))


def _polygamma_positive(x, order):
    """The derivative of that order of digamma, for x > 0: its sign is (-1)**(order + 1)."""
    y, total = x, np.zeros_like(x)
    far = _FAR + order
    for _ in range(int(far)):
        step = y < far
        total = np.where(step, total + math.factorial(order) * y ** (-1.0 - order), total)
        y = np.where(step, y + 1, y)
    tail = math.factorial(order - 1) * y**-order + math.factorial(order) / 2 * y ** (-1.0 - order)
    for k, b in enumerate(_BERNOULLI, 1):
        tail = tail + b * (math.factorial(2 * k + order - 1) / math.factorial(2 * k)) * y ** (
            -2.0 * k - order
        )
    out = total + np.where(np.isinf(x), 0.0, tail)
    return out if order % 2 else -out


def _polygamma_double(x, order):
    up = _polygamma_positive(np.where(x > 0, x, 1 - x), order)
    # Reflection: the derivatives of cot are polynomials in cot, since cot' = -(1 + cot**2).
    poly = np.polynomial.Polynomial([0.0, 1.0])
    for _ in range(order):
        poly = poly.deriv() * np.polynomial.Polynomial([-1.0, 0.0, -1.0])
    r = x - np.round(x)
    # Close to half numbers cot pi r is nearly 0: by 1 / tan it would be known to 1e-16 only, which the powers of pi
    # and the polynomial's coefficients, of the size of order!, magnify.
    turned = np.copysign(np.tan(np.pi * (0.5 - np.abs(r))), r)
    cot = np.where(np.abs(r) > 0.25, turned, 1 / np.tan(np.pi * r))
    down = (up if order % 2 == 0 else -up) - np.pi ** (order + 1) * poly(cot)
    down = np.where(x > -1e-20, (-1.0) ** (order + 1) * math.factorial(order) / x ** (order + 1), down)
    pole = np.inf if order % 2 else np.nan
    return np.where(x > 0, up, np.where(np.isinf(x), np.nan, np.where(_whole(x), pole, down)))


def _gamma_samples():
    wide = np.array([-3.6, -1.5, -0.3, 0.2, 0.9, 1.2, 1.7, 2.5, 5.1, 9.9, 10.1, 30.0])
    poles = np.array([-2.0, -1.0, 3e5, 1e-9])
    return [
        *unary(0.1, 4.0)(),
        Sample((wide,)),
        Sample((wide.astype(np.float32),)),
        Sample((poles,), smooth=False),
    ]


@elementwise("f", samples=_gamma_samples)
def lgamma(x):
    """log |gamma(x)|: inf at 0, at the negative whole numbers and at both infinities. The derivative is digamma(x).

    Precise relative to its value for x > 0; near its zeros at negative x precise to 1e-14 or so.
    """
    return _lgamma_double(x.astype(np.float64)).astype(x.dtype)


@lgamma.partials
def _(out, x):
    return (digamma(x),)


@elementwise("f", samples=_gamma_samples)
def digamma(x):
    """The derivative of lgamma: -inf at 0 (inf at -0), NaN at the negative whole numbers and -inf, inf at inf."""
    return _digamma_double(x.astype(np.float64)).astype(x.dtype)


@digamma.partials
def _(out, x):
    return (polygamma(x, order=1),)


def _check_order(x: Aval, *, order: int) -> None:
    if type(order) is not int or not 1 <= order <= 50:
        raise ArgumentError(
            f"the order must be a Python int from 1 to 50 (order 0 is digamma), got {order!r}"
        )


@elementwise(
    "f",
    attrs=("order",),
    check=_check_order,
    samples=lambda: [Sample(s.args, {"order": n}, s.smooth) for n in (1, 2) for s in _gamma_samples()],
)
def polygamma(x, *, order):
    """The derivative of that order of digamma. At 0 and the negative whole numbers inf for odd orders, else NaN."""
    return _polygamma_double(x.astype(np.float64), order).astype(x.dtype)


@polygamma.partials
def _(out, x, *, order):
    return (polygamma(x, order=order + 1),)
