"""Losses as modules."""

from __future__ import annotations

from typing import Any

from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError
from . import functional as F
from .factory import positive_int
from .linear import Linear
from .module import Module

_REDUCTIONS = ("mean", "sum", "none")


class Loss(Module):
    """A loss with a reduction: "mean", "sum", or "none" for one value per element."""

    _choices = _REDUCTIONS

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in self._choices:
            raise ArgumentError(
                f"{type(self).__name__}: reduction must be one of {', '.join(map(repr, self._choices))}, got "
                f"{reduction!r}"
            )
        self.reduction = reduction

    def _hold(self, name: str, value: Any) -> None:
        """Keep a weight of the loss as a buffer."""
        self.register_buffer(name, value)


class MSELoss(Loss):
    """The mean square of the error.

        loss = mean of (input - target)**2

    Args:
        reduction: "mean", "sum", or "none" for one value per element.

    Shapes: input and target alike; a scalar, or their shape with reduction="none".

    Raises:
        ShapeError: if the shapes differ: broadcasting would compare every pair.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, self.reduction)


class L1Loss(Loss):
    """The mean size of the error.

        loss = mean of |input - target|        where they are equal the derivative is 0

    Args:
        reduction: "mean", "sum", or "none" for one value per element.

    Shapes: input and target alike; a scalar, or their shape with reduction="none".

    Raises:
        ShapeError: if the shapes differ: broadcasting would compare every pair.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, self.reduction)


class SmoothL1Loss(Loss):
    """Quadratic near the target, linear with slope 1 far from it. With d = |input - target| the mean of

        d**2 / (2 beta)    for d < beta
        d - beta / 2       else

    Args:
        reduction: "mean", "sum", or "none".
        beta: where the one turns into the other; with 0 it is `L1Loss`.

    Shapes: input and target alike; a scalar, or their shape with reduction="none".

    Reference: R. Girshick, "Fast R-CNN", 2015, https://arxiv.org/abs/1504.08083
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


class HuberLoss(Loss):
    """Quadratic near the target, linear with slope delta far from it. With d = |input - target| the mean of

        d**2 / 2                   for d <= delta
        delta (d - delta / 2)      else

    Args:
        reduction: "mean", "sum", or "none".
        delta: where the one turns into the other; positive.

    Shapes: input and target alike; a scalar, or their shape with reduction="none".

    Reference: P. J. Huber, "Robust Estimation of a Location Parameter", 1964.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(input, target, self.reduction, self.delta)


class KLDivLoss(Loss):
    """How far a distribution is from another, for log-probabilities `input`.

        loss = sum of target (log target - input)

    Args:
        reduction: "batchmean" (the sum divided by the size of the first axis) gives the divergence itself; "mean"
            divides by the number of elements, "sum" and "none" as elsewhere.
        log_target: whether the target holds log-probabilities, too.

    Shapes: input and target alike; a scalar, or their shape with reduction="none".

    Reference: S. Kullback, R. A. Leibler, "On Information and Sufficiency", 1951.
    """

    _choices = (*_REDUCTIONS, "batchmean")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, self.reduction, self.log_target)


class BCELoss(Loss):
    """Binary cross-entropy of probabilities x and targets y from 0 to 1.

        loss = mean of -(y log x + (1 - y) log(1 - x))        logarithms are not let below -100

    `BCEWithLogitsLoss` on scores is more accurate.

    Args:
        weight: factors that broadcast to the input.
        reduction: "mean", "sum", or "none".

    Shapes: input and target alike; a scalar, or their shape with reduction="none".
    """

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._hold("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of sigmoid(x) for scores x and targets y from 0 to 1, without overflow.

        loss = mean of -(p y log sigmoid(x) + (1 - y) log(1 - sigmoid(x)))

    Args:
        weight: factors that broadcast to the input.
        reduction: "mean", "sum", or "none".
        pos_weight: p, what targets of 1 count; it broadcasts to the input.

    Shapes: input and target alike; a scalar, or their shape with reduction="none".
    """

    def __init__(
        self, weight: Tensor | None = None, reduction: str = "mean", pos_weight: Tensor | None = None
    ) -> None:
        super().__init__(reduction)
        self._hold("weight", weight)
        self._hold("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class NLLLoss(Loss):
    """The negative log-likelihood of classes, for log-probabilities.

        loss = mean of -weight[y] input[y]        divided by the sum of the weights[y]

    Args:
        weight: one factor for each class, (C); the mean is weighted by it.
        ignore_index: a class index that counts nothing.
        reduction: "mean", "sum", or "none".

    Shapes: input (N, C, ...) or (C), class indices (N, ...) or (); a scalar, or (N, ...) with reduction="none".

    Raises:
        IndexError: when the value is computed and a class index is not in 0 .. C-1 (nor `ignore_index`).
    """

    def __init__(
        self, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self._hold("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )


class CrossEntropyLoss(Loss):
    """The negative log-likelihood of classes, for scores: `LogSoftmax` and `NLLLoss` in one.

        loss = mean of -weight[y] log(e**x_y / sum_i e**x_i)        for class indices y
        loss = mean of -sum_c weight[c] p_c log(e**x_c / sum_i e**x_i)        for probabilities p

    The mean over class indices is divided by the sum of their weights, the one over probabilities by N.

    Args:
        weight: one factor for each class, (C).
        ignore_index: a class index that counts nothing.
        reduction: "mean", "sum", or "none".
        label_smoothing: how much of the target is spread evenly over all classes, 0 to 1.

    Shapes: input (N, C, ...) or (C); target class indices (N, ...) or (), or floating probabilities of the input's
    shape; a scalar, or (N, ...) with reduction="none".

    Raises:
        IndexError: when the value is computed and a class index is not in 0 .. C-1 (nor `ignore_index`).
        DTypeError: for floating targets of another shape than the input's.

    Reference: C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015 (smoothing),
    https://arxiv.org/abs/1512.00567
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self._hold("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class LinearCrossEntropyLoss(Loss):
    """Cross-entropy of the scores of a linear layer that belongs to the loss: the head of a classifier.

        loss = CrossEntropyLoss(input @ linear.weight.T + linear.bias, target)

    Args:
        in_features: the width of the inputs.
        num_classes: C, the number of classes; the layer is `linear`.
        bias: whether the scores have biases.
        reduction, weight, ignore_index, label_smoothing: as in `CrossEntropyLoss`.

    Shapes: input (N, in_features) or (in_features); targets as in `CrossEntropyLoss`; a scalar, or (N) with
    reduction="none".
    """

    linear: Linear

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        bias: bool = False,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction)
        self._hold("weight", weight)
        self.num_classes = positive_int("LinearCrossEntropyLoss", "num_classes", num_classes)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.linear = Linear(in_features, num_classes, bias=bias, device=device, dtype=dtype)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.linear_cross_entropy(
            input, self.linear.weight, target, linear_bias=self.linear.bias, weight=self.weight,
            reduction=self.reduction, ignore_index=self.ignore_index, label_smoothing=self.label_smoothing,
        )  # fmt: skip


class CTCLoss(Loss):
    """Connectionist temporal classification: label sequences of which only the order is known, not when they come.

        loss = -log(sum over all alignments of the product over t of p_t[label at t])

    An alignment is the target with labels repeated and blanks put between. Called with log-probabilities, targets, and
    the lengths of both.

    Args:
        blank: the class that stands for nothing.
        reduction: "mean" divides each loss by the length of its target and averages; "sum"; "none".
        zero_infinity: a target that is too long for its input counts nothing, instead of an infinite loss.

    Shapes: log-probabilities (T, N, C) or (T, C); targets (N, S), or all in one list; lengths (N); a scalar, or (N)
    with reduction="none".

    Raises:
        IndexError: when the value is computed and a class or a length is out of range.

    Reference: A. Graves et al., "Connectionist Temporal Classification", 2006.

    >>> import math
    >>> scores = weft.zeros((4, 1, 3))  # four steps, three classes, all equally probable
    >>> loss = CTCLoss()(nn.functional.log_softmax(scores, -1), weft.tensor([[1, 2]]), [4], [2])
    >>> round(math.exp(-2 * loss.item()) * 3**4)  # so many of the 81 paths are alignments of the target
    15
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any) -> Tensor:
        return F.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
