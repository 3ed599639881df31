"""Pooling: windows of every kind, ties, and cells of adaptive pooling."""

from __future__ import annotations

import numpy as np
import pytest

from composites import Case, composite_tests, functional, gradients, run, spread
from weft.base.errors import ArgumentError, DTypeError, ShapeError
from weft.ops.composite import pooling as p


def _max(kernel, stride=None, padding=None, dilation=None, ceil_mode=False):
    n = len(kernel)
    return lambda x: p.max_pool(
        x,
        kernel=kernel,
        stride=stride or kernel,
        padding=padding or (0,) * n,
        dilation=dilation or (1,) * n,
        ceil_mode=ceil_mode,
    )


def _avg(kernel, stride=None, padding=None, ceil_mode=False, count_include_pad=True, divisor=None):
    n = len(kernel)
    return lambda x: p.avg_pool(
        x,
        divisor,
        kernel=kernel,
        stride=stride or kernel,
        padding=padding or (0,) * n,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )


def _torch_max(rank, *args, **attrs):
    return functional(f"max_pool{rank}d", *args, **attrs)


def _torch_avg(rank, *args, **attrs):
    return functional(f"avg_pool{rank}d", *args, **attrs)


X1, X2 = spread(2, 3, 9), spread(2, 2, 7, 8)

CASES = [
    Case("first_max", lambda x: p.first_max(x, axis=1), (X1,), lambda x: x.amax(1)),
    Case("max_pool", _max((2,)), (X1,), _torch_max(1, 2), label="1d"),
    Case("max_pool", _max((2, 2)), (X2,), _torch_max(2, 2), label="2d"),
    Case("max_pool", _max((2, 2)), (X2[0],), _torch_max(2, 2), label="one image"),
    Case("max_pool", _max((2, 2)), (X2[:0],), _torch_max(2, 2), label="no images"),
    Case(
        "max_pool", _max((3, 2), (2, 1), (1, 1)), (X2,), _torch_max(2, (3, 2), (2, 1), (1, 1)), label="padded"
    ),
    Case(
        "max_pool",
        _max((3, 3), (2, 2), (1, 1), (2, 2), True),
        (X2,),
        _torch_max(2, 3, 2, 1, 2, True),
        label="all",
    ),
    Case(
        "max_pool",
        _max((2, 2), (3, 3), ceil_mode=True),
        (X2,),
        _torch_max(2, 2, 3, ceil_mode=True),
        label="gaps",
    ),
    Case("avg_pool", _avg((2,)), (X1,), _torch_avg(1, 2), label="1d"),
    Case("avg_pool", _avg((2, 2)), (X2,), _torch_avg(2, 2), label="2d"),
    Case(
        "avg_pool", _avg((3, 2), (2, 1), (1, 1)), (X2,), _torch_avg(2, (3, 2), (2, 1), (1, 1)), label="padded"
    ),
    Case(
        "avg_pool",
        _avg((3, 3), (2, 2), (1, 1), True, False),
        (X2,),
        _torch_avg(2, 3, 2, 1, True, False),
        label="own elements",
    ),
    Case("avg_pool", _avg((3, 3), (2, 2), (1, 1), True), (X2,), _torch_avg(2, 3, 2, 1, True), label="ceil"),
    Case("avg_pool", _avg((2, 2), divisor=3), (X2,), _torch_avg(2, 2, divisor_override=3), label="divisor"),
]
for _sizes in [(1, 1), (3, 2), (7, 8), (4, 3), (9, 2)]:
    _label = "x".join(map(str, _sizes))
    CASES += [
        Case(
            "adaptive_avg_pool",
            lambda x, s=_sizes: p.adaptive_avg_pool(x, sizes=s),
            (X2,),
            functional("adaptive_avg_pool2d", _sizes),
            label=_label,
        ),
        Case(
            "adaptive_max_pool",
            lambda x, s=_sizes: p.adaptive_max_pool(x, sizes=s),
            (X2,),
            functional("adaptive_max_pool2d", _sizes),
            label=_label,
        ),
        Case(
            "adaptive_max_pool_positions",
            lambda x, s=_sizes: p.adaptive_max_pool_positions(x, sizes=s),
            (X2,),
            lambda x, s=_sizes: functional("adaptive_max_pool2d", s, True)(x)[1],
            smooth=False,
            label=_label,
        ),
    ]
CASES += [
    Case(
        "lp_pool",
        lambda x: p.lp_pool(x, 3.0, kernel=(2, 3), stride=(2, 2), ceil_mode=True),
        (np.abs(X2),),
        functional("lp_pool2d", 3.0, (2, 3), 2, True),
        batch=False,
    ),
    Case(
        "max_pool_positions",
        lambda x: p.max_pool_positions(
            x, kernel=(3, 2), stride=(2, 1), padding=(1, 1), dilation=(1, 2), ceil_mode=True
        ),
        (X2,),
        lambda x: functional("max_pool2d", (3, 2), (2, 1), 1, (1, 2), True, True)(x)[1],
        smooth=False,
    ),
    Case(
        "max_unpool",
        lambda x, at: p.max_unpool(x, at, sizes=(9,)),
        (spread(2, 3, 4), np.argsort(X1)[..., :4].copy()),
        functional("max_unpool1d", 2, output_size=(9,)),
        batch=False,
    ),
]

test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(CASES)


def test_the_first_of_several_maxima_has_the_gradient():
    x = np.array([[[1.0, 1.0, 1.0, 2.0], [1.0, 0.0, 2.0, 2.0]]])
    (out,), (gradient,) = gradients(lambda v: _max((2, 2))(v), [x])
    assert out.tolist() == [[[1.0, 2.0]]]
    assert np.count_nonzero(gradient) == 2 and gradient[0, 0, 0] != 0 and gradient[0, 0, 3] != 0


@pytest.mark.parametrize("sizes", [(1, 1), (2, 2), (3, 2)])
def test_ties_in_adaptive_cells_are_resolved_as_in_torch(sizes):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).integers(0, 2, (2, 2, 4, 6)).astype(float)
    (_,), (gradient,) = gradients(lambda v: p.adaptive_max_pool(v, sizes=sizes), [x])
    given = torch.tensor(x, requires_grad=True)
    out = torch.nn.functional.adaptive_max_pool2d(given, sizes)
    (out * torch.tensor(np.random.default_rng(5).standard_normal(tuple(out.shape)))).sum().backward()
    np.testing.assert_allclose(gradient, given.grad.numpy())


def test_maxima_of_integers_and_of_minus_infinity():
    assert run(_max((2,), padding=(1,), stride=(2,)), np.array([[-3, -5, -4, -9]])).tolist() == [[-3, -4, -9]]
    assert run(_max((2,)), np.array([[-np.inf, -np.inf, np.nan, 1.0]])).tolist()[0][0] == -np.inf


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: run(_max((9, 9)), X2), ShapeError, "does not fit"),
        (lambda: run(_max((2, 2), padding=(2, 2)), X2), ArgumentError, "at most half"),
        (lambda: run(_max((2, 2)), spread(3, 3)), ShapeError, r"\(channels, ...\)"),
        (lambda: run(_avg((2, 2)), X2.astype(int)), DTypeError, "floating"),
    ],
)
def test_what_does_not_fit_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
