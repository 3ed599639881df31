"""Connectionist temporal classification: the likelihood of a sequence of labels under all its alignments."""

from __future__ import annotations

from ...base.errors import ArgumentError, DTypeError, ShapeError
from ...ir.dtype import int64
from ...ir.graph import trace_graph
from ...ir.node import Aval, Node
from ...ir.primitive import results
from ...ir.shape import show_shape
from ..define import constant
from ..elementwise import equal, exp, less, log, logical_and, maximum, not_equal, where
from ..gather import iota
from ..indexing import iota_along, take_along_axis
from ..loops import scan
from ..movement import broadcast_to, concatenate, full, reshape, slice_axis
from ..reduce import sum_
from .classes import bounded, from_zero, positions
from .common import as_type, count, stop_gradient, widened
from .define import composite

#: The logarithm of nothing: finite, so that differences of two of them are numbers.
_NONE = -1e30


def log_sum(*xs: Node) -> Node:
    """log(e**a + e**b + ...), elementwise; where all are the logarithm of nothing that too, with derivative 0."""
    top = xs[0]
    for x in xs[1:]:
        top = maximum(top, x)
    some = less(_NONE / 2, top)
    top = stop_gradient(where(some, top, 0))
    total = exp(xs[0] - top)
    for x in xs[1:]:
        total = total + exp(x - top)
    return where(some, log(where(some, total, 1)) + top, _NONE)


def _later(x: Node, by: int) -> Node:
    """x (N, L) moved `by` places to the right, with the logarithm of nothing where nothing comes from."""
    width = x.shape[1]
    by = min(by, width)  # type: ignore[assignment]
    nothing = full(Aval((x.shape[0], by), x.dtype), _NONE)
    return concatenate(nothing, slice_axis(x, 1, 0, width - by), axis=1)


def _check(x: Node, target: Node, x_lengths: Node, lengths: Node, blank: int) -> None:
    if x.dtype.kind != "f":
        raise DTypeError(f"ctc_loss takes floating log-probabilities, got {x.aval.describe()}")
    for what, v in (("targets", target), ("input_lengths", x_lengths), ("target_lengths", lengths)):
        if v.dtype.kind not in "iu":
            raise DTypeError(f"ctc_loss: {what} must be integers, got {v.aval.describe()}")
    batch = x.shape[1:2]
    if x.ndim != 3 or target.ndim != 2 or not batch == target.shape[:1] == x_lengths.shape == lengths.shape:
        raise ShapeError(
            "ctc_loss takes log-probabilities (T, N, C), targets (N, S) and lengths (N), got "
            f"{', '.join(show_shape(v.shape) for v in (x, target, x_lengths, lengths))}"
        )
    if isinstance(x.shape[2], int) and not 0 <= blank < x.shape[2]:
        raise ArgumentError(f"ctc_loss: blank must be one of the {x.shape[2]} classes, got {blank}")


def _labels(target: Node, lengths: Node, blank: int, classes: int) -> Node:
    """The targets with a blank before, between and after them: (N, 2 S + 1)."""
    n, s = target.shape
    inside = less(iota_along((n, s), 1), reshape(lengths, shape=(n, 1)))
    target = where(inside, from_zero(target, classes), blank)
    between = full(Aval((n, s, 1), int64), blank)
    pairs = reshape(concatenate(between, reshape(target, shape=(n, s, 1)), axis=2), shape=(n, 2 * s))
    return concatenate(pairs, full(Aval((n, 1), int64), blank), axis=1)


@composite
def ctc_loss(x, target, input_lengths, target_lengths, *, blank=0, reduction="mean", zero_infinity=False):
    """-log of the probability that x (T, N, C) gives the targets (N, S), summed over all alignments.

    An alignment has one class for each step; taking out repetitions and then blanks leaves the target. x holds
    log-probabilities, and all sums are of logarithms: a_t(l) = x_t(l) + log(e**a(l) + e**a(l-1) + e**a(l-2)) with a of
    the step before, over the labels with blanks between them; l-2 counts if l is no blank and no repetition. "mean"
    divides each loss by the length of its target (at least 1) first. Where no alignment exists the loss is infinite,
    or 0 (`zero_infinity`), and the gradient 0.
    """
    _check(x, target, input_lengths, target_lengths, blank)
    w = widened(x)
    steps, n, classes = x.shape
    lengths = bounded(target_lengths, most=target.shape[1])
    x_lengths = bounded(input_lengths, most=steps)
    labels = _labels(positions(target), lengths, blank, classes)
    width = labels.shape[1]
    emitted = take_along_axis(w, reshape(labels, shape=(1, n, width)), 2)  # (T, N, 2 S + 1)
    emitted = where(less(emitted, _NONE), _NONE, emitted)
    before = slice_axis(labels, 1, 0, max(width - 2, 0))
    before = concatenate(full(Aval((n, min(2, width)), int64), blank), before, axis=1)
    skips = logical_and(not_equal(labels, blank), not_equal(labels, before))
    first = where(equal(iota_along((n, width), 1), 0), 0.0, _NONE, dtype=w.dtype)

    def step(skips: Node, ends: Node, alpha: Node, t: Node, here: Node) -> tuple[Node, ...]:
        skipped = where(skips, _later(alpha, 2), _NONE)
        new = here + log_sum(alpha, _later(alpha, 1), skipped)
        return (where(broadcast_to(less(t, ends), alpha.shape), new, alpha),)

    ends = reshape(x_lengths, shape=(n, 1))
    times = iota(size=steps, dtype=int64)
    args = (skips, ends, first, times, emitted)
    body = trace_graph(step, [*[a.aval for a in args[:3]], Aval((), int64), Aval((n, width), w.dtype)])
    last = results(scan(*args, body=body, consts=2, carries=1, length=steps, reverse=False, rule=None))[0]
    final = _ends(last, lengths)
    loss = where(less(final, _NONE / 2), 0.0 if zero_infinity else float("inf"), -final)
    return as_type(_reduced(loss, lengths, reduction), x.dtype)


def _ends(last: Node, lengths: Node) -> Node:
    """The log-probability of having reached the last label or the blank after it."""
    at = reshape(lengths * 2, shape=(lengths.shape[0], 1))
    blank = take_along_axis(last, at, 1)
    label = take_along_axis(last, where(equal(at, 0), 0, at - 1), 1)
    both = log_sum(blank, where(equal(at, 0), _NONE, label))
    return reshape(both, shape=lengths.shape)


def _reduced(loss: Node, lengths: Node, reduction: str) -> Node:
    if reduction == "none":
        return loss
    if reduction == "sum":
        return sum_(loss, axes=(0,))
    each = loss / as_type(maximum(lengths, constant(1, lengths.dtype)), loss.dtype)
    return sum_(each, axes=(0,)) / count(each, (0,))
