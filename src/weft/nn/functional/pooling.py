"""Pooling on tensors. All take (N, C, *spatial) or (C, *spatial)."""

from __future__ import annotations

from typing import Any

from ...arrays.dispatch import apply
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError
from ...ops.composite import pooling as p
from .conv import sizes
from .operands import checked


def _max_pool(
    rank: int,
    x: Tensor,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Tensor:
    if return_indices:
        raise ArgumentError(f"max_pool{rank}d does not return indices")
    kernel = sizes("kernel_size", kernel, rank)
    return apply(
        p.max_pool,
        checked(f"max_pool{rank}d", x),
        kernel=kernel,
        stride=kernel if stride is None else sizes("stride", stride, rank),
        padding=sizes("padding", padding, rank, least=0),
        dilation=sizes("dilation", dilation, rank),
        ceil_mode=bool(ceil_mode),
    )


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The largest element of each window. stride defaults to the window's size."""
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """The largest element of each window. stride defaults to the window's size."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _avg_pool(
    rank: int,
    x: Tensor,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_pad: bool,
    divisor: Any,
) -> Tensor:
    kernel = sizes("kernel_size", kernel, rank)
    if divisor == 0:
        raise ArgumentError("divisor_override must not be 0")
    return apply(
        p.avg_pool,
        checked(f"avg_pool{rank}d", x),
        divisor,
        kernel=kernel,
        stride=kernel if stride is None else sizes("stride", stride, rank),
        padding=sizes("padding", padding, rank, least=0),
        ceil_mode=bool(ceil_mode),
        count_include_pad=bool(count_pad),
    )


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window; padding counts as zeros unless `count_include_pad` is False."""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window; padding counts as zeros unless `count_include_pad` is False."""
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _adaptive(composite: Any, rank: int, x: Tensor, output_size: Any) -> Tensor:
    items = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * rank
    if len(items) != rank:
        raise ArgumentError(f"output_size needs one integer or {rank} of them, got {output_size!r}")
    x = checked(composite.name, x)
    own = x.shape[-rank:]
    wanted = [n if s is None else sizes("output_size", s, 1)[0] for s, n in zip(items, own, strict=False)]
    return apply(composite, x, sizes=tuple(wanted))


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The mean of each of `output_size` cells that the last axis is cut into."""
    return _adaptive(p.adaptive_avg_pool, 1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The mean of each cell of a grid of `output_size` laid over the last two axes; None keeps an axis."""
    return _adaptive(p.adaptive_avg_pool, 2, input, output_size)


def adaptive_max_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The largest element of each of `output_size` cells that the last axis is cut into."""
    return _adaptive(p.adaptive_max_pool, 1, input, output_size)


def adaptive_max_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The largest element of each cell of a grid of `output_size` laid over the last two axes."""
    return _adaptive(p.adaptive_max_pool, 2, input, output_size)
