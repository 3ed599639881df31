"""A softmax over many classes in clusters: the frequent ones first, the rare ones behind one score for each cluster."""

from __future__ import annotations

from ...ir.dtype import int64
from ..elementwise import less, less_equal, logical_and, where
from ..indexing import gather, iota
from ..movement import broadcast_to, concatenate, slice_axis
from .classes import from_zero, pick_class, positions
from .common import as_type, floating
from .define import composite
from .softmax import log_softmax


@composite
def class_number(target, *, classes):
    """The class indices; one that is not in 0 .. classes-1 raises `IndexError` when the program runs."""
    target = positions(target)
    return gather(iota(size=classes, dtype=int64), from_zero(target, classes), axes=(0,))


@composite
def adaptive_log_softmax(head, *tails, cutoffs):
    """log-probabilities (N, classes), from the scores of the head (N, shortlist + clusters) and of each cluster."""
    floating("adaptive_log_softmax", head=head, **{f"cluster {i}": t for i, t in enumerate(tails)})
    short = cutoffs[0]
    first = log_softmax(head, axis=1)
    parts = [slice_axis(first, 1, 0, short)]
    for i, tail in enumerate(tails):
        cluster = slice_axis(first, 1, short + i, short + i + 1)
        parts.append(log_softmax(tail, axis=1) + broadcast_to(cluster, tail.shape))
    return concatenate(*parts, axis=1)


@composite
def adaptive_log_softmax_at(target, head, *tails, cutoffs):
    """The log-probability (N) of each sample's class: of its cluster, and of the class in the cluster.

    `cutoffs` are the numbers of classes up to the end of the shortlist and of each cluster.
    """
    floating("adaptive_log_softmax", head=head, **{f"cluster {i}": t for i, t in enumerate(tails)})
    target = class_number(target, classes=cutoffs[-1])
    first = log_softmax(head, axis=1)
    short = cutoffs[0]
    in_head, inside = target, None
    for i, tail in enumerate(tails):
        low, high = cutoffs[i : i + 2]
        here = logical_and(less_equal(low, target), less(target, high))
        in_head = where(here, short + i, in_head)
        within = pick_class(log_softmax(tail, axis=1), where(here, target - low, 0), axis=1)
        within = where(here, within, 0)
        inside = within if inside is None else inside + within
    found = pick_class(first, in_head, axis=1)
    return found if inside is None else as_type(found + inside, head.dtype)
