"""Padding with a tensor's own elements."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from composites import Case, composite_tests, functional, run, spread
from weft.base.errors import ArgumentError, ShapeError
from weft.ops.composite import padding as p

X = spread(2, 3, 4, 5)
WIDTHS = ((0, 0), (0, 0), (3, 1), (0, 2))

CASES = [
    Case(
        "extend",
        lambda x, m=mode: p.extend(x, widths=WIDTHS, mode=m),
        (X,),
        functional("pad", (0, 2, 3, 1), mode),
        label=mode,
    )
    for mode in p.MODES
]

test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(CASES)


@pytest.mark.parametrize("mode", p.MODES)
def test_an_axis_too_short_is_named(mode):
    with pytest.raises(ShapeError, match="axis 0"):
        run(lambda x: p.extend(x, widths=((3, 0),), mode=mode), np.ones(2 if mode != "replicate" else 0))


def test_pad_as_a_function():
    pad = wf.nn.functional.pad
    x = wf.tensor([[1, 2, 3]])
    assert pad(x, (1, -1), value=7).numpy().tolist() == [[7, 1, 2]]
    assert pad(x, (0, 0, 1, 0)).numpy().tolist() == [[0, 0, 0], [1, 2, 3]]
    assert pad(x, (-1, 1), "circular").numpy().tolist() == [[2, 3, 2]]
    assert pad(x, (-2, 0)).numpy().tolist() == [[3]]
    assert pad(x > 1, (1, 0)).numpy().tolist() == [[False, False, True, True]]
    for widths, error in (
        ((1,), ShapeError),
        ((1,) * 6, ShapeError),
        ((-4, 0), ShapeError),
        ((0.5, 1), ArgumentError),
    ):
        with pytest.raises(error, match="pad"):
            pad(x, widths)
    for options in ({"mode": "mirror"}, {"mode": "reflect", "value": 1}, {"value": 0.5}):
        with pytest.raises(ArgumentError, match="pad"):
            pad(x, (1, 1), **options)
