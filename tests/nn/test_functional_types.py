"""Every function in bfloat16, and on batches of nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import weft as wf
from function_cases import CASES, Function, everything, places
from weft import nn
from weft.base.errors import WeftError

F = nn.functional

#: Where a rounded coordinate may fall on the other side of an edge.
EDGES = {"grid_sample", "fractional_max_pool2d", "fractional_max_pool3d"}

#: What Weft refuses and PyTorch takes: random samples and masks for another batch, statistics of nothing.
REFUSED = {"fractional_max_pool2d", "fractional_max_pool3d", "scaled_dot_product_attention", "batch_norm"}

#: PyTorch leaves the shape of a batch of nothing as it is.
WRONG_THERE = {"pixel_unshuffle"}

#: Numbers in the units of the last place of bfloat16 (2**-8), relative to the largest value.
UNITS = 4


def narrow(a: np.ndarray) -> Any:
    """A tensor as near to a as bfloat16 comes."""
    x = wf.tensor(a)
    return x.astype(wf.bfloat16) if a.dtype.kind == "f" else x


def rounded(a: np.ndarray) -> Any:
    """The same numbers in double precision."""
    x = narrow(a)
    return x.astype(wf.float64) if a.dtype.kind == "f" else x


@everything
def test_in_bfloat16_it_is_as_precise_as_that_type(case: Function):
    if case.name in EDGES:
        pytest.skip("rounded coordinates choose other elements")
    want = case.call(F, rounded, [rounded(a) for a in case.inputs])
    got = case.call(F, narrow, [narrow(a) for a in case.inputs])
    for w, g in zip(want, got, strict=True):
        if w.dtype.kind != "f":
            assert g.dtype is w.dtype
            continue
        assert g.dtype is wf.bfloat16
        w, g = w.numpy(), g.astype("float64").numpy()
        assert np.abs(g - w).max(initial=0) <= UNITS * 2.0**-8 * max(np.abs(w).max(initial=0), 1e-3)


def emptied(case: Function) -> list[list[np.ndarray]]:
    """The inputs without any batch: the first alone, or all that are as long as it."""
    first, *rest = case.inputs
    return [
        [first[:0], *rest],
        [first[:0], *[a[:0] if a.shape[:1] == first.shape[:1] else a for a in rest]],
    ]


@pytest.mark.filterwarnings("ignore")  # of PyTorch, about means of nothing
@everything
def test_a_batch_of_nothing_gives_what_it_gives_in_torch(case: Function):
    torch = pytest.importorskip("torch")
    for inputs in emptied(case):
        try:
            want = case.call(places(torch), torch.tensor, [torch.tensor(a) for a in inputs])
        except (RuntimeError, ValueError, IndexError, AssertionError):
            continue
        try:
            got = case.call(F, wf.tensor, [wf.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs])
        except WeftError:
            assert case.name in REFUSED
            continue
        if case.name in WRONG_THERE:
            assert got[0].shape[0] == 0
            continue
        for w, g in zip(want, got, strict=True):
            np.testing.assert_array_equal(g.numpy(), w.numpy())
        live = [g for g in got if g.requires_grad]
        if live:
            sum(g.sum() for g in live).backward()


def test_most_functions_have_batches():
    assert sum(len(c.inputs[0].shape) > 1 for c in CASES) > 100
