"""Losses. All take `reduction`: "mean", "sum", or "none" for one value per element (per sample for class losses)."""

from __future__ import annotations

from ...base.errors import DTypeError, ShapeError
from ...ir.node import Aval, Node
from ...ir.shape import show_shape
from ..elementwise import abs_, exp, less, less_equal, log, mul, not_equal, where
from ..movement import broadcast_to, full, reshape
from ..reduce import sum_
from .activations import softplus_
from .classes import pick_class, positions
from .common import along, as_type, count, widened
from .define import composite
from .softmax import exp_sums, log_softmax


def reduced(loss: Node, reduction: str, total: Node | None = None) -> Node:
    """The loss reduced as asked; `total` is the weight that a mean divides by (default: the number of elements)."""
    if reduction == "none":
        return loss
    axes = tuple(range(loss.ndim))
    out = sum_(loss, axes=axes)
    if reduction == "sum":
        return out
    return out / (count(loss, axes) if total is None else total)


def pair(name: str, x: Node, y: Node) -> tuple[Node, Node]:
    """Input and target, checked to be of one shape; the target takes the input's dtype."""
    if x.dtype.kind != "f":
        raise DTypeError(f"{name} takes a floating input, got {x.aval.describe()}")
    if y.dtype.kind == "c":
        raise DTypeError(f"{name} takes a real target, got {y.aval.describe()}")
    if x.shape != y.shape:
        raise ShapeError(
            f"{name} compares element by element: the input has shape {show_shape(x.shape)}, the target "
            f"{show_shape(y.shape)}. Reshape one of them; broadcasting would compare every pair"
        )
    return widened(x), as_type(y, widened(x).dtype)


def _weighted(name: str, loss: Node, weight: Node | None, reduction: str) -> Node:
    """The loss reduced, with one factor for each element if `weight` is there: a mean is then the weighted one."""
    if weight is None:
        return reduced(loss, reduction)
    if weight.shape != loss.shape or weight.dtype.kind == "c":
        raise ShapeError(
            f"{name}: the weight is a real tensor of the input's shape {show_shape(loss.shape)}, got "
            f"{weight.aval.describe()}"
        )
    w = as_type(weight, loss.dtype)
    return reduced(loss * w, reduction, sum_(w, axes=tuple(range(w.ndim))) if reduction == "mean" else None)


@composite
def mse_loss(x, y, weight=None, *, reduction="mean"):
    """(x - y)**2."""
    a, b = pair("mse_loss", x, y)
    d = a - b
    return as_type(_weighted("mse_loss", d * d, weight, reduction), x.dtype)


@composite
def l1_loss(x, y, weight=None, *, reduction="mean"):
    """|x - y|. The derivative where they are equal is 0."""
    a, b = pair("l1_loss", x, y)
    return as_type(_weighted("l1_loss", abs_(a - b), weight, reduction), x.dtype)


@composite
def huber_loss(x, y, delta, weight=None, *, reduction="mean"):
    """(x - y)**2 / 2 up to |x - y| = delta, from there on linear: delta * (|x - y| - delta / 2)."""
    a, b = pair("huber_loss", x, y)
    size = abs_(a - b)
    delta = as_type(delta, a.dtype)
    loss = where(less_equal(size, delta), size * size * 0.5, (size - delta * 0.5) * delta)
    if weight is not None:
        loss = _weighted("huber_loss", loss, weight, "none")
    return as_type(reduced(loss, reduction), x.dtype)


@composite
def smooth_l1_loss(x, y, beta, *, reduction="mean"):
    """(x - y)**2 / (2 * beta) below |x - y| = beta, from there on |x - y| - beta / 2. With beta 0 it is |x - y|."""
    a, b = pair("smooth_l1_loss", x, y)
    size = abs_(a - b)
    beta = as_type(beta, a.dtype)
    divisor = where(less(0, beta), beta, 1)
    loss = where(less(size, beta), size * size * 0.5 / divisor, size - beta * 0.5)
    return as_type(reduced(loss, reduction), x.dtype)


_LOWEST_LOG = -100.0
_SMALLEST_VARIANCE = 1e-12


def _clamped_log(p: Node) -> Node:
    return where(less(log(p), _LOWEST_LOG), _LOWEST_LOG, log(p))


@composite
def _bernoulli(p, y):
    """-(y log p + (1 - y) log(1 - p)), logarithms not below -100."""
    return -(y * _clamped_log(p) + (1 - y) * _clamped_log(1 - p))


@_bernoulli.vjp
def _(cts, outs, p, y):
    ct = cts[0]
    spread = p * (1 - p)
    to_p = ct * (p - y) / where(less(spread, _SMALLEST_VARIANCE), _SMALLEST_VARIANCE, spread)
    return to_p, ct * (_clamped_log(1 - p) - _clamped_log(p))


@composite
def binary_cross_entropy(x, y, weight, *, reduction="mean"):
    """-(y log x + (1 - y) log(1 - x)) * weight for probabilities x; logarithms are not let below -100."""
    p, t = pair("binary_cross_entropy", x, y)
    loss = _bernoulli(p, t)
    if weight is not None:
        loss = mul(*_common(loss, as_type(weight, loss.dtype)))
    return as_type(reduced(loss, reduction), x.dtype)


def _common(loss: Node, weight: Node) -> tuple[Node, Node]:
    if weight.ndim > loss.ndim:
        raise ShapeError(f"weight {show_shape(weight.shape)} does not broadcast to {show_shape(loss.shape)}")
    return loss, broadcast_to(weight, loss.shape)


@composite
def binary_cross_entropy_with_logits(x, y, weight, pos_weight, *, reduction="mean"):
    """-(pos_weight * y * log s + (1 - y) * log(1 - s)) * weight with s = sigmoid(x), without overflow."""
    z, t = pair("binary_cross_entropy_with_logits", x, y)
    rest = softplus_(-z)
    if pos_weight is not None:
        rest = rest * ((as_type(pos_weight, z.dtype) - 1) * t + 1)
    loss = (1 - t) * z + rest
    if weight is not None:
        loss = mul(*_common(loss, as_type(weight, loss.dtype)))
    return as_type(reduced(loss, reduction), x.dtype)


@composite
def kl_div(x, y, *, reduction="mean", log_target=False):
    """y * (log y - x) for log-probabilities x and probabilities y (or, if `log_target`, log-probabilities).

    "batchmean" divides the sum by the length of the first axis, which is the divergence itself.
    """
    a, t = pair("kl_div", x, y)
    if log_target:
        loss = exp(t) * (t - a)
    else:
        positive = less(0, t)
        loss = where(positive, t * log(where(positive, t, 1)), 0) - t * a
    if reduction == "batchmean":
        if x.ndim == 0:
            raise ShapeError("kl_div: batchmean needs a batch axis")
        return as_type(sum_(loss, axes=tuple(range(loss.ndim))) / count(loss, (0,)), x.dtype)
    return as_type(reduced(loss, reduction), x.dtype)


# -- classes --------------------------------------------------------------------------------------------------


def _check_classes(name: str, x: Node, target: Node, weight: Node | None) -> int:
    """The axis of the classes, after checking the shapes of scores, class indices and class weights."""
    if x.dtype.kind != "f":
        raise DTypeError(f"{name} takes floating scores, got {x.aval.describe()}")
    if x.ndim == 0:
        raise ShapeError(
            f"{name} takes scores of shape (classes,) or (batch, classes, ...), got a single number"
        )
    axis = 0 if x.ndim == 1 else 1
    want = (*x.shape[:axis], *x.shape[axis + 1 :])
    if target.shape != want:
        hint = ""
        if target.shape == (*want, 1):
            hint = "; drop the target's last axis with squeeze(-1)"
        elif target.shape == x.shape:
            hint = "; targets of the shape of the scores are probabilities and must be floating"
        raise ShapeError(
            f"{name}: scores of shape {show_shape(x.shape)} need class indices of shape {show_shape(want)}, got "
            f"{show_shape(target.shape)}{hint}"
        )
    if target.dtype.kind not in "iu":
        raise DTypeError(f"{name}: class indices must be integers, got {target.aval.describe()}")
    if weight is not None and weight.shape != x.shape[axis : axis + 1]:
        raise ShapeError(
            f"{name}: weight needs one entry for each of the {x.shape[axis]} classes, got {show_shape(weight.shape)}"
        )
    return axis


def _class_weights(x: Node, safe: Node, valid: Node, weight: Node | None, axis: int) -> Node:
    """The weight of each sample: that of its class, 0 where it is ignored."""
    if weight is None:
        each = full(Aval(safe.shape, x.dtype), 1.0)
    else:
        each = pick_class(broadcast_to(along(as_type(weight, x.dtype), x, axis), x.shape), safe, axis=axis)
    return where(valid, each, 0)


def _indexed(
    x: Node,
    target: Node,
    weight: Node | None,
    axis: int,
    ignore_index: int,
    sums: tuple[Node, Node] | None = None,
) -> tuple[Node, Node]:
    """-weight * log-probability of the target class for each sample, and the weight of each sample.

    x has log-probabilities, or else scores whose `exp_sums` are given: only the scores that are picked become
    log-probabilities.
    """
    valid = not_equal(target, ignore_index)
    safe = where(valid, target, 0)
    each = _class_weights(x, safe, valid, weight, axis)
    picked = pick_class(x, safe, axis=axis)
    if sums is not None:
        top, total = (reshape(s, shape=safe.shape) for s in sums)
        picked = (picked - top) - log(total)
    return -where(valid, picked, 0) * each, each


def _mean_weight(each: Node) -> Node:
    return sum_(each, axes=tuple(range(each.ndim)))


@composite
def nll_loss(x, target, weight, *, ignore_index=-100, reduction="mean"):
    """-weight[target] * x[target] for log-probabilities x (N, C, ...) and class indices (N, ...).

    Samples whose target is `ignore_index` count nothing; the mean is weighted. Any other index outside 0 .. C-1
    raises `IndexError`.
    """
    axis = _check_classes("nll_loss", x, target, weight)
    target = positions(target)
    loss, each = _indexed(widened(x), target, weight, axis, ignore_index)
    return as_type(reduced(loss, reduction, _mean_weight(each)), x.dtype)


@composite
def cross_entropy(x, target, weight, smoothing, *, ignore_index=-100, reduction="mean"):
    """`nll_loss(log_softmax(x), target)` for class indices, with optional label smoothing.

    With smoothing s the target distribution is (1 - s) on the class and s / C on every class.
    """
    axis = _check_classes("cross_entropy", x, target, weight)
    target = positions(target)
    w = widened(x)
    sums = exp_sums(w, axis=axis)
    loss, each = _indexed(w, target, weight, axis, ignore_index, sums)
    if smoothing is not None:
        s = as_type(smoothing, w.dtype)
        logs = (w - sums[0]) - log(sums[1])
        scaled = logs if weight is None else logs * along(as_type(weight, w.dtype), w, axis)
        spread = where(not_equal(target, ignore_index), -sum_(scaled, axes=(axis,)), 0)
        loss = loss * (1 - s) + spread * (s / count(w, (axis,)))
    return as_type(reduced(loss, reduction, _mean_weight(each)), x.dtype)


@composite
def cross_entropy_probabilities(x, target, weight, smoothing, *, reduction="mean"):
    """-sum over classes of weight * target * log_softmax(x), for target distributions of the shape of x."""
    if x.ndim == 0:
        raise ShapeError("cross_entropy takes scores of shape (classes,) or (batch, classes, ...)")
    a, t = pair("cross_entropy with probabilities", x, target)
    axis = 0 if x.ndim == 1 else 1
    logs = log_softmax(a, axis=axis)
    if smoothing is not None:
        s = as_type(smoothing, a.dtype)
        t = t * (1 - s) + s / count(a, (axis,))
    if weight is not None:
        if weight.shape != x.shape[axis : axis + 1]:
            raise ShapeError(
                f"cross_entropy: weight needs one entry for each class, got {show_shape(weight.shape)}"
            )
        logs = logs * along(as_type(weight, a.dtype), logs, axis)
    return as_type(reduced(-sum_(t * logs, axes=(axis,)), reduction), x.dtype)
