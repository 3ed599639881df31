"""Fractional max pooling on tensors: an image shrinks by any factor, by windows at random distances."""

from __future__ import annotations

import math
from typing import Any

from ...arrays import random
from ...arrays.dispatch import apply
from ...arrays.tensor import Tensor
from ...base.checked import checked as checked_call
from ...base.errors import ArgumentError, ShapeError
from ...ir.shape import show_shape
from ...ops.composite import fractional as c
from .conv import batched, sizes, unbatched
from .operands import checked


def ratios(output_ratio: Any, rank: int) -> tuple[float, ...]:
    """One factor between 0 and 1 for each axis."""
    items = tuple(output_ratio) if isinstance(output_ratio, (tuple, list)) else (float(output_ratio),) * rank
    if len(items) != rank or not all(0 < r < 1 for r in items):
        raise ArgumentError(
            f"output_ratio must be a number between 0 and 1, or {rank} of them, got {output_ratio!r}"
        )
    return items


def _pool(
    rank: int, input: Any, kernel_size: Any, output_size: Any, output_ratio: Any, indices: bool, samples: Any
) -> Any:
    name = f"fractional_max_pool{rank}d"
    x = checked(name, input)
    if (output_size is None) == (output_ratio is None):
        raise ArgumentError(f"{name} takes either output_size or output_ratio")
    if x.ndim not in (rank + 1, rank + 2):
        raise ShapeError(f"{name} takes (N, C, ...) or (C, ...), got shape {show_shape(x.shape)}")
    kernel = sizes("kernel_size", kernel_size, rank)
    if output_ratio is not None:
        known = [n for n in x.shape[-rank:] if isinstance(n, int)]
        if len(known) != rank:
            raise ShapeError(f"{name} needs known spatial sizes, got {show_shape(x.shape)}")
        output_size = tuple(
            [math.floor(n * r) for n, r in zip(known, ratios(output_ratio, rank), strict=True)]
        )
    x, lone = batched(x, rank)
    if samples is None:
        samples = random.uniform((*x.shape[:2], rank))
    options: dict[str, Any] = dict(kernel=kernel, sizes=sizes("output_size", output_size, rank))
    given = x, checked(name, samples)
    found = unbatched(apply(c.fractional_max_pool, *given, **options), lone)
    if not indices:
        return found
    return found, unbatched(apply(c.fractional_max_pool_positions, *given, **options), lone)


@checked_call
def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The largest element of each of a given number of windows of (N, C, H, W), at random distances.

    Along an axis window i begins at floor((i + u) a) - floor(u a) with a = (size - kernel) / (count - 1) and u drawn
    uniformly from [0, 1) for each channel; the last one ends where the axis ends.

    Args:
        kernel_size: the size of the windows.
        output_size: how many windows there are along each axis; or
        output_ratio: how many, as a share of the input's size.
        return_indices: return a pair, the elements and their positions counted row by row.

    Shapes: (N, C, H, W) or (C, H, W) to (..., *output_size). As a layer: `nn.FractionalMaxPool2d`.

    Reference: B. Graham, "Fractional Max-Pooling", 2014, https://arxiv.org/abs/1412.6071
    """
    return _pool(2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)


@checked_call
def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """`fractional_max_pool2d` of volumes: the largest element of each window, which begin at random distances. Its
    arguments are those of `fractional_max_pool2d`.

    Shapes: (N, C, D, H, W) or (C, D, H, W) to (..., *output_size), with `return_indices` a pair. As a layer:
    `nn.FractionalMaxPool3d`.
    """
    return _pool(3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)
