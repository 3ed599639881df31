"""Similarity and distance of vectors, and the losses that compare them, as modules."""

from __future__ import annotations

from collections.abc import Callable

from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError
from . import functional as F
from .loss import Loss
from .module import Module


class CosineSimilarity(Module):
    """The cosine of the angle between two tensors along an axis.

        y = x1 . x2 / (max(|x1|, eps) max(|x2|, eps))

    Shapes: two that broadcast to (..., D, ...), D along `dim`; the result is without that axis.
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of the difference along the last axis.

        y = (sum |x1 - x2 + eps|**p)**(1/p)

    Shapes: (..., D) twice; the result (...), or (..., 1) with keepdim. Raises: ArgumentError when called, unless p is
    positive.
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class MarginRankingLoss(Loss):
    """input1 is to be larger than input2 where the target is 1, smaller where it is -1.

        loss = mean of max(0, -target (input1 - input2) + margin)

    Shapes: all three alike; a scalar, or their shape with reduction="none".
    """

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.margin_ranking_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class HingeEmbeddingLoss(Loss):
    """For distances x of pairs that are alike (target 1) or different (target -1).

        loss = mean of x where the target is 1, max(0, margin - x) where it is -1

    Shapes: input and target alike; a scalar, or their shape with reduction="none".
    """

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class SoftMarginLoss(Loss):
    """Logistic regression with targets 1 and -1.

        loss = mean of log(1 + e**(-target * input))

    Shapes: input and target alike; a scalar, or their shape with reduction="none".
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class CosineEmbeddingLoss(Loss):
    """For pairs of vectors that are alike (target 1) or different (target -1), c the cosine of their angle.

        loss = mean of 1 - c where the target is 1, max(0, c - margin) where it is -1

    Shapes: inputs (N, D) and targets (N), or (D) and (); a scalar, or (N) with reduction="none".
    """

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.cosine_embedding_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class TripletMarginLoss(Loss):
    """An anchor is to be nearer to its positive than to its negative, by a margin.

        loss = mean of max(0, d(anchor, positive) - d(anchor, negative) + margin)        d(a, b) = |a - b + eps|_p

    Args:
        margin: how much further away than the positive the negative is to be.
        p: the order of the norm.
        eps: added to every difference.
        swap: take d(positive, negative) for d(anchor, negative) where it is smaller.

    Shapes: all three (N, D) or (D); a scalar, or (N) with reduction="none".

    Reference: V. Balntas et al., "Learning local feature descriptors with triplets and shallow convolutional neural
    networks", 2016.
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        *,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_loss(
            anchor, positive, negative,
            margin=self.margin, p=self.p, eps=self.eps, swap=self.swap, reduction=self.reduction,
        )  # fmt: skip


class TripletMarginWithDistanceLoss(Loss):
    """`TripletMarginLoss` with a distance of your own.

        loss = mean of max(0, d(anchor, positive) - d(anchor, negative) + margin)

    Args:
        distance_function: d, a function of two tensors (N, ...) that returns (N) (default: Euclidean).
        margin, swap: as in `TripletMarginLoss`.

    Shapes: all three alike; a scalar, or the distance's with reduction="none".
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


class MultiMarginLoss(Loss):
    """The score of the class is to lie above all others, by a margin.

        loss = mean over samples of (sum over i != y of weight[y] max(0, margin - x[y] + x[i])**p) / C

    Args:
        p: 1 or 2.
        margin: how far the score of the class is to lie above the others.
        weight: one factor for each class y.

    Shapes: scores x (N, C) or (C), classes y (N) or (); a scalar, or (N) with reduction="none".
    """

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, *, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        if p not in (1, 2):
            raise ArgumentError(f"MultiMarginLoss: p must be 1 or 2, got {p!r}")
        self.p = p
        self.margin = margin
        self._hold("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)


class MultiLabelMarginLoss(Loss):
    """The scores of the classes of a sample are to lie above all others, by 1.

        loss = mean over samples of (sum over its classes y and the others i of max(0, 1 - x[y] + x[i])) / C

    Shapes: scores x (N, C) or (C); targets of the same shape list the classes of each sample up to the first -1; a
    scalar, or (N) with reduction="none".
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(Loss):
    """Binary cross-entropy of every class, averaged over the classes.

        loss = mean of -weight[c] (y_c log sigmoid(x_c) + (1 - y_c) log(1 - sigmoid(x_c)))

    Args:
        weight: one factor for each class, (C).

    Shapes: scores x and targets y of 0 and 1 (N, C) or (C); a scalar, or (N) with reduction="none".
    """

    def __init__(self, weight: Tensor | None = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._hold("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class PoissonNLLLoss(Loss):
    """The negative log-likelihood of counts y under a Poisson distribution.

        loss = mean of e**x - y x                  for log-rates x
        loss = mean of x - y log(x + eps)          for rates x (log_input=False)

    Args:
        log_input: whether inputs are logarithms of rates.
        full: add Stirling's approximation of log y!, y log y - y + log(2 pi y) / 2, for y > 1.

    Shapes: input and target alike; a scalar, or their shape with reduction="none".
    """

    def __init__(
        self, log_input: bool = True, full: bool = False, *, eps: float = 1e-8, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        options = {"log_input": self.log_input, "full": self.full}
        return F.poisson_nll_loss(input, target, eps=self.eps, reduction=self.reduction, **options)


class GaussianNLLLoss(Loss):
    """The negative log-likelihood of targets under normal distributions of mean `input` and variance `var`.

        loss = mean of (log v + (input - target)**2 / v) / 2        v = max(var, eps)

    Args:
        full: add the constant log(2 pi) / 2.
        eps: the least variance.

    Shapes: input and target alike, var broadcasts to them; a scalar, or their shape with reduction="none".

    Reference: D. A. Nix, A. S. Weigend, "Estimating the mean and variance of the target probability distribution",
    1994.
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor) -> Tensor:
        return F.gaussian_nll_loss(input, target, var, full=self.full, eps=self.eps, reduction=self.reduction)
