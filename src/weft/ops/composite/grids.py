"""Images read at places of a grid, which need not be those of pixels: (..., x, y[, z]) from -1 to 1."""

from __future__ import annotations

from itertools import product

from ...base.errors import ShapeError
from ...ir.dtype import int64
from ...ir.node import Node
from ...ir.shape import show_shape, size_of
from ..contraction import matmul
from ..define import constant
from ..elementwise import abs_, cast, floor, less, less_equal, logical_and, maximum, minimum, round_, where
from ..gather import iota_along
from ..indexing import gather
from ..movement import broadcast_to, concatenate, full, permute, reshape, slice_axis
from ..rearrange import expand_dims
from .common import as_type, floating, widened
from .define import composite

PADDINGS = ("zeros", "border", "reflection")
MODES = ("bilinear", "nearest", "bicubic")


def _pixel(place: Node, size: int, align: bool) -> Node:
    """Places from -1 to 1 in units of pixels: -1 and 1 are the middles of the outer pixels (align), or their edges."""
    if align:
        return (place + 1) * ((size - 1) / 2)
    return ((place + 1) * size - 1) * 0.5


def _mirrored(x: Node, low: float, high: float) -> Node:
    """x reflected at both ends until it lies between them."""
    if high <= low:
        return x * 0
    span = high - low
    far = abs_(x - low)
    times = floor(far / span)
    rest = far - times * span
    odd = less(0.25, abs_(times * 0.5 - floor(times * 0.5)))
    return where(odd, span - rest, rest) + low


def _inside(x: Node, size: int, padding: str, align: bool) -> Node:
    """A place in pixels after what the padding does to it."""
    if padding == "zeros":
        return x
    if padding == "reflection":
        x = _mirrored(x, 0.0, size - 1.0) if align else _mirrored(x, -0.5, size - 0.5)
    return minimum(maximum(x, constant(0.0, x.dtype)), constant(size - 1.0, x.dtype))


def _read(x: Node, at: list[Node]) -> Node:
    """x (N, C, *sizes) at whole pixels (N, ...) of each axis: (N, ..., C), and 0 outside."""
    sizes = x.shape[2:]
    shape = at[0].shape
    seen = None
    index = []
    for a, size in zip(at, sizes, strict=True):
        good = logical_and(less_equal(0, a), less(a, size))
        seen = good if seen is None else logical_and(seen, good)
        index.append(where(good, a, 0))
    batch = iota_along(shape, 0)
    found = gather(x, batch, *index, axes=(0, *range(2, x.ndim)))
    return where(broadcast_to(expand_dims(seen, (seen.ndim,)), found.shape), found, 0)  # type: ignore[arg-type,union-attr]


def _cubic_weight(d: Node, a: float) -> Node:
    """The weight of a pixel at distance d: a cubic convolution kernel, 0 from distance 2 on."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return where(less(d, 1), near, where(less(d, 2), far, 0))


def _taps(place: Node, size: int, mode: str, padding: str, align: bool) -> list[tuple[Node, Node | None]]:
    """(pixel, weight) of each pixel along one axis that counts at the places."""
    whole = lambda v: cast(v, dtype=int64)  # noqa: E731
    if mode == "nearest":
        return [(whole(round_(_inside(place, size, padding, align))), None)]
    if mode == "bilinear":
        place = _inside(place, size, padding, align)
        below = floor(place)
        share = place - below
        return [(whole(below), 1 - share), (whole(below) + 1, share)]
    below = floor(place)
    share = place - below
    # Every pixel of the curve is padded by itself.
    at = [whole(_inside(below + (i - 1), size, padding, align)) for i in range(4)]
    return [(a, _cubic_weight(abs_(share - (i - 1)), -0.75)) for i, a in enumerate(at)]


@composite
def grid_sample(x, grid, *, mode="bilinear", padding="zeros", align=False):
    """x (N, C, H, W) or (N, C, D, H, W) read at the places of a grid (N, ..., 2 or 3), whose last axis is (x, y[, z]).

    "bilinear" (linear along each axis), "nearest" (no gradient for the grid) or "bicubic" (images only). Beyond the
    border are zeros, or the border's pixels, or the image mirrored.
    """
    floating("grid_sample", input=x, grid=grid)
    rank = x.ndim - 2
    if rank not in (2, 3) or grid.ndim != x.ndim or grid.shape[-1] != rank or grid.shape[0] != x.shape[0]:
        raise ShapeError(
            f"grid_sample takes (N, C, H, W) and a grid (N, H, W, 2), or (N, C, D, H, W) and (N, D, H, W, 3), got "
            f"{show_shape(x.shape)} and {show_shape(grid.shape)}"
        )
    if not all(isinstance(n, int) and n > 0 for n in x.shape[2:]):
        raise ShapeError(f"grid_sample needs known sizes of 1 or more, got {show_shape(x.shape)}")
    w, g = widened(x), widened(grid)
    axes = []
    for i, size in enumerate(x.shape[2:]):  # the grid names the last axis first
        last = rank - 1 - i
        place = reshape(slice_axis(g, g.ndim - 1, last, last + 1), shape=g.shape[:-1])
        axes.append(_taps(_pixel(place, size, align), size, mode, padding, align))
    total = None
    for chosen in product(*axes):
        part = _read(w, [at for at, _ in chosen])
        for _, weight in chosen:
            part = part if weight is None else part * expand_dims(weight, (weight.ndim,))
        total = part if total is None else total + part
    out = permute(total, axes=(0, rank + 1, *range(1, rank + 1)))  # type: ignore[arg-type]
    return as_type(out, x.dtype)


@composite
def affine_grid(theta, *, sizes, align=False):
    """The grid (N, *sizes, 2 or 3) for `grid_sample` that maps places by the matrices theta (N, 2, 3) or (N, 3, 4)."""
    floating("affine_grid", theta=theta)
    rank = len(sizes)
    if theta.ndim != 3 or theta.shape[1:] != (rank, rank + 1):
        raise ShapeError(
            f"affine_grid to {rank} axes takes theta (N, {rank}, {rank + 1}), got {show_shape(theta.shape)}"
        )
    t = widened(theta)
    columns = []
    for i, size in reversed(list(enumerate(sizes))):
        at = cast(iota_along((*sizes, 1), i), dtype=t.dtype)
        line = at * (2 / (size - 1) if size > 1 else 0.0) - (1.0 if size > 1 else 0.0)
        columns.append(line if align else (at * 2 + 1) * (1 / size) - 1)
    columns.append(full(columns[0].aval, 1.0))
    base = reshape(concatenate(*columns, axis=rank), shape=(1, size_of(sizes), rank + 1))
    n = theta.shape[0]
    out = matmul(broadcast_to(base, (n, *base.shape[1:])), permute(t, axes=(0, 2, 1)))
    return as_type(reshape(out, shape=(n, *sizes, rank)), theta.dtype)
