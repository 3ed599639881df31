"""Images of other sizes and at other places: resampling.

Images are as in `pixels`. Decoders keep the channels of a pixel together, and so do the crops and flips of what they
give: such memory is worked on as it is, and not put in the order of its axes first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ...base.errors import ArgumentError
from .pixels import filling, image_array, like, pair, size_of

# -- other sizes -----------------------------------------------------------------------------------------


def resize(image: Any, size: Any, interpolation: str = "bilinear", antialias: bool = True) -> np.ndarray:
    """The image in another size: (height, width), or one number for the shorter side.

    Each pixel is a weighted mean of those around its place; with `antialias`, of all that it stands for when the image
    becomes smaller. Pixels are squares: the sides of the images lie on each other.
    """
    image = image_array(image)
    h, w = size_of(image)
    if isinstance(size, (int, np.integer)):
        short = pair(size)[0]
        size = (short, max(1, round(short * w / h))) if h <= w else (max(1, round(short * h / w)), short)
    height, width = pair(size)
    check_interpolation(interpolation)
    if (height, width) == (h, w):
        return image
    if interpolation == "nearest":
        rows, columns = (
            ((np.arange(n) + 0.5) * (m / n)).astype(np.int64) for n, m in ((height, h), (width, w))
        )
        return image[..., rows[:, None], columns]
    values = _shrunk(image, height, width) if antialias else image
    h, w = size_of(values)
    together = _channels_together(values)
    if together:
        pixels = values.transpose(1, 2, 0)  # (h, w, channels)
    else:
        pixels = np.moveaxis(values.reshape(-1, h, w), 0, 1)  # (h, images and channels, w)
    wide = np.float64 if values.dtype == np.float64 else np.float32
    pixels = _along_first(pixels.astype(wide, order="C"), height, antialias)
    pixels = np.ascontiguousarray(pixels.swapaxes(0, 1) if together else np.moveaxis(pixels, -1, 0))
    pixels = _along_first(pixels, width, antialias)  # (width, height, channels) in both cases
    out = like(pixels, image).transpose(2, 1, 0)
    return np.ascontiguousarray(out).reshape(*image.shape[:-2], height, width)


def _along_first(x: np.ndarray, m: int, antialias: bool) -> np.ndarray:
    """The first axis brought to length m.

    Plain loops of NumPy and no matrix product: the library behind that one starts threads even for small matrices,
    which are slow where the cores have other work, and it sums in an order of its own.
    """
    n = len(x)
    if n == m:
        return x
    first, weights = _weights(n, m, antialias)
    flat = x.reshape(n, -1)
    out = np.take(flat, first, axis=0)
    out *= weights[:, :1]
    term = np.empty_like(out)
    for k in range(1, weights.shape[1]):
        np.take(flat, np.minimum(first + k, n - 1), axis=0, out=term, mode="clip")
        term *= weights[:, k : k + 1]
        out += term
    return out.reshape(m, *x.shape[1:])


def check_interpolation(interpolation: str) -> None:
    if interpolation not in ("nearest", "bilinear"):
        raise ArgumentError(f"interpolation must be 'nearest' or 'bilinear', got {interpolation!r}")


def _channels_together(image: np.ndarray) -> bool:
    """Whether the channels of a pixel, and the pixels of a row, lie side by side in memory."""
    size = image.itemsize
    return image.ndim == 3 and image.strides[0] == size and image.strides[2] == size * image.shape[0] > size


def _shrunk(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Means of blocks, where the image is to become 16 or more times smaller; at least 8 times the size is left."""
    fy, fx = (_divisor(n, n // (8 * m)) for n, m in zip(size_of(image), (height, width), strict=True))
    if fy == fx == 1:
        return image
    wide = np.uint32 if image.dtype == np.uint8 else image.dtype
    rows = image[..., ::fy, :].astype(wide)
    for i in range(1, fy):
        rows += image[..., i::fy, :]
    blocks = rows[..., ::fx].copy(order="K")
    for i in range(1, fx):
        blocks += rows[..., i::fx]
    return blocks * np.float32(1 / (fy * fx))


def _divisor(n: int, limit: int) -> int:
    """The largest divisor of n up to a limit."""
    return next(f for f in range(max(limit, 1), 0, -1) if n % f == 0)


@lru_cache(maxsize=256)
def _weights(n: int, m: int, antialias: bool) -> tuple[np.ndarray, np.ndarray]:
    """How m numbers are made of n: for each, the first one that counts (m,), and the weights from there on (m, count).

    The weights are triangles of width 1 around each place, wider if m < n.
    """
    scale = n / m
    width = max(scale, 1.0) if antialias else 1.0
    centres = (np.arange(m) + 0.5) * scale - 0.5
    if width == 1.0:
        centres = np.clip(centres, 0, n - 1)
    first = np.maximum(np.ceil(centres - width), 0).astype(np.int64)
    at = first[:, None] + np.arange(int(np.ceil(2 * width)) + 1)
    weights = np.maximum(0.0, 1 - np.abs(at - centres[:, None]) / width) * (at < n)
    weights = weights[:, : int(np.max(np.nonzero(weights.any(axis=0))[0])) + 1]
    return first, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


# -- other places -------------------------------------------------------------------------------------------


def affine_matrix(
    size: tuple[int, int],
    angle: float = 0.0,
    translate: Sequence[float] = (0.0, 0.0),
    scale: float = 1.0,
    shear: Sequence[float] = (0.0, 0.0),
    center: Sequence[float] | None = None,
) -> np.ndarray:
    """The matrix (2, 3) from places (x, y, 1) of the image that is made to places of the given one.

    The image is scaled, sheared by angles along x and y, rotated counter-clockwise, all around `center` (by default the
    middle), and moved by `translate` pixels (right, down). Angles are in degrees.
    """
    cx, cy = (
        ((size[1] - 1) / 2, (size[0] - 1) / 2) if center is None else (float(center[0]), float(center[1]))
    )
    a, sx, sy = (math.radians(v) for v in (angle, *shear))
    turn = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])  # y points down
    forward = turn @ np.array([[1.0, math.tan(sx)], [math.tan(sy), 1.0]]) * scale
    if abs(np.linalg.det(forward)) < 1e-12:
        raise ArgumentError(f"scale {scale} and shear {tuple(shear)} leave nothing of the image")
    back = np.linalg.inv(forward)
    middle = np.array([cx, cy])
    return np.concatenate([back, (middle - back @ (middle + np.asarray(translate, float)))[:, None]], axis=1)


def warp(
    image: Any,
    matrix: np.ndarray,
    size: tuple[int, int] | None = None,
    interpolation: str = "bilinear",
    fill: Any = 0,
) -> np.ndarray:
    """An image whose pixel at (x, y) is the given one's at `matrix` @ (x, y, 1); outside of it, `fill`."""
    image = image_array(image)
    check_interpolation(interpolation)
    h, w = size_of(image)
    height, width = size_of(image) if size is None else size
    if not image.size:  # a batch of no images
        return np.empty((*image.shape[:-2], height, width), image.dtype)
    m = np.asarray(matrix, np.float64)
    x, y = np.arange(width), np.arange(height)[:, None]
    # Places in the image with a border of `fill` one pixel wide, on which all that is outside comes to lie.
    sx, sy = (
        (m[i, 0] * x).astype(np.float32) + (m[i, 1] * y + (m[i, 2] + 1)).astype(np.float32) for i in (0, 1)
    )
    np.clip(sx, 0, w + 1, out=sx)
    np.clip(sy, 0, h + 1, out=sy)
    pixels = _framed(image, fill)
    channels = math.prod(image.shape[:-2])
    if interpolation == "nearest":
        at = np.rint(sy).astype(np.int64) * (w + 2) + np.rint(sx).astype(np.int64)
        out = _taken(pixels, at)[..., :channels].transpose(2, 0, 1)
    else:
        out = _blended(pixels, sx, sy, channels)
    return like(out.reshape(*image.shape[:-2], height, width), image)


def _framed(image: np.ndarray, fill: Any) -> np.ndarray:
    """The image with a border, its channels last; of bytes, so many that a pixel is a word."""
    h, w = size_of(image)
    channels = math.prod(image.shape[:-2])
    held = 4 if image.dtype == np.uint8 and channels in (3, 4) else channels
    out = np.zeros((h + 2, w + 2, held), image.dtype)
    out[1:-1, 1:-1, :channels] = image.reshape(channels, h, w).transpose(1, 2, 0)
    edge = np.broadcast_to(filling(fill, image), (*image.shape[:-2], 1, 1)).reshape(-1)
    if edge.any():
        for side in (out[0], out[-1], out[:, 0], out[:, -1]):
            side[:, :channels] = edge
    return out.view(np.uint32)[..., 0] if held == 4 and image.dtype == np.uint8 else out


def _taken(pixels: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The pixels at places of the image read row by row: (..., channels)."""
    if pixels.dtype == np.uint32:
        return np.take(pixels.reshape(-1), at, mode="clip").view(np.uint8).reshape(*at.shape, 4)
    return np.take(pixels.reshape(-1, pixels.shape[-1]), at, axis=0, mode="clip")


def _blended(pixels: np.ndarray, sx: np.ndarray, sy: np.ndarray, channels: int) -> np.ndarray:
    """Means of the four pixels around each place, by nearness: float32 (channels, height, width)."""
    h, w = pixels.shape[:2]
    ix, iy = np.minimum(sx.astype(np.int64), w - 2), np.minimum(sy.astype(np.int64), h - 2)
    wx, wy = sx - ix.astype(np.float32), sy - iy.astype(np.float32)
    at = iy * w + ix
    around = [_taken(pixels, at + step) for step in (0, 1, w, w + 1)]
    out = np.empty((channels, *at.shape), np.float32)
    # One channel after the other: the loops of NumPy run over whole rows then, and not over the channels of a pixel.
    for c in range(channels):
        a, b, below_a, below_b = (p[..., c].astype(np.float32) for p in around)
        up = _between(a, b, wx)
        np.add(up, wy * (_between(below_a, below_b, wx) - up), out=out[c])
    return out


def _between(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """a + weight * (b - a), in the memory of b."""
    b -= a
    b *= weight
    b += a
    return b


def affine(
    image: Any,
    angle: float = 0.0,
    translate: Sequence[float] = (0.0, 0.0),
    scale: float = 1.0,
    shear: Sequence[float] = (0.0, 0.0),
    interpolation: str = "bilinear",
    fill: Any = 0,
    center: Sequence[float] | None = None,
) -> np.ndarray:
    """The image scaled, sheared, rotated (counter-clockwise, in degrees) and moved: see `affine_matrix`."""
    image = image_array(image)
    matrix = affine_matrix(size_of(image), angle, translate, scale, shear, center)
    return warp(image, matrix, None, interpolation, fill)


def rotate(
    image: Any,
    angle: float,
    interpolation: str = "bilinear",
    expand: bool = False,
    center: Sequence[float] | None = None,
    fill: Any = 0,
) -> np.ndarray:
    """The image rotated counter-clockwise by degrees; with `expand`, in a frame that holds all of it."""
    image = image_array(image)
    h, w = size_of(image)
    matrix = affine_matrix((h, w), angle, center=center)
    if not expand:
        return warp(image, matrix, None, interpolation, fill)
    a = math.radians(angle)
    c, s = abs(math.cos(a)), abs(math.sin(a))
    height, width = (math.ceil(n - 1e-6) for n in (w * s + h * c, w * c + h * s))
    # The new frame has its middle where the rotated image's is.
    corners = np.array([[(width - 1) / 2], [(height - 1) / 2]])
    middle = np.array([[(w - 1) / 2], [(h - 1) / 2]])
    moved = np.concatenate([matrix[:, :2], middle - matrix[:, :2] @ corners], axis=1)
    return warp(image, moved, (height, width), interpolation, fill)
