"""The error function, its complement and its inverse."""

from __future__ import annotations

import math

import numpy as np

from .define import elementwise, unary

# Chebyshev expansions, computed to 40 digits and rounded.
#
#: (erf(x) / x - 1) as a polynomial in x**2, for |x| <= 1.
_ERF = (
    0.1283791670955126, -0.37612638903183754, 0.1128379167095512, -0.026866170645129854,
    0.005223977625423455, -0.0008548327021945428, 0.00012055332903350668, -1.4925647581008593e-05,
    1.6462045711013026e-06, -1.6364645854816389e-07, 1.479243542696247e-08, -1.2164764337224506e-09,
    8.709755232851789e-11, -4.2320376764874594e-12,
)  # fmt: skip

#: exp(x**2) erfc(x) (x + 2) in Chebyshev polynomials of (x - 2) / (x + 2), mapped from [-0.6, 1] to [-1, 1];
#: for x >= 0.5.
_ERFC = (
    0.9739949793186762, -0.48202889723521325, 0.07834316039603868, -0.005640402632517939,
    -0.000638005176028597, 0.00015524916589267537, 7.809517806133497e-06, -4.21300201076712e-06,
    -2.3438312290585963e-07, 1.2917225955374607e-07, 1.3095856237953062e-08, -4.035294124615645e-09,
    -7.964802351746034e-10, 9.952287242058099e-11, 4.427889678319774e-11, 3.4717247056227854e-13,
    -2.052419575258776e-12, -2.8897982368264737e-13, 6.317960107286004e-14, 2.4857919943788025e-14,
    6.059166186014999e-16, -1.2844428695819705e-15, -2.6588485349271105e-16, 2.5593811585654563e-17,
    2.1064577520422095e-17, 2.7128987863179407e-18,
)  # fmt: skip


#: How many of the coefficients single precision needs.
_SHORT = {"near": 10, "far": 15}


def _erfc_tail(x, terms=None):
    """erfc(x) for x >= 0.5, to a relative error of a few units in the last place until it underflows at 27."""
    x = np.minimum(x, 30.0)
    t = ((x - 2) / (x + 2) + 0.6) / 0.8 - 1
    scaled = np.polynomial.chebyshev.chebval(t, _ERFC[:terms]) / (x + 2)
    # x**2 = head**2 + (x - head)(x + head), where head**2 is exact: no rounding error for exp to magnify.
    head = x.astype(np.float32).astype(np.float64)
    return np.exp(-head * head) * np.exp(-(x - head) * (x + head)) * scaled


def _erf_double(x, short=False):
    """erf(x) in double precision, or (short) as exactly as single precision can tell."""
    small = np.clip(x, -1.0, 1.0)
    square, near = small * small, 0.0
    for c in reversed(_ERF[: _SHORT["near"]] if short else _ERF):
        near = near * square + c
    near = small + small * near
    tail = _erfc_tail(np.maximum(np.abs(x), 0.5), _SHORT["far"] if short else None)
    return np.where(np.abs(x) <= 0.9, near, np.copysign(1 - tail, x))


def _by_pieces(function, x, piece=1 << 13):
    """`function` of float64 arrays applied to x piece by piece: its many intermediate arrays stay in the cache."""
    out = np.empty(x.shape, x.dtype)
    flat, into = np.ascontiguousarray(x).reshape(-1), out.reshape(-1)
    for at in range(0, flat.size, piece):
        into[at : at + piece] = function(flat[at : at + piece].astype(np.float64))
    return out


def _erfc_double(x):
    tail = _erfc_tail(np.maximum(np.abs(x), 0.5))
    return np.where(np.abs(x) < 0.5, 1 - _erf_double(x), np.where(x > 0, tail, 2 - tail))


def _erf_samples():
    from .define import Sample

    far = np.array([-7.0, -5.9, -3.1, -1.0, -0.9, -0.5, 0.5, 0.9, 1.0, 2.6, 4.0, 26.0])
    return [*unary(-3.0, 3.0)(), Sample((far,)), Sample((far.astype(np.float32),))]


@elementwise("f", samples=_erf_samples)
def erf(x):
    """The error function, 2 / sqrt(pi) times the integral of e**(-t**2) from 0 to x: -1 at -inf, 1 at inf."""
    short = x.dtype.itemsize < 8
    return _by_pieces(lambda v: _erf_double(v, short), x)


@erf.partials
def _(out, x):
    from .transcendental import exp

    return (2 / math.sqrt(math.pi) * exp(-x * x),)


@elementwise("f", samples=_erf_samples)
def erfc(x):
    """1 - erf(x), precise where erf is nearly 1 too: 2 at -inf, 0 at inf."""
    return _by_pieces(_erfc_double, x)


@erfc.partials
def _(out, x):
    from .transcendental import exp

    return (-2 / math.sqrt(math.pi) * exp(-x * x),)


def _erfinv_double(x):
    a = np.abs(x)
    inside = np.minimum(a, 1 - 2.0**-53)
    # A guess good to 2e-3 from an approximate inverse in closed form, then Halley's steps, which triple the digits.
    log = np.log1p(-inside) + np.log1p(inside)
    t = 2 / (math.pi * 0.147) + log / 2
    y = np.where(a < 1e-3, inside * (math.sqrt(math.pi) / 2), np.sqrt(np.sqrt(t * t - log / 0.147) - t))
    for _ in range(3):
        # In the tail the difference of the complements loses nothing: 1 - x is exact there.
        error = np.where(inside < 0.5, _erf_double(y) - inside, (1 - inside) - _erfc_double(y))
        step = error * np.exp(y * y) * (math.sqrt(math.pi) / 2)
        y = y - step / (1 + y * step)
    return np.copysign(np.where(a > 1, np.nan, np.where(a == 1, np.inf, y)), x)


@elementwise("f", samples=unary(-0.95, 0.97))
def erfinv(x):
    """The y with erf(y) = x: -inf at -1, inf at 1 (where the derivative is inf), NaN outside [-1, 1]."""
    return _erfinv_double(x.astype(np.float64)).astype(x.dtype)


@erfinv.partials
def _(out, x):
    from .transcendental import exp

    return (math.sqrt(math.pi) / 2 * exp(out * out),)
