"""Changes of images, most of them by chance: arrays (channels, height, width) in, such arrays out."""

from . import functional
from .compose import Compose, RandomApply, RandomChoice, RandomTransform, Transform
from .geometry import (
    CenterCrop,
    ChannelsFirst,
    ChannelsLast,
    Pad,
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
)
from .mixing import CutMix, Mixing, MixUp
from .values import ColorJitter, Cutout, Grayscale, Normalize, RandomErasing, RandomGrayscale, ToFloat

__all__ = [
    "CenterCrop",
    "ChannelsFirst",
    "ChannelsLast",
    "ColorJitter",
    "Compose",
    "CutMix",
    "Cutout",
    "Grayscale",
    "MixUp",
    "Mixing",
    "Normalize",
    "Pad",
    "RandomAffine",
    "RandomApply",
    "RandomChoice",
    "RandomCrop",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomTransform",
    "RandomVerticalFlip",
    "Resize",
    "ToFloat",
    "Transform",
    "functional",
]
