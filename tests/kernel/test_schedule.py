"""What is stored and what is computed inside its user."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf


@pytest.mark.parametrize("count", [20, 100, 700])
def test_a_chain_of_any_length_runs(count):
    with wf.config(backend="cpu"):
        x = wf.tensor(np.linspace(-1, 1, 5, dtype=np.float32))
        for _ in range(count):
            x = -(x * 0.5)
        got = x.numpy()
    np.testing.assert_array_equal(got, np.linspace(-1, 1, 5, dtype=np.float32) * np.float32((-0.5) ** count))
