"""Convolution and pooling of any admissible settings, and losses of any shape, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import weft as wf
from weft import nn
from weft.base.errors import WeftError
from weft.ops.composite.pooling import window_count

torch = pytest.importorskip("torch")
F = nn.functional


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def _compare(ours, theirs, *arrays: np.ndarray) -> None:
    """Values and gradients of two functions of the same arrays; both may refuse, but only together."""
    given_arrays = [torch.tensor(a, requires_grad=True) for a in arrays]
    tensors = [wf.tensor(a, requires_grad=True) for a in arrays]
    try:
        want = theirs(*given_arrays)
    except (RuntimeError, ValueError):
        with pytest.raises(WeftError):
            ours(*tensors)
        return
    got = ours(*tensors)
    np.testing.assert_allclose(got.numpy(), want.detach().numpy(), rtol=1e-9, atol=1e-11)
    weights = _random(*want.shape, seed=9)
    (want * torch.tensor(weights)).sum().backward()
    (got * wf.tensor(weights)).sum().backward()
    for t, x in zip(given_arrays, tensors):
        np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-8, atol=1e-10)


small = st.integers(1, 3)


@settings(max_examples=60)
@given(st.data())
def test_convolution_of_any_settings(data):
    rank, groups = data.draw(st.integers(1, 2)), data.draw(st.sampled_from([1, 1, 2]))
    batch, inputs, outputs = (
        data.draw(st.integers(0, 2)),
        groups * data.draw(small),
        groups * data.draw(small),
    )
    size = [data.draw(st.integers(1, 7)) for _ in range(rank)]
    kernel = [data.draw(small) for _ in range(rank)]
    stride = tuple(data.draw(small) for _ in range(rank))
    padding = tuple(data.draw(st.integers(0, 3)) for _ in range(rank))
    dilation = tuple(data.draw(st.integers(1, 2)) for _ in range(rank))
    name = f"conv{rank}d"
    _compare(
        lambda x, w, b: getattr(F, name)(x, w, b, stride, padding, dilation, groups),
        lambda x, w, b: getattr(torch.nn.functional, name)(x, w, b, stride, padding, dilation, groups),
        _random(batch, inputs, *size),
        _random(outputs, inputs // groups, *kernel, seed=1),
        _random(outputs, seed=2),
    )


@settings(max_examples=40)
@given(st.data())
def test_transposed_convolution_of_any_settings(data):
    groups = data.draw(st.sampled_from([1, 1, 2]))
    inputs, outputs = groups * data.draw(small), data.draw(small)
    size, kernel = data.draw(st.integers(1, 5)), data.draw(small)
    stride, padding, dilation = data.draw(small), data.draw(st.integers(0, 2)), data.draw(st.integers(1, 2))
    extra = data.draw(st.integers(0, max(stride, dilation) - 1))
    # What is left must be at least one position: PyTorch lets gradients of empty results fail in other ways.
    assume((size - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1 > 0)
    options = (stride, padding, extra, groups, dilation)
    _compare(
        lambda x, w: F.conv_transpose1d(x, w, None, *options),
        lambda x, w: torch.nn.functional.conv_transpose1d(x, w, None, *options),
        _random(2, inputs, size),
        _random(inputs, outputs, kernel, seed=1),
    )


def _all_windows_hold_something(size, kernel, stride, padding, dilation, ceil) -> bool:
    """Whether each window lies over the input somewhere. PyTorch writes out of bounds where one does not."""
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation):
        count = window_count(n, k, s, p, d, ceil)
        for first in (i * s - p for i in range(count)):
            if not any(0 <= first + j * d < n for j in range(k)):
                return False
    return True


@settings(max_examples=60)
@given(st.data())
def test_pooling_of_any_settings(data):
    rank = data.draw(st.integers(1, 2))
    size = [data.draw(st.integers(1, 8)) for _ in range(rank)]
    kernel = tuple(data.draw(small) for _ in range(rank))
    stride = tuple(data.draw(small) for _ in range(rank))
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    ceil = data.draw(st.booleans())
    x = np.random.default_rng(0).permutation(2 * int(np.prod(size))).astype(np.float64).reshape(1, 2, *size)
    dilation = tuple(data.draw(st.integers(1, 2)) for _ in range(rank))
    assume(_all_windows_hold_something(size, kernel, stride, padding, dilation, ceil))
    assume(_all_windows_hold_something(size, kernel, stride, padding, (1,) * rank, ceil))
    _compare(
        lambda v: getattr(F, f"max_pool{rank}d")(v, kernel, stride, padding, dilation, ceil),
        lambda v: getattr(torch.nn.functional, f"max_pool{rank}d")(
            v, kernel, stride, padding, dilation, ceil
        ),
        x,
    )
    count = data.draw(st.booleans())
    _compare(
        lambda v: getattr(F, f"avg_pool{rank}d")(v, kernel, stride, padding, ceil, count),
        lambda v: getattr(torch.nn.functional, f"avg_pool{rank}d")(v, kernel, stride, padding, ceil, count),
        x,
    )
    cells = tuple(data.draw(st.integers(1, 9)) for _ in range(rank))
    _compare(
        lambda v: getattr(F, f"adaptive_avg_pool{rank}d")(v, cells),
        lambda v: getattr(torch.nn.functional, f"adaptive_avg_pool{rank}d")(v, cells),
        x,
    )


@settings(max_examples=60)
@given(st.data())
def test_cross_entropy_of_any_shape(data):
    classes = data.draw(st.integers(1, 4))
    batch = data.draw(st.lists(st.integers(0, 3), max_size=1))
    extra = data.draw(st.lists(st.integers(1, 2), max_size=2)) if batch else []
    shape = [*batch, classes, *extra]
    target = np.random.default_rng(1).integers(-1, classes, (*batch, *extra))
    options = {
        "ignore_index": -1,
        "label_smoothing": data.draw(st.sampled_from([0.0, 0.2])),
        "reduction": data.draw(st.sampled_from(["mean", "sum", "none"])),
    }
    weight = _random(classes, seed=3) ** 2 + 0.1 if data.draw(st.booleans()) else None

    def call(function, make):
        w = None if weight is None else make(weight)
        return lambda x: function(x, make(target), weight=w, **options)

    _compare(
        call(F.cross_entropy, wf.tensor),
        call(torch.nn.functional.cross_entropy, torch.tensor),
        _random(*shape),
    )
