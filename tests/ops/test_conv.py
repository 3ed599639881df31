"""Convolution against PyTorch, and its rules against plain definitions."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from nodes import arrays, node, run
from weft.arrays.tensor import Tensor
from weft.autodiff.reverse import pullback
from weft.base.errors import ArgumentError, DTypeError, ShapeError
from weft.ir.node import GRAD
from weft.ir.shape import Dim
from weft.ops.conv import conv
from weft.ops.reduce import sum_


def attrs(rank, stride=1, padding=0, input_dilation=1, kernel_dilation=1, feature_groups=1, batch_groups=1):
    def each(v):
        return v if isinstance(v, tuple) else (v,) * rank

    return {
        "stride": each(stride),
        "padding": tuple(p if isinstance(p, tuple) else (p, p) for p in each(padding)),
        "input_dilation": each(input_dilation),
        "kernel_dilation": each(kernel_dilation),
        "feature_groups": feature_groups,
        "batch_groups": batch_groups,
    }


CASES = [
    ((2, 3, 9), (4, 3, 3), {}),
    ((2, 3, 9), (4, 3, 4), dict(stride=2, padding=1)),
    ((2, 3, 8, 7), (4, 3, 3, 2), dict(padding=(1, 2))),
    ((2, 3, 8, 7), (4, 3, 3, 2), dict(stride=(2, 3), padding=2)),
    ((2, 3, 9, 9), (2, 3, 3, 3), dict(kernel_dilation=(2, 3), padding=2)),
    ((2, 4, 6, 6), (6, 2, 3, 3), dict(feature_groups=2, stride=2, padding=1)),
    ((2, 4, 6, 6), (8, 1, 3, 3), dict(feature_groups=4, padding=1, kernel_dilation=2)),
    ((1, 2, 5, 4, 6), (3, 2, 2, 2, 3), dict(stride=(1, 2, 2), padding=(0, 1, 1))),
    ((2, 2, 7), (2, 2, 2), dict(stride=5)),  # elements at the end that no window reaches
]


@pytest.mark.parametrize("xs, ws, options", CASES)
def test_agrees_with_torch_to_second_order(xs, ws, options, rng):
    torch = pytest.importorskip("torch")
    f = [torch.conv1d, torch.conv2d, torch.conv3d][len(xs) - 3]
    named = {
        "stride": options.get("stride", 1),
        "padding": options.get("padding", 0),
        "dilation": options.get("kernel_dilation", 1),
        "groups": options.get("feature_groups", 1),
    }
    x, w = rng.standard_normal(xs), rng.standard_normal(ws)
    tx, tw = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
    want = f(tx, tw, **named)
    ct, u, v = (rng.standard_normal(s) for s in (tuple(want.shape), xs, ws))
    firsts = torch.autograd.grad((want * want * torch.tensor(ct)).sum(), [tx, tw], create_graph=True)
    seconds = torch.autograd.grad(
        (firsts[0] * torch.tensor(u)).sum() + (firsts[1] * torch.tensor(v)).sum(), [tx, tw]
    )

    nx, nw = node(x, grad=True), node(w, grad=True)
    out = conv(nx, nw, **attrs(len(xs) - 2, **options))
    loss = sum_(out * out * node(ct), axes=tuple(range(out.ndim)))
    first = pullback([loss], [node(1.0)], [nx, nw], GRAD)
    second = pullback(first, [node(u), node(v)], [nx, nw], GRAD)
    wanted = [t.detach().numpy() for t in (want, *firsts, *seconds)]
    for got, expected in zip(arrays(out, *first, *second), wanted):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("stride, padding, dilation, groups", [(2, 1, 1, 1), (3, 0, 2, 1), (2, 1, 1, 2)])
def test_input_dilation_is_torchs_transposed_convolution(stride, padding, dilation, groups, rng):
    torch = pytest.importorskip("torch")
    x, w = rng.standard_normal((2, 4, 5, 6)), rng.standard_normal((4, 3, 3, 2))
    want = torch.conv_transpose2d(
        torch.tensor(x), torch.tensor(w), stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    kernel = np.flip(w.reshape(groups, 4 // groups, 3, 3, 2).swapaxes(1, 2), (3, 4)).reshape(
        3 * groups, -1, 3, 2
    )
    pads = tuple((k - 1) * dilation - padding for k in (3, 2))
    options = attrs(2, padding=pads, input_dilation=stride, kernel_dilation=dilation, feature_groups=groups)
    np.testing.assert_allclose(run(lambda a, b: conv(a, b, **options), x, kernel), want.numpy(), atol=1e-12)


def test_negative_padding_takes_elements_away(rng):
    x, w = rng.standard_normal((2, 3, 9)), rng.standard_normal((2, 3, 2))
    got = run(lambda x, w: conv(x, w, **attrs(1, padding=((-2, -3),))), x, w)
    np.testing.assert_allclose(got, run(lambda x, w: conv(x, w, **attrs(1)), x[:, :, 2:-3], w), atol=1e-14)
    # With gaps between the elements a crop may end inside a gap.
    spread = np.zeros((2, 3, 25))
    spread[:, :, ::3] = x
    got = run(lambda x, w: conv(x, w, **attrs(1, padding=((-4, -2),), input_dilation=3)), x, w)
    np.testing.assert_allclose(
        got, run(lambda x, w: conv(x, w, **attrs(1)), spread[:, :, 4:-2], w), atol=1e-14
    )
    got = run(lambda x, w: conv(x, w, **attrs(1, padding=((-2, 30),), input_dilation=9)), x[:, :, :1], w)
    assert got.shape == (2, 2, 28) and not got.any()  # the crop ends beyond the only element


def test_integers_are_exact():
    x = np.arange(2 * 1 * 6).reshape(2, 1, 6)
    got = run(lambda x, w: conv(x, w, **attrs(1)), x, np.array([[[1, -2, 3]]]))
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got[1, 0], [6 - 14 + 24, 7 - 16 + 27, 8 - 18 + 30, 9 - 20 + 33])


def test_large_batches_are_worked_on_in_pieces(rng, monkeypatch):
    import weft.ops.conv as module

    x, w = rng.standard_normal((7, 4, 6, 6)), rng.standard_normal((4, 2, 3, 3))
    f = lambda x, w: conv(x, w, **attrs(2, feature_groups=2, padding=1))
    whole = run(f, x, w)
    monkeypatch.setattr(module, "_COLUMNS", 3000)
    np.testing.assert_allclose(run(f, x, w), whole, rtol=1e-13)


def test_an_open_batch_dimension():
    from weft.ir.dtype import float32
    from weft.ir.node import Aval
    from weft.ir.primitive import placeholder

    x = placeholder(Aval((Dim("batch"), 3, 8, 8), float32))
    w = placeholder(Aval((4, 3, 3, 3), float32))
    assert conv(x, w, **attrs(2, stride=2, padding=1)).shape == (Dim("batch"), 4, 4, 4)


@pytest.mark.parametrize(
    "xs, ws, options, error, words",
    [
        ((2, 3, 5), (4, 2, 3), {}, ShapeError, ["(4, 2, 3)", "(2, 3, 5)", "channels"]),
        ((2, 4, 5), (4, 3, 3), dict(feature_groups=2), ShapeError, ["(4, 3, 3)", "2 groups"]),
        ((2, 4, 5), (3, 2, 3), dict(feature_groups=2), ShapeError, ["3 output channels"]),
        ((3, 4, 5), (2, 4, 3), dict(batch_groups=2), ShapeError, ["batch of 3"]),
        ((2, 3, 5), (4, 3, 7), {}, ShapeError, ["(4, 3, 7)", "(2, 3, 5)", "does not fit"]),
        ((2, 3, 5), (4, 3, 5, 5), {}, ShapeError, ["(2, 3, 5)", "(4, 3, 5, 5)"]),
        ((2, 3, 5), (4, 3, 3), dict(stride=0), ArgumentError, ["stride", "(0,)"]),
        ((2, 3, 5), (4, 3, 3), dict(stride=(1, 1)), ArgumentError, ["stride", "spatial"]),
        ((2, 4, 5), (2, 2, 3), dict(feature_groups=2, batch_groups=2), ArgumentError, ["only one kind"]),
    ],
)
def test_errors_name_the_shapes(xs, ws, options, error, words):
    with pytest.raises(error) as info:
        conv(node(np.zeros(xs)), node(np.zeros(ws)), **attrs(len(xs) - 2, **options))
    for word in ["conv", *words]:
        assert word in str(info.value)


def test_mixed_dtypes_are_refused():
    with pytest.raises(DTypeError, match=r"float32.*float64"):
        conv(node(np.zeros((1, 1, 3), np.float32)), node(np.zeros((1, 1, 3))), **attrs(1))


@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_of_single_samples(groups, rng):
    x, w = rng.standard_normal((5, 1, 4, 6)), rng.standard_normal((6, 4 // groups, 3))

    def loss(w, x):
        out = conv(x._node, w._node, **attrs(1, stride=2, padding=1, feature_groups=groups))
        return wf.sum(Tensor(out) ** 2)

    each = wf.vmap(wf.grad(loss), in_axes=(None, 0))(wf.asarray(w), wf.asarray(x)).numpy()
    for i in range(5):
        one = wf.grad(loss)(wf.asarray(w), wf.asarray(x[i])).numpy()
        np.testing.assert_allclose(each[i], one, rtol=1e-11)
