"""Clipping gradients, against PyTorch."""

import math

import numpy as np
import pytest

from optim_cases import parameter
from weft.arrays.compile import compile
from weft.arrays.creation import tensor
from weft.base.errors import ArgumentError, NumericError
from weft.optim import SGD, clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm


def with_gradients(arrays):
    params = [parameter(np.zeros_like(a), a.dtype) for a in arrays]
    for p, a in zip(params, arrays, strict=True):
        p._cell.grad = tensor(a)
    return params


@pytest.mark.parametrize("kind", [1.0, 2.0, 3.5, math.inf])
@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_norm_equals_pytorch(kind, limit, rng):
    torch = pytest.importorskip("torch")
    arrays = [rng.normal(size=s).astype("float32") for s in [(3, 2), (4,), ()]]
    arrays[0][0, 0] = 0
    ours = with_gradients(arrays)
    theirs = [torch.zeros(a.shape, requires_grad=True) for a in arrays]
    for p, a in zip(theirs, arrays, strict=True):
        p.grad = torch.tensor(a)
    norm = clip_grad_norm_([*ours, parameter([1.0])], limit, kind)
    expected = torch.nn.utils.clip_grad_norm_(theirs, limit, kind)
    assert norm.item() == pytest.approx(expected.item(), rel=1e-6)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-6)


def test_gradients_within_the_norm_keep_their_bits():
    (p,) = with_gradients([np.array([0.3, 0.4], "float32")])
    clip_grad_norm_(p, 1.0)
    assert p.grad.numpy().tolist() == np.array([0.3, 0.4], "float32").tolist()


def test_complex_and_mixed_types():
    ours = with_gradients([np.array([3 + 4j], "complex64"), np.zeros(2, "float64"), np.zeros(1, "float16")])
    assert clip_grad_norm_(ours, 1.0).item() == pytest.approx(5)
    assert abs(ours[0].grad.numpy()[0]) == pytest.approx(1, rel=1e-5)
    assert [str(p.grad.dtype) for p in ours] == ["complex64", "float64", "float16"]


def test_value():
    (p,) = with_gradients([np.array([-3.0, 0.25, 7.0, np.nan], "float32")])
    clip_grad_value_(p, 0.5)
    np.testing.assert_array_equal(p.grad.numpy(), [-0.5, 0.25, 0.5, np.nan])


def test_nan_is_not_hidden():
    (p,) = with_gradients([np.array([1.0, np.nan], "float32")])
    with pytest.raises(NumericError, match="not clipped"):
        clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert p.grad.numpy()[0] == 1.0
    assert math.isnan(clip_grad_norm_(p, 1.0).item())
    assert np.isnan(p.grad.numpy()).all()


def test_inside_a_compiled_step():
    p = parameter([0.0, 0.0])
    optimizer = SGD([p], lr=1.0)

    @compile
    def step():
        (p * tensor([30.0, 40.0])).sum().backward()
        norm = clip_grad_norm_([p], 5.0)
        optimizer.step()
        optimizer.zero_grad()
        return norm

    assert step().item() == 50
    np.testing.assert_allclose(p.numpy(), [-3, -4], rtol=1e-6)


def test_nothing_to_clip():
    assert clip_grad_norm_([parameter([1.0])], 1.0).item() == 0
    clip_grad_value_([], 1.0)


@pytest.mark.parametrize("bad", [0, -1.0, float("nan"), "big", None])
def test_limits_are_positive_numbers(bad):
    with pytest.raises(ArgumentError, match="max_norm must be a positive number"):
        clip_grad_norm_(parameter([1.0]), bad)
    with pytest.raises(ArgumentError, match="clip_value"):
        clip_grad_value_(parameter([1.0]), bad)


@pytest.mark.parametrize("kind", [1.0, 2.0, 3.5, math.inf])
def test_norm_and_scaling_apart_equal_pytorch(kind, rng):
    torch = pytest.importorskip("torch")
    arrays = [rng.normal(size=s).astype("float32") for s in [(3, 2), (4,), ()]]
    ours, theirs = with_gradients(arrays), [torch.zeros(a.shape, requires_grad=True) for a in arrays]
    for p, a in zip(theirs, arrays, strict=True):
        p.grad = torch.tensor(a)
    want = torch.nn.utils.get_total_norm([p.grad for p in theirs], kind)
    got = get_total_norm([p.grad for p in ours], kind)
    assert got.item() == pytest.approx(want.item(), rel=1e-6)
    torch.nn.utils.clip_grads_with_norm_(theirs, 0.5, want)
    clip_grads_with_norm_(ours, 0.5, got)
    clip_grads_with_norm_(ours[:1], 1e6, got)  # nothing is ever made larger
    for p, t in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), t.grad.numpy(), rtol=1e-5)
    assert get_total_norm([]).item() == 0.0
    clip_grads_with_norm_([parameter(np.zeros(2, "float32"), "float32")], 1.0, got)
    with pytest.raises(NumericError, match="nan"):
        get_total_norm([tensor([math.nan])], error_if_nonfinite=True)


def test_they_are_also_where_pytorch_has_them():
    from weft import nn, optim

    for name in ("clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"):
        assert getattr(nn.utils, name) is getattr(optim, name)
