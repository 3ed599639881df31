"""Mixing the samples of a batch: for a loader's `collate_fn`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...arrays.tensor import Tensor
from ...base.errors import ArgumentError, DataError
from ..collate import collate
from ..dataset import host_array, to_tensor
from ..randomness import RandomStream, item_rng
from .compose import Transform, probability


class Mixing(Transform):
    """Base class: called with a batch (images (n, channels, height, width), labels (n,)), returns one in which each
    image is mixed with another one, and so are the labels, as probabilities (n, classes).

    Labels that are probabilities already, float (n, classes), are mixed as they are.
    """

    def __init__(self, alpha: float = 1.0, num_classes: int | None = None, p: float = 1.0) -> None:
        if not isinstance(alpha, (int, float)) or not alpha > 0:
            raise ArgumentError(f"alpha must be positive, got {alpha!r}")
        if num_classes is not None and (not isinstance(num_classes, int) or num_classes < 2):
            raise ArgumentError(f"num_classes must be an integer, at least 2, got {num_classes!r}")
        self.alpha, self.num_classes, self.p = float(alpha), num_classes, probability(p)

    def __call__(self, batch: Any, labels: Any = None) -> tuple[Tensor, Tensor]:
        given = batch if labels is None else (batch, labels)
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            got = f"{len(given)} parts" if isinstance(given, (tuple, list)) else type(given).__name__
            raise DataError(f"{type(self).__name__} takes a batch (images, labels), got {got}")
        images, targets = host_array(given[0], "images"), self._probabilities(host_array(given[1], "labels"))
        if images.ndim < 2 or len(images) != len(targets):
            raise DataError(f"images {images.shape} and labels {targets.shape} are not a batch")
        if images.dtype.kind != "f":
            images = images.astype(np.float32) / np.float32(255)
        draws = item_rng()
        if draws.chance(self.p):
            order = draws.permutation(len(images))
            share = draws.beta(self.alpha, self.alpha)
            images, share = self.mix(images, images[order], share, draws)
            share = np.float32(share)
            targets = share * targets + (1 - share) * targets[order]
        return to_tensor(np.array(images, order="C")), to_tensor(np.array(targets, order="C"))

    def _probabilities(self, labels: np.ndarray) -> np.ndarray:
        if labels.dtype.kind == "f":
            if labels.ndim != 2:
                raise DataError(
                    f"labels are classes (n,) or probabilities (n, classes), got float {labels.shape}"
                )
            return labels
        if self.num_classes is None:
            raise ArgumentError(f"{type(self).__name__} makes probabilities of classes: give num_classes")
        if labels.ndim != 1:
            raise DataError(f"labels are classes (n,) or probabilities (n, classes), got {labels.shape}")
        if len(labels) and (labels.min() < 0 or labels.max() >= self.num_classes):
            wrong = labels[(labels < 0) | (labels >= self.num_classes)][0]
            raise DataError(
                f"label {wrong} is none of {self.num_classes} classes (0 to {self.num_classes - 1})"
            )
        return np.eye(self.num_classes, dtype=np.float32)[labels.astype(np.int64)]

    def mix(
        self, images: np.ndarray, others: np.ndarray, share: float, draws: RandomStream
    ) -> tuple[np.ndarray, float]:
        """The images mixed, and what share of the first ones they are."""
        raise NotImplementedError

    def collate_fn(self, inner: Callable[[Any], Any] = collate) -> Callable[[Any], Any]:
        """A `collate_fn` that mixes what `inner` makes of samples."""
        return MixedBatches(self, inner)


class MixUp(Mixing):
    """share * image + (1 - share) * another one, the share drawn from Beta(alpha, alpha) (Zhang et al. 2017).

    >>> images, labels = MixUp(num_classes=3)((np.ones((4, 1, 2, 2), np.float32), np.array([0, 1, 2, 0])))
    >>> images.shape, labels.shape
    ((4, 1, 2, 2), (4, 3))
    """

    def mix(
        self, images: np.ndarray, others: np.ndarray, share: float, draws: RandomStream
    ) -> tuple[np.ndarray, float]:
        weight = images.dtype.type(share)
        return weight * images + (1 - weight) * others, float(weight)


class CutMix(Mixing):
    """A window of another image, whose share of the area is drawn from Beta(alpha, alpha) (Yun et al. 2019)."""

    def mix(
        self, images: np.ndarray, others: np.ndarray, share: float, draws: RandomStream
    ) -> tuple[np.ndarray, float]:
        if images.ndim < 3:
            raise DataError(f"CutMix takes images (n, channels, height, width), got {images.shape}")
        h, w = images.shape[-2:]
        cut = math.sqrt(1 - share)
        y, x = draws.integers(h), draws.integers(w)
        (top, bottom), (left, right) = (
            (max(0, round(m - n * cut / 2)), min(n, round(m + n * cut / 2))) for m, n in ((y, h), (x, w))
        )
        images = images.copy()
        images[..., top:bottom, left:right] = others[..., top:bottom, left:right]
        return images, 1 - (bottom - top) * (right - left) / (h * w)


class MixedBatches:
    """What `Mixing.collate_fn` returns."""

    def __init__(self, mixing: Mixing, inner: Callable[[Any], Any]) -> None:
        self.mixing, self.inner = mixing, inner

    def __call__(self, samples: Any) -> tuple[Tensor, Tensor]:
        return self.mixing(self.inner(samples))
