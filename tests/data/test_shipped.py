"""The digits and the text that ship with the package."""

import hashlib

import numpy as np
import pytest

from weft.base.errors import DataError
from weft.data import CharText, DataLoader, Windows, digits, shakespeare


def test_digits():
    train, test = digits()
    for part, n in ((train, 1438), (test, 359)):
        images, labels = part.arrays
        assert images.shape == (n, 1, 8, 8) and images.dtype == np.float32
        assert labels.shape == (n,) and labels.dtype == np.int64
        assert images.min() == 0 and images.max() == 1
        share = np.bincount(labels) / n
        assert np.all(np.abs(share - 0.1) < 0.01)


def test_digits_are_the_real_ones():
    """The same scans as scikit-learn's, each in exactly one part."""
    sklearn = pytest.importorskip("sklearn.datasets")
    bunch = sklearn.load_digits()

    def keys(images, labels):
        return sorted(
            (bytes(np.round(i * 16).astype(np.uint8)), int(y)) for i, y in zip(images, labels, strict=True)
        )

    train, test = digits()
    ours = [np.concatenate([a, b]) for a, b in zip(train.arrays, test.arrays, strict=True)]
    assert keys(*ours) == keys(bunch.images / 16, bunch.target)


def test_the_split_is_fixed():
    first = hashlib.sha256(digits()[1].arrays[0].tobytes()).hexdigest()
    assert first[:16] == "b3b06870871150cc"
    assert np.array_equal(digits()[1].arrays[1], digits()[1].arrays[1])


def test_shakespeare():
    text = shakespeare()
    assert len(text.text) == 125_179 and len(text.vocabulary) == 68
    assert text.decode(text.tokens[:20]) == text.text[:20]
    assert "All the world's a stage" in text.text


def test_windows_are_shifted_by_one():
    train, test = shakespeare().windows(16)
    x, y = train[100]
    assert x.shape == y.shape == (16,)
    assert x.numpy()[1:].tolist() == y.numpy()[:-1].tolist()
    assert len(train.tokens) + len(test.tokens) == 125_179
    xs, ys = next(iter(DataLoader(test, 4, shuffle=True, seed=0)))
    assert xs.shape == (4, 16)
    assert np.array_equal(xs.numpy()[:, 1:], ys.numpy()[:, :-1])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: CharText(""), "empty"),
        (lambda: CharText("abc").encode("abd"), "'d'"),
        (lambda: CharText("abc").windows(1, test_fraction=1.0), "between 0 and 1"),
        (lambda: Windows([1, 2, 3], 3), "1 to 2"),
        (lambda: Windows([[1, 2, 3]], 1), "one sequence"),
    ],
)
def test_errors(make, says):
    with pytest.raises(DataError, match=says):
        make()
