"""Ready-made parametrizations of weights."""

from __future__ import annotations

from typing import Any

from ...arrays import random
from ...arrays.dispatch import apply
from ...arrays.grad import no_grad
from ...arrays.linalg import vector_norm
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError
from ...ops.composite import weights as c
from .. import functional as F
from ..conv import _ConvTranspose
from ..factory import positive_int
from ..module import Module
from .parametrize import register_parametrization


class WeightNorm(Module):
    """g v / |v|, one norm for each slice along `dim`; None or -1: one for the whole."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = None if dim in (None, -1) else dim

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        return apply(c.weight_norm, g, v, axis=self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Length and direction of a weight."""
        if self.dim is None:
            return vector_norm(weight), weight.detach()
        others = tuple([a for a in range(weight.ndim) if a != self.dim])
        norm = vector_norm(weight, axis=others, keepdims=True) if others else abs(weight)
        return norm, weight.detach()


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn the length and the direction of a weight apart: w = g v / |v|; g is `original0`, v `original1`.

    Args:
        name: the parameter.
        dim: the axis whose slices have lengths of their own; None: one length for the whole.

    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    >>> [(n, p.shape) for n, p in layer.parametrizations.weight.named_parameters()]
    [('original0', (2, 1)), ('original1', (2, 3))]

    Reference: T. Salimans, D. P. Kingma, "Weight Normalization", 2016, https://arxiv.org/abs/1602.07868
    """
    weight = getattr(module, name, None)
    if isinstance(weight, Tensor) and dim is not None and dim != -1 and not 0 <= dim < weight.ndim:
        raise ArgumentError(f"weight_norm: dim {dim} is outside a weight of {weight.ndim} axes")
    return register_parametrization(module, name, WeightNorm(dim), unsafe=True)


class SpectralNorm(Module):
    """A weight divided by its largest singular value, which power iteration follows while training."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise ArgumentError(f"spectral_norm: dim {dim} is outside a weight of {weight.ndim} axes")
        self.dim = dim % weight.ndim
        self.eps = eps
        self.n_power_iterations = positive_int("spectral_norm", "n_power_iterations", n_power_iterations)
        if weight.ndim > 1:
            rows = weight.shape[self.dim]
            columns = weight.size // rows  # type: ignore[operator]
            wide = "float32" if weight.dtype.storage_only else weight.dtype
            with no_grad():
                for name, size in (("_u", rows), ("_v", columns)):
                    start = F.normalize(random.normal((size,), dtype=wide), dim=0, eps=eps)
                    self.register_buffer(name, start.astype(weight.dtype))
                self._iterate(weight, 15)

    def _iterate(self, weight: Tensor, steps: int) -> None:
        with no_grad():
            u, v = apply(c.power_iteration, weight, self._u, self._v, self.eps, axis=self.dim, steps=steps)
            self._u._cell.rebind(u._node)
            self._v._cell.rebind(v._node)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        if self.training:
            self._iterate(weight, self.n_power_iterations)
        return apply(c.spectral_norm, weight, self._u, self._v, axis=self.dim)

    def right_inverse(self, value: Tensor) -> Tensor:
        """The value itself: a weight of another norm stands for it."""
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its spectral norm, so that the layer changes no input by more than its own change.

    Args:
        name: the parameter.
        n_power_iterations: steps towards the largest singular vectors at each use in training.
        eps: least norm of a vector.
        dim: the axis of the outputs (default: 0, or 1 for transposed convolutions).

    Reference: T. Miyato et al., "Spectral Normalization for GANs", 2018, https://arxiv.org/abs/1802.05957
    """
    weight: Any = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ArgumentError(f"{type(module).__name__} has no parameter {name!r}")
    if dim is None:
        dim = 1 if isinstance(module, _ConvTranspose) else 0
    return register_parametrization(module, name, SpectralNorm(weight, n_power_iterations, dim, eps))
