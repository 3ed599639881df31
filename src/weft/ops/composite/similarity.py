"""Similarity and distance of vectors, and the losses that compare them."""

from __future__ import annotations

import math

from ...base.errors import ShapeError
from ...ir.node import Node
from ...ir.shape import broadcast_shapes, show_shape
from ..define import constant
from ..elementwise import abs_, equal, exp, less, less_equal, log, pow_, sqrt, where
from ..indexing import gather
from ..movement import broadcast_to, full
from ..reduce import sum_
from .activations import softplus_
from .common import as_type, floating, positive, stop_gradient, widened
from .define import composite
from .first import first_max
from .losses import pair, reduced
from .normalization import l2_normalize


def _together(name: str, x: Node, y: Node) -> tuple[Node, Node]:
    """Both operands, widened and broadcast against each other."""
    floating(name, input1=x, input2=y)
    shape = broadcast_shapes(x.shape, y.shape)
    return broadcast_to(widened(x), shape), broadcast_to(widened(y), shape)


@composite
def cosine_similarity(x, y, eps, *, axis):
    """The cosine of the angle between x and y along `axis`; lengths below eps count as eps."""
    a, b = _together("cosine_similarity", x, y)
    axis = axis % a.ndim
    eps = as_type(eps, a.dtype)
    return as_type(
        sum_(l2_normalize(a, eps, axis=axis) * l2_normalize(b, eps, axis=axis), axes=(axis,)), x.dtype
    )


def _distance(x: Node, y: Node, p: Node | None, eps: Node) -> Node:
    """(sum |x - y + eps|**p)**(1/p) along the last axis; p None is 2."""
    d = x - y + eps
    axes = (x.ndim - 1,)
    square = sum_(d * d, axes=axes) if p is None else sum_(pow_(abs_(d), p), axes=axes)
    # The root is only taken where it has a slope.
    zero = equal(square, 0)
    safe = where(zero, 1, square)
    return where(zero, 0, sqrt(safe) if p is None else pow_(safe, 1 / p))


@composite
def pairwise_distance(x, y, p, eps):
    """The p-norm of x - y + eps along the last axis (p None: the Euclidean one)."""
    a, b = _together("pairwise_distance", x, y)
    power = None if p is None else as_type(p, a.dtype)
    return as_type(_distance(a, b, power, as_type(eps, a.dtype)), x.dtype)


@composite
def pdist(x, first, second, p, *, kind):
    """The p-norms of the differences of rows of x (N, D): of those that `first` and `second` name.

    kind: "power", or "two" (Euclidean), "count" (p = 0: how many differ) and "largest" (p infinite). Where two rows
    are equal the derivative is 0.
    """
    floating("pdist", input=x)
    w = widened(x)
    a, b = [gather(w, i, axes=(0,)) for i in (first, second)]
    d, axes = a - b, (1,)
    if kind == "count":
        return as_type(stop_gradient(sum_(where(equal(d, 0), 0, full(d.aval, 1)), axes=axes)), x.dtype)
    if kind == "largest":
        empty = 0 in d.shape
        return as_type(sum_(d, axes=axes) if empty else first_max(abs_(d), axis=1), x.dtype)
    power = None if kind == "two" else as_type(p, w.dtype)
    return as_type(_distance(a, b, power, as_type(constant(0.0, w.dtype), w.dtype)), x.dtype)


def _signs(name: str, x: Node, target: Node) -> Node:
    """The target, 1 or -1, in the type of x."""
    if target.shape != x.shape:
        raise ShapeError(
            f"{name} compares element by element: the input has shape {show_shape(x.shape)}, the target "
            f"{show_shape(target.shape)}"
        )
    return as_type(target, x.dtype)


@composite
def margin_ranking_loss(x, y, target, margin, *, reduction="mean"):
    """max(0, -target * (x - y) + margin): x is to be larger than y where the target is 1, smaller where it is -1."""
    a, b = pair("margin_ranking_loss", x, y)
    t = _signs("margin_ranking_loss", a, target)
    return as_type(reduced(positive(as_type(margin, a.dtype) - t * (a - b)), reduction), x.dtype)


@composite
def hinge_embedding_loss(x, target, margin, *, reduction="mean"):
    """x where the target is 1, max(0, margin - x) where it is -1."""
    floating("hinge_embedding_loss", input=x)
    a = widened(x)
    t = _signs("hinge_embedding_loss", a, target)
    far = positive(as_type(margin, a.dtype) - a)
    loss = where(equal(t, 1), a, 0) + where(equal(t, -1), far, 0)
    return as_type(reduced(loss, reduction), x.dtype)


@composite
def soft_margin_loss(x, target, *, reduction="mean"):
    """log(1 + exp(-target * x)) for targets 1 and -1."""
    a, t = pair("soft_margin_loss", x, target)
    return as_type(reduced(softplus_(-t * a), reduction), x.dtype)


_TINY = 1e-12


@composite
def cosine_embedding_loss(x, y, target, margin, *, reduction="mean"):
    """1 - cos(x, y) where the target is 1, max(0, cos(x, y) - margin) where it is -1; the cosine of the last axis."""
    a, b = pair("cosine_embedding_loss", x, y)
    axes = (a.ndim - 1,)
    lengths = sqrt((sum_(a * a, axes=axes) + _TINY) * (sum_(b * b, axes=axes) + _TINY))
    cosine = sum_(a * b, axes=axes) / lengths
    t = _signs("cosine_embedding_loss", cosine, target)
    apart = positive(cosine - as_type(margin, a.dtype))
    loss = where(equal(t, 1), 1 - cosine, 0) + where(equal(t, -1), apart, 0)
    return as_type(reduced(loss, reduction), x.dtype)


@composite
def triplet_margin_loss(anchor, near, far, margin, p, eps, *, swap=False, reduction="mean"):
    """max(0, d(anchor, near) - d(anchor, far) + margin), d the p-norm along the last axis (p None: Euclidean).

    With `swap` the distance to `far` is taken from `near` where that is smaller.
    """
    floating("triplet_margin_loss", anchor=anchor, positive=near, negative=far)
    a, b = _together("triplet_margin_loss", anchor, near)
    _, c = _together("triplet_margin_loss", anchor, far)
    power, eps = None if p is None else as_type(p, a.dtype), as_type(eps, a.dtype)
    apart = _distance(a, c, power, eps)
    if swap:
        other = _distance(b, c, power, eps)
        apart = where(less(other, apart), other, apart)
    loss = positive(_distance(a, b, power, eps) - apart + as_type(margin, a.dtype))
    return as_type(reduced(loss, reduction), anchor.dtype)


@composite
def poisson_nll_loss(x, target, eps, *, log_input=True, full=False, reduction="mean"):
    """The negative log-likelihood of Poisson counts: exp(x) - target * x, or x - target * log(x + eps) for rates x.

    With `full` the part that depends on the target alone is added, by Stirling's formula for targets above 1.
    """
    a, t = pair("poisson_nll_loss", x, target)
    loss = exp(a) - t * a if log_input else a - t * log(a + as_type(eps, a.dtype))
    if full:
        many = less(1, t)
        safe = where(many, t, 2)
        stirling = safe * log(safe) - safe + log(safe * (2 * math.pi)) * 0.5
        loss = loss + where(many, stirling, 0)
    return as_type(reduced(loss, reduction), x.dtype)


@composite
def gaussian_nll_loss(x, target, var, eps, *, full=False, reduction="mean"):
    """(log var + (x - target)**2 / var) / 2 for a normal distribution of mean x and variance var, at least eps.

    The gradient of the variance passes as if it had not been raised to eps. With `full` log(2 pi) / 2 is added.
    """
    a, t = pair("gaussian_nll_loss", x, target)
    v, least = as_type(var, a.dtype), as_type(eps, a.dtype)
    if v.shape != a.shape and v.shape == a.shape[:-1]:
        from ..rearrange import expand_dims

        v = expand_dims(v, (v.ndim,))
    v = v + stop_gradient(where(less_equal(least, v), 0, least - v))
    loss = (log(v) + (a - t) * (a - t) / v) * 0.5
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return as_type(reduced(loss, reduction), x.dtype)
