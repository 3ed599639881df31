"""Transforms of where things are: sizes, windows, flips, rotations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...base.errors import ArgumentError, DataError
from ..randomness import RandomStream
from . import functional as F
from .compose import RandomTransform, Transform, probability
from .pixels import pair, sides_of, size_of
from .resample import check_interpolation

Range = tuple[float, float]


class Resize(Transform):
    """Another size: (height, width), or one number for the shorter side."""

    def __init__(self, size: Any, interpolation: str = "bilinear", *, antialias: bool = True) -> None:
        pair(size)
        check_interpolation(interpolation)
        self.size, self.interpolation, self.antialias = size, interpolation, antialias

    def __call__(self, image: Any) -> np.ndarray:
        return F.resize(image, self.size, self.interpolation, self.antialias)


class CenterCrop(Transform):
    """The window of `size` in the middle."""

    def __init__(self, size: Any) -> None:
        self.size = pair(size)

    def __call__(self, image: Any) -> np.ndarray:
        return F.center_crop(image, self.size)


class Pad(Transform):
    """More pixels at the sides: one number, (x, y) or (left, top, right, bottom); see `functional.pad`."""

    def __init__(self, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> None:
        sides_of(padding, padding_mode)
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def __call__(self, image: Any) -> np.ndarray:
        return F.pad(image, self.padding, self.fill, self.padding_mode)


class ChannelsFirst(Transform):
    """From (..., height, width, channels), as many libraries keep images, to (..., channels, height, width)."""

    def __call__(self, image: Any) -> np.ndarray:
        array = np.asarray(image)
        if array.ndim == 2:
            return array[None]
        if array.ndim < 2:
            raise DataError(f"an image has a height and a width, got shape {array.shape}")
        return np.moveaxis(array, -1, -3)


class ChannelsLast(Transform):
    """From (..., channels, height, width) to (..., height, width, channels)."""

    def __call__(self, image: Any) -> np.ndarray:
        return np.moveaxis(F.image_array(image), -3, -1)


class RandomCrop(RandomTransform):
    """A window of `size` anywhere, after padding.

    Args:
        padding: pixels added at the sides before (see `Pad`).
        pad_if_needed: pad images that are too small; otherwise they are a `DataError`.
    """

    def __init__(
        self,
        size: Any,
        padding: Any = None,
        pad_if_needed: bool = False,
        fill: Any = 0,
        padding_mode: str = "constant",
    ) -> None:
        self.size = pair(size)
        self.padding, self.pad_if_needed, self.fill, self.padding_mode = (
            padding,
            pad_if_needed,
            fill,
            padding_mode,
        )

    def apply(self, image: np.ndarray, draws: RandomStream) -> np.ndarray:
        if self.padding is not None:
            image = F.pad(image, self.padding, self.fill, self.padding_mode)
        height, width = self.size
        h, w = size_of(image)
        if self.pad_if_needed and (h < height or w < width):
            x, y = max(width - w, 0), max(height - h, 0)
            image = F.pad(image, (x, y), self.fill, self.padding_mode)
            h, w = size_of(image)
        if h < height or w < width:
            raise DataError(
                f"RandomCrop: a window of {height} x {width} does not fit an image of {h} x {w}; use "
                "pad_if_needed=True, padding= or Resize before"
            )
        return F.crop(image, draws.integers(h - height + 1), draws.integers(w - width + 1), height, width)


class RandomResizedCrop(RandomTransform):
    """A window of random area and shape, resized to `size`: what image classifiers are trained on.

    Args:
        scale: range of the window's share of the area.
        ratio: range of width / height, drawn evenly on a logarithmic scale.
    """

    def __init__(
        self,
        size: Any,
        scale: Range = (0.08, 1.0),
        ratio: Range = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
        *,
        antialias: bool = True,
    ) -> None:
        self.size = pair(size)
        self.scale, self.ratio = interval(scale, "scale", low=0), interval(ratio, "ratio", low=0)
        check_interpolation(interpolation)
        self.interpolation, self.antialias = interpolation, antialias

    def apply(self, image: np.ndarray, draws: RandomStream) -> np.ndarray:
        window = F.crop(image, *self._window(size_of(image), draws))
        return F.resize(window, self.size, self.interpolation, self.antialias)

    def _window(self, size: tuple[int, int], draws: RandomStream) -> tuple[int, int, int, int]:
        h, w = size
        for _ in range(10):
            area = h * w * draws.uniform(*self.scale)
            shape = math.exp(draws.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            width, height = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < width <= w and 0 < height <= h:
                return draws.integers(h - height + 1), draws.integers(w - width + 1), height, width
        # No such window fits: the largest one of a shape that is allowed, in the middle.
        shape = min(max(w / h, self.ratio[0]), self.ratio[1])
        height, width = min(h, max(1, round(w / shape))), min(w, max(1, round(h * shape)))
        return (h - height) // 2, (w - width) // 2, height, width


class RandomHorizontalFlip(RandomTransform):
    """Left and right exchanged, with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p)

    def apply(self, image: np.ndarray, draws: RandomStream) -> np.ndarray:
        return image[..., ::-1]


class RandomVerticalFlip(RandomTransform):
    """Up and down exchanged, with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p)

    def apply(self, image: np.ndarray, draws: RandomStream) -> np.ndarray:
        return image[..., ::-1, :]


class RandomRotation(RandomTransform):
    """A rotation by an angle from a range of degrees; one number stands for (-degrees, degrees)."""

    def __init__(
        self,
        degrees: float | Range,
        interpolation: str = "bilinear",
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: Any = 0,
    ) -> None:
        self.degrees = around_zero(degrees, "degrees")
        check_interpolation(interpolation)
        self.interpolation, self.expand, self.center, self.fill = interpolation, expand, center, fill

    def apply(self, image: np.ndarray, draws: RandomStream) -> np.ndarray:
        angle = draws.uniform(*self.degrees)
        return F.rotate(image, angle, self.interpolation, self.expand, self.center, self.fill)


class RandomAffine(RandomTransform):
    """A rotation, shift, scaling and shear at once.

    Args:
        degrees: range of the angle; one number stands for (-degrees, degrees).
        translate: largest shifts as shares of (width, height).
        scale: range of the factor.
        shear: range of the angle along x in degrees, or of both (x from, x to, y from, y to).
    """

    def __init__(
        self,
        degrees: float | Range,
        translate: Range | None = None,
        scale: Range | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: str = "bilinear",
        fill: Any = 0,
        center: Sequence[float] | None = None,
    ) -> None:
        self.degrees = around_zero(degrees, "degrees")
        self.translate = None if translate is None else tuple(probability(t) for t in translate)
        self.scale = None if scale is None else interval(scale, "scale", low=0)
        if shear is None or isinstance(shear, (int, float)) or len(shear) == 2:
            self.shear = (*around_zero(shear or 0.0, "shear"), 0.0, 0.0)
        elif len(shear) == 4:
            self.shear = (*interval(shear[:2], "shear"), *interval(shear[2:], "shear"))
        else:
            raise ArgumentError(f"shear is one number, a range or two ranges, got {shear!r}")
        check_interpolation(interpolation)
        self.interpolation, self.fill, self.center = interpolation, fill, center

    def apply(self, image: np.ndarray, draws: RandomStream) -> np.ndarray:
        h, w = size_of(image)
        angle = draws.uniform(*self.degrees)
        shift = (0.0, 0.0)
        if self.translate is not None:
            dx, dy = self.translate[0] * w, self.translate[1] * h
            shift = draws.uniform(-dx, dx), draws.uniform(-dy, dy)
        factor = 1.0 if self.scale is None else draws.uniform(*self.scale)
        shear = draws.uniform(*self.shear[:2]), draws.uniform(*self.shear[2:])
        return F.affine(image, angle, shift, factor, shear, self.interpolation, self.fill, self.center)


def interval(values: Any, what: str, low: float = -math.inf) -> Range:
    """A range as two floats, the first not larger; both above `low` if it is given."""
    try:
        a, b = (float(v) for v in values)
    except (TypeError, ValueError):
        raise ArgumentError(f"{what} is a range (from, to), got {values!r}") from None
    if not a <= b or a <= low or not math.isfinite(b - a):
        raise ArgumentError(
            f"{what} is a range (from, to)" + (f" above {low}" if low == 0 else "") + f", got {values!r}"
        )
    return a, b


def around_zero(value: Any, what: str) -> Range:
    """A range; one number stands for (-number, number)."""
    if isinstance(value, (int, float)):
        if not value >= 0:
            raise ArgumentError(f"{what} must not be negative, got {value!r}")
        return -float(value), float(value)
    return interval(value, what)
