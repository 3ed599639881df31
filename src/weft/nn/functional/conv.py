"""Convolution on tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...arrays.dispatch import apply
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError, ShapeError
from ...ir.shape import show_shape
from ...ops.composite import conv as c
from ...ops.movement import reshape
from ..factory import positive_int
from .operands import KERNELS, SPACES, checked, maybe, public


def sizes(name: str, value: Any, rank: int, *, least: int = 1) -> tuple[int, ...]:
    """`value` as one integer for each spatial axis; a single integer stands for all of them."""
    items = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(items) == 1 and rank > 1:
        items = items * rank
    for n in items:
        if isinstance(n, bool) or not hasattr(n, "__index__") or n.__index__() < least:
            raise ArgumentError(f"{name} must be {least} or more along each axis, got {value!r}")
    if len(items) != rank:
        raise ArgumentError(f"{name} needs one integer or {rank} of them, got {value!r}")
    return tuple([n.__index__() for n in items])


def paddings(value: Any, kernel: tuple[Any, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Any:
    """Padding as (low, high) for each axis, from integers, "valid" or "same"."""
    if value == "valid":
        return ((0, 0),) * len(kernel)
    if value == "same":
        if any(s != 1 for s in stride):
            raise ArgumentError(f"padding='same' needs stride 1, got {stride}")
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return tuple([(t // 2, t - t // 2) for t in totals])
    if isinstance(value, str):
        raise ArgumentError(f"padding must be 'same', 'valid' or integers, got {value!r}")
    return tuple([(p, p) for p in sizes("padding", value, len(kernel), least=0)])


def batched(x: Tensor, rank: int) -> tuple[Tensor, bool]:
    """x with a batch axis: an input without one is a batch of one."""
    if x.ndim == rank + 1:
        return Tensor(reshape(x._node, shape=(1, *x.shape))), True
    return x, False


def unbatched(x: Tensor, lone: bool) -> Tensor:
    return Tensor(reshape(x._node, shape=x.shape[1:])) if lone else x


def _check_weight(name: str, weight: Tensor, rank: int) -> None:
    if weight.ndim != rank + 2:
        raise ShapeError(
            f"{name} takes a weight of {rank + 2} axes (out, in, *kernel), got {show_shape(weight.shape)}"
        )


def _convolution(rank: int) -> Callable[..., Tensor]:
    name, space, kernel = f"conv{rank}d", SPACES[rank], KERNELS[rank]

    @public(
        name,
        f"""Cross-correlation with kernels.

        y[o, i] = bias[o] + sum over c, k of weight[o, c, k] x[c, i * stride - padding + k * dilation]

    Args:
        stride, dilation: one integer, or {rank} of them.
        padding: zeros at each side, likewise; or "valid" (none) or "same" (the result has the input's size).
        groups: the channels are cut into so many runs that do not see each other.

    Integers of one dtype are taken as well, and wrap around; 8- and 16-bit ones that are cast to int32 are multiplied
    several at a time.

    Shapes: input (N, C, {space}) or (C, {space}), weight (O, C / groups, {kernel}), bias (O); the result has floor((n +
    2 padding - dilation (k - 1) - 1) / stride) + 1 places along each axis of n. As a layer: `nn.Conv{rank}d`.

    Raises: ShapeError where channels do not fit, or a kernel is larger than the padded input.
    """,
    )
    def conv(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        x, weight, bias = checked(name, input), checked(name, weight), maybe(name, bias)
        _check_weight(name, weight, rank)
        stride, dilation = sizes("stride", stride, rank), sizes("dilation", dilation, rank)
        pads = paddings(padding, weight.shape[2:], stride, dilation)
        groups = positive_int(name, "groups", groups)
        x, lone = batched(x, rank)
        options = {"stride": stride, "padding": pads, "dilation": dilation, "groups": groups}
        return unbatched(apply(c.convolution, x, weight, bias, **options), lone)

    return conv


def _transposed(rank: int) -> Callable[..., Tensor]:
    name = f"conv_transpose{rank}d"

    @public(
        name,
        f"""The transpose of `conv{rank}d` as a linear map.

        y[o, i * stride - padding + k * dilation] += weight[c, o, k] x[c, i]        y begins as bias[o]

    Args:
        output_padding: how many more places the result has at the end, less than stride or dilation.

    Other arguments are those of `conv{rank}d`.

    Shapes: input (N, C, {SPACES[rank]}) or (C, {SPACES[rank]}), weight (C, O / groups, {KERNELS[rank]}), bias (O);
    the result has (n - 1) stride - 2 padding + dilation (k - 1) + output_padding + 1 places along each axis of n. As a
    layer: `nn.ConvTranspose{rank}d`.
    """,
    )
    def conv_transpose(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Tensor:
        x, weight, bias = checked(name, input), checked(name, weight), maybe(name, bias)
        _check_weight(name, weight, rank)
        stride, dilation = sizes("stride", stride, rank), sizes("dilation", dilation, rank)
        extra = sizes("output_padding", output_padding, rank, least=0)
        if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
            raise ArgumentError(
                f"output_padding {extra} must be smaller than stride {stride} or dilation {dilation}"
            )
        groups = positive_int(name, "groups", groups)
        x, lone = batched(x, rank)
        options = {"stride": stride, "output_padding": extra, "dilation": dilation, "groups": groups}
        pads = sizes("padding", padding, rank, least=0)
        return unbatched(apply(c.convolution_transpose, x, weight, bias, padding=pads, **options), lone)

    return conv_transpose


conv1d, conv2d, conv3d = (_convolution(rank) for rank in (1, 2, 3))
conv_transpose1d, conv_transpose2d, conv_transpose3d = (_transposed(rank) for rank in (1, 2, 3))
