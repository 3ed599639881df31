"""Transforms: objects that are called with an image; those of a chance draw from `item_rng`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...base.checked import check_constructor
from ...base.errors import ArgumentError
from ..randomness import RandomStream, item_rng
from . import functional as F


class Transform:
    """Base class: `transform(image)` returns another image.

    Images are arrays (channels, height, width), or batches of them, which share one draw; see `functional`.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_constructor(cls)

    def __call__(self, image: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __call__")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


class RandomTransform(Transform):
    """Base class of transforms of a chance: `apply(image, draws)`, with probability `p`."""

    p = 1.0

    def __call__(self, image: Any) -> np.ndarray:
        image = F.image_array(image)
        draws = item_rng()
        return self.apply(image, draws) if self.p >= 1 or draws.chance(self.p) else image

    def apply(self, image: np.ndarray, draws: RandomStream) -> np.ndarray:
        """The image changed, with the numbers that are drawn."""
        raise NotImplementedError(f"{type(self).__name__} must define apply")


def probability(p: Any) -> float:
    """A number from 0 to 1, or an error."""
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
        raise ArgumentError(f"a probability lies between 0 and 1, got {p!r}")
    return float(p)


class Compose(Transform):
    """One transform (or any function) after the other.

    >>> t = transforms.Compose([transforms.ToFloat(), transforms.Normalize([0.5], [0.5])])
    >>> t(np.zeros((1, 2, 2), np.uint8)).tolist()
    [[[-1.0, -1.0], [-1.0, -1.0]]]
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = _functions(transforms)

    def __call__(self, image: Any) -> Any:
        for t in self.transforms:
            image = t(image)
        return image


class RandomApply(Transform):
    """All of these transforms, with probability p."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: float = 0.5) -> None:
        self.transforms = _functions(transforms)
        self.p = probability(p)

    def __call__(self, image: Any) -> Any:
        if item_rng().chance(self.p):
            for t in self.transforms:
                image = t(image)
        return image


class RandomChoice(Transform):
    """One of these transforms, all equally likely or in proportion to `p`."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: Sequence[float] | None = None) -> None:
        self.transforms = _functions(transforms)
        if p is not None and (len(p) != len(self.transforms) or min(p) < 0 or sum(p) <= 0):
            raise ArgumentError(
                f"p has one probability for each of {len(self.transforms)} transforms, got {p!r}"
            )
        self.p = None if p is None else [float(v) for v in p]

    def __call__(self, image: Any) -> Any:
        ends = np.cumsum(self.p or [1.0] * len(self.transforms))
        which = int(np.searchsorted(ends, item_rng().uniform(0.0, float(ends[-1])), side="right"))
        return self.transforms[min(which, len(self.transforms) - 1)](image)


def _functions(transforms: Any) -> list[Callable[[Any], Any]]:
    found = list(transforms) if isinstance(transforms, (list, tuple)) else None
    if not found:
        raise ArgumentError(f"a list of transforms expected, got {transforms!r}")
    for t in found:
        if not callable(t) or isinstance(t, type):
            hint = f"; write {t.__name__}()" if isinstance(t, type) else ""
            raise ArgumentError(f"a transform is called with an image, got {t!r}{hint}")
    return found
