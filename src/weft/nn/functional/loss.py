"""Losses on tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...arrays.creation import asarray
from ...arrays.dispatch import apply, check_choice
from ...arrays.remembered import remembered
from ...arrays.searching import take
from ...arrays.tensor import Tensor
from ...base.checked import checked as checked_call
from ...base.errors import ArgumentError, DTypeError, ShapeError
from ...ops.composite import ctc as c_ctc
from ...ops.composite import losses as c
from .linear import linear
from .operands import checked, maybe

_REDUCTIONS = ("mean", "sum", "none")


def _compare(composite: Any, x: Any, y: Any, *numbers: Any, reduction: str, **attrs: Any) -> Tensor:
    x, y = checked(composite.name, x), checked(composite.name, y)
    check_choice("reduction", reduction, _REDUCTIONS)
    return apply(composite, x, y, *numbers, reduction=reduction, **attrs)


@remembered
def mse_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", *, weight: Tensor | None = None
) -> Tensor:
    """(input - target)**2, averaged, summed or as it is.

    Args:
        reduction: "mean", "sum" or "none".
        weight: a factor for each element; the mean is divided by their sum.

    Shapes: input and target alike; a scalar, or their shape with "none". Raises: ShapeError if they differ. As a
    module: `nn.MSELoss`.
    """
    return _compare(c.mse_loss, input, target, maybe("mse_loss", weight), reduction=reduction)


@remembered
def l1_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", *, weight: Tensor | None = None
) -> Tensor:
    """|input - target|, averaged, summed or as it is.

    Args:
        reduction: "mean", "sum" or "none".
        weight: a factor for each element; the mean is divided by their sum.

    Shapes: input and target alike; a scalar, or their shape with "none". Raises: ShapeError if they differ. As a
    module: `nn.L1Loss`.
    """
    return _compare(c.l1_loss, input, target, maybe("l1_loss", weight), reduction=reduction)


@remembered
def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """With d = |input - target|: d**2 / (2 beta) below beta, d - beta / 2 above; averaged, summed or as it is.

    Args:
        reduction: "mean", "sum" or "none".
        beta: where the one turns into the other; with 0 it is `l1_loss`.

    Shapes: input and target alike; a scalar, or their shape with "none". Raises: ArgumentError for a negative beta. As
    a module: `nn.SmoothL1Loss`.
    """
    if beta < 0:
        raise ArgumentError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    return _compare(c.smooth_l1_loss, input, target, float(beta), reduction=reduction)


@remembered
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """With d = |input - target|: d**2 / 2 below delta, delta (d - delta / 2) above; averaged, summed or as it is.

    Args:
        reduction: "mean", "sum" or "none".
        delta: where the one turns into the other.
        weight: a factor for each element; the mean is divided by their number all the same.

    Shapes: input and target alike; a scalar, or their shape with "none". Raises: ArgumentError unless delta is
    positive. As a module: `nn.HuberLoss`.
    """
    if delta <= 0:
        raise ArgumentError(f"huber_loss: delta must be positive, got {delta}")
    weight = maybe("huber_loss", weight)
    return _compare(c.huber_loss, input, target, float(delta), weight, reduction=reduction)


@remembered
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """-(y log x + (1 - y) log(1 - x)) for probabilities x and targets y, times weight.

    Logarithms are not let below -100.

    Prefer `binary_cross_entropy_with_logits`, which takes scores. reduction is "mean", "sum" or "none".

    Shapes: input and target alike, weight broadcasts; a scalar, or their shape with "none". As a module: `nn.BCELoss`.
    """
    return _compare(
        c.binary_cross_entropy, input, target, maybe("binary_cross_entropy", weight), reduction=reduction
    )


@remembered
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-(p y log sigmoid(x) + (1 - y) log(1 - sigmoid(x))) for scores x and targets y, times weight, without overflow.

    Args:
        reduction: "mean", "sum" or "none".
        pos_weight: p, what targets of 1 count.

    Shapes: input and target alike, weights broadcast; a scalar, or their shape with "none". As a module:
    `nn.BCEWithLogitsLoss`.
    """
    return _compare(
        c.binary_cross_entropy_with_logits, input, target, weight, pos_weight, reduction=reduction
    )


@remembered
def kl_div(input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target (log target - input) for log-probabilities `input`.

    Args:
        reduction: "batchmean" is the divergence itself; "mean" divides by the number of elements; "sum"; "none".
        log_target: whether the target holds log-probabilities, too.

    Shapes: input and target alike; a scalar, or their shape with "none". As a module: `nn.KLDivLoss`.
    """
    input, target = checked("kl_div", input), checked("kl_div", target)
    check_choice("reduction", reduction, (*_REDUCTIONS, "batchmean"))
    return apply(c.kl_div, input, target, reduction=reduction, log_target=bool(log_target))


@remembered
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-weight[y] input[y] for log-probabilities and class indices y. The mean is divided by the sum of the weights.

    Args:
        weight: one factor for each class.
        ignore_index: a class index that counts nothing.
        reduction: "mean", "sum" or "none".

    Shapes: input (N, C, ...) or (C), target (N, ...) or (), weight (C); a scalar, or the target's with "none".

    Raises:
        IndexError: when the value is computed and a class index is not in 0 .. C-1 (nor `ignore_index`).
    """
    input, target, weight = checked("nll_loss", input), checked("nll_loss", target), maybe("nll_loss", weight)
    check_choice("reduction", reduction, _REDUCTIONS)
    return apply(c.nll_loss, input, target, weight, ignore_index=int(ignore_index), reduction=reduction)


@remembered
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target], for scores.

        loss = -weight[y] log(e**x_y / sum_i e**x_i)                  for class indices y
        loss = -sum_c weight[c] p_c log(e**x_c / sum_i e**x_i)        for probabilities p

    Args:
        input: scores (N, C), (C,) or (N, C, d1, ...).
        target: class indices (N), () or (N, d1, ...), or floating probabilities of the input's shape.
        weight: one factor for each class; the mean over class indices is divided by the sum of theirs.
        ignore_index: a class index that counts nothing.
        reduction: "mean", "sum" or "none".
        label_smoothing: how much of the target is spread evenly over all classes.

    Shapes: a scalar, or (N, d1, ...) with reduction="none". As a module: `nn.CrossEntropyLoss`.

    Raises:
        IndexError: when the value is computed and a class index is not in 0 .. C-1 (nor `ignore_index`).
        DTypeError: for floating targets of another shape than the input's.
    """
    input, target = checked("cross_entropy", input), checked("cross_entropy", target)
    weight = maybe("cross_entropy", weight)
    check_choice("reduction", reduction, _REDUCTIONS)
    if not isinstance(label_smoothing, Tensor) and not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(f"cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}")
    smoothing = (
        None if isinstance(label_smoothing, (int, float)) and label_smoothing == 0 else label_smoothing
    )
    if target.dtype.kind == "f":
        if target.shape != input.shape:
            raise DTypeError(
                "cross_entropy: floating targets are probabilities of the scores' shape; got "
                f"{target._node.aval.describe()} for scores {input._node.aval.describe()}. Class indices must be "
                "integers: target.astype('int64')"
            )
        return apply(c.cross_entropy_probabilities, input, target, weight, smoothing, reduction=reduction)
    return apply(
        c.cross_entropy, input, target, weight, smoothing, ignore_index=int(ignore_index), reduction=reduction
    )


@remembered
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """`cross_entropy` of the scores of a linear layer.

        loss = cross_entropy(input @ linear_weight.T + linear_bias, target)

    Args:
        linear_weight: (C, in).
        target: class indices (N) or (), or probabilities (N, C) or (C).
        linear_bias: (C).
        weight, reduction, ignore_index, label_smoothing: as in `cross_entropy`.

    Shapes: input (N, in) or (in); a scalar, or (N) with reduction="none". As a module: `nn.LinearCrossEntropyLoss`.
    """
    scores = linear(input, linear_weight, linear_bias)
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": label_smoothing}
    return cross_entropy(scores, target, weight, ignore_index=ignore_index, **options)


@checked_call
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability of label sequences under all their alignments (connectionist temporal classification).

        loss = -log(sum over all alignments of the product over t of p_t[label at t])

    Args:
        log_probs: log-probabilities (T, N, C) or (T, C), for instance from `log_softmax`.
        targets: classes (N, S) or (S), or (N) sequences one after the other in one list, (sum of target_lengths).
        input_lengths: how many steps of each input count, (N) or (): a tensor or a list.
        target_lengths: how many classes each target has.
        blank: the class that stands for nothing.
        reduction: "mean" divides each loss by the length of its target and averages; "sum"; "none".
        zero_infinity: a target that is too long for its input counts nothing, instead of an infinite loss.

    Shapes: a scalar, or (N) with reduction="none". As a module: `nn.CTCLoss`.

    Raises:
        IndexError: when the value is computed and a class or a length is out of range.

    Reference: A. Graves et al., "Connectionist Temporal Classification", 2006.
    """
    name = "ctc_loss"
    x, target = checked(name, log_probs), checked(name, targets)
    check_choice("reduction", reduction, _REDUCTIONS)
    lengths = [v if isinstance(v, Tensor) else asarray(v) for v in (input_lengths, target_lengths)]
    lone = x.ndim == 2
    if lone:
        x, target = x.reshape((x.shape[0], 1, x.shape[1])), target.reshape((1, *target.shape))
    lengths = [v.reshape((1,)) if v.ndim == 0 and lone else v for v in lengths]
    if target.ndim == 1:
        target = _in_rows(target, lengths[1])
    options = {"blank": int(blank), "reduction": reduction, "zero_infinity": bool(zero_infinity)}
    out = apply(c_ctc.ctc_loss, x, target, *lengths, **options)
    return out.reshape(()) if lone else out


def _in_rows(target: Tensor, lengths: Tensor) -> Tensor:
    """Sequences that lie one after the other as the rows of a matrix. The longest decides its width."""
    sizes = [int(n) for n in lengths.numpy()]
    if sum(sizes) != target.shape[0]:
        raise ShapeError(
            f"ctc_loss: target_lengths sum to {sum(sizes)}, but there are {target.shape[0]} targets in a row"
        )
    starts = np.cumsum([0, *sizes[:-1]])[: len(sizes)]
    at = starts[:, None] + np.arange(max(sizes, default=0))
    if target.size == 0:
        return target.reshape((len(sizes), 0))
    last = int(target.shape[0]) - 1  # type: ignore[arg-type]
    return take(target, asarray(np.minimum(at, last).ravel()), axis=0).reshape(at.shape)
