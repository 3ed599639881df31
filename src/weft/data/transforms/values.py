"""Transforms of values: number types, colours, holes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...base.errors import ArgumentError
from ..randomness import RandomStream
from . import functional as F
from .compose import RandomTransform, Transform, probability
from .geometry import Range, interval
from .pixels import pair, size_of


class ToFloat(Transform):
    """float32 from 0 to 1."""

    def __call__(self, image: Any) -> np.ndarray:
        return F.to_float(image)


class Normalize(Transform):
    """(values from 0 to 1 - mean) / std, with one number for each channel. uint8 images are scaled on the way."""

    def __init__(self, mean: Any, std: Any) -> None:
        self.mean, self.std = np.asarray(mean, float).tolist(), np.asarray(std, float).tolist()
        if np.any(np.asarray(std) == 0):
            raise ArgumentError("std must not be 0")

    def __call__(self, image: Any) -> np.ndarray:
        return F.normalize(image, self.mean, self.std)


class Grayscale(Transform):
    """The brightness of colours, in 1 channel or repeated in 3."""

    def __init__(self, num_output_channels: int = 1) -> None:
        if num_output_channels not in (1, 3):
            raise ArgumentError(f"num_output_channels must be 1 or 3, got {num_output_channels!r}")
        self.num_output_channels = num_output_channels

    def __call__(self, image: Any) -> np.ndarray:
        return F.grayscale(image, self.num_output_channels)


class RandomGrayscale(RandomTransform):
    """Grey, with probability p, in as many channels as before."""

    def __init__(self, p: float = 0.1) -> None:
        self.p = probability(p)

    def apply(self, image: np.ndarray, draws: RandomStream) -> np.ndarray:
        return F.grayscale(image, image.shape[-3])


class ColorJitter(RandomTransform):
    """Brightness, contrast and saturation multiplied by factors from 1 - value to 1 + value (or from a range), hue
    turned by up to `hue` of a whole turn: see `functional.adjust_color`."""

    def __init__(
        self,
        brightness: float | Range = 0,
        contrast: float | Range = 0,
        saturation: float | Range = 0,
        hue: float | Range = 0,
    ) -> None:
        self.brightness = _factors(brightness, "brightness")
        self.contrast = _factors(contrast, "contrast")
        self.saturation = _factors(saturation, "saturation")
        both = (-hue, hue) if isinstance(hue, (int, float)) else hue
        self.hue = interval(both, "hue")
        if self.hue[0] < -0.5 or self.hue[1] > 0.5:
            raise ArgumentError(f"hue is a part of a turn, from -0.5 to 0.5, got {hue!r}")

    def apply(self, image: np.ndarray, draws: RandomStream) -> np.ndarray:
        ranges = {"brightness": self.brightness, "contrast": self.contrast, "saturation": self.saturation}
        factors = {name: draws.uniform(*r) for name, r in ranges.items()}
        return F.adjust_color(image, hue=draws.uniform(*self.hue), **factors)


def _factors(value: Any, what: str) -> Range:
    if isinstance(value, (int, float)):
        if not value >= 0:
            raise ArgumentError(f"{what} must not be negative, got {value!r}")
        return max(0.0, 1 - value), 1.0 + value
    low, high = interval(value, what)
    if low < 0:
        raise ArgumentError(f"{what} must not be negative, got {value!r}")
    return low, high


class RandomErasing(RandomTransform):
    """A window of random area and shape is filled, with probability p (Zhong et al. 2017).

    Args:
        scale: range of the window's share of the area.
        ratio: range of height / width.
        value: what it is filled with: a number, one for each channel, or "random" for noise.
    """

    def __init__(
        self, p: float = 0.5, scale: Range = (0.02, 0.33), ratio: Range = (0.3, 3.3), value: Any = 0
    ) -> None:
        self.p = probability(p)
        self.scale, self.ratio = interval(scale, "scale", low=0), interval(ratio, "ratio", low=0)
        if isinstance(value, str) and value != "random":
            raise ArgumentError(f"value is a number, one for each channel, or 'random', got {value!r}")
        self.value = value

    def apply(self, image: np.ndarray, draws: RandomStream) -> np.ndarray:
        h, w = size_of(image)
        for _ in range(10):
            area = h * w * draws.uniform(*self.scale)
            shape = math.exp(draws.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            height, width = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < height < h and 0 < width < w:
                top, left = draws.integers(h - height + 1), draws.integers(w - width + 1)
                return F.erase(image, top, left, height, width, self._fill(image, height, width, draws))
        return image

    def _fill(self, image: np.ndarray, height: int, width: int, draws: RandomStream) -> Any:
        if not isinstance(self.value, str):
            return self.value
        shape = (image.shape[-3], height, width)
        return draws.integers(256, shape=shape) if image.dtype == np.uint8 else draws.normal(shape=shape)


class Cutout(RandomTransform):
    """Square holes of `size` pixels, whose middle lies anywhere in the image (DeVries and Taylor 2017)."""

    def __init__(self, size: Any, count: int = 1, fill: Any = 0, p: float = 1.0) -> None:
        self.size = pair(size)
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ArgumentError(f"count must be a positive integer, got {count!r}")
        self.count, self.fill, self.p = count, fill, probability(p)

    def apply(self, image: np.ndarray, draws: RandomStream) -> np.ndarray:
        h, w = size_of(image)
        for _ in range(self.count):
            top, left = (draws.integers(n) - s // 2 for n, s in zip((h, w), self.size, strict=True))
            image = F.erase(image, top, left, *self.size, self.fill)
        return image
