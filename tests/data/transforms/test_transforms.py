"""Transforms of a chance: deterministic under a seed, in their ranges, and never written into what was given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.base.errors import ArgumentError, DataError
from weft.data import DataLoader, Dataset, seeded
from weft.data.transforms import (
    CenterCrop,
    ChannelsFirst,
    ChannelsLast,
    ColorJitter,
    Compose,
    CutMix,
    Cutout,
    Grayscale,
    MixUp,
    Normalize,
    Pad,
    RandomAffine,
    RandomApply,
    RandomChoice,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
    ToFloat,
)
from weft.data.transforms import functional as F

EVERY = [
    Resize((7, 9)),
    CenterCrop(6),
    Pad(2, fill=3),
    RandomCrop(6, padding=2),
    RandomResizedCrop((6, 5)),
    RandomHorizontalFlip(),
    RandomVerticalFlip(),
    RandomRotation(30),
    RandomRotation((10, 20), expand=True, fill=1),
    RandomAffine(20, (0.1, 0.2), (0.8, 1.2), 10),
    RandomAffine(0, shear=(0, 30, -30, 30), interpolation="nearest"),
    ToFloat(),
    Normalize([0.5] * 3, [0.2] * 3),
    Grayscale(3),
    RandomGrayscale(0.5),
    ColorJitter(0.2, 0.2, 0.2, 0.1),
    RandomErasing(1.0, value="random"),
    RandomErasing(1.0, value=(1, 2, 3)),
    Cutout(4, count=2),
    RandomApply([RandomRotation(10)], 0.5),
    RandomChoice([RandomHorizontalFlip(1.0), RandomVerticalFlip(1.0)], [0.2, 0.8]),
    Compose([RandomCrop(8), RandomHorizontalFlip(), ColorJitter(0.1), Normalize(0.5, 0.5), RandomErasing()]),
]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("transform", EVERY, ids=lambda t: type(t).__name__)
def test_a_seed_fixes_them_and_the_source_stays(rng, transform, dtype):
    image = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8).transpose(2, 0, 1)
    image = image if dtype == np.uint8 else image.astype(dtype) / 255
    before = image.copy()
    results = []
    for key in (1, 1, 2, 3, 4, 5, 6, 7, 8, 9):
        with seeded(key):
            results.append(np.array(transform(image)))
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(image, before)
    assert results[0].dtype in (dtype, np.float32)
    if "Random" in repr(transform) or isinstance(transform, (ColorJitter, Cutout)):
        assert any(r.shape != results[0].shape or not np.array_equal(r, results[0]) for r in results)


@given(
    h=st.integers(1, 20),
    w=st.integers(1, 20),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    key=st.integers(0, 9),
)
def test_crops_are_windows(h, w, size, key):
    image = np.arange(h * w, dtype=np.float32).reshape(1, h, w)
    with seeded(key):
        if h < size[0] or w < size[1]:
            with pytest.raises(DataError, match="does not fit"):
                RandomCrop(size)(image)
            assert RandomCrop(size, pad_if_needed=True)(image).shape == (1, *size)
            return
        window = RandomCrop(size)(image)
    assert window.shape == (1, *size)
    top, left = divmod(int(window[0, 0, 0]), w)
    assert np.array_equal(window, image[:, top : top + size[0], left : left + size[1]])


@given(h=st.integers(1, 30), w=st.integers(1, 30), key=st.integers(0, 30))
def test_resized_crops_of_any_image(h, w, key):
    image = np.random.default_rng(0).random((3, h, w)).astype(np.float32)
    with seeded(key):
        found = RandomResizedCrop((5, 4))(image)
    assert (
        found.shape == (3, 5, 4) and found.min() >= image.min() - 1e-5 and found.max() <= image.max() + 1e-5
    )


def test_flips_happen_as_often_as_they_should():
    image = np.array([[[0.0, 1.0]]])
    with seeded(3):
        flips = [RandomHorizontalFlip(0.3)(image)[0, 0, 0] for _ in range(2000)]
        choices = [RandomChoice([lambda x: 0, lambda x: 1], [3, 1])(image) for _ in range(2000)]
    assert abs(np.mean(flips) - 0.3) < 0.04 and abs(np.mean(choices) - 0.25) < 0.04


def test_erased_windows_have_their_share():
    image = np.ones((1, 40, 40), np.float32)
    with seeded(1):
        shares = [1 - RandomErasing(1.0, (0.1, 0.2))(image).mean() for _ in range(50)]
        holes = 1 - Cutout(10)(image).mean()
    assert min(shares) > 0.08 and max(shares) < 0.22 and 0 < holes <= 100 / 1600


def test_layouts():
    image = np.zeros((5, 6, 3), np.uint8)
    first = ChannelsFirst()(image)
    assert first.shape == (3, 5, 6) and ChannelsLast()(first).shape == (5, 6, 3)
    assert ChannelsFirst()(np.zeros((5, 6))).shape == (1, 5, 6)


class Images(Dataset):
    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return 8

    def __getitem__(self, i):
        image = np.random.default_rng(i).integers(0, 256, (3, 16, 16), dtype=np.uint8)
        return self.transform(image), i % 3


def test_workers_augment_alike():
    transform = Compose(
        [RandomResizedCrop(8), RandomAffine(20), ColorJitter(0.3, 0.3, 0.3, 0.1), Normalize(0.5, 0.5)]
    )
    options = dict(batch_size=3, shuffle=True, seed=1, collate_fn=CutMix(num_classes=3).collate_fn())
    here = [[p.numpy() for p in b] for b in DataLoader(Images(transform), **options)]
    there = [[p.numpy() for p in b] for b in DataLoader(Images(transform), num_workers=2, **options)]
    assert len(here) == len(there) == 3
    for a, b in zip(here, there, strict=True):
        assert np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])


@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_mixed_labels_are_probabilities_in_the_share_of_the_pixels(kind):
    images = np.stack([np.full((1, 8, 8), i, np.float32) for i in range(6)])
    with seeded(5):
        x, y = kind(1.0, num_classes=6)((images, np.arange(6)))
    assert x.shape == images.shape and y.shape == (6, 6)
    assert np.allclose(y.numpy().sum(axis=1), 1, atol=1e-6)
    # The mean pixel is the mean label, since image i is all i.
    assert np.allclose(x.numpy().mean(axis=(1, 2, 3)), y.numpy() @ np.arange(6), atol=1e-4)
    with seeded(5):
        again, _ = kind(1.0)((images, np.eye(6, dtype=np.float32)))
    assert np.array_equal(again.numpy(), x.numpy())
    never, labels = kind(1.0, 6, p=0.0)(images, np.arange(6))
    assert np.array_equal(never.numpy(), images) and np.array_equal(labels.numpy(), np.eye(6))


def test_mixing_bytes_makes_floats():
    x, _ = MixUp(num_classes=2)((np.full((2, 3, 4, 4), 255, np.uint8), np.array([0, 1])))
    assert np.allclose(x.numpy(), 1)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Compose([]), ArgumentError, "list of transforms"),
        (lambda: Compose([ToFloat]), ArgumentError, r"write ToFloat\(\)"),
        (lambda: RandomHorizontalFlip(2), ArgumentError, "between 0 and 1"),
        (lambda: RandomRotation(-1), ArgumentError, "negative"),
        (lambda: RandomRotation((2, 1)), ArgumentError, "range"),
        (lambda: RandomResizedCrop(4, scale=(0, 1)), ArgumentError, "scale is a range"),
        (lambda: ColorJitter(hue=0.7), ArgumentError, "hue"),
        (lambda: ColorJitter(-1), ArgumentError, "brightness"),
        (lambda: RandomErasing(value="noise"), ArgumentError, "random"),
        (lambda: Cutout(4, 0), ArgumentError, "count"),
        (lambda: RandomAffine(0, shear=(1, 2, 3)), ArgumentError, "shear"),
        (lambda: Normalize(0, 0), ArgumentError, "std"),
        (lambda: Grayscale(2), ArgumentError, "1 or 3"),
        (lambda: MixUp(0), ArgumentError, "alpha"),
        (lambda: MixUp()((np.zeros((2, 1, 2, 2)), np.array([0, 1]))), ArgumentError, "num_classes"),
        (lambda: MixUp(num_classes=2)((np.zeros((2, 1, 2, 2)), np.array([0, 2]))), DataError, "label 2"),
        (lambda: MixUp(num_classes=2)((np.zeros((3, 1, 2, 2)), np.array([0, 1]))), DataError, "not a batch"),
        (lambda: MixUp(num_classes=2)((np.zeros(3),)), DataError, "1 parts"),
        (lambda: RandomChoice([ToFloat()], [0.5, 0.5]), ArgumentError, "one probability"),
    ],
)
def test_errors(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_transforms_show_their_arguments():
    assert repr(CenterCrop(4)) == "CenterCrop(size=(4, 4))"
    assert "RandomHorizontalFlip(p=0.5)" in repr(Compose([RandomHorizontalFlip()]))
    assert F.hflip(np.zeros((1, 1, 2))).shape == (1, 1, 2)
