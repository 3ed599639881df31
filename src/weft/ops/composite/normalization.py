"""Normalisation: subtract a mean, divide by a standard deviation, scale and shift."""

from __future__ import annotations

from ...base.errors import ArgumentError, ShapeError
from ...ir.node import Node
from ...ir.shape import divide, is_static, show_shape, size_of
from ..define import constant
from ..elementwise import less_equal, pow_, rsqrt, sqrt, where
from ..movement import broadcast_to, pad, reshape
from ..rearrange import moveaxis
from ..reduce import sum_
from ..window import windows
from .common import along, as_type, count, floating, keep, stop_gradient, widened
from .define import composite


def standardize(x: Node, eps: Node, *, axes: tuple[int, ...]) -> tuple[Node, Node, Node]:
    """((x - mean) / sqrt(var + eps), mean, var) with mean and (biased) variance over `axes`, which are kept.

    The derived reverse mode takes two reductions and reads the centred x: a rule of its own would save nothing.
    """
    n = count(x, axes)
    mean = keep(sum_(x, axes=axes), x, axes) / n
    centred = x - mean
    var = keep(sum_(centred * centred, axes=axes), x, axes) / n
    return centred * rsqrt(var + eps), mean, var


def _affine(y: Node, weight: Node | None, bias: Node | None) -> Node:
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


def _wide(v: Node | None) -> Node | None:
    return None if v is None else widened(v)


def _check_trailing(name: str, x: Node, shape: tuple, **vectors: Node | None) -> None:
    if not shape or x.shape[-len(shape) :] != shape:
        raise ShapeError(
            f"{name}: the input of shape {show_shape(x.shape)} does not end in {show_shape(shape)}"
        )
    for what, v in vectors.items():
        if v is not None and v.shape != shape:
            raise ShapeError(f"{name}: {what} has shape {show_shape(v.shape)}, expected {show_shape(shape)}")


@composite
def layer_norm(x, weight, bias, eps, *, shape):
    """Each trailing block of the given shape to mean 0 and variance 1, then times weight, plus bias."""
    floating("layer_norm", input=x, weight=weight, bias=bias)
    _check_trailing("layer_norm", x, shape, weight=weight, bias=bias)
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    if size_of(shape) == 0:
        return x
    normal, _, _ = standardize(widened(x), widened(eps), axes=axes)
    return as_type(_affine(normal, _wide(weight), _wide(bias)), x.dtype)


@composite
def rms_norm(x, weight, eps, *, shape):
    """x / sqrt(mean(x**2) + eps) over each trailing block of the given shape, times weight."""
    floating("rms_norm", input=x, weight=weight)
    _check_trailing("rms_norm", x, shape, weight=weight)
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    w = widened(x)
    square = keep(sum_(w * w, axes=axes), w, axes) / count(w, axes)
    return as_type(_affine(w * rsqrt(square + widened(eps)), _wide(weight), None), x.dtype)


def _check_channels(name: str, x: Node, **vectors: Node | None) -> None:
    if x.ndim < 2:
        raise ShapeError(f"{name} takes an input (batch, channels, ...), got shape {show_shape(x.shape)}")
    for what, v in vectors.items():
        if v is not None and v.shape != x.shape[1:2]:
            raise ShapeError(
                f"{name}: the input of shape {show_shape(x.shape)} has {x.shape[1]} channels, but {what} has "
                f"shape {show_shape(v.shape)}"
            )


def _lay(v: Node | None, x: Node) -> Node | None:
    return None if v is None else along(widened(v), x, 1)


@composite
def group_norm(x, weight, bias, eps, *, groups):
    """Each group of neighbouring channels of each sample to mean 0 and variance 1, then scaled and shifted."""
    floating("group_norm", input=x, weight=weight, bias=bias)
    _check_channels("group_norm", x, weight=weight, bias=bias)
    each = divide(x.shape[1], groups)
    if each is None:
        raise ShapeError(f"group_norm: {x.shape[1]} channels do not divide into {groups} groups")
    w = widened(x)
    n = each * count(w, tuple(range(2, w.ndim)))
    centred = w - _of_groups(w, groups) / n
    var = _of_groups(centred * centred, groups) / n
    normal = centred * rsqrt(var + widened(eps))
    return as_type(_affine(normal, _lay(weight, normal), _lay(bias, normal)), x.dtype)


def _of_groups(x: Node, groups: int) -> Node:
    """The sum of each group of channels of each sample, for every channel: that of the sums of the channels, which lie
    next to each other behind a convolution."""
    spatial = tuple(range(2, x.ndim))
    channels = sum_(x, axes=spatial) if spatial else x
    each = reshape(channels, shape=(x.shape[0], groups, divide(x.shape[1], groups)))
    found = broadcast_to(keep(sum_(each, axes=(2,)), each, (2,)), each.shape)
    return reshape(found, shape=(*x.shape[:2], *(1 for _ in spatial)))


@composite
def batch_norm(x, weight, bias, mean, var, eps):
    """(x - mean) / sqrt(var + eps) * weight + bias with given statistics, one of each per channel (axis 1)."""
    floating("batch_norm", input=x, weight=weight, bias=bias)
    _check_channels("batch_norm", x, weight=weight, bias=bias, running_mean=mean, running_var=var)
    w = widened(x)
    scale = rsqrt(as_type(var, w.dtype) + widened(eps))
    if weight is not None:
        scale = scale * widened(weight)
    out = (w - along(as_type(mean, w.dtype), w, 1)) * along(scale, w, 1)
    return as_type(_affine(out, None, _lay(bias, w)), x.dtype)


@composite
def batch_norm_train(x, weight, bias, mean, var, momentum, eps):
    """Normalise each channel over batch and space; also the running statistics moved towards this batch's.

    Returns (y, mean, var), new_mean = (1 - momentum) * mean + momentum * batch mean, and likewise var with the
    unbiased variance of the batch. The statistics carry no gradient. Without running ones (None) they are the
    batch's own.
    """
    floating("batch_norm", input=x, weight=weight, bias=bias)
    _check_channels("batch_norm", x, weight=weight, bias=bias, running_mean=mean, running_var=var)
    axes = (0, *range(2, x.ndim))
    sizes = tuple([x.shape[a] for a in axes])
    if is_static(sizes) and size_of(sizes) < 2:
        raise ArgumentError(
            f"batch_norm in training needs more than one value per channel, got shape {show_shape(x.shape)}; use a "
            "larger batch (drop_last=True leaves out a short last one) or eval()"
        )
    w = widened(x)
    normal, batch_mean, batch_var = standardize(w, widened(eps), axes=axes)
    y = as_type(_affine(normal, _lay(weight, w), _lay(bias, w)), x.dtype)
    n = count(w, axes)
    new_mean = stop_gradient(reshape(batch_mean, shape=x.shape[1:2]))
    new_var = stop_gradient(reshape(batch_var, shape=x.shape[1:2])) * (n / (n - 1))
    if mean is None or var is None:
        return y, new_mean, new_var
    step = as_type(momentum, w.dtype)
    return y, _towards(mean, new_mean, step), _towards(var, new_var, step)


@composite
def instance_norm(x, weight, bias, eps):
    """Each channel of each sample to mean 0 and variance 1 over its spatial axes, then scaled and shifted."""
    floating("instance_norm", input=x, weight=weight, bias=bias)
    return as_type(_instance_norm(x, weight, bias, eps)[0], x.dtype)


def _instance_norm(x: Node, weight: Node | None, bias: Node | None, eps: Node) -> tuple[Node, Node, Node]:
    _check_channels("instance_norm", x, weight=weight, bias=bias)
    axes = tuple(range(2, x.ndim))
    if is_static(x.shape[2:]) and size_of(x.shape[2:]) < 2:
        raise ArgumentError(
            f"instance_norm needs more than one position in each channel, got shape {show_shape(x.shape)}"
        )
    w = widened(x)
    normal, mean, var = standardize(w, widened(eps), axes=axes)
    return _affine(normal, _lay(weight, w), _lay(bias, w)), mean, var


@composite
def instance_norm_train(x, weight, bias, mean, var, momentum, eps):
    """`instance_norm`, and running statistics moved towards those of this batch, averaged over its samples.

    Returns (y, mean, var); the variance is the unbiased one. The statistics carry no gradient.
    """
    floating("instance_norm", input=x, weight=weight, bias=bias)
    _check_channels("instance_norm", x, running_mean=mean, running_var=var)
    y, own_mean, own_var = _instance_norm(x, weight, bias, eps)
    n, step = count(y, tuple(range(2, x.ndim))), as_type(momentum, y.dtype)
    others = (0, *range(2, x.ndim))  # the mean over samples; the other axes have length 1
    samples = count(y, (0,))
    new_mean = stop_gradient(sum_(own_mean, axes=others)) / samples
    new_var = stop_gradient(sum_(own_var, axes=others)) / samples * (n / (n - 1))
    return as_type(y, x.dtype), _towards(mean, new_mean, step), _towards(var, new_var, step)


@composite
def local_response_norm(x, alpha, beta, k, *, size):
    """x / (k + alpha * s)**beta, s the mean square of the `size` neighbouring channels around each (zeros outside)."""
    floating("local_response_norm", input=x)
    if x.ndim < 3:
        raise ShapeError(
            f"local_response_norm takes (batch, channels, ...) with spatial axes, got {show_shape(x.shape)}"
        )
    w = widened(x)
    alpha, beta, k = (as_type(v, w.dtype) for v in (alpha, beta, k))
    square = moveaxis(w * w, 1, x.ndim - 1)
    around = [0] * (x.ndim - 1)
    square = pad(
        square,
        constant(0, w.dtype),
        low=(*around, size // 2),
        high=(*around, (size - 1) // 2),
        interior=(*around, 0),
    )
    near = sum_(windows(square, kernel=(size,), stride=(1,), dilation=(1,)), axes=(x.ndim,)) / size
    near = moveaxis(near, x.ndim - 1, 1)
    return as_type(w / pow_(near * alpha + k, beta), x.dtype)


def _towards(old: Node, new: Node, step: Node) -> Node:
    wide = stop_gradient(as_type(old, new.dtype))
    return as_type(wide * (1 - step) + new * step, old.dtype)


@composite
def l2_normalize(x, eps, *, axis):
    """x / max(sqrt(sum(x**2)), eps) along `axis`. At the zero vector the derivative is 1 / eps."""
    floating("normalize", input=x)
    w = widened(x)
    square = keep(sum_(w * w, axes=(axis,)), w, (axis,))
    small = less_equal(square, widened(eps) * widened(eps))
    # The root is only taken where it is differentiable.
    norm = where(small, widened(eps), sqrt(where(small, 1, square)))
    return as_type(w / norm, x.dtype)
