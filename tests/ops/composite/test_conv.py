"""Convolution with bias, and its transpose."""

from __future__ import annotations

import numpy as np
import pytest

from composites import Case, composite_tests, functional, run, spread
from weft.base.errors import DTypeError, ShapeError
from weft.ops.composite import conv as c


def _conv(rank, stride=1, padding=0, dilation=1, groups=1):
    def call(x, w, b=None):
        pads = padding if isinstance(padding, tuple) else ((padding, padding),) * rank
        return c.convolution(
            x, w, b, stride=(stride,) * rank, padding=pads, dilation=(dilation,) * rank, groups=groups
        )

    return call


def _transpose(rank, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    def call(x, w, b=None):
        return c.convolution_transpose(
            x,
            w,
            b,
            stride=(stride,) * rank,
            padding=(padding,) * rank,
            output_padding=(output_padding,) * rank,
            dilation=(dilation,) * rank,
            groups=groups,
        )

    return call


X1, X2 = spread(2, 3, 7), spread(2, 4, 5, 6)
B = spread(4, seed=2)

CASES = [
    Case("conv1d", _conv(1), (X1, spread(4, 3, 3, seed=1), B), functional("conv1d")),
    Case(
        "conv1d",
        _conv(1, 2, 1),
        (X1, spread(4, 3, 3, seed=1)),
        functional("conv1d", None, 2, 1),
        label="strided",
    ),
    Case("conv2d", _conv(2), (X2, spread(4, 4, 3, 2, seed=1), B), functional("conv2d")),
    Case(
        "conv2d",
        _conv(2, 2, 1, 2, 2),
        (X2, spread(4, 2, 2, 2, seed=1), B),
        functional("conv2d", 2, 1, 2, 2),
        label="all",
        batch=False,
    ),
    Case(
        "conv2d",
        _conv(2, groups=4),
        (X2, spread(4, 1, 3, 3, seed=1), B),
        functional("conv2d", groups=4),
        label="depthwise",
    ),
    Case(
        "conv2d", _conv(2), (X2[:0], spread(4, 4, 3, 2, seed=1), B), functional("conv2d"), label="no images"
    ),
    Case(
        "conv_transpose1d",
        _transpose(1, 2, 1, 1),
        (X1, spread(3, 4, 3, seed=1), B),
        functional("conv_transpose1d", 2, 1, 1),
    ),
    Case(
        "conv_transpose2d",
        _transpose(2, 2, 1, 1, 2, 2),
        (X2, spread(4, 2, 2, 3, seed=1), B),
        functional("conv_transpose2d", 2, 1, 1, 2, 2),
        batch=False,
    ),
]

test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(CASES)


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        ((spread(2, 3, 5, 5), spread(4, 4, 3, 3)), ShapeError, "conv2d.*takes 4 input channels.*has 3"),
        ((spread(2, 5, 5, 4), spread(4, 4, 3, 3)), ShapeError, r"x\.permute\(0, 3, 1, 2\)"),
        ((spread(2, 5, 5), spread(4, 1, 3, 3)), ShapeError, r"x\[:, None\]"),
        ((spread(2, 4, 2, 2), spread(4, 4, 3, 3)), ShapeError, "does not fit"),
        ((X2, spread(4, 4, 3, 3), spread(3)), ShapeError, "each of the 4 channels"),
        ((X2.astype(np.float32), spread(4, 4, 3, 3)), DTypeError, "one dtype"),
    ],
)
def test_what_does_not_fit_is_named(args, error, words):
    with pytest.raises(error, match=words):
        run(_conv(2), *args)
