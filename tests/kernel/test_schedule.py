"""What is stored and what is computed inside its user."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from compiled import check
from weft.ir.dtype import bfloat16, float16, float32
from weft.ir.graph import trace_graph
from weft.ir.node import Aval
from weft.ops.conv import conv
from weft.ops.movement import permute
from weft.ops.selection import cast


@pytest.mark.parametrize("count", [20, 100, 700])
def test_a_chain_of_any_length_runs(count):
    with wf.config(backend="cpu"):
        x = wf.tensor(np.linspace(-1, 1, 5, dtype=np.float32))
        for _ in range(count):
            x = -(x * 0.5)
        got = x.numpy()
    np.testing.assert_array_equal(got, np.linspace(-1, 1, 5, dtype=np.float32) * np.float32((-0.5) ** count))


@pytest.mark.parametrize("images", [2, 26])
@pytest.mark.parametrize("dtype", [bfloat16, float16])
def test_convolutions_of_what_is_cast_from_16_bits(images, dtype):
    """Some taps lie outside the image: its rows cannot be widened as they are read."""
    axes, pair = (1, 0, 2, 3), (1, 1)
    attrs = {"stride": pair, "padding": (pair, pair), "input_dilation": pair, "kernel_dilation": pair}

    def gradient(x, ct):
        x = permute(cast(x, dtype=float32), axes=(0, 3, 1, 2))
        return conv(permute(x, axes=axes), permute(ct, axes=axes), **attrs, feature_groups=1, batch_groups=1)

    check(trace_graph(gradient, [Aval((images, 9, 8, 32), dtype), Aval((images, 32, 9, 8), float32)]))
