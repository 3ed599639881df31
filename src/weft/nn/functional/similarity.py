"""Similarity and distance of vectors, and the losses that compare them, on tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...arrays.dispatch import apply, check_choice
from ...arrays.elementwise import minimum
from ...arrays.remembered import remembered
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError, ShapeError
from ...ir.shape import show_shape
from ...ops.composite import margins as m
from ...ops.composite import similarity as c
from .activation import relu
from .operands import checked, maybe

_REDUCTIONS = ("mean", "sum", "none")


def _loss(composite: Any, tensors: tuple[Any, ...], *numbers: Any, reduction: str, **attrs: Any) -> Tensor:
    given = [checked(composite.name, t) for t in tensors]
    check_choice("reduction", reduction, _REDUCTIONS)
    return apply(composite, *given, *numbers, reduction=reduction, **attrs)


def _power(p: float) -> float | None:
    if p <= 0:
        raise ArgumentError(f"the order of a distance must be positive, got {p}")
    return None if p == 2 else float(p)


@remembered
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norms of the differences of all pairs of rows of a matrix.

        y = (|x_i - x_j|_p for i < j)

    The pairs are rows 0 and 1, 0 and 2, ..., N-2 and N-1. p = 0 counts in how many places two rows differ, `inf` takes
    the largest difference.

    Shapes: (N, D) to (N (N - 1) / 2). Raises: ShapeError unless a matrix; ArgumentError for a negative p.

    >>> pdist(weft.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])).tolist()
    [5.0, 1.0, 4.242640495300293]
    """
    x = checked("pdist", input)
    if x.ndim != 2 or not isinstance(x.shape[0], int):
        raise ShapeError(f"pdist takes a matrix (N, D) with a known N, got shape {show_shape(x.shape)}")
    if not p >= 0:
        raise ArgumentError(f"pdist: p must not be negative, got {p}")
    kind = {0: "count", 2: "two", math.inf: "largest"}.get(p, "power")
    return apply(
        c.pdist, x, *np.triu_indices(x.shape[0], 1), float(p) if kind == "power" else None, kind=kind
    )


@remembered
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along `dim`: the cosine of their angle.

    Shapes: two that broadcast against each other; the result is without `dim`. As a module: `nn.CosineSimilarity`.
    """
    a, b = checked("cosine_similarity", x1), checked("cosine_similarity", x2)
    rank = max(a.ndim, b.ndim)
    if not -rank <= dim < rank:
        raise ArgumentError(f"cosine_similarity: dim {dim} is outside tensors of {rank} dimensions")
    return apply(c.cosine_similarity, a, b, eps, axis=dim)


@remembered
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """(sum |x1 - x2 + eps|**p)**(1/p) along the last axis.

    Shapes: (..., D) twice to (...), or (..., 1) with keepdim. Raises: ArgumentError unless p is positive. As a module:
    `nn.PairwiseDistance`.
    """
    a, b = checked("pairwise_distance", x1), checked("pairwise_distance", x2)
    out = apply(c.pairwise_distance, a, b, _power(p), eps)
    return out.reshape((*out.shape, 1)) if keepdim else out


@remembered
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, *, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """max(0, -target (input1 - input2) + margin) for targets 1 and -1.

    Shapes: all three alike; a scalar, or their shape with reduction="none". As a module: `nn.MarginRankingLoss`.
    """
    return _loss(c.margin_ranking_loss, (input1, input2, target), float(margin), reduction=reduction)


@remembered
def hinge_embedding_loss(
    input: Tensor, target: Tensor, *, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """The input where the target is 1, max(0, margin - input) where it is -1.

    Shapes: both alike; a scalar, or their shape with reduction="none". As a module: `nn.HingeEmbeddingLoss`.
    """
    return _loss(c.hinge_embedding_loss, (input, target), float(margin), reduction=reduction)


@remembered
def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """log(1 + e**(-target * input)) for targets 1 and -1.

    Shapes: both alike; a scalar, or their shape with reduction="none". As a module: `nn.SoftMarginLoss`.
    """
    return _loss(c.soft_margin_loss, (input, target), reduction=reduction)


@remembered
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, *, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """1 - c where the target is 1, max(0, c - margin) where it is -1, c the cosine of the angle along the last axis.

    Shapes: inputs (N, D) and targets (N), or (D) and (); a scalar, or the target's with reduction="none". As a module:
    `nn.CosineEmbeddingLoss`.
    """
    return _loss(c.cosine_embedding_loss, (input1, input2, target), float(margin), reduction=reduction)


@remembered
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d(a, b) = |a - b + eps|_p along the last axis.

    p is the order of the norm. With `swap` the distance of positive and negative is taken where it is smaller than that
    of anchor and negative.

    Shapes: all three (N, D) or (D); a scalar, or (N) with reduction="none". As a module: `nn.TripletMarginLoss`.
    """
    numbers = (float(margin), _power(p), float(eps))
    return _loss(
        c.triplet_margin_loss, (anchor, positive, negative), *numbers, swap=bool(swap), reduction=reduction
    )


@remembered
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin) with a distance d of your own.

    Args:
        distance_function: d, a function of two tensors (default: Euclidean).
        swap: take d(positive, negative) for d(anchor, negative) where it is smaller.

    Shapes: all three alike; a scalar, or the distance's with reduction="none". As a module:
    `nn.TripletMarginWithDistanceLoss`.
    """
    name = "triplet_margin_with_distance_loss"
    check_choice("reduction", reduction, _REDUCTIONS)
    anchor, positive, negative = checked(name, anchor), checked(name, positive), checked(name, negative)
    distance = pairwise_distance if distance_function is None else distance_function
    apart = distance(anchor, negative)
    if swap:
        apart = minimum(apart, distance(positive, negative))
    return _reduce(relu(distance(anchor, positive) - apart + margin), reduction)


def _reduce(x: Tensor, reduction: str) -> Tensor:
    return x if reduction == "none" else x.sum() if reduction == "sum" else x.mean()


@remembered
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
) -> Tensor:
    """(sum over i != y of weight[y] max(0, margin - x[y] + x[i])**p) / C, for scores x and classes y.

    Shapes: scores (N, C) or (C), classes (N) or (), weight (C); a scalar, or (N) with reduction="none".

    Raises: ArgumentError unless p is 1 or 2; ShapeError for another weight. As a module: `nn.MultiMarginLoss`.
    """
    if p not in (1, 2):
        raise ArgumentError(f"multi_margin_loss: p must be 1 or 2, got {p!r}")
    scores, classes = checked("multi_margin_loss", input), checked("multi_margin_loss", target)
    check_choice("reduction", reduction, _REDUCTIONS)
    weight = maybe("multi_margin_loss", weight)
    if weight is not None and weight.shape != scores.shape[-1:]:
        raise ShapeError(
            f"multi_margin_loss: weight needs one entry for each of the {scores.shape[-1]} classes, got "
            f"{show_shape(weight.shape)}"
        )
    return apply(
        m.multi_margin_loss, scores, classes, float(margin), weight, squared=p == 2, reduction=reduction
    )


@remembered
def multilabel_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """(sum over a sample's classes y and the others i of max(0, 1 - x[y] + x[i])) / C, for scores x.

    Shapes: scores (N, C) or (C); targets of the same shape list the classes up to the first -1; a scalar, or (N) with
    reduction="none". As a module: `nn.MultiLabelMarginLoss`.
    """
    return _loss(m.multilabel_margin_loss, (input, target), reduction=reduction)


@remembered
def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """-weight (y log sigmoid(x) + (1 - y) log(1 - sigmoid(x))), averaged over the classes (the last axis).

    Shapes: scores x and targets y of 0 and 1 (..., C), weight (C); a scalar, or (...) with reduction="none". As a
    module: `nn.MultiLabelSoftMarginLoss`.
    """
    weight = maybe("multilabel_soft_margin_loss", weight)
    return _loss(m.multilabel_soft_margin_loss, (input, target), weight, reduction=reduction)


@remembered
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """e**x - y x for log-rates x and counts y, or x - y log(x + eps) for rates x (log_input=False).

    With `full` Stirling's approximation of log y! is added, y log y - y + log(2 pi y) / 2, for y > 1.

    Shapes: both alike; a scalar, or their shape with reduction="none". As a module: `nn.PoissonNLLLoss`.
    """
    options = {"log_input": bool(log_input), "full": bool(full)}
    return _loss(c.poisson_nll_loss, (input, target), float(eps), reduction=reduction, **options)


@remembered
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor,
    *,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log v + (input - target)**2 / v) / 2 with the variance v = max(var, eps). With `full` log(2 pi) / 2 is added.

    Shapes: input and target alike, var broadcasts; a scalar, or their shape with reduction="none". As a module:
    `nn.GaussianNLLLoss`.
    """
    return _loss(c.gaussian_nll_loss, (input, target, var), float(eps), full=bool(full), reduction=reduction)
