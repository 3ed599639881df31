"""Dropout layers."""

from __future__ import annotations

from ..arrays.tensor import Tensor
from . import functional as F
from .factory import probability
from .module import Module


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = probability(type(self).__name__, p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout(_Dropout):
    """In training: elements put to 0 with probability p, the others divided by 1 - p. In evaluation: nothing.

    So the mean stays what it is. The random numbers are those of the default generator (`weft.manual_seed`).

    Reference: N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014,
    https://jmlr.org/papers/v15/srivastava14a.html
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)


class Dropout1d(_Dropout):
    """`Dropout` of whole channels of (N, C, L)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout1d(x, self.p, self.training)


class Dropout2d(_Dropout):
    """`Dropout` of whole channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.p, self.training)


class Dropout3d(_Dropout):
    """`Dropout` of whole channels of (N, C, D, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout3d(x, self.p, self.training)


class AlphaDropout(_Dropout):
    """Dropout for networks of `SELU`s, which keeps mean 0 and variance 1.

    In training elements are put to the least value of a SELU with probability p, and all are scaled and shifted.

    Reference: G. Klambauer et al., "Self-Normalizing Neural Networks", 2017, https://arxiv.org/abs/1706.02515
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.alpha_dropout(x, self.p, self.training)


class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole channels of (N, C, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.feature_alpha_dropout(x, self.p, self.training)
