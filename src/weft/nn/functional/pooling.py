"""Pooling on tensors. All take (N, C, *spatial) or (C, *spatial), and are written once for one to three axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...arrays.dispatch import apply
from ...arrays.tensor import Tensor
from ...base.checked import checked as checked_call
from ...base.errors import ArgumentError
from ...ops.composite import pooling as p
from .conv import sizes
from .operands import checked, public

_AXES = {1: "last axis", 2: "last two axes", 3: "last three axes"}


def _windows(kernel_size: Any, stride: Any, rank: int) -> dict[str, Any]:
    """The size of the windows, and the steps between them: by default they lie side by side."""
    kernel = sizes("kernel_size", kernel_size, rank)
    return {"kernel": kernel, "stride": kernel if stride is None else sizes("stride", stride, rank)}


def _max_pool(rank: int) -> Callable[..., Any]:
    name = f"max_pool{rank}d"

    @public(
        name,
        """The largest element of each window. stride defaults to the window's size.

    With `return_indices` a pair: the elements and their positions in the input, counted row by row.
    """,
    )
    def max_pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        x = checked(name, input)
        options = _windows(kernel_size, stride, rank) | {
            "padding": sizes("padding", padding, rank, least=0),
            "dilation": sizes("dilation", dilation, rank),
            "ceil_mode": bool(ceil_mode),
        }
        found = apply(p.max_pool, x, **options)
        return (found, apply(p.max_pool_positions, x, **options)) if return_indices else found

    return max_pool


def _average(
    rank: int,
    x: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_pad: bool,
    divisor: Any = None,
) -> Tensor:
    options = _windows(kernel_size, stride, rank)
    if divisor == 0:
        raise ArgumentError("divisor_override must not be 0")
    return apply(
        p.avg_pool,
        checked(f"avg_pool{rank}d", x),
        divisor,
        padding=sizes("padding", padding, rank, least=0),
        ceil_mode=bool(ceil_mode),
        count_include_pad=bool(count_pad),
        **options,
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
    return _average(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def _avg_pool(rank: int) -> Callable[..., Tensor]:
    @public(
        f"avg_pool{rank}d",
        """The mean of each window; padding counts as zeros unless `count_include_pad` is False.

    `divisor_override` divides the sum of each window instead of the count.
    """,
    )
    def avg_pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        counts = count_include_pad, divisor_override
        return _average(rank, input, kernel_size, stride, padding, ceil_mode, *counts)

    return avg_pool


def _lp_pool(rank: int) -> Callable[..., Tensor]:
    name = f"lp_pool{rank}d"

    @public(name, "(sum of x**p over each window)**(1/p) with p = norm_type.")
    def lp_pool(
        input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> Tensor:
        options = _windows(kernel_size, stride, rank)
        if norm_type == 0:
            raise ArgumentError("lp_pool: norm_type must not be 0")
        return apply(p.lp_pool, checked(name, input), float(norm_type), ceil_mode=bool(ceil_mode), **options)

    return lp_pool


def _max_unpool(rank: int) -> Callable[..., Tensor]:
    name = f"max_unpool{rank}d"

    @public(
        name,
        f"Zeros with each element at the position that `max_pool{rank}d(..., return_indices=True)` found it at.",
    )
    def max_unpool(
        input: Tensor,
        indices: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        output_size: Any = None,
    ) -> Tensor:
        x, at = checked(name, input), checked(name, indices)
        kernel, steps = _windows(kernel_size, stride, rank).values()
        pads = sizes("padding", padding, rank, least=0)
        usual = [
            (n - 1) * s - 2 * q + k for n, s, q, k in zip(x.shape[-rank:], steps, pads, kernel, strict=True)
        ]
        wanted = usual if output_size is None else list(output_size)[-rank:]
        if any(not u - s < w < u + s for w, u, s in zip(wanted, usual, steps, strict=True)):
            raise ArgumentError(
                f"{name}: output_size {tuple(wanted)} is further than a stride from {tuple(usual)}, which the "
                "windows give"
            )
        return apply(p.max_unpool, x, at, sizes=tuple(wanted))

    return max_unpool


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


def _grid(what: str, rank: int) -> str:
    if rank == 1:
        return f"{what} of each of `output_size` cells that the last axis is cut into."
    return f"{what} of each cell of a grid of `output_size` laid over the {_AXES[rank]}; None keeps an axis."


def _adaptive_avg_pool(rank: int) -> Callable[..., Tensor]:
    name = f"adaptive_avg_pool{rank}d"

    @public(name, _grid("The mean", rank))
    def adaptive_avg_pool(input: Tensor, output_size: Any) -> Tensor:
        x, wanted = _cells(name, rank, input, output_size)
        return apply(p.adaptive_avg_pool, x, sizes=wanted)

    return adaptive_avg_pool


def _adaptive_max_pool(rank: int) -> Callable[..., Any]:
    name = f"adaptive_max_pool{rank}d"

    @public(
        name,
        _grid("The largest element", rank)
        + "\n\n    With `return_indices` a pair: the elements and their positions, counted row by row.\n    ",
    )
    def adaptive_max_pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        x, wanted = _cells(name, rank, input, output_size)
        found = apply(p.adaptive_max_pool, x, sizes=wanted)
        return (found, apply(p.adaptive_max_pool_positions, x, sizes=wanted)) if return_indices else found

    return adaptive_max_pool


_RANKS = (1, 2, 3)
max_pool1d, max_pool2d, max_pool3d = (_max_pool(rank) for rank in _RANKS)
avg_pool2d, avg_pool3d = (_avg_pool(rank) for rank in (2, 3))
lp_pool1d, lp_pool2d, lp_pool3d = (_lp_pool(rank) for rank in _RANKS)
max_unpool1d, max_unpool2d, max_unpool3d = (_max_unpool(rank) for rank in _RANKS)
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = (_adaptive_avg_pool(rank) for rank in _RANKS)
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = (_adaptive_max_pool(rank) for rank in _RANKS)
