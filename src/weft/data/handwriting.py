"""Real handwritten digits that ship with Weft."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np

from .dataset import TensorDataset
from .shuffle import permutation

#: The held-out part: this share of every class, chosen by this seed, once and for all.
_TEST_SHARE = 0.2
_SPLIT_SEED = 1797


def digits() -> tuple[TensorDataset, TensorDataset]:
    """1,797 scans of handwritten digits as (train, test): images float32 (1, 8, 8) in [0, 1], labels int64 0 to 9.

    The split is fixed and stratified: a fifth of the scans of every digit is held out, the same ones in every
    run, so that figures are comparable; 1,438 scans are for training, 359 for the test.

    Data: *Optical Recognition of Handwritten Digits*, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998,
    https://doi.org/10.24432/C50P49, CC BY 4.0.

    >>> train, test = digits()
    >>> train
    TensorDataset(1438 samples of float32 (1, 8, 8), int64 ())
    """
    with (
        as_file(files("weft.data") / "_files" / "digits.npz") as path,
        np.load(path, allow_pickle=False) as archive,
    ):
        images = (archive["images"].astype(np.float32) / 16)[:, None]
        labels = archive["labels"].astype(np.int64)
    held_out = np.zeros(len(labels), bool)
    for digit in range(10):
        (members,) = np.nonzero(labels == digit)
        count = round(_TEST_SHARE * len(members))
        held_out[members[permutation(len(members), _SPLIT_SEED, digit)[:count]]] = True
    return TensorDataset(images[~held_out], labels[~held_out]), TensorDataset(
        images[held_out], labels[held_out]
    )
