"""An axis of another size: each new element a weighted sum of a few old ones, at places that the sizes alone decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..ir.node import Aval
from ..ir.shape import show_shape
from .define import Sample, complex_values, primitive, values

T = TypeVar("T")

#: curve -> how many old elements away a weight is 0.
REACH = {"nearest": 0.5, "centred": 0.5, "linear": 1.0, "cubic": 2.0, "lanczos": 3.0}

#: Terms of a sum that are added up one after the other; of more, groups of so many are.
_GROUP = 8


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return np.where(d < 1, near, np.where(d < 2, far, 0))


def _weight(d: np.ndarray, curve: str, spread: bool) -> np.ndarray:
    """The weight of an element at distance d, not negative."""
    if curve == "cubic":
        return _cubic(d, -0.5 if spread else -0.75)
    if curve == "linear":
        return np.maximum(1 - d, 0.0)
    return np.where(d < 3, np.sinc(d) * np.sinc(d / 3), 0)


def _spread(size: int, new: int, curve: str, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """The taps of means over all old elements that a new one covers."""
    wide = max(ratio, 1.0)
    centre = (np.arange(new) + 0.5) * ratio
    reach = wide * REACH[curve]
    first = np.maximum(np.floor(centre - reach + 0.5), 0).astype(np.int64)
    last = np.minimum(np.floor(centre + reach + 0.5), size).astype(np.int64)
    old = first + np.arange(max(int((last - first).max()), 1))[:, None]
    share = np.where(old < last, _weight(abs(old - centre + 0.5) / wide, curve, True), 0)
    total = share.sum(0)
    return np.clip(old, 0, np.maximum(last, 1) - 1), share / np.where(total == 0, 1, total)


def _transposed(places: np.ndarray, weights: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The taps that take back what others have spread: for each of `size` elements who reads it, in order."""
    readers: list[dict[int, float]] = [{} for _ in range(size)]
    for new, (some, shares) in enumerate(zip(places.T.tolist(), weights.T.tolist(), strict=True)):
        for old, share in zip(some, shares, strict=True):
            readers[old][new] = readers[old].get(new, 0.0) + share
    count = max([len(r) for r in readers])
    back, shares = np.zeros((count, size), np.int64), np.zeros((count, size))
    for old, found in enumerate(readers):
        back[:, old] = max(found, default=0)
        back[: len(found), old], shares[: len(found), old] = [*found], [*found.values()]
    return back, shares


@lru_cache(256)
def taps(
    size: int, new: int, curve: str, ratio: float | None, align: bool, spread: bool, back: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(places in the old axis, their weights in float64), each (taps, new), of an axis of `size` brought to `new`.

    With `back`, of the transpose of the one that goes from `new` to `size`.
    """
    if back:
        return _transposed(*taps(new, size, curve, ratio, align, spread, False), new)
    place = np.arange(new)
    if curve in ("nearest", "centred"):
        twice = 2 * place + (curve == "centred")
        found = twice * size // (2 * new) if ratio is None else np.floor(twice * 0.5 * ratio).astype(np.int64)
        return np.minimum(found, size - 1)[None], np.ones((1, new))
    if align:
        step = (size - 1) / (new - 1) if new > 1 else 0.0
    else:
        step = size / new if ratio is None else ratio
    if spread:
        return _spread(size, new, curve, step)
    at = place * step if align else (place + 0.5) * step - 0.5
    at = np.maximum(at, 0.0) if curve == "linear" else at
    reach = int(REACH[curve])
    old = np.floor(at).astype(np.int64) + np.arange(1 - reach, reach + 1)[:, None]
    # Zeros without a sign: tables are compared as numbers.
    return np.clip(old, 0, size - 1), _weight(abs(at - old), curve, False) + 0.0


def added(terms: Sequence[T], add: Callable[[T, T], T]) -> T:
    """The sum of some terms in the order that `resample` has."""
    while len(terms) > 1:
        groups = [terms[k : k + _GROUP] for k in range(0, len(terms), _GROUP)]
        sums = []
        for first, *rest in groups:
            for term in rest:
                first = add(first, term)
            sums.append(first)
        terms = sums
    return terms[0]


def weighs(curve: str, back: bool) -> bool:
    """Whether there are weights besides 1."""
    return back or curve not in ("nearest", "centred")


def _infer(x: Aval, *, axis: int, length: int, curve: str, back: bool, **_: Any) -> Aval:
    if not 0 <= axis < x.ndim:
        raise ShapeError(f"there is no axis {axis} in {show_shape(x.shape)}")
    old = x.shape[axis]
    if not isinstance(old, int) or old < 1 or length < 1:
        raise ShapeError(
            f"an axis of known size, 1 or more, can be brought to another, not {old} of {x.describe()} to {length}"
        )
    if curve not in REACH:
        raise ArgumentError(f"curve must be one of {', '.join(REACH)}, got {curve!r}")
    if weighs(curve, back) and x.dtype.kind not in "fc":
        raise DTypeError(f"weighted sums are of floating or complex numbers, got {x.describe()}")
    return Aval((*x.shape[:axis], length, *x.shape[axis + 1 :]), x.dtype)


def _samples() -> list[Sample]:
    def sample(x: np.ndarray, axis: int, length: int, curve: str, **attrs: Any) -> Sample:
        usual = {"ratio": None, "align": False, "spread": False, "back": False}
        return Sample(
            (x,),
            {"axis": axis, "length": length, "curve": curve, **usual, **attrs},
            smooth=x.dtype.kind in "fc",
        )

    x = values((2, 5, 3))
    return [
        sample(x, 1, 12, "linear"),
        sample(x.astype(np.float32), 2, 37, "linear", align=True),
        sample(values((2, 3, 21)), 2, 40, "linear"),
        sample(values((2, 3, 40)), 2, 21, "linear", back=True),
        sample(values((70, 2)), 0, 5, "linear", back=True, align=True),
        sample(x, 1, 2, "cubic", ratio=2.3),
        sample(x, 1, 7, "cubic", align=True),
        sample(values((37,)), 0, 5, "linear", spread=True),
        sample(values((31, 2)), 0, 9, "lanczos", spread=True),
        sample(values((9, 2)), 0, 31, "cubic", spread=True, back=True),
        sample(np.arange(10).reshape(2, 5), 1, 7, "nearest"),
        sample(values((2, 5)) > 0, 1, 3, "centred"),
        sample(complex_values((3, 4)), 1, 9, "nearest", ratio=0.45),
        sample(complex_values((3, 9)), 1, 4, "centred", back=True),
        sample(values((0, 4)), 1, 6, "linear"),
    ]


@primitive(_infer, attrs=("axis", "length", "curve", "ratio", "align", "spread", "back"), samples=_samples)
def resample(x, *, axis, length, curve, ratio, align, spread, back):
    """x with an axis brought to another length: out[..., i, ...] = sum over k of weight[k, i] x[..., place[k, i], ...].

    Elements are intervals of equal length, `ratio` old ones to a new one; None: as many as the sizes say. With `align`
    the middles of the first and the last ones stay where they are, else the outer edges do. Around the middle of a new
    element the `curve` weighs old ones: the one in which it begins ("nearest") or lies ("centred"), the two beside it
    ("linear"), the four around it ("cubic": Keys's, with a = -3/4); beyond the border the border is repeated. With
    `spread` the curve ("linear", "cubic" with a = -1/2, "lanczos") is as wide as a new element, if that is wider than
    an old one, weights sum to 1, and there is nothing beyond the border. With `back` it is the transpose of what brings
    an axis of `length` to that of x. A weight may be 0: what is infinite there makes NaN.
    """
    places, weights = taps(x.shape[axis], length, curve, ratio, align, spread, back)
    found = [np.take(x, p, axis) for p in places]
    if back or curve not in ("nearest", "centred"):
        lie = [length if a == axis else 1 for a in range(x.ndim)]
        found = [t * w.astype(x.real.dtype).reshape(lie) for t, w in zip(found, weights, strict=True)]
    return added(found, np.add)


@resample.transpose()
def _(ct, index, x, *, axis, length, back, **attrs):
    return resample(ct, axis=axis, length=x.shape[axis], back=not back, **attrs)


@resample.batch
def _(size, batched, x, *, axis, **attrs):
    return resample(x, axis=axis + 1, **attrs)
