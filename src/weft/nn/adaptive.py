"""Softmax over very many classes of very different frequency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..arrays.dispatch import apply
from ..arrays.searching import argmax
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..ir.shape import show_shape
from ..ops.composite import adaptive as c
from .containers import ModuleList, Sequential
from .factory import positive_int
from .functional.operands import checked
from .linear import Linear
from .module import Module

_NAME = "AdaptiveLogSoftmaxWithLoss"


class ASMOutput(NamedTuple):
    """What `AdaptiveLogSoftmaxWithLoss` returns: the log-probability of each sample's class, and the loss."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-likelihood of classes that are sorted by frequency and cut into clusters, with less arithmetic for rare ones.

        p(class j of cluster i) = softmax(head(x))[cluster i] softmax(tail_i(x))[j]

    The head gives scores to the `cutoffs[0]` most frequent classes and to each cluster; tail_i first maps x to
    in_features / div_value**(i + 1) features.

    Args:
        in_features: the width of the inputs.
        n_classes: the number of classes.
        cutoffs: where clusters begin, increasing, each from 1 to n_classes - 1.
        div_value: how much narrower each cluster's features are than those of the one before.
        head_bias: whether the scores of the head have biases.

    Shapes: called with inputs (N, in_features) or (in_features) and classes (N) or (), it returns a pair
    (`output`, `loss`): the log-probabilities of these classes, and minus their mean.

    Raises:
        IndexError: when the value is computed and a class is not in 0 .. n_classes-1.

    >>> layer = AdaptiveLogSoftmaxWithLoss(16, 100, cutoffs=[10, 40])
    >>> output, loss = layer(weft.ones((3, 16)), weft.tensor([0, 20, 99]))
    >>> output.shape, loss.shape, layer.log_prob(weft.ones((3, 16))).shape
    ((3,), (), (3, 100))

    Reference: E. Grave et al., "Efficient softmax approximation for GPUs", 2016, https://arxiv.org/abs/1609.04309
    """

    head: Linear
    tail: ModuleList

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features = positive_int(_NAME, "in_features", in_features)
        self.n_classes = positive_int(_NAME, "n_classes", n_classes)
        cuts = [positive_int(_NAME, "each of the cutoffs", n) for n in cutoffs]
        if not cuts or sorted(set(cuts)) != cuts or cuts[-1] >= n_classes:
            raise ArgumentError(
                f"{_NAME}: cutoffs must increase, and lie between 1 and {n_classes - 1}, got {list(cutoffs)}"
            )
        self.cutoffs = [*cuts, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = cuts[0]
        self.n_clusters = len(cuts)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, device=device, dtype=dtype)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(zip(self.cutoffs, self.cutoffs[1:])):
            width = int(in_features // div_value ** (i + 1))
            if width < 1:
                raise ArgumentError(
                    f"{_NAME}: {in_features} features divided by {div_value}**{i + 1} leave none for cluster {i}; "
                    "take a smaller div_value or fewer cutoffs"
                )
            self.tail.append(
                Sequential(
                    Linear(in_features, width, bias=False, device=device, dtype=dtype),
                    Linear(width, high - low, bias=False, device=device, dtype=dtype),
                )
            )

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for first, second in self.tail:  # type: ignore[misc]
            first.reset_parameters()
            second.reset_parameters()

    def _scores(self, x: Tensor) -> list[Tensor]:
        return [self.head(x), *[cluster(x) for cluster in self.tail]]

    def forward(self, input_: Tensor, target_: Tensor) -> ASMOutput:
        x, target = checked(_NAME, input_), checked(_NAME, target_)
        if target.dtype.kind not in "iu":
            raise DTypeError(f"{_NAME}: targets are integers, got {target.dtype}")
        if x.ndim not in (1, 2) or target.shape != x.shape[:-1]:
            raise ShapeError(
                f"{_NAME} takes inputs (N, {self.in_features}) and classes (N), or ({self.in_features}) and (), got "
                f"{show_shape(x.shape)} and {show_shape(target.shape)}"
            )
        lone = x.ndim == 1
        if lone:
            x, target = x.reshape((1, *x.shape)), target.reshape((1,))
        out = apply(c.adaptive_log_softmax_at, target, *self._scores(x), cutoffs=tuple(self.cutoffs))
        out = out.reshape(()) if lone else out
        return ASMOutput(out, -out.mean())

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities (N, n_classes) of all classes for inputs (N, in_features)."""
        x = checked(_NAME, input)
        if x.ndim != 2:
            raise ShapeError(f"{_NAME}.log_prob takes (N, {self.in_features}), got {show_shape(x.shape)}")
        return apply(c.adaptive_log_softmax, *self._scores(x), cutoffs=tuple(self.cutoffs))

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each input (N, in_features): (N)."""
        return argmax(self.log_prob(input), axis=1)
