"""Losses in which some samples count more than others."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .. import nn
from ..arrays.creation import tensor
from ..arrays.dispatch import apply
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, DataError
from ..ir.dtype import float64, int64
from ..ir.shape import show_shape
from ..ops.composite.define import composite
from ..ops.elementwise import cast, equal, less, where
from ..ops.gather import gather
from ..ops.movement import broadcast_in_dim, full
from ..ops.reduce import sum_
from ..optim.group import is_number

_BY_CLASS = (nn.CrossEntropyLoss, nn.NLLLoss)
#: Losses whose class labels are the floats 0.0 and 1.0.
_ON_FLOATS = (nn.BCELoss, nn.BCEWithLogitsLoss)


@composite
def weighted_mean(each, weights, table, labels, *, ignore, divide, inside):
    """(sum of the weights in float64, sum of weight * loss over it; over 1 where it is 0).

    The weight of a loss is that of its sample (first axes of `each`), times table[label], and 0 where the label is
    `ignore`. Losses of weight 0 count for nothing, be they NaN. `inside`: the losses have been multiplied by those of
    the table already.
    """
    w = full(each.aval, 1.0)
    if weights is not None:
        own = cast(weights, dtype=each.dtype)
        w = broadcast_in_dim(own, shape=each.shape, axes=tuple(range(own.ndim)))
    if labels is not None and ignore is not None:
        w = where(equal(cast(labels, dtype=int64), ignore), 0, w)
    factor = w
    if labels is not None and table is not None:
        numbers = cast(labels, dtype=int64)
        valid = where(less(numbers, 0), False, less(numbers, table.shape[0]))
        w = w * gather(cast(table, dtype=each.dtype), where(valid, numbers, 0), axes=(0,))
    axes = tuple(range(each.ndim))
    total = sum_(w, axes=axes)
    factor = factor if inside else w
    loss = sum_(where(equal(factor, 0), 0, each * factor), axes=axes)
    if divide:
        loss = loss / where(equal(total, 0), 1, total)
    return cast(total, dtype=float64), loss


class WeightedLoss:
    """The mean of the losses of single samples by their weights: sum(w * l) / sum(w).

    A sample's weight is its own (`sample_weight`) times that of its class (`class_weight`). Where all weights are
    equal this is the mean; a batch whose weights are all 0 has the loss 0. For a loss with reduction "sum" it is
    sum(w * l). Calling it gives (loss, sum of the weights).
    """

    def __init__(self, loss: Any, class_weights: np.ndarray | None = None) -> None:
        self.each, reduction = of_each(loss)
        self.table: Tensor | None = None
        self.ignore = loss.ignore_index if isinstance(loss, _BY_CLASS) else None
        own = self.each.weight if isinstance(self.each, _BY_CLASS) else None
        if own is not None:
            if class_weights is not None:
                raise ArgumentError(
                    f"{type(loss).__name__} has class weights already; leave out class_weight, or the loss's weight"
                )
            self.table = own.detach()
        elif class_weights is not None:
            self.table = tensor(class_weights)
        self.inside = (
            own is not None
        )  # the loss multiplies by its weights itself: label smoothing needs them all
        self.divide = reduction != "sum"
        self.rows = reduction == "batchmean"

    def __call__(self, predictions: Any, target: Any, weight: Any = None) -> tuple[Tensor, Tensor]:
        each = self.each(predictions, target)
        if not isinstance(each, Tensor):
            raise ArgumentError(f"the losses of single samples must be a tensor, got {type(each).__name__}")
        if self.rows and each.ndim > 1:
            each = each.sum(axis=tuple(range(1, each.ndim)))
        if weight is not None and (weight.ndim == 0 or weight.shape != each.shape[: weight.ndim]):
            raise DataError(
                f"sample weights of shape {show_shape(weight.shape)} do not go with losses of shape "
                f"{show_shape(each.shape)}; give one number for every sample"
            )
        labels = target if self.table is not None or self.ignore is not None else None
        if labels is not None and (not isinstance(labels, Tensor) or labels.shape != each.shape):
            if self.table is not None and not self.inside:
                shown = show_shape(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
                raise ArgumentError(
                    f"class weights need one class label for every loss: the labels are {shown}, the losses "
                    f"{show_shape(each.shape)}"
                )
            labels = None  # probabilities of classes: the mean is over samples, and there is none to ignore
        if labels is not None and labels.dtype.kind not in "bui" and not isinstance(self.each, _ON_FLOATS):
            raise ArgumentError(f"class weights need integer class labels, the labels are {labels.dtype}")
        total, loss = apply(
            weighted_mean,
            each,
            weight,
            self.table,
            labels,
            ignore=self.ignore,
            divide=self.divide,
            inside=self.inside,
        )
        return loss, total


def weighs_by_class(loss: Any) -> bool:
    """Whether the loss of a batch is a mean in which its targets decide how much each counts."""
    return isinstance(loss, _BY_CLASS) and loss.reduction == "mean"


def of_each(loss: Any) -> tuple[Callable[..., Any], str]:
    """The loss of every sample by itself, and the reduction that the loss has."""
    if isinstance(loss, nn.Module) and isinstance(getattr(loss, "reduction", None), str):
        each = copy.deepcopy(loss)
        each.reduction = "none"
        return each, loss.reduction
    try:
        has_reduction = "reduction" in inspect.signature(loss).parameters
    except (TypeError, ValueError):
        has_reduction = False
    if has_reduction:
        return functools.partial(loss, reduction="none"), "mean"
    raise ArgumentError(
        "sample and class weights need the loss of every sample by itself: use a loss of weft.nn, or a function "
        f'with an argument reduction= that takes "none"; got {getattr(loss, "__name__", type(loss).__name__)}'
    )


def class_table(
    class_weight: Any, classes: int | None, labels: Callable[[], Iterable[np.ndarray]]
) -> np.ndarray:
    """Class weights as an array with one weight for each class.

    Args:
        class_weight: a dict {label: weight} (1 for classes that are not in it), an array, or "balanced":
            samples / (classes * samples of the class).
        classes: how many there are, if that is known.
        labels: the labels of the training data in chunks, for "balanced".
    """
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ArgumentError(
                f'class_weight is a dict, an array or "balanced", got {class_weight!r}. Did you mean "balanced"?'
            )
        counts = np.zeros(0, np.int64)
        for part in labels():
            if part.dtype.kind not in "bui" and not (part == np.floor(part)).all():
                raise DataError("class_weight needs class labels, the labels are not whole numbers")
            found = np.bincount(part[part >= 0].astype(np.int64), minlength=max(len(counts), classes or 0))
            found[: len(counts)] += counts
            counts = found
        present = counts > 0
        table = np.ones(len(counts))
        table[present] = counts.sum() / (present.sum() * counts[present])
        return table
    if isinstance(class_weight, Mapping):
        for label, w in class_weight.items():
            if not isinstance(label, (int, np.integer)) or label < 0 or (classes and label >= classes):
                valid = f"0 to {classes - 1}" if classes else "0, 1, ..."
                raise ArgumentError(f"class_weight has the label {label!r}; labels are {valid}")
            if not is_number(w):
                raise ArgumentError(f"class_weight[{label}] must be a number, got {w!r}")
        table = np.ones(max([classes or 0, *[int(label) + 1 for label in class_weight]]))
        for label, w in class_weight.items():
            table[int(label)] = w
    else:
        table = np.asarray(
            class_weight.numpy() if isinstance(class_weight, Tensor) else class_weight, np.float64
        )
        if table.ndim != 1 or (classes is not None and len(table) != classes):
            raise ArgumentError(
                f"class_weight must hold one number for each of the {classes or ''} classes, got shape "
                f"{show_shape(table.shape)}"
            )
    check_weights(table, "class_weight")
    return table


def check_weights(weights: np.ndarray, what: str, first: int = 0) -> None:
    """Raise unless all weights are finite and none is negative."""
    bad = ~np.isfinite(weights) | (weights < 0)
    if bad.any():
        at = int(np.argwhere(bad)[0][0])
        raise DataError(
            f"{what} holds {weights[at]} (number {first + at}); weights are finite and at least 0"
        )
