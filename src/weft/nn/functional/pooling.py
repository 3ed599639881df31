"""Pooling on tensors. All take (N, C, *spatial) or (C, *spatial)."""

from __future__ import annotations

from typing import Any

from ...arrays.dispatch import apply
from ...arrays.tensor import Tensor
from ...base.checked import checked as checked_call
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
) -> Any:
    x = checked(f"max_pool{rank}d", x)
    kernel = sizes("kernel_size", kernel, rank)
    options: dict[str, Any] = dict(
        kernel=kernel,
        stride=kernel if stride is None else sizes("stride", stride, rank),
        padding=sizes("padding", padding, rank, least=0),
        dilation=sizes("dilation", dilation, rank),
        ceil_mode=bool(ceil_mode),
    )
    found = apply(p.max_pool, x, **options)
    return (found, apply(p.max_pool_positions, x, **options)) if return_indices else found


@checked_call
def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window. stride defaults to the window's size.

    With `return_indices` a pair: the elements and their positions in the input, counted row by row.
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@checked_call
def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window. stride defaults to the window's size.

    With `return_indices` a pair: the elements and their positions in the input, counted row by row.
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@checked_call
def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window. stride defaults to the window's size.

    With `return_indices` a pair: the elements and their positions in the input, counted row by row.
    """
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


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


@checked_call
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


@checked_call
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


@checked_call
def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window; padding counts as zeros unless `count_include_pad` is False."""
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _lp_pool(rank: int, x: Tensor, norm_type: float, kernel: Any, stride: Any, ceil_mode: bool) -> Tensor:
    kernel = sizes("kernel_size", kernel, rank)
    if norm_type == 0:
        raise ArgumentError("lp_pool: norm_type must not be 0")
    return apply(
        p.lp_pool,
        checked(f"lp_pool{rank}d", x),
        float(norm_type),
        kernel=kernel,
        stride=kernel if stride is None else sizes("stride", stride, rank),
        ceil_mode=bool(ceil_mode),
    )


@checked_call
def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(sum of x**p over each window)**(1/p) with p = norm_type."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


@checked_call
def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(sum of x**p over each window)**(1/p) with p = norm_type."""
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


@checked_call
def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(sum of x**p over each window)**(1/p) with p = norm_type."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


def _max_unpool(
    rank: int, x: Tensor, indices: Tensor, kernel: Any, stride: Any, padding: Any, output_size: Any
) -> Tensor:
    name = f"max_unpool{rank}d"
    x, indices = checked(name, x), checked(name, indices)
    kernel = sizes("kernel_size", kernel, rank)
    steps = kernel if stride is None else sizes("stride", stride, rank)
    pads = sizes("padding", padding, rank, least=0)
    usual = [(n - 1) * s - 2 * q + k for n, s, q, k in zip(x.shape[-rank:], steps, pads, kernel, strict=True)]
    wanted = usual if output_size is None else list(output_size)[-rank:]
    if any(not u - s < w < u + s for w, u, s in zip(wanted, usual, steps, strict=True)):
        raise ArgumentError(
            f"{name}: output_size {tuple(wanted)} is further than a stride from {tuple(usual)}, which the windows give"
        )
    return apply(p.max_unpool, x, indices, sizes=tuple(wanted))


@checked_call
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Zeros with each element at the position that `max_pool1d(..., return_indices=True)` found it at."""
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


@checked_call
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Zeros with each element at the position that `max_pool2d(..., return_indices=True)` found it at."""
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


@checked_call
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Zeros with each element at the position that `max_pool3d(..., return_indices=True)` found it at."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


def _cells(name: str, rank: int, x: Tensor, output_size: Any) -> tuple[Tensor, tuple[Any, ...]]:
    """The input, and how many cells each axis is cut into."""
    items = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * rank
    if len(items) != rank:
        raise ArgumentError(f"output_size needs one integer or {rank} of them, got {output_size!r}")
    x = checked(name, x)
    own = x.shape[-rank:]
    return x, tuple(
        [n if s is None else sizes("output_size", s, 1)[0] for s, n in zip(items, own, strict=False)]
    )


def _adaptive_avg(rank: int, x: Tensor, output_size: Any) -> Tensor:
    x, wanted = _cells("adaptive_avg_pool", rank, x, output_size)
    return apply(p.adaptive_avg_pool, x, sizes=wanted)


def _adaptive_max(rank: int, x: Tensor, output_size: Any, return_indices: bool) -> Any:
    x, wanted = _cells("adaptive_max_pool", rank, x, output_size)
    found = apply(p.adaptive_max_pool, x, sizes=wanted)
    return (found, apply(p.adaptive_max_pool_positions, x, sizes=wanted)) if return_indices else found


@checked_call
def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The mean of each of `output_size` cells that the last axis is cut into."""
    return _adaptive_avg(1, input, output_size)


@checked_call
def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The mean of each cell of a grid of `output_size` laid over the last two axes; None keeps an axis."""
    return _adaptive_avg(2, input, output_size)


@checked_call
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """The mean of each cell of a grid of `output_size` laid over the last three axes; None keeps an axis."""
    return _adaptive_avg(3, input, output_size)


@checked_call
def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of each of `output_size` cells that the last axis is cut into."""
    return _adaptive_max(1, input, output_size, return_indices)


@checked_call
def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of each cell of a grid of `output_size` laid over the last two axes."""
    return _adaptive_max(2, input, output_size, return_indices)


@checked_call
def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of each cell of a grid of `output_size` laid over the last three axes."""
    return _adaptive_max(3, input, output_size, return_indices)
