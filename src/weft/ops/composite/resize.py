"""Images of another size: the nearest pixel, or a smooth curve through the pixels, axis by axis."""

from __future__ import annotations

import math

from ...base.errors import ShapeError
from ...ir.dtype import float64, int64
from ...ir.node import Node
from ...ir.shape import show_shape
from ..contraction import dot_general
from ..define import constant
from ..elementwise import abs_, cast, equal, floor, floor_divide, less, maximum, minimum, sin, where
from ..gather import iota
from ..indexing import take
from ..movement import reshape
from ..rearrange import moveaxis, repeat
from ..reduce import sum_
from .common import along, as_type, widened
from .define import composite


def _spatial(x: Node, sizes: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """(axis, size, wanted size) of each axis that changes."""
    first = x.ndim - len(sizes)
    if first != 2:
        raise ShapeError(
            f"interpolate to {len(sizes)} sizes takes (N, C, ...) with as many spatial axes, got {show_shape(x.shape)}"
        )
    for n, want in zip(x.shape[2:], sizes, strict=True):
        if not isinstance(n, int) or n < 1 or want < 1:
            raise ShapeError(
                f"interpolate takes known sizes of 1 or more, from {show_shape(x.shape)} to {sizes}"
            )
    return [(first + i, x.shape[first + i], want) for i, want in enumerate(sizes)]  # type: ignore[return-value]


def _ratio(scale: Node | None, size: int, want: int) -> Node:
    """How many old pixels one new pixel is wide: as `scale` says, or as the sizes do."""
    return constant(size / want, float64) if scale is None else 1 / cast(scale, dtype=float64)


@composite
def resize_nearest(x, *scales, sizes, centred=False):
    """Each new pixel takes the old one in which its beginning lies, or (centred) its middle.

    `scales` are factors (None: from the sizes), `sizes` the new sizes of the last axes of x (N, C, ...).
    """
    for (axis, size, want), scale in zip(_spatial(x, sizes), scales, strict=True):
        if want == size and scale is None:
            continue
        if want % size == 0 and scale is None:
            x = repeat(x, want // size, axis)
            continue
        place = iota(size=want, dtype=int64)
        if scale is None and not centred:
            index = floor_divide(place * size, want)
        elif scale is None:
            index = floor_divide((place * 2 + 1) * size, 2 * want)
        else:
            start = cast(place, dtype=float64) + (0.5 if centred else 0.0)
            index = cast(floor(start * _ratio(scale, size, want)), dtype=int64)
        x = take(x, minimum(index, constant(size - 1, int64)), axis)
    return x


def _places(scale: Node | None, size: int, want: int, align: bool) -> Node:
    """Where the middles of the new pixels lie, in float64: 0 is the middle of the first old one."""
    place = cast(iota(size=want, dtype=int64), dtype=float64)
    if align:
        return place * ((size - 1) / (want - 1) if want > 1 else 0.0)
    return (place + 0.5) * _ratio(scale, size, want) - 0.5


def _tap(x: Node, index: Node, weight: Node, axis: int, size: int) -> Node:
    """x at run-time places of one axis (those outside moved to the border), times a weight for each place."""
    low, high = constant(0, int64), constant(size - 1, int64)
    taken = take(x, maximum(minimum(index, high), low), axis)
    return taken * along(as_type(weight, x.dtype), taken, axis)


@composite
def resize_linear(x, *scales, sizes, align=False):
    """New pixels on the straight lines between the two old ones beside them, along each of the last axes.

    With `align` the middles of the corner pixels stay where they are; otherwise the outer edges do.
    """
    w = widened(x)
    for (axis, size, want), scale in zip(_spatial(x, sizes), scales, strict=True):
        if want == size and scale is None:
            continue
        place = maximum(_places(scale, size, want, align), constant(0.0, float64))
        below = floor(place)
        share, index = place - below, cast(below, dtype=int64)
        w = _tap(w, index, 1 - share, axis, size) + _tap(w, index + 1, share, axis, size)
    return as_type(w, x.dtype)


def cubic_weight(d: Node, a: float) -> Node:
    """The weight of a pixel at distance d: a cubic convolution kernel, 0 from distance 2 on."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return where(less(d, 1), near, where(less(d, 2), far, 0))


@composite
def resize_cubic(x, *scales, sizes, align=False):
    """New pixels on cubic curves through the four old ones around them, along each of the last axes.

    Beyond the border the border is repeated. Values may lie beyond those of x.

    Reference: R. Keys, "Cubic convolution interpolation for digital image processing", 1981 (a = -3/4).
    """
    w = widened(x)
    for (axis, size, want), scale in zip(_spatial(x, sizes), scales, strict=True):
        if want == size and scale is None:
            continue
        place = _places(scale, size, want, align)
        below = floor(place)
        share, index = place - below, cast(below, dtype=int64)
        old = w
        for i in range(4):
            part = _tap(old, index + (i - 1), cubic_weight(abs_(share - (i - 1)), -0.75), axis, size)
            w = part if i == 0 else w + part
    return as_type(w, x.dtype)


#: How many pixels away a weight is 0.
_REACH = {"linear": 1.0, "cubic": 2.0, "lanczos": 3.0}


def _weight(d: Node, curve: str) -> Node:
    """The weight of a pixel at distance d, not negative."""
    if curve == "cubic":
        return cubic_weight(d, -0.5)
    if curve == "linear":
        return maximum(1 - d, constant(0.0, float64))
    return where(less(d, 3.0), _sinc(d) * _sinc(d / 3.0), 0)


def _sinc(d: Node) -> Node:
    """sin(pi d) / (pi d), and 1 at 0."""
    zero = equal(d, 0)
    x = where(zero, 1, d) * math.pi
    return where(zero, 1, sin(x) / x)


@composite
def resize_antialiased(x, *scales, sizes, align=False, curve="linear"):
    """Weighted means of all old pixels that a new one covers, along each of the last axes.

    The weights are those of `resize_linear`, those of a "cubic", or those of Lanczos: sinc(d) sinc(d / 3) at distance d
    below 3.
    """
    w = widened(x)
    for (axis, size, want), scale in zip(_spatial(x, sizes), scales, strict=True):
        if want == size and scale is None:
            continue
        if align:
            ratio = constant((size - 1) / (want - 1) if want > 1 else 0.0, float64)
        else:
            ratio = _ratio(scale, size, want)
        wide = maximum(ratio, constant(1.0, float64))
        centre = (cast(iota(size=want, dtype=int64), dtype=float64) + 0.5) * ratio
        reach = wide * _REACH[curve]
        first = maximum(floor(centre - reach + 0.5), constant(0.0, float64))
        last = minimum(floor(centre + reach + 0.5), constant(float(size), float64))
        old = reshape(cast(iota(size=size, dtype=int64), dtype=float64), shape=(1, size))
        column = [reshape(v, shape=(want, 1)) for v in (centre, first, last)]
        far = abs_(old - column[0] + 0.5) / wide
        share = _weight(far, curve)
        share = where(less(old, column[1]), 0, where(less(old, column[2]), share, 0))
        total = sum_(share, axes=(1,))
        share = share / reshape(where(equal(total, 0), 1, total), shape=(want, 1))
        out = dot_general(w, as_type(share, w.dtype), contract=((axis,), (1,)), batch=((), ()))
        w = moveaxis(out, w.ndim - 1, axis)
    return as_type(w, x.dtype)
