"""What can be done to an image, without chance: `pixels` (values, windows) and `resample` (sizes, places)."""

from .pixels import (
    adjust_color,
    center_crop,
    crop,
    erase,
    grayscale,
    hflip,
    image_array,
    normalize,
    pad,
    to_float,
    vflip,
)
from .resample import affine, affine_matrix, resize, rotate, warp

__all__ = [
    "adjust_color",
    "affine",
    "affine_matrix",
    "center_crop",
    "crop",
    "erase",
    "grayscale",
    "hflip",
    "image_array",
    "normalize",
    "pad",
    "resize",
    "rotate",
    "to_float",
    "vflip",
    "warp",
]
