"""Ready-made parametrizations of weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...arrays import random
from ...arrays.creation import eye, tensor, zeros_like
from ...arrays.dispatch import apply, check_choice
from ...arrays.elementwise import sign, where
from ...arrays.grad import no_grad
from ...arrays.linalg import diagonal, qr, vector_norm
from ...arrays.manipulation import concat, matrix_transpose
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError
from ...ops.composite import orthogonal as o
from ...ops.composite import weights as c
from .. import functional as F
from ..conv_transpose import _ConvTranspose
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


_MAPS = ("matrix_exp", "cayley", "householder")


class Orthogonal(Module):
    """An orthogonal matrix as a function of a matrix without constraint; see `orthogonal`."""

    base: Tensor | None

    def __init__(self, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        self.orthogonal_map = orthogonal_map
        self.use_trivialization = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, weight: Tensor) -> Tensor:
        wide = weight.shape[-2] < weight.shape[-1]  # type: ignore[operator]
        x = matrix_transpose(weight) if wide else weight
        if self.orthogonal_map == "householder":
            q = apply(o.householder_columns, x)
        else:
            a = apply(o.skew_matrix, x)
            q = apply(o.matrix_exp if self.orthogonal_map == "matrix_exp" else o.cayley, a)
            q = q[..., : x.shape[-1]]
        if self.use_trivialization and self.base is not None:
            q = self.base @ q
        return matrix_transpose(q) if wide else q

    def right_inverse(self, value: Tensor) -> Tensor:
        """What stands for the orthogonal matrix nearest in the sense of its QR factorisation to `value`."""
        wide = value.shape[-2] < value.shape[-1]  # type: ignore[operator]
        with no_grad():
            x = matrix_transpose(value) if wide else value.detach()
            exact = x.astype("float32") if x.dtype.storage_only else x
            found = self._rebased(exact) if self.use_trivialization else self._reflections(exact)
            found = found.astype(value.dtype)
            return matrix_transpose(found) if wide else found

    def _rebased(self, x: Tensor) -> Tensor:
        """Keep the orthogonal matrix of x as the base; the free matrix starts where the map gives the identity."""
        n, k = x.shape[-2:]
        rest = random.normal((*x.shape[:-1], n - k), dtype=x.dtype)  # type: ignore[operator]
        q, r = qr(concat([x, rest], axis=-1))
        signs = sign(diagonal(r))[..., None, :]
        base = q * where(signs == 0, 1, signs)
        self.register_buffer("base", base.astype(x.dtype))
        return zeros_like(x) - eye(n, k, dtype=x.dtype)  # type: ignore[arg-type]

    def _reflections(self, x: Tensor) -> Tensor:
        """The Householder vectors of the QR factorisation of x, with signs on the diagonal that make R positive."""
        array = x.numpy()
        out = np.empty_like(array)
        for i in np.ndindex(array.shape[:-2]):
            packed, tau = np.linalg.qr(array[i], mode="raw")
            vectors = packed.T.copy()
            signs = np.where(np.diagonal(vectors) < 0, -1.0, 1.0) * np.where(tau == 0, -1.0, 1.0)
            np.fill_diagonal(vectors, signs)
            out[i] = vectors
        return tensor(out)


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Keep a matrix orthogonal: W^T W = 1, or W W^T = 1 if it is wider than high.

    The free matrix X that is learned stands for W = B Q(X), with B fixed and Q one of

        matrix_exp   exp(A), for A skew-symmetric with the lower triangle of X
        cayley       (1 - A/2)**-1 (1 + A/2)
        householder  the product of reflections along the columns of X below its diagonal

    Args:
        name: the parameter, a matrix or a stack of them.
        orthogonal_map: the map; by default "matrix_exp" for square matrices, else "householder".
        use_trivialization: whether there is a base B, which starts as the orthogonal factor of the weight. Without it
            only "householder" can be started from a given weight.

    >>> layer = nn.utils.parametrizations.orthogonal(nn.Linear(4, 4))
    >>> bool(weft.max(abs(layer.weight.T @ layer.weight - weft.eye(4))) < 1e-5)
    True

    Reference: M. Lezcano-Casado, "Trivializations for Gradient-Based Optimization on Manifolds", 2019,
    https://arxiv.org/abs/1909.09501
    """
    weight: Any = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ArgumentError(f"{type(module).__name__} has no parameter {name!r}")
    if weight.ndim < 2:
        raise ArgumentError(f"orthogonal: a matrix is expected, {name!r} has shape {weight.shape}")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-1] == weight.shape[-2] else "householder"
    check_choice("orthogonal_map", orthogonal_map, _MAPS)
    if not use_trivialization and orthogonal_map != "householder":
        raise ArgumentError(
            f"orthogonal: {orthogonal_map!r} without a base cannot start from the weight; use orthogonal_map="
            "'householder' or use_trivialization=True"
        )
    return register_parametrization(module, name, Orthogonal(orthogonal_map, use_trivialization), unsafe=True)


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
