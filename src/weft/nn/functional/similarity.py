"""Similarity and distance of vectors, and the losses that compare them, on tensors."""

from __future__ import annotations

from typing import Any

from ...arrays.dispatch import apply, check_choice
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError
from ...ops.composite import similarity as c
from .operands import checked

_REDUCTIONS = ("mean", "sum", "none")


def _loss(composite: Any, tensors: tuple[Any, ...], *numbers: Any, reduction: str, **attrs: Any) -> Tensor:
    given = [checked(composite.name, t) for t in tensors]
    check_choice("reduction", reduction, _REDUCTIONS)
    return apply(composite, *given, *numbers, reduction=reduction, **attrs)


def _power(p: float) -> float | None:
    if p <= 0:
        raise ArgumentError(f"the order of a distance must be positive, got {p}")
    return None if p == 2 else float(p)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between x1 and x2 along `dim`; they are broadcast against each other."""
    a, b = checked("cosine_similarity", x1), checked("cosine_similarity", x2)
    rank = max(a.ndim, b.ndim)
    if not -rank <= dim < rank:
        raise ArgumentError(f"cosine_similarity: dim {dim} is outside tensors of {rank} dimensions")
    return apply(c.cosine_similarity, a, b, eps, axis=dim)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis."""
    a, b = checked("pairwise_distance", x1), checked("pairwise_distance", x2)
    out = apply(c.pairwise_distance, a, b, _power(p), eps)
    return out.reshape((*out.shape, 1)) if keepdim else out


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, *, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """max(0, -target * (input1 - input2) + margin) for targets 1 and -1."""
    return _loss(c.margin_ranking_loss, (input1, input2, target), float(margin), reduction=reduction)


def hinge_embedding_loss(
    input: Tensor, target: Tensor, *, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """The input where the target is 1, max(0, margin - input) where it is -1."""
    return _loss(c.hinge_embedding_loss, (input, target), float(margin), reduction=reduction)


def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-target * input)) for targets 1 and -1."""
    return _loss(c.soft_margin_loss, (input, target), reduction=reduction)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, *, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """1 - cosine where the target is 1, max(0, cosine - margin) where it is -1; the cosine along the last axis."""
    return _loss(c.cosine_embedding_loss, (input1, input2, target), float(margin), reduction=reduction)


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
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d the p-norm along the last axis."""
    numbers = (float(margin), _power(p), float(eps))
    return _loss(
        c.triplet_margin_loss, (anchor, positive, negative), *numbers, swap=bool(swap), reduction=reduction
    )


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of counts under a Poisson distribution of rate exp(input), or input."""
    options = {"log_input": bool(log_input), "full": bool(full)}
    return _loss(c.poisson_nll_loss, (input, target), float(eps), reduction=reduction, **options)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor,
    *,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of the target under a normal distribution of mean input and variance var."""
    return _loss(c.gaussian_nll_loss, (input, target, var), float(eps), full=bool(full), reduction=reduction)
