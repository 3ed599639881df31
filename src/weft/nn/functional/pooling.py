"""Pooling on tensors. All take (N, C, *spatial) or (C, *spatial), and are written once for one to three axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...arrays.dispatch import apply
from ...arrays.remembered import remembered
from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError
from ...ops.composite import pooling as p
from .conv import sizes
from .operands import SPACES, checked, public


def _shapes(rank: int, sizes: str) -> str:
    """The lines of a docstring that say what goes in and comes out; `sizes` is the size along one axis of size n."""
    space = SPACES[rank]
    return f"Shapes: (N, C, {space}) or (C, {space}) to the same with {sizes} along each of {space}."


def _windows(kernel_size: Any, stride: Any, rank: int) -> dict[str, Any]:
    """The size of the windows, and the steps between them: by default they lie side by side."""
    kernel = sizes("kernel_size", kernel_size, rank)
    return {"kernel": kernel, "stride": kernel if stride is None else sizes("stride", stride, rank)}


def _max_pool(rank: int) -> Callable[..., Any]:
    name = f"max_pool{rank}d"

    @public(
        name,
        f"""The largest element of each window.

        y[i] = max over k of x[i * stride - padding + k * dilation]        k = 0 .. kernel_size - 1, along each axis

    Args:
        kernel_size, stride, padding, dilation: one integer, or {rank} of them. stride defaults to kernel_size.
        ceil_mode: also count a last window that reaches over the end.
        return_indices: return a pair, the elements and their positions in the input, counted row by row.

    {_shapes(rank, "floor((n + 2 padding - dilation (kernel - 1) - 1) / stride) + 1")}

    Raises: ArgumentError for sizes that make no sense; ShapeError for inputs smaller than a window. As a layer:
    `nn.MaxPool{rank}d`.
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


@remembered
def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window.

        y[i] = sum over k of x[i * stride - padding + k] / kernel_size        k = 0 .. kernel_size - 1

    Args:
        kernel_size, stride, padding: integers. stride defaults to kernel_size.
        ceil_mode: also count a last window that reaches over the end.
        count_include_pad: whether the zeros of the padding count in the mean.

    Shapes: (N, C, L) or (C, L) to (..., L'), L' = floor((L + 2 padding - kernel_size) / stride) + 1. As a layer:
    `nn.AvgPool1d`.
    """
    return _average(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def _avg_pool(rank: int) -> Callable[..., Tensor]:
    @public(
        f"avg_pool{rank}d",
        f"""The mean of each window.

        y[i] = sum over k of x[i * stride - padding + k] / (elements of a window)        along each axis

    Args:
        kernel_size, stride, padding: one integer, or {rank} of them. stride defaults to kernel_size.
        ceil_mode: also count a last window that reaches over the end.
        count_include_pad: whether the zeros of the padding count in the mean.
        divisor_override: divides the sum of each window instead of the count.

    {_shapes(rank, "floor((n + 2 padding - kernel) / stride) + 1")} As a layer: `nn.AvgPool{rank}d`.
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

    @public(
        name,
        f"""The p-norm of each window, p = norm_type.

        y = (sum of x**p over the window)**(1 / p)

    Args:
        kernel_size, stride: one integer, or {rank} of them. stride defaults to kernel_size.
        ceil_mode: also count a last window that reaches over the end.

    {_shapes(rank, "floor((n - kernel) / stride) + 1")}

    Raises: ArgumentError for p = 0. As a layer: `nn.LPPool{rank}d`.
    """,
    )
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
        f"""Zeros with each element at the position that `max_pool{rank}d(..., return_indices=True)` found it at.

        y[indices[i]] = x[i]        positions are counted row by row

    kernel_size, stride and padding are those of the pooling.

    {_shapes(rank, "(n - 1) stride - 2 padding + kernel, or `output_size`,")}

    Raises: ArgumentError for an `output_size` a stride or more from that. As a layer: `nn.MaxUnpool{rank}d`.
    """,
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


def _grid(what: str, short: str, rank: int, more: str = "") -> str:
    kind = {"mean": "Avg", "max": "Max"}[short]
    return f"""{what} of each of a given number of cells along each axis.

        y[i] = {short} of x[floor(i n / m)] .. x[ceil((i + 1) n / m) - 1]        n places to m cells, along each axis

    Args:
        output_size: m for all axes, or {rank} of them; None keeps an axis.{more}

    {_shapes(rank, "m")}

    Raises: ArgumentError for sizes that are not positive. As a layer: `nn.Adaptive{kind}Pool{rank}d`.
    """


def _adaptive_avg_pool(rank: int) -> Callable[..., Tensor]:
    name = f"adaptive_avg_pool{rank}d"

    @public(name, _grid("The mean", "mean", rank))
    def adaptive_avg_pool(input: Tensor, output_size: Any) -> Tensor:
        x, wanted = _cells(name, rank, input, output_size)
        return apply(p.adaptive_avg_pool, x, sizes=wanted)

    return adaptive_avg_pool


def _adaptive_max_pool(rank: int) -> Callable[..., Any]:
    name = f"adaptive_max_pool{rank}d"

    more = "\n        return_indices: return a pair, the elements and their positions, counted row by row."

    @public(name, _grid("The largest element", "max", rank, more))
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
