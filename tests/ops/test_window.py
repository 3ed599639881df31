"""Windows against plain indexing and PyTorch's unfold and fold."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from nodes import run
from weft.base.errors import ArgumentError, DTypeError, ShapeError
from weft.ops.window import windows, windows_add


def test_the_definition(rng):
    x = rng.standard_normal((2, 7, 9))
    got = run(lambda x: windows(x, kernel=(3, 2), stride=(2, 3), dilation=(1, 4)), x)
    assert got.shape == (2, 3, 2, 3, 2)
    for n, p, q, i, j in product(range(2), range(3), range(2), range(3), range(2)):
        assert got[n, p, q, i, j] == x[n, p * 2 + i, q * 3 + j * 4]


@pytest.mark.parametrize("stride, dilation", [(1, 1), (2, 1), (3, 2), ((2, 3), (2, 1))])
def test_agrees_with_torchs_unfold_and_fold(stride, dilation, rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((2, 3, 8, 9))
    strides, dilations = (v if isinstance(v, tuple) else (v, v) for v in (stride, dilation))
    got = run(lambda x: windows(x, kernel=(2, 3), stride=strides, dilation=dilations), x)
    unfold = torch.nn.functional.unfold(torch.tensor(x), (2, 3), dilation=dilations, stride=strides)
    columns = got.transpose(0, 1, 4, 5, 2, 3).reshape(2, 18, -1)
    np.testing.assert_array_equal(columns, unfold.numpy())
    back = run(lambda y: windows_add(y, size=(8, 9), stride=strides, dilation=dilations), got)
    fold = torch.nn.functional.fold(unfold, (8, 9), (2, 3), dilation=dilations, stride=strides)
    np.testing.assert_allclose(back, fold.numpy(), rtol=1e-14)


def test_no_axes():
    assert run(lambda x: windows(x, kernel=(), stride=(), dilation=()), np.arange(3)).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "shape, attrs, error, words",
    [
        ((2, 3), dict(kernel=(4,), stride=(1,), dilation=(1,)), ShapeError, "does not fit into (3,)"),
        ((2, 3), dict(kernel=(2,), stride=(1,), dilation=(3,)), ShapeError, "does not fit into (3,)"),
        (
            (3,),
            dict(kernel=(1, 1), stride=(1, 1), dilation=(1, 1)),
            ShapeError,
            "2 axes of a tensor of shape (3,)",
        ),
        ((2, 3), dict(kernel=(2,), stride=(0,), dilation=(1,)), ArgumentError, "at least 1"),
        ((2, 3), dict(kernel=(2,), stride=(1, 1), dilation=(1,)), ArgumentError, "one entry for each axis"),
    ],
)
def test_windows_that_do_not_fit(shape, attrs, error, words):
    with pytest.raises(error) as info:
        run(lambda x: windows(x, **attrs), np.zeros(shape))
    assert words in str(info.value)


def test_folding_the_wrong_number_of_windows():
    with pytest.raises(ShapeError, match=r"\(7,\) has \(3,\) windows of \(3,\).*got \(4,\)"):
        run(lambda x: windows_add(x, size=(7,), stride=(2,), dilation=(1,)), np.zeros((4, 3)))
    with pytest.raises(DTypeError, match="boolean"):
        run(lambda x: windows_add(x, size=(7,), stride=(2,), dilation=(1,)), np.zeros((3, 3), bool))
