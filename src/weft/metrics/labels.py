"""From what a classifier puts out to labels, and from labels to counts: composites over nodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import dispatch
from ..arrays.creation import node_from_numpy
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, DataError, DTypeError
from ..ir.dtype import bool_, float32, int64
from ..ir.shape import show_shape
from ..ops.composite.define import composite
from ..ops.contraction import dot_general
from ..ops.define import constant
from ..ops.elementwise import cast, equal, greater, less, less_equal, where
from ..ops.movement import broadcast_in_dim, broadcast_to, reshape
from ..ops.reduce import argmax, max_, sum_
from .streaming import same_shape


def checked_threshold(value: Any) -> float:
    """A threshold between two classes, or `ArgumentError`."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or value != value:
        raise ArgumentError(f"threshold must be a number, got {value!r}")
    return float(value)


def checked_ignored(value: Any) -> int | None:
    """A label to leave out, or None; else `ArgumentError`."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer))):
        raise ArgumentError(f"ignore_index must be an integer or None, got {value!r}")
    return None if value is None else int(value)


def classes_along(n, x, axis):
    """The numbers 0 to n-1 along one axis of a node that broadcasts against x."""
    shape = [1] * x.ndim
    shape[axis] = n
    return node_from_numpy(np.arange(n, dtype=np.int64).reshape(shape))


@composite
def rank_of_target(scores, targets):
    """How many classes (axis 1) have a higher score than the target; among equals, and NaN, the first counts higher.

    The target's class is the prediction exactly if its rank is 0. A target that is no class has the last rank.
    """
    n = scores.shape[1]
    spread = broadcast_in_dim(targets, shape=scores.shape, axes=(0, *range(2, scores.ndim)))
    numbers = broadcast_to(classes_along(n, scores, 1), scores.shape)
    own = sum_(where(equal(numbers, spread), scores, 0), axes=(1,))
    own = broadcast_in_dim(own, shape=scores.shape, axes=(0, *range(2, scores.ndim)))
    above = where(less_equal(scores, own), False, True, dtype=bool_)
    tied = where(equal(scores, own), less(numbers, spread), False)
    valid = where(less(targets, 0), False, less(targets, n))
    rank = sum_(cast(where(above, True, tied), dtype=int64), axes=(1,))
    return where(valid, rank, n)


@composite
def right_answers(scores, targets, *, k, ignore):
    """(how many targets are among the k highest scores, how many targets there are, how many of them are no class)."""
    rank = rank_of_target(scores, targets)
    return counted(less(rank, min(k, scores.shape[1])), targets, in_range(targets, scores.shape[1]), ignore)


@composite
def equal_labels(found, targets, *, ignore):
    """(how many labels are equal to their targets, how many targets there are, how many of them are no class: -1)."""
    return counted(equal(found, targets), targets, where(less(targets, 0), False, True), ignore)


def counted(hits, targets, valid, ignore):
    """The numbers of hits, of samples, and of invalid ones, without those whose target is `ignore`."""
    kept = where(equal(targets, targets), True, True)
    if ignore is not None:
        kept = where(equal(targets, ignore), False, True)
    axes = tuple(range(targets.ndim))
    flags = (where(kept, hits, False), kept, where(kept, where(valid, False, True), False))
    return tuple([sum_(cast(f, dtype=int64), axes=axes) for f in flags])


def in_range(targets, classes):
    """Where targets are labels of classes."""
    return where(less(targets, 0), False, less(targets, classes))


@composite
def label_of(scores):
    """The class (axis 1) with the highest score; among equals the first. Where it is NaN: -1, no class."""
    highest = max_(scores, axes=(1,))
    return where(equal(highest, highest), argmax(scores, axis=1), -1)


@composite
def over_threshold(scores, threshold):
    """1 where the score is above the threshold, else 0."""
    return cast(greater(scores, cast(threshold, dtype=scores.dtype)), dtype=int64)


@composite
def binary_labels(targets):
    """Floating targets as labels: 0 and 1, and -1 for what is neither."""
    return where(equal(targets, 0), 0, where(equal(targets, 1), 1, -1), dtype=int64)


@composite
def confusion(predicted, targets, *, classes, ignore):
    """(counts, samples): row the target, column the prediction. Labels that are no class are in no cell.

    Samples whose target is `ignore` are left out.
    """
    size = predicted.size
    samples = constant(size, int64)
    if ignore is not None:
        kept = where(equal(targets, ignore), False, True)
        samples = sum_(cast(kept, dtype=int64), axes=tuple(range(targets.ndim)))
        targets = where(kept, targets, -1)
    numbers = node_from_numpy(np.arange(classes, dtype=np.int64)[:, None])

    def one_hot(labels):
        flat = broadcast_in_dim(reshape(labels, shape=(size,)), shape=(classes, size), axes=(1,))
        return cast(equal(flat, broadcast_to(numbers, (classes, size))), dtype=float32)

    # Products of zeros and ones, summed in float32: exact up to 2**24 samples in one batch.
    counts = dot_general(one_hot(targets), one_hot(predicted), contract=((1,), (1,)), batch=((), ()))
    return cast(counts, dtype=int64), samples


def check_targets(name: str, targets: Tensor) -> Tensor:
    """Class labels as int64."""
    if targets.dtype.kind not in "bui":
        raise DTypeError(
            f"{name}: targets must be integer class labels, got {targets._cell.node.aval.describe()}"
        )
    return Tensor(as_int64(targets._cell.node))


def as_int64(node):
    """An integer or boolean node as int64."""
    return node if node.dtype is int64 else cast(node, dtype=int64)


def hardened(predictions: Tensor, targets: Tensor) -> Tensor:
    """Targets that are probabilities of classes (along axis 1, as scores are; one-hot too) as the likeliest label."""
    if targets.shape == predictions.shape and targets.ndim > 1 and targets.shape[1] != 1:
        return dispatch.apply(label_of, targets)
    return targets


def is_scores(predictions: Tensor, targets: Tensor) -> bool:
    """Whether predictions are scores of more than one class along axis 1: one axis more than the targets."""
    return (
        predictions.ndim == targets.ndim + 1 > 1
        and predictions.shape[1] != 1
        and predictions.shape[:1] + predictions.shape[2:] == targets.shape
    )


def check_scores(name: str, predictions: Tensor, targets: Tensor) -> None:
    """Raise unless predictions are scores (n, classes, ...) and targets labels (n, ...)."""
    if not is_scores(predictions, targets) or predictions.dtype.kind != "f":
        raise DataError(
            f"{name}: scores of shape (n, classes, ...) and labels of shape (n, ...) expected, got "
            f"{predictions._cell.node.aval.describe()} and {targets._cell.node.aval.describe()}"
        )


def to_labels(
    name: str, predictions: Tensor, targets: Tensor, threshold: float, classes: int | None
) -> tuple[Tensor, Tensor, int]:
    """(predicted labels, target labels, number of classes) from any of the three forms of predictions:

    - scores (n, classes, ...) with labels (n, ...): the highest score wins
    - floats of the targets' shape, or (n, 1): 1 where above `threshold`, else 0
    - integer labels of the targets' shape; then the number of classes must be given
    """
    if is_scores(predictions, targets):
        check_scores(name, predictions, targets)
        n = predictions.shape[1]
        if classes is not None and classes != n:
            raise DataError(f"{name} was made for {classes} classes, the predictions have {n} scores")
        return dispatch.apply(label_of, predictions), check_targets(name, targets), int(n)
    predictions, targets = same_shape(name, predictions, targets)
    if predictions.dtype.kind == "f":
        found = dispatch.apply(over_threshold, predictions, float(threshold))
        if targets.dtype.kind == "f":
            return found, dispatch.apply(binary_labels, targets), classes or 2
        return found, check_targets(name, targets), classes or 2
    if classes is None:
        raise ArgumentError(
            f"{name} got labels of shape {show_shape(predictions.shape)} as predictions and cannot tell how many "
            f"classes there are; say {name}(classes=...)"
        )
    return check_targets(name, predictions), check_targets(name, targets), classes
