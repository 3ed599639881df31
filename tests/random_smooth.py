"""Operations for graphs made up at random whose results agree to rounding: functions, and what trains with them."""

from __future__ import annotations

import math

from random_operations import fitted, only, smooth
from weft.ops.complex import imag, real
from weft.ops.composite.activations import gelu, silu
from weft.ops.composite.attention import scaled_dot_product_attention
from weft.ops.composite.normalization import layer_norm
from weft.ops.composite.pooling import avg_pool
from weft.ops.composite.softmax import log_softmax, logsumexp, softmax
from weft.ops.contraction import dot_general
from weft.ops.cumulative import cumprod, linear_recurrence
from weft.ops.define import constant
from weft.ops.fft import rfft
from weft.ops.linalg import cholesky, solve
from weft.ops.movement import broadcast_in_dim
from weft.ops.rearrange import eye
from weft.ops.reduce import sum_
from weft.ops.special import erf
from weft.ops.transcendental import (
    asinh,
    atan,
    atan2,
    cos,
    exp,
    expm1,
    hypot,
    log,
    log1p,
    logaddexp,
    rsqrt,
    sinh,
    sqrt,
    tanh,
)

FUNCTIONS = (
    tanh,
    cos,
    lambda v: exp(tanh(v)),
    lambda v: 1.0 / (v * v + 1.0),
    lambda v: sqrt(v * v + 0.5),
    erf,
    lambda v: log1p(v * v),
    atan,
    asinh,
    lambda v: expm1(tanh(v)),
    lambda v: sinh(tanh(v)),
    lambda v: log(v * v + 1.0),
    lambda v: rsqrt(v * v + 1.0),
    silu,
    gelu,
)


@only(smooth)
def bends(x, y, n):
    return FUNCTIONS[n % len(FUNCTIONS)](x)


@only(smooth)
def pairs(x, y, n):
    other = fitted(y, x.shape)
    return [logaddexp, lambda a, b: hypot(a, b * b + 1.0), lambda a, b: atan2(a, b * b + 1.0)][n % 3](
        x, other
    )


@only(smooth)
def weighs(x, y, n):
    scores = exp(tanh(x) * 3.0)
    total = sum_(scores, axes=(x.ndim - 1,))
    return scores / broadcast_in_dim(total, shape=x.shape, axes=tuple(range(x.ndim - 1)))


@only(smooth)
def normalizes(x, y, n):
    """In rows: what classifiers and attention end in."""
    size = x.shape[-1]
    return [
        lambda: softmax(x, axis=x.ndim - 1),
        lambda: log_softmax(x, axis=n % x.ndim),
        lambda: logsumexp(x, axes=(n % x.ndim,)) if x.ndim > 1 else softmax(x, axis=0),
        lambda: layer_norm(x, fitted(y, (size,)), None, constant(0.1, x.dtype), shape=(size,)),
    ][n % 4]()


@only(smooth)
def attends(x, y, n):
    q, k = fitted(x, (2, 5, 4)), fitted(tanh(y), (2, 7, 4))
    scale = constant(0.5, x.dtype)
    return scaled_dot_product_attention(
        q, k, fitted(y, (2, 7, 3)), None, scale, None, None, causal=n % 2 == 1
    )


@only(smooth)
def averages(x, y, n):
    images = fitted(x, (1 + n % 2, 2, 6, 5))
    return avg_pool(
        images, None, kernel=(2, 1 + n % 3), stride=(1 + n % 2, 2), padding=(n // 2 % 2, 0), ceil_mode=n % 5 == 0,
        count_include_pad=n % 2 == 0,
    )  # fmt: skip


@only(smooth)
def recurs(x, y, n):
    return linear_recurrence(tanh(x), fitted(y, x.shape), axis=n % x.ndim, reverse=n % 2 == 1)


@only(smooth)
def compounds(x, y, n):
    return cumprod(tanh(x), axis=n % x.ndim, reverse=n % 2 == 1)


@only(smooth)
def factors(x, y, n):
    """On the host, between segments of native code: of a matrix that is far from singular."""
    a = fitted(tanh(x), (4, 4))
    square = dot_general(a, a, contract=((1,), (1,)), batch=((), ())) + eye(4, 4, 0, x.dtype) * 4.0
    return cholesky(square) if n % 2 else solve(square, fitted(y, (4, 2)))


@only(smooth)
def transforms(x, y, n):
    z = rfft(fitted(x, (2, 8)), axis=1, double=False)
    return (real if n % 2 else imag)(z) / math.sqrt(8)
