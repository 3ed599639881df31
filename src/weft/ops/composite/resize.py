"""Images of another size: the nearest pixel, or a smooth curve through the pixels, axis by axis."""

from __future__ import annotations

from ...base.errors import ShapeError
from ...ir.node import Node
from ...ir.shape import show_shape
from ..rearrange import repeat
from ..resample import resample
from .common import as_type, widened
from .define import composite

#: For each axis how many old pixels one new pixel is wide; None for as many as the sizes say.
Ratios = tuple[float | None, ...]


def _changes(x: Node, sizes: tuple[int, ...], ratios: Ratios | None) -> list[tuple[int, int, float | None]]:
    """(axis, wanted size, ratio) of each axis that changes, in the order that makes the least on the way.

    What shrinks comes first, the first axis before the others: rows of memory are added up; what grows does so the
    other way round. The gradient goes back the same way.
    """
    first = x.ndim - len(sizes)
    if first != 2:
        raise ShapeError(
            f"interpolate to {len(sizes)} sizes takes (N, C, ...) with as many spatial axes, got {show_shape(x.shape)}"
        )
    found = []
    for axis, (n, want) in enumerate(zip(x.shape[2:], sizes, strict=True), 2):
        if not isinstance(n, int) or n < 1 or want < 1:
            raise ShapeError(
                f"interpolate takes known sizes of 1 or more, from {show_shape(x.shape)} to {sizes}"
            )
        ratio = None if ratios is None else ratios[axis - 2]
        if want != n or ratio is not None:
            found.append((want / n, axis if want < n else -axis, axis, want, ratio))
    return [change[2:] for change in sorted(found, key=lambda c: c[:2])]


@composite
def resize_nearest(x, *, sizes, ratios=None, centred=False):
    """Each new pixel takes the old one in which its beginning lies, or (centred) its middle.

    `sizes` are the new sizes of the last axes of x (N, C, ...), `ratios` how many old pixels one new one is wide there
    (None: from the sizes).
    """
    curve = "centred" if centred else "nearest"
    for axis, want, ratio in _changes(x, sizes, ratios):
        times, rest = divmod(want, x.shape[axis])  # type: ignore[operator]  (see `_changes`)
        if ratio is None and not rest:
            x = repeat(x, times, axis)
        else:
            x = _resampled(x, axis, want, ratio, curve)
    return x


def _resampled(
    x: Node, axis: int, want: int, ratio: float | None, curve: str, align: bool = False, spread: bool = False
) -> Node:
    return resample(
        x, axis=axis, length=want, curve=curve, ratio=ratio, align=align, spread=spread, back=False
    )


def _smooth(
    x: Node, sizes: tuple[int, ...], ratios: Ratios | None, curve: str, align: bool, spread: bool = False
) -> Node:
    w = widened(x)
    for axis, want, ratio in _changes(x, sizes, ratios):
        # Of a single pixel there is nothing but repetitions.
        w = (
            repeat(w, want, axis)
            if w.shape[axis] == 1
            else _resampled(w, axis, want, ratio, curve, align, spread)
        )
    return as_type(w, x.dtype)


@composite
def resize_linear(x, *, sizes, ratios=None, align=False):
    """New pixels on the straight lines between the two old ones beside them, along each of the last axes.

    With `align` the middles of the corner pixels stay where they are; otherwise the outer edges do.
    """
    return _smooth(x, sizes, ratios, "linear", align)


@composite
def resize_cubic(x, *, sizes, ratios=None, align=False):
    """New pixels on cubic curves through the four old ones around them, along each of the last axes.

    Beyond the border the border is repeated. Values may lie beyond those of x.

    Reference: R. Keys, "Cubic convolution interpolation for digital image processing", 1981 (a = -3/4).
    """
    return _smooth(x, sizes, ratios, "cubic", align)


@composite
def resize_antialiased(x, *, sizes, ratios=None, align=False, curve="linear"):
    """Weighted means of all old pixels that a new one covers, along each of the last axes.

    The weights are those of `resize_linear`, those of a "cubic", or those of Lanczos: sinc(d) sinc(d / 3) at distance d
    below 3.
    """
    return _smooth(x, sizes, ratios, curve, align, True)
