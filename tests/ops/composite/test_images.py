"""Images of other sizes, windows as columns, channels as pixels: against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from composites import Case, composite_tests, functional, spread
from weft.base.errors import ArgumentError, DTypeError, ShapeError
from weft.ops.composite import images as c
from weft.ops.composite import resize as r

X1, X2, X3 = spread(2, 2, 5), spread(2, 2, 5, 4), spread(1, 2, 3, 4, 3)
COLUMNS = spread(2, 8, 6, seed=1)

CASES = [
    Case(
        "unfold",
        lambda x: c.unfold(x, kernel=(2, 3), dilation=(2, 1), padding=(1, 2), stride=(1, 2)),
        (X2,),
        functional("unfold", (2, 3), (2, 1), (1, 2), (1, 2)),
    ),
    Case(
        "fold",
        lambda x: c.fold(x, size=(4, 3), kernel=(2, 2), dilation=(1, 1), padding=(0, 0), stride=(1, 1)),
        (COLUMNS,),
        functional("fold", (4, 3), 2),
    ),
    Case(
        "fold",
        lambda x: c.fold(x, size=(3, 5), kernel=(2, 2), dilation=(2, 1), padding=(1, 0), stride=(2, 2)),
        (COLUMNS[..., :4],),
        functional("fold", (3, 5), 2, (2, 1), (1, 0), 2),
        label="all",
    ),
    Case("pixel_shuffle", lambda x: c.pixel_shuffle(x, factor=2), (spread(2, 8, 2, 3),),
         functional("pixel_shuffle", 2)),
    Case("pixel_unshuffle", lambda x: c.pixel_unshuffle(x, factor=2), (spread(2, 4, 6),),
         functional("pixel_unshuffle", 2)),
    Case("channel_shuffle", lambda x: c.channel_shuffle(x, groups=3), (spread(2, 6, 3),),
         lambda x: functional("channel_shuffle", 3)(x[..., None])[..., 0]),
    Case("resize_nearest", lambda x: r.resize_nearest(x, sizes=(10, 3)), (X2,),
         functional("interpolate", (10, 3))),
    Case("resize_nearest", lambda x: r.resize_nearest(x, sizes=(7,), centred=True), (X1,),
         functional("interpolate", 7, mode="nearest-exact"), label="centred"),
    Case("resize_linear", lambda x: r.resize_linear(x, sizes=(8, 3)), (X2,),
         functional("interpolate", (8, 3), mode="bilinear")),
    Case("resize_linear", lambda x: r.resize_linear(x, sizes=(5, 4, 1), align=True), (X3,),
         functional("interpolate", (5, 4, 1), mode="trilinear", align_corners=True), label="aligned"),
    *[
        Case("resize_cubic", lambda x, a=a: r.resize_cubic(x, sizes=(8, 3), align=a), (X2,),
             functional("interpolate", (8, 3), mode="bicubic", align_corners=a), label=f"align {a}")
        for a in (False, True)
    ],
    *[
        Case("resize_antialiased",
             lambda x, a=a, q=q: r.resize_antialiased(x, sizes=(2, 6), align=a, curve=q), (X2,),
             functional("interpolate", (2, 6), mode=mode, align_corners=a, antialias=True), label=f"align {a} {mode}")
        for a in (False, True) for q, mode in (("linear", "bilinear"), ("cubic", "bicubic"), ("lanczos", "lanczos"))
        if not (a and mode == "lanczos")
    ],
]  # fmt: skip

test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(CASES)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7, 2, (2.5, 0.9), (1.3, 3)])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
def test_scales_are_those_of_torch(scale, recompute, mode):
    torch = pytest.importorskip("torch")
    x = spread(2, 3, 7, 9)
    options = dict(scale_factor=scale, mode=mode, recompute_scale_factor=recompute)
    want = torch.nn.functional.interpolate(torch.tensor(x), **options).numpy()
    np.testing.assert_allclose(
        wf.nn.functional.interpolate(x, **options).numpy(), want, rtol=1e-9, atol=1e-12
    )


def test_whole_factors_are_exact():
    """49 * (1 / 49) is less than 1 in floating point: the place must not be worked out so."""
    x = wf.tensor(np.arange(6.0).reshape(1, 1, 6))
    for factor in (3, 7, 49):
        np.testing.assert_array_equal(
            wf.nn.functional.interpolate(x, scale_factor=factor).numpy()[0, 0],
            np.repeat(np.arange(6.0), factor),
        )


def test_integers_keep_their_type():
    x = wf.tensor(np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2))
    assert str(wf.nn.functional.upsample(x, size=3).dtype) == "uint8"


F = wf.nn.functional


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: F.interpolate(X2), ArgumentError, "either size or scale_factor"),
        (lambda: F.interpolate(X2, 3, 2), ArgumentError, "either size or scale_factor"),
        (lambda: F.interpolate(X2, (3, 3, 3)), ArgumentError, "size needs"),
        (lambda: F.interpolate(X2, scale_factor=-1), ArgumentError, "positive number"),
        (lambda: F.interpolate(X2, scale_factor=0.01), ShapeError, "1 or more"),
        (lambda: F.interpolate(X2, 3, mode="cubic"), ArgumentError, "mode must be one of"),
        (lambda: F.interpolate(X2, 3, mode="linear"), ShapeError, "3 axes"),
        (lambda: F.interpolate(X2, 3, align_corners=True), ArgumentError, "align_corners belongs to"),
        (lambda: F.interpolate(X2, 3, antialias=True), ArgumentError, "antialias belongs to"),
        (lambda: F.interpolate(X2.astype(int), 3, mode="bilinear"), DTypeError, "floating"),
        (lambda: F.pixel_shuffle(X2, 2), ShapeError, "do not divide"),
        (lambda: F.pixel_unshuffle(X2, 2), ShapeError, "do not divide"),
        (lambda: F.channel_shuffle(X2, 3), ShapeError, "divide into 3 groups"),
        (lambda: F.fold(COLUMNS, (4, 4), 2), ShapeError, r"cut \(4, 4\) into \(3, 3\)"),
        (lambda: F.unfold(X1[0], 2), ShapeError, "takes"),
        (lambda: wf.nn.Upsample(), ArgumentError, "either size or scale_factor"),
    ],
)
def test_what_does_not_fit_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()
