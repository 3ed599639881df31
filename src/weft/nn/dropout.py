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
    """In training: elements put to 0 at random, the others made larger, so that the mean stays what it is.

        y = x * m / (1 - p)        m = 0 with probability p, else 1, for each element

    In evaluation it does nothing. The random numbers are those of the default generator (`weft.manual_seed`).

    Args:
        p: a probability; with 1 everything becomes 0.

    Shapes: any, kept.

    Reference: N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014,
    https://jmlr.org/papers/v15/srivastava14a.html
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)


class Dropout1d(_Dropout):
    """`Dropout` of whole channels of sequences.

        y[n, c] = x[n, c] * m / (1 - p)        m = 0 with probability p, else 1, for each channel of each sample

    Shapes: (N, C, L) or (C, L), kept.

    Reference: J. Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015,
    https://arxiv.org/abs/1411.4280
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout1d(x, self.p, self.training)


class Dropout2d(_Dropout):
    """`Dropout` of whole channels of images.

        y[n, c] = x[n, c] * m / (1 - p)        m = 0 with probability p, else 1, for each channel of each sample

    Shapes: (N, C, H, W) or (C, H, W), kept.

    Reference: J. Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015,
    https://arxiv.org/abs/1411.4280
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.p, self.training)


class Dropout3d(_Dropout):
    """`Dropout` of whole channels of volumes.

        y[n, c] = x[n, c] * m / (1 - p)        m = 0 with probability p, else 1, for each channel of each sample

    Shapes: (N, C, D, H, W) or (C, D, H, W), kept.

    Reference: J. Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015,
    https://arxiv.org/abs/1411.4280
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout3d(x, self.p, self.training)


class AlphaDropout(_Dropout):
    """Dropout for networks of `SELU`s, which keeps mean 0 and variance 1.

        y = a (x m + s (1 - m)) + b        m = 0 with probability p, else 1; s = -1.7581, the least value of a SELU
        a = 1 / sqrt((1 - p) (1 + p s**2)),  b = -a p s

    In evaluation it does nothing.

    Shapes: any, kept.

    Reference: G. Klambauer et al., "Self-Normalizing Neural Networks", 2017, https://arxiv.org/abs/1706.02515
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.alpha_dropout(x, self.p, self.training)


class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole channels: one m, 0 with probability `p`, for each channel of each sample.

        y[n, c] = a (x[n, c] m + s (1 - m)) + b

    Shapes: (N, C, ...), kept.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.feature_alpha_dropout(x, self.p, self.training)
