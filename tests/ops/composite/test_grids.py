"""Images read at the places of grids, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from composites import Case, composite_tests, functional, spread
from weft.base.errors import ArgumentError, ShapeError
from weft.ops.composite import grids as g

X2, X3 = spread(2, 2, 4, 5), spread(1, 2, 3, 4, 3)
GRID2, GRID3 = (
    spread(2, 3, 2, 2, low=-1.4, high=1.4, seed=3),
    spread(1, 2, 2, 3, 3, low=-1.3, high=1.3, seed=4),
)
THETA = spread(2, 2, 3, seed=5)

CASES = [
    *[
        Case(
            "grid_sample",
            lambda x, p, m=mode, b=padding, a=align: g.grid_sample(x, p, mode=m, padding=b, align=a),
            (X2, GRID2),
            functional("grid_sample", mode, padding, align),
            label=f"{mode} {padding} {align}",
            batch=mode == "bilinear" and align,
            narrow=False,  # a rounded grid names other places
        )
        for mode in g.MODES for padding in g.PADDINGS for align in (False, True)
    ],
    Case("grid_sample", lambda x, p: g.grid_sample(x, p), (X3, GRID3), functional("grid_sample", align_corners=False),
         label="volumes", narrow=False),
    *[
        Case("affine_grid", lambda t, a=align: g.affine_grid(t, sizes=(3, 2), align=a), (THETA,),
             lambda t, a=align: functional("affine_grid", (2, 1, 3, 2), a)(t), label=f"{align}", batch=False)
        for align in (False, True)
    ],
    Case("affine_grid", lambda t: g.affine_grid(t, sizes=(2, 3, 2)), (spread(1, 3, 4),),
         functional("affine_grid", (1, 1, 2, 3, 2), False), label="volumes", batch=False),
]  # fmt: skip

test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(CASES)

F = wf.nn.functional


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: F.grid_sample(X2, GRID3), ShapeError, "takes"),
        (lambda: F.grid_sample(X2, GRID2[:1]), ShapeError, "takes"),
        (lambda: F.grid_sample(X2, GRID2, "linear"), ArgumentError, "bilinear"),
        (
            lambda: F.grid_sample(X2, GRID2, padding_mode="mirror"),
            ArgumentError,
            "padding_mode must be one of",
        ),
        (lambda: F.grid_sample(X3, GRID3, "bicubic"), ShapeError, "takes images"),
        (lambda: F.affine_grid(THETA, (2, 3)), ArgumentError, "takes a size"),
        (lambda: F.affine_grid(THETA, (3, 1, 2, 2)), ShapeError, "batch of 3"),
        (lambda: F.affine_grid(THETA, (2, 1, 2, 2, 2)), ShapeError, r"theta \(N, 3, 4\)"),
    ],
)
def test_what_does_not_fit_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_reflections_of_far_places():
    torch = pytest.importorskip("torch")
    grid = np.linspace(-9, 9, 62).reshape(1, 31, 1, 2)
    for align in (False, True):
        want = torch.nn.functional.grid_sample(
            torch.tensor(X2[:1]), torch.tensor(grid), padding_mode="reflection", align_corners=align
        )
        got = F.grid_sample(X2[:1], grid, padding_mode="reflection", align_corners=align)
        np.testing.assert_allclose(got.numpy(), want.numpy(), atol=1e-9)
