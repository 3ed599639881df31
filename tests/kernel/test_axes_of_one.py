"""Axes of one element: what else is computed decides where in memory they are, and must not decide how to add up."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from weft.nn import functional as F


def numbers(*shape):
    return wf.tensor(np.random.default_rng(6).normal(size=shape))


#: name -> (shapes of two operands, a sum, the same sum within something that changes its kernel or its layout)
CASES = {
    "rows": (
        [(100, 5, 1), (100, 5, 1)],
        lambda x, y: wf.sum(x * y, axis=0),
        lambda x, y: wf.sum(x * y, axis=0) + 0 * wf.sum(x, axis=0),
    ),
    "columns": (
        [(3, 100, 6, 1), (3, 100, 6, 1)],
        lambda x, y: wf.sum(x * y, axis=1),
        lambda x, y: wf.sum(x * y, axis=1) + 0 * wf.max(y, axis=1),
    ),
    "a matrix and a column": (
        [(6, 300), (300, 1)],
        lambda x, y: x @ y,
        lambda x, y: wf.reshape(wf.permute_dims(x @ y, (1, 0)) * 1, (6, 1)),
    ),
    "a row and a matrix": (
        [(1, 300), (300, 6)],
        lambda x, y: x @ y,
        lambda x, y: wf.reshape(wf.permute_dims(x @ y, (1, 0)) * 1, (1, 6)),
    ),
    "one channel of results": (
        [(1, 2, 7), (1, 2, 3)],
        lambda x, y: F.conv1d(x, y),
        lambda x, y: wf.permute_dims(wf.permute_dims(F.conv1d(x, y), (0, 2, 1)) * 1, (0, 2, 1)),
    ),
    "one pixel of results": (
        [(1, 3, 4), (5, 3, 4)],
        lambda x, y: F.conv1d(x, y),
        lambda x, y: wf.permute_dims(wf.permute_dims(F.conv1d(x, y), (0, 2, 1)) * 1, (0, 2, 1)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_sums_have_the_same_bits(case):
    shapes, alone, within = CASES[case]
    x, y = (numbers(*s) for s in shapes)
    results = [f(x, y).numpy() for f in (alone, wf.compile(alone), wf.compile(within))]
    assert results[0].shape == results[1].shape == results[2].shape
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()
