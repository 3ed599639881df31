"""What can be done to an image, without chance.

An image is an array (channels, height, width), as layers take it, and (..., channels, height, width) is a batch. Values
are uint8 from 0 to 255, or floating-point numbers from 0 to 1; what comes out is of the same kind. Results may share
memory with what was given: crops and flips cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError, DataError

#: Shares of red, green and blue in the brightness of a colour (ITU-R BT.601).
LUMA = np.array([0.299, 0.587, 0.114], np.float32)

_MODES = {"constant": "constant", "edge": "edge", "reflect": "reflect", "symmetric": "symmetric"}


def image_array(image: Any) -> np.ndarray:
    """An image as a NumPy array; `DataError` for what is none."""
    array = image.numpy() if isinstance(image, Tensor) else np.asarray(image)
    if array.ndim < 3:
        raise DataError(
            f"an image has the shape (channels, height, width), got {array.shape}"
            + ("; give it a channel with image[None]" if array.ndim == 2 else "")
        )
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise DataError(f"an image is uint8 from 0 to 255 or float from 0 to 1, got {array.dtype}")
    if array.size and array.shape[-1] in (1, 3, 4) and array.shape[-3] > 4:
        raise DataError(
            f"an image has the shape (channels, height, width), got {array.shape}, which looks like channels last; "
            "use ChannelsFirst() before"
        )
    if 0 in array.shape[-3:]:
        raise DataError(
            f"the image is empty: its shape is {array.shape}, (channels, height, width) of at least 1"
        )
    return array


def size_of(image: np.ndarray) -> tuple[int, int]:
    """Height and width."""
    return image.shape[-2], image.shape[-1]


def top(image: np.ndarray) -> float:
    """The value of white."""
    return 255.0 if image.dtype == np.uint8 else 1.0


def like(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Floating-point values as an image of the dtype of another one."""
    if values.dtype == image.dtype:
        return values
    if image.dtype == np.uint8:
        np.clip(values, 0, 255, out=values)
        np.rint(values, out=values)
    return values.astype(image.dtype, copy=False)


def pair(size: Any, what: str = "size") -> tuple[int, int]:
    """A size as (height, width)."""
    both = (size, size) if isinstance(size, (int, np.integer)) else tuple(size)
    if len(both) == 1:
        both = both * 2
    if len(both) != 2 or any(isinstance(s, bool) or int(s) != s or s < 1 for s in both):
        raise ArgumentError(f"{what} must be a positive integer or (height, width), got {size!r}")
    return int(both[0]), int(both[1])


# -- values -------------------------------------------------------------------------------------------------


def to_float(image: Any) -> np.ndarray:
    """float32 from 0 to 1, in memory of its own."""
    image = image_array(image)
    out = np.empty(image.shape, np.float32)
    if image.dtype == np.uint8:
        np.multiply(image, np.float32(1 / 255), out=out)
    else:
        out[...] = image
    return out


def normalize(image: Any, mean: Any, std: Any) -> np.ndarray:
    """(values from 0 to 1 - mean) / std, with one number for each channel; float32."""
    image = image_array(image)
    channels = image.shape[-3]
    m, s = (np.asarray(v, np.float64).reshape(-1) for v in (mean, std))
    for name, v in (("mean", m), ("std", s)):
        if len(v) not in (1, channels):
            raise DataError(f"{name} has {len(v)} numbers for {channels} channels")
    if np.any(s == 0):
        raise ArgumentError("std must not be 0")
    scale = (1 / (top(image) * s)).astype(np.float32)[:, None, None]
    offset = (-m / s).astype(np.float32)[:, None, None]
    out = np.empty(image.shape, np.float32)
    np.multiply(image, scale, out=out, casting="unsafe")
    out += offset
    return out


def adjust_color(
    image: Any, *, brightness: float = 1.0, contrast: float = 1.0, saturation: float = 1.0, hue: float = 0.0
) -> np.ndarray:
    """Change the colours of an image with 3 channels (with 1, brightness and contrast).

    brightness multiplies all values; contrast their distance from the image's mean grey; saturation the distance from
    each pixel's own grey; hue turns colours around the grey axis by a fraction of a whole turn, at constant brightness
    (in YIQ). All four are one linear map of colours, after which values are clipped once.
    """
    image = image_array(image)
    channels = image.shape[-3]
    if channels not in (1, 3):
        raise DataError(f"colours are those of images with 1 or 3 channels, got {channels}")
    luma = LUMA if channels == 3 else np.ones(1, np.float32)
    matrix = np.eye(channels, dtype=np.float32) * brightness
    if channels == 3:
        grey = np.ones((3, 1), np.float32) * luma
        matrix = (
            _hue_matrix(hue) @ (saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * grey) @ matrix
        )
    planes = [image[..., c, :, :].astype(np.float32) for c in range(channels)]
    out = np.empty((*image.shape[:-3], channels, *size_of(image)), np.float32)
    for c, row in enumerate(matrix):
        out[..., c, :, :] = _sum(planes, row)
    if contrast != 1:
        mean = _sum([out[..., c, :, :] for c in range(channels)], luma).mean(axis=(-2, -1))[
            ..., None, None, None
        ]
        out *= np.float32(contrast)
        out += np.float32(1 - contrast) * mean
    np.clip(out, 0, top(image), out=out)
    return like(out, image)


def _sum(planes: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """The sum of planes with weights: three at most, so no matter for a matrix product and its threads."""
    out = planes[0] * np.float32(weights[0])
    for plane, weight in zip(planes[1:], weights[1:], strict=True):
        out += plane * np.float32(weight)
    return out


_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


@lru_cache(maxsize=64)
def _hue_matrix(hue: float) -> np.ndarray:
    if not hue:
        return np.eye(3, dtype=np.float32)
    c, s = math.cos(2 * math.pi * hue), math.sin(2 * math.pi * hue)
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return (np.linalg.inv(_YIQ) @ turn @ _YIQ).astype(np.float32)


def grayscale(image: Any, channels: int = 1) -> np.ndarray:
    """The brightness of an image with 3 channels, in 1 channel or repeated in 3."""
    image = image_array(image)
    if image.shape[-3] == 3:
        grey = like(_sum([image[..., c, :, :].astype(np.float32) for c in range(3)], LUMA), image)[
            ..., None, :, :
        ]
    elif image.shape[-3] == 1:
        grey = image
    else:
        raise DataError(f"a grey image is made of one with 1 or 3 channels, got {image.shape[-3]}")
    return grey if channels == 1 else np.repeat(grey, channels, axis=-3)


# -- windows ------------------------------------------------------------------------------------------------


def crop(image: Any, top: int, left: int, height: int, width: int) -> np.ndarray:
    """A window of the image, which must lie inside."""
    image = image_array(image)
    h, w = size_of(image)
    if height < 1 or width < 1 or top < 0 or left < 0 or top + height > h or left + width > w:
        raise DataError(
            f"a window of {height} x {width} at ({top}, {left}) does not lie in an image of {h} x {w}; pad it "
            "first, or resize it"
        )
    return image[..., top : top + height, left : left + width]


def center_crop(image: Any, size: Any) -> np.ndarray:
    """The window in the middle."""
    image = image_array(image)
    (h, w), (height, width) = size_of(image), pair(size)
    return crop(image, (h - height) // 2, (w - width) // 2, height, width)


def hflip(image: Any) -> np.ndarray:
    """Left and right exchanged."""
    return image_array(image)[..., ::-1]


def vflip(image: Any) -> np.ndarray:
    """Up and down exchanged."""
    return image_array(image)[..., ::-1, :]


def pad(image: Any, padding: Any, fill: Any = 0, mode: str = "constant") -> np.ndarray:
    """More pixels at the sides: one number, (left and right, top and bottom) or (left, top, right, bottom).

    `mode` "constant" fills in `fill` (a number or one for each channel), "edge" the last pixel, "reflect" the image
    mirrored at its last pixel, "symmetric" mirrored at its side.
    """
    image = image_array(image)
    left, up, right, down = sides_of(padding, mode)
    h, w = size_of(image)
    if mode != "constant":
        if mode == "reflect" and (max(left, right) >= w or max(up, down) >= h):
            raise DataError(f"an image of {h} x {w} is too small to be mirrored by {padding!r}")
        width = [(0, 0)] * (image.ndim - 2) + [(up, down), (left, right)]
        return np.pad(image, width, mode=mode)  # type: ignore[call-overload]
    out = np.empty((*image.shape[:-2], h + up + down, w + left + right), image.dtype)
    out[...] = filling(fill, image)
    out[..., up : up + h, left : left + w] = image
    return out


def sides_of(padding: Any, mode: str) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of what `pad` is given, checked."""
    if mode not in _MODES:
        raise ArgumentError(f"mode must be one of {', '.join(_MODES)}, got {mode!r}")
    sides = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * 4
    sides = sides * 2 if len(sides) == 2 else sides
    if len(sides) != 4 or not all(hasattr(s, "__index__") and s >= 0 for s in sides):
        raise ArgumentError(
            f"padding is a number, (x, y) or (left, top, right, bottom), not negative, got {padding!r}"
        )
    left, top, right, bottom = (int(s) for s in sides)
    return left, top, right, bottom


def filling(fill: Any, image: np.ndarray) -> np.ndarray:
    """`fill`, a number or one for each channel, to be broadcast over an image."""
    values = np.asarray(fill, np.float32)
    if values.ndim > 1 or (values.ndim == 1 and len(values) not in (1, image.shape[-3])):
        raise ArgumentError(f"fill is a number or one for each of {image.shape[-3]} channels, got {fill!r}")
    return values.astype(image.dtype).reshape(-1, 1, 1)


def erase(image: Any, top: int, left: int, height: int, width: int, value: Any = 0) -> np.ndarray:
    """A copy of the image with a window filled with `value`: a number, one for each channel, or an array."""
    image = np.array(image_array(image))
    values = np.asarray(value)
    window = image[..., max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    window[...] = values.astype(image.dtype) if values.ndim >= 3 else filling(value, image)
    return image
