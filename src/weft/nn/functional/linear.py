"""Affine maps and changes of shape, on tensors."""

from __future__ import annotations

from typing import Any

from ...arrays.dispatch import apply
from ...arrays.remembered import remembered
from ...arrays.tensor import Tensor
from ...base.errors import ShapeError
from ...ir.shape import divide, normalize_axis, show_shape, size_of
from ...ops.composite import linear as c
from ...ops.movement import reshape
from .operands import checked, maybe


@remembered
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias.

    Shapes: input (..., in), weight (out, in), bias (out); the result (..., out).

    Raises:
        ShapeError: if they do not fit; it says which number of features was wanted.
    """
    return apply(c.linear, checked("linear", input), checked("linear", weight), maybe("linear", bias))


@remembered
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A map that is linear in each of two inputs, and a bias.

        y[..., o] = sum over i, j of input1[..., i] weight[o, i, j] input2[..., j] + bias[o]

    Shapes: input1 (..., in1), input2 (..., in2), weight (out, in1, in2), bias (out); the result (..., out). As a layer:
    `nn.Bilinear`.
    """
    first, second = checked("bilinear", input1), checked("bilinear", input2)
    return apply(c.bilinear, first, second, checked("bilinear", weight), maybe("bilinear", bias))


@remembered
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes start_dim to end_dim as one.

    Shapes: (a, b, c, d) with start_dim=1, end_dim=2 to (a, b c, d). Raises: ShapeError if start_dim comes after
    end_dim. As a layer: `nn.Flatten`.
    """
    input = checked("flatten", input)
    shape = input.shape
    if not shape:
        return Tensor(reshape(input._node, shape=(1,)))
    first, last = (
        normalize_axis(start_dim, len(shape), "start_dim"),
        normalize_axis(end_dim, len(shape), "end_dim"),
    )
    if first > last:
        raise ShapeError(
            f"flatten: start_dim {start_dim} comes after end_dim {end_dim} in shape {show_shape(shape)}"
        )
    if first == last:
        return input
    return Tensor(
        reshape(input._node, shape=(*shape[:first], size_of(shape[first : last + 1]), *shape[last + 1 :]))
    )


@remembered
def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """Axis `dim` split into `sizes`, of which one may be -1.

    Shapes: (a, 12) with dim=1, sizes=(3, 4) to (a, 3, 4). Raises: ShapeError if the sizes do not fit. As a layer:
    `nn.Unflatten`.
    """
    input = checked("unflatten", input)
    axis = normalize_axis(dim, input.ndim, "dim")
    sizes = list(sizes)
    if sizes.count(-1) == 1:
        rest = divide(input.shape[axis], size_of([n for n in sizes if n != -1]))
        if rest is not None:
            sizes[sizes.index(-1)] = rest
    if -1 in sizes or size_of(sizes) != input.shape[axis]:
        raise ShapeError(
            f"unflatten: axis {dim} of size {input.shape[axis]} does not split into {tuple(sizes)}"
        )
    return Tensor(reshape(input._node, shape=(*input.shape[:axis], *sizes, *input.shape[axis + 1 :])))
