"""Layers of affine maps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError, ShapeError
from . import functional as F
from . import init
from .factory import check_device, empty, outside_traces, positive_int
from .functional.operands import checked
from .module import Module
from .parameter import Parameter, UninitializedParameter


class Identity(Module):
    """Returns its input: y = x. Takes and ignores any arguments, so that it can stand in for another layer.

    Shapes: anything, kept.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x


class Linear(Module):
    """An affine map of the last axis.

        y = x @ weight.T + bias

    Args:
        in_features: size of the last axis of the input.
        out_features: size of the last axis of the output.
        bias: whether there is a bias.
        dtype: of the parameters (default float32).

    Shapes: input (..., in_features), output (..., out_features), weight (out_features, in_features), bias
    (out_features). Both are drawn uniformly from [-b, b] with b = 1 / sqrt(in_features).

    Raises: ArgumentError for negative sizes; ShapeError when called, for other features.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = positive_int("Linear", "in_features", in_features, zero=True)
        self.out_features = positive_int("Linear", "out_features", out_features, zero=True)
        self.weight = Parameter(empty((self.out_features, self.in_features), dtype, device))
        self.register_parameter(
            "bias", Parameter(empty((self.out_features,), dtype, device)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )


class LazyLinear(Linear):
    """A `Linear` that takes `in_features` from the last axis of its first input, and is a `Linear` from then on.

    Until then its parameters have no shape; saving or optimising them raises `StateError`.

    Others are those of `Linear`.

    Shapes: those of `Linear`.
    """

    def __init__(
        self, out_features: int, bias: bool = True, *, device: Any = None, dtype: Any = None
    ) -> None:
        Module.__init__(self)
        self.in_features = 0
        self.out_features = positive_int("LazyLinear", "out_features", out_features, zero=True)
        check_device(device)
        self._options = (dtype, device)
        self.weight = UninitializedParameter("LazyLinear")
        self.register_parameter("bias", UninitializedParameter("LazyLinear") if bias else None)

    def reset_parameters(self) -> None:
        """Nothing to draw yet."""

    def _materialize(self, in_features: int) -> None:
        dtype, device = self._options
        self.in_features = in_features
        with outside_traces():
            self.weight = Parameter(empty((self.out_features, in_features), dtype, device))
            if self.bias is not None:
                self.bias = Parameter(empty((self.out_features,), dtype, device))
            del self._options
            self.__class__ = Linear  # type: ignore[assignment]
            self.reset_parameters()

    def _unborn_dtype(self, dtype: Any) -> None:
        """What `to` does before there are parameters."""
        self._options = (dtype, self._options[1])

    def _prepare_load(self, prefix: str, state: Mapping[str, Any]) -> None:
        """Take the shape from saved state."""
        weight = state.get(prefix + "weight")
        if weight is not None and len(weight.shape) == 2 and weight.shape[0] == self.out_features:
            self._materialize(int(weight.shape[1]))

    def forward(self, x: Tensor) -> Tensor:
        x = checked("LazyLinear", x)
        if x.ndim == 0 or not isinstance(x.shape[-1], int):
            raise ShapeError(f"LazyLinear takes its width from the last axis of a tensor, got {x!r}")
        self._materialize(x.shape[-1])
        return self(x)

    def extra_repr(self) -> str:
        return f"in_features=?, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """A map that is linear in each of two inputs, and a bias.

        y[o] = x1 @ weight[o] @ x2 + bias[o]

    Args:
        in1_features, in2_features: sizes of the last axes of the inputs.
        out_features: size of the last axis of the output.
        bias: whether there is a bias.

    Shapes: x1 (..., in1), x2 (..., in2), the result (..., out); weight (out, in1, in2), bias (out).
    Parameters are drawn uniformly from [-b, b] with b = 1 / sqrt(in1).
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in1_features = positive_int("Bilinear", "in1_features", in1_features)
        self.in2_features = positive_int("Bilinear", "in2_features", in2_features)
        self.out_features = positive_int("Bilinear", "out_features", out_features)
        self.weight = Parameter(empty((out_features, in1_features, in2_features), dtype, device))
        self.register_parameter("bias", Parameter(empty((out_features,), dtype, device)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class Flatten(Module):
    """Axes `start_dim` to `end_dim` as one: by default everything behind the batch axis.

    Shapes: (N, *rest) to (N, product of rest).
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Tensor) -> Tensor:
        return F.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis split into several.

    Args:
        dim: the axis.
        unflattened_size: the sizes that it splits into, row by row; one of them may be -1.

    Shapes: `Unflatten(1, (3, 4))` turns (n, 12) into (n, 3, 4). Raises: ShapeError when called, if the sizes do not
    fit.
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        super().__init__()
        if not isinstance(dim, int):
            raise ArgumentError(f"Unflatten takes an integer axis, got {dim!r}")
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, x: Tensor) -> Tensor:
        return F.unflatten(x, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
